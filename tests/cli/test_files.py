"""`shipper files`: what sinks have open, also while a worker hangs, and bounded however many files there are."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shipper.api import EventBatch, SystemClock
from shipper.cli.main import main
from shipper.config.field import read_options
from shipper.files.columns import workshop
from shipper.files.local import LocalStore
from shipper.files.progress import OPEN, RENAMING, FileState, Page, Progress, read_page
from shipper.metrics.block import Kind
from shipper.metrics.counters import Counters
from shipper.metrics.export import Component, Exporter
from shipper.sinks.hdfs.config import HdfsOptions
from shipper.sinks.hdfs.sink import HdfsSink
from shipper.testing.agent import Agent
from shipper.testing.fakes import ManualClock, sink_context
from tests.files.columns.life import Inline

Show = Callable[..., str]


@pytest.fixture(autouse=True)
def running(agent: Any) -> None:
    """The agent's supervisor is this process."""
    agent.sink.runs(os.getpid(), 2_000)
    agent.block.beat()


@pytest.fixture
def show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Show:
    """What `shipper files` prints."""

    def run(*arguments: str, code: int = 0) -> str:
        assert main(["files", *arguments, "--run-dir", str(tmp_path)]) == code
        return capsys.readouterr().out

    return run


class Sink:
    """An open sink that shows its files where the agent's run directory is."""

    def __init__(self, tmp_path: Path, agent: Any, **more: str) -> None:
        given = {
            "hdfs.path": f"file://{tmp_path}/out/%{{host}}", "hdfs.fileType": "DataStream", "hdfs.rollSize": "0",
            "hdfs.rollCount": "0", "hdfs.rollInterval": "0", "sync.interval": "0",
        } | more  # fmt: skip
        options, findings = read_options(HdfsOptions, given)
        assert options is not None, findings
        self.clock = ManualClock(time.time_ns() // 1_000_000)
        self.clock.advance(0)
        context = sink_context(tmp_path / "state", clock=self.clock)
        board = agent.block.path.parent / "files" / "k1.0"
        self.sink = HdfsSink(options)
        self.sink.open(replace(context, board=board, counters=agent.sink.counters, clock=_Now(self.clock)))

    def deliver(self, *hosts: str) -> None:
        self.sink.deliver(EventBatch.of([b"12345"] * len(hosts), [{"host": host} for host in hosts]))
        self.sink.flush()
        self.sink.committed()
        self.look()

    def look(self) -> None:
        self.clock.advance(1000)
        self.sink.tick()


class _Now:
    """The machine's clocks, but that the worker looks whenever the test wants."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._real = SystemClock()

    def now_ms(self) -> int:
        return self._real.now_ms()

    def monotonic_s(self) -> float:
        return self._real.monotonic_s() + self._clock.monotonic_s() / 1e6


def settle(sink: Sink) -> None:
    sink.sink.files._progress._next_s = 0.0
    sink.sink.tick()


def look_now(sink: Sink) -> None:
    """As `settle`, of a sink that stages its rows."""
    sink.sink.files._files._progress._next_s = 0.0
    sink.sink.tick()


def test_open_files_are_shown_per_sink_and_path(tmp_path: Path, agent: Any, show: Show) -> None:
    sink = Sink(tmp_path, agent)
    sink.deliver("web", "web", "db")
    settle(sink)
    out = show("a1")
    assert f"sink k1  file://{tmp_path}/out/%{{host}}" in out
    assert "2 files open, 3 events, 18 B, the oldest begun " in out
    assert "last commit " in out
    rows = [line.split() for line in out.splitlines() if line.lstrip().startswith("open ")]
    assert sorted(row[-1].partition("/out/")[2].partition("/")[0] for row in rows) == ["db", "web"]
    assert all(row[-1].endswith(".tmp") for row in rows)
    (data,) = json.loads(show("-n", "a1", "--json"))
    (page,) = data["sinks"]
    assert (page["sink"], page["worker"], page["counts"]["open"], page["rows"]) == ("k1", 0, 2, 3)
    assert {one["rows"] for one in page["files"]} == {1, 2}


def test_a_file_that_can_not_be_made_shows_what_is_staged_for_it(
    tmp_path: Path, agent: Any, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workshop, "Background", Inline)
    (tmp_path / "out").write_text("not a directory")
    sink = Sink(tmp_path, agent, **{"hdfs.fileType": "Parquet", "hdfs.rollCount": "2"})
    sink.deliver("web", "web", "web")
    look_now(sink)
    out = show("a1")
    assert "\n  1 file open, 3 events, " in out
    assert "\n  1 waits for the target, 1 try has failed\n" in out
    assert re.search(r"waiting for target \(1 try failed, again in \d.*\) .* 2  \d.*/out/web/FlumeData.*tmp", out)
    assert agent.sink.counters.get("files_unmade") == 1
    (tmp_path / "out").unlink()
    sink.clock.advance(10_000_000)
    sink.sink.tick()
    look_now(sink)
    assert "\n  1 file open, 1 event, " in show("a1")
    assert agent.sink.counters.get("files_unmade") == 0
    sink.sink.close()


def test_a_file_that_waits_for_its_name_comes_first_and_says_when_it_is_tried_again(
    tmp_path: Path, agent: Any, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Sink(tmp_path, agent)
    sink.deliver(*(f"h{number}" for number in range(30)))

    def refuse(self: LocalStore, path: str, final: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    monkeypatch.setattr(LocalStore, "rename", refuse)
    key = next(key for key, _ in sink.sink.files._open.items() if "/h7/" in key)
    sink.sink.files.end([key])
    settle(sink)
    out = show()
    assert "29 files open, 30 events" in out
    assert "1 waits for the final name, 1 try has failed" in out
    first = next(line for line in out.splitlines() if "/out/" in line and line.startswith("  renaming"))
    assert "(1 try failed, again in " in first and "/out/h7/" in first
    assert "and 10 more" in out
    assert agent.sink.counters.get("files_renaming") == 1


def test_the_sums_are_in_the_metrics(tmp_path: Path, agent: Any) -> None:
    """Flume's JSON gets an entry beside Flume's own, Prometheus a metric each."""
    sink = Sink(tmp_path, agent)
    sink.deliver("a", "b")
    settle(sink)
    exporter = Exporter([Component(Kind.SINK, "k1", HdfsSink.counted)], {})
    sample = agent.block.sample()
    entry = json.loads(exporter.flume_json(sample))["FILES.k1"]
    assert (entry["Type"], entry["open_files"], entry["files_renaming"]) == ("FILES", "2", "0")
    text = exporter.prometheus(sample).decode()
    assert 'shipper_open_files{component="k1",kind="sink"} 2' in text
    assert 'shipper_rows_late_total{component="k1",kind="sink"} 0' in text


def test_ten_thousand_files_take_one_page(tmp_path: Path) -> None:
    """The sums are of all of them, and the few that matter are there: those in trouble, then the oldest."""
    page = Page(tmp_path / "page")
    shown = Progress(page, "k1", 0, "file:///out", ManualClock(), Counters.private())
    files = [FileState(f"/out/{'x' * 300}/{n:05}.tmp", OPEN, 10, 100, 1_000_000 - n) for n in range(10_000)]
    files[17] = FileState("/out/late", RENAMING, 10, 100, 5_000_000, 0.0, 3, 9.0)
    shown.show(files)
    data = read_page(tmp_path / "page")
    assert data is not None
    assert (data["counts"]["open"], data["counts"]["renaming"], data["rows"]) == (9_999, 1, 100_000)
    assert [one["path"][-9:] for one in data["files"][:3]] == ["/out/late", "09999.tmp", "09998.tmp"]
    assert len(data["files"]) == 20


def test_paths_that_are_too_long_are_cut_and_the_page_is_whole(tmp_path: Path) -> None:
    page = Page(tmp_path / "page")
    shown = Progress(page, "k1", 0, "file:///out", ManualClock(), Counters.private())
    wide = "\u00e4" * 3000
    shown.show([FileState(f"/out/{wide}/{n}.tmp", OPEN, 1, 1, n + 1) for n in range(50)])
    data = read_page(tmp_path / "page")
    assert data is not None and data["counts"]["open"] == 50
    assert data["files"][0]["path"].endswith("/0.tmp") and data["files"][0]["path"].startswith("...")


def test_a_page_is_whole_at_every_moment(tmp_path: Path) -> None:
    """Readers come in between all the time; a writer that died in the middle leaves what it showed before."""
    page = Page(tmp_path / "page")
    counters = Counters.private()
    shown = Progress(page, "k1", 0, "file:///out", ManualClock(), counters)
    shown.show([])
    ends = threading.Event()

    def write() -> None:
        number = 0
        while not ends.is_set():
            number += 1
            shown.show([FileState("/x" * (number % 90), OPEN, number, number, 1)])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(300):
            data = read_page(tmp_path / "page")
            assert data is not None
            assert data["rows"] == sum(one["rows"] for one in data["files"])
    finally:
        ends.set()
        writer.join()
    before = read_page(tmp_path / "page")
    page._segment.memory[:] = bytes(page._segment.memory)  # as it is
    half = (page._number + 1) % 2 * (16 << 10)
    page._segment.memory[half + 16 : half + 40] = b"x" * 24  # torn: the half that would be written next
    assert read_page(tmp_path / "page") == before


def test_a_worker_that_hangs_is_named_and_its_last_word_shown(tmp_path: Path, agent: Any, show: Show) -> None:
    class FiveMinutesAgo(SystemClock):
        def monotonic_s(self) -> float:
            return super().monotonic_s() - 300

    (folder := agent.block.path.parent / "files").mkdir()
    page = Page(folder / "k1.0")
    progress = Progress(page, "k1", 0, "file:///out", FiveMinutesAgo(), Counters.private())
    progress.show([FileState("/out/x.tmp", OPEN, 1, 1, time.time_ns() // 1_000_000 - 400_000)])
    out = show("a1")
    assert f"process {os.getpid()} has shown nothing for 5 min: it hangs, is starting again, or is gone" in out
    assert "/out/x.tmp" in out and "1 file open" in out


def test_an_agent_without_rolling_sinks_and_no_agent_at_all(agent: Any, show: Show) -> None:
    assert "no sink of it writes rolling files" in show("a1")
    assert show("nobody", code=1) == ""


PROPERTIES = """\
a1.sources = r1
a1.channels = c1
a1.sinks = k1
a1.sources.r1.type = TAILDIR
a1.sources.r1.channels = c1
a1.sources.r1.filegroups = f
a1.sources.r1.filegroups.f = {0}/in/.*log
a1.channels.c1.type = memory
a1.sinks.k1.type = file_roll
a1.sinks.k1.channel = c1
a1.sinks.k1.sink.directory = {0}/out
a1.sinks.k1.sink.rollInterval = 0
"""


def test_it_answers_while_a_worker_is_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A real agent whose sink worker hangs in the middle of nowhere."""
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "in" / "a.log").write_bytes(b"line\n" * 10)

    def shown(agent: Agent) -> Any:
        assert main(["files", "a1", "--json", "--run-dir", str(agent.run_dir)]) == 0
        return json.loads(capsys.readouterr().out)[0]["sinks"][0]

    with Agent(tmp_path / "a1", PROPERTIES.format(tmp_path)) as one:
        one.start()
        one.until(lambda: shown(one).get("rows") == 10, "its file is shown")
        worker = one.freeze("k1")
        try:
            page = shown(one)
        finally:
            os.kill(worker, signal.SIGCONT)
        assert (page["counts"]["open"], page["pid"], page["size_bytes"]) == (1, worker, 50)
        assert one.stop() == 0
