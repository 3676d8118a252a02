"""A running agent whose files change: what changed starts again, the rest goes on; no line is lost or comes twice."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.testing.agent import Agent
from tests.workers.conftest import agent_of, file_roll, taildir, texts

Make = Callable[..., Agent]

pytestmark = pytest.mark.timeout(120)


def write_lines(path: Path, first: int, end: int) -> None:
    """Appends numbered lines."""
    path.parent.mkdir(exist_ok=True)
    with path.open("ab") as file:
        file.write(lines(first, end))


def lines(first: int, end: int) -> bytes:
    """Numbered lines."""
    return b"".join(b"%d\n" % number for number in range(first, end))


def two_pipelines(tmp_path: Path, **options_of_k1: object) -> str:
    """r1 -> c1 -> k1 and r2 -> c2 -> k2."""
    return agent_of(
        taildir("r1", "c1", tmp_path / "in1"), file_roll("k1", "c1", tmp_path / "out1", **options_of_k1),
        taildir("r2", "c2", tmp_path / "in2"), file_roll("k2", "c2", tmp_path / "out2"),
        sources="r1 r2", channels="c1 c2", sinks="k1 k2",
    )  # fmt: skip


def change(one: Agent, properties: str, said: str = "runs the new configuration") -> None:
    """Writes another configuration and asks for it."""
    before = one.log().count(said)
    one.file.write_text(properties)
    one.send(signal.SIGHUP)
    one.until(lambda: one.log().count(said) > before, said)


class TestWhatChanged:
    """Only what changed starts again."""

    def test_another_option_of_a_sink_leaves_all_others_alone(self, agent: Make, tmp_path: Path) -> None:
        for pipe in ("in1", "in2"):
            write_lines(tmp_path / pipe / "a.log", 0, 1000)
        one = agent(two_pipelines(tmp_path)).start()
        one.until(lambda: texts(tmp_path / "out1").count(b"\n") == 1000)
        before = one.workers()
        change(one, two_pipelines(tmp_path, **{"sink.pathManager.prefix": "new-"}))
        for pipe in ("in1", "in2"):
            write_lines(tmp_path / pipe / "a.log", 1000, 3000)
        one.until(lambda: all(texts(tmp_path / out).count(b"\n") == 3000 for out in ("out1", "out2")))
        after = one.workers()
        assert {label for label in before if before[label] != after[label]} == {"k1"}
        assert "k1 starts again; k2, r1, r2 go on" in one.log()
        assert one.stop() == 0, one.log()
        assert any(path.name.startswith("new-") for path in (tmp_path / "out1").iterdir())
        for out in ("out1", "out2"):
            assert sorted(texts(tmp_path / out).split(), key=int) == lines(0, 3000).split()
