"""What tests of the configuration share: files from text, and the recorded answers of Flume's own validation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.config.bind import load
from shipper.config.plan import Plan
from shipper.config.problem import Problem
from tests.vectors import vectors

#: One source, one channel, one sink: what most tests change one line of.
COMPLETE = """\
a.sources=r
a.channels=c
a.sinks=k
a.sources.r.type=seq
a.sources.r.channels=c
a.channels.c.type=memory
a.sinks.k.type=file_roll
a.sinks.k.sink.directory=/tmp
a.sinks.k.channel=c
"""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "vectors(*sections): `row` is each recorded row of these sections in turn.")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("vectors")
    if marker is not None:
        found = vectors(*marker.args)
        assert found, f"no recorded rows in {marker.args}"
        metafunc.parametrize("row", found, ids=[row["id"] for row in found])


@pytest.fixture
def complete() -> str:
    """A file that has nothing wrong with it."""
    return COMPLETE


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Makes a file of a text (or bytes) and gives its path."""

    def make(text: str | bytes, name: str = "a.properties") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return make


@pytest.fixture
def load_text(write: Callable[..., Path]) -> Callable[..., tuple[Plan | None, list[Problem]]]:
    """The plan and the problems of an agent of a text."""

    def make(
        text: str | bytes, agent: str = "a", strict: bool = False, **system: str
    ) -> tuple[Plan | None, list[Problem]]:
        return load([write(text)], agent, system, {}, strict)

    return make
