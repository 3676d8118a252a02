"""What runs beside the loop is done at once here, so that each test knows what has happened."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from shipper.files import syncing
from shipper.files.columns import stage, workshop
from tests.files.columns.life import Inline


@pytest.fixture(autouse=True)
def _in_order(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(workshop, "Background", Inline)
    monkeypatch.setattr(syncing, "Background", Inline)
    yield
    gc.collect()


@pytest.fixture
def few_bytes_are_many(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is staged lies in the room, in tests with a `name` that says so."""
    if request.node.callspec.params["name"] == "past the page cache":
        monkeypatch.setattr(stage, "_LARGE_BYTES", 1)
