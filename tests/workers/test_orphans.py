"""A sink is taken out of the file, renamed, or becomes another, while the agent lies dead: its files are settled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.cli.main import main
from shipper.testing.agent import Agent
from tests.workers.conftest import agent_of, seq
from tests.workers.test_departed import delivered

ENDLESS = 10**12


def hdfs(name: str, directory: Path, workers: int = 1, channel: str = "c1") -> str:
    """A sink whose files stay open until it ends."""
    lines = {
        "type": "hdfs", "hdfs.path": f"file://{directory}", "hdfs.fileType": "DataStream", "hdfs.rollInterval": 0,
        "hdfs.rollCount": 0, "hdfs.rollSize": 0, "channel": channel, "workers": workers,
    }  # fmt: skip
    return "".join(f"a1.sinks.{name}.{key} = {value}\n" for key, value in lines.items())


def counted(sink: str, total: int = ENDLESS, *, sinks: str = "k1", kind: str = "memory") -> str:
    """An agent that counts through a small channel."""
    text = agent_of(seq("r1", "c1", total), sink, sinks=sinks, more="a1.channels.c1.capacity = 4000\n")
    return text.replace("a1.channels.c1.type = memory", f"a1.channels.c1.type = {kind}")


def killed(one: Agent, out: Path, files: int) -> int:
    """Started, and killed in the middle of transactions; how far the next one is to count."""
    one.start(wait=False)
    one.until(lambda: len(list(out.iterdir())) == files and len(delivered(out)) > 300_000, "all workers write")
    one.kill()
    assert len(list(out.glob("*.tmp"))) == files
    return delivered(out).count(b"\n") + 100_000


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("again", [False, True], ids=["", "killed again"])
def test_files_of_a_renamed_sink_are_settled_by_its_successor(
    workers: int, again: bool, agent: Callable[..., Agent], tmp_path: Path
) -> None:
    """Every line once, no file under an in-use name; also when the successor dies while it settles, or later."""
    out, other = tmp_path / "out", tmp_path / "other"
    out.mkdir()
    other.mkdir()
    one = agent(counted(hdfs("k1", out, workers)))
    total = killed(one, out, workers)
    one.file.write_text(counted(hdfs("k2", other), total, sinks="k2"))
    for _ in range(4 if again else 0):
        one.start(wait=False)
        one.until(lambda: one.workers().get("k2"), "it is there")
        one.kill("k2")
        one.kill()
    one.start(wait=False)

    def everything() -> bytes:
        return delivered(out) + delivered(other)

    one.until(lambda: everything().count(b"\n") >= total, "everything is delivered", 90)
    assert not list(out.glob("*.tmp"))
    assert one.stop() == 0, one.log()
    assert not list(other.glob("*.tmp"))
    numbers = sorted(map(int, everything().split()))
    assert len(numbers) == total, f"{len(numbers) - total} lines came twice"
    assert numbers == list(range(total))
    if not again:
        assert f"files of sink k1.{workers - 1}, which is gone, are settled" in one.log()
    one.start()
    assert one.stop() == 0
    assert one.log().count("is gone, are settled") == workers or again, "once"


def test_a_sink_that_became_another_settles_what_it_was(agent: Callable[..., Agent], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    one = agent(counted(hdfs("k1", out)))
    killed(one, out, 1)
    one.file.write_text(counted("a1.sinks.k1.type = null\na1.sinks.k1.channel = c1\n"))
    one.start(wait=False)
    one.until(lambda: not list(out.glob("*.tmp")), "its file has its name")
    found = sorted(map(int, delivered(out).split()))
    assert found == list(range(len(found)))
    assert one.stop() == 0, one.log()


def test_files_that_nobody_can_settle_are_listed(
    agent: Callable[..., Agent], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At each start and by the command, until the sink was there once more."""
    out = tmp_path / "out"
    out.mkdir()
    one = agent(counted(hdfs("k1", out)))
    total = killed(one, out, 1)
    name = next(out.glob("*.tmp"))
    elsewhere = "a1.sources = r1\na1.channels = c2\na1.sinks = k2\na1.channels.c2.type = memory\n" + seq("r1", "c2", 1)
    one.file.write_text(elsewhere + "a1.sinks.k2.type = null\na1.sinks.k2.channel = c2\n")
    one.start()
    assert "k1.0: this sink is not in the configuration" in one.log() and str(name) in one.log()
    one.stop()

    def listed() -> str:
        main(["channel", "list", "--run-dir", str(one.run_dir), "--state-dir", str(one.state_dir)])
        return capsys.readouterr().out

    assert "sink k1.0: this sink is not in the configuration" in listed() and str(name) in listed()
    one.file.write_text(counted(hdfs("k1", out), total))
    one.start(wait=False)
    one.until(lambda: delivered(out).count(b"\n") >= total, "everything is delivered", 90)
    assert one.stop() == 0, one.log()
    assert sorted(map(int, delivered(out).split())) == list(range(total))
    assert "this sink is not" not in listed()
