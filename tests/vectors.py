"""What the real Flume classes answered: rows of `flume-vectors.jsonl`, in the reference folder beside the project."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import pytest

REFERENCE = Path(os.environ.get("SHIPPER_REFERENCE", Path(__file__).parents[2] / "shared" / "reference"))


@functools.cache
def _lines() -> list[str]:
    path = REFERENCE / "flume-vectors.jsonl"
    return path.read_text("utf-8").splitlines() if path.exists() else []


def vectors(*sections: str) -> list[dict[str, Any]]:
    """All rows of some sections, in order; none in a checkout without the folder."""
    return [row for row in map(json.loads, _lines()) if row.get("section") in sections]


def vector(section: str, name: str) -> dict[str, Any]:
    """One row; a test that needs it is skipped in a checkout without the folder."""
    if not _lines():
        pytest.skip("the recorded answers of Flume are not here")
    return next(row for row in vectors(section) if row["id"] == name)
