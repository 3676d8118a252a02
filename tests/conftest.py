"""What every test may use: the recorded answers of the real Flume classes, and Hadoop's own reader."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the files of fixtures beside this one

from hadoop import hadoop  # noqa: F401

REFERENCE = Path(os.environ.get("SHIPPER_REFERENCE", Path(__file__).parents[2] / "shared" / "reference"))


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of recorded Flume answers, bytes and files beside the project."""
    return REFERENCE
