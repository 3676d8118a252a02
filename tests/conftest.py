"""What every test may use: the recorded answers of the real Flume classes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REFERENCE = Path(os.environ.get("SHIPPER_REFERENCE", Path(__file__).parents[2] / "shared" / "reference"))


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of recorded Flume answers, bytes and files beside the project."""
    return REFERENCE
