"""A sink worker that writes files of columns dies at each of its system calls; no row is lost, none comes twice.

As in `tests/files/test_deaths.py`. The thread that makes files is part of the loop here, so that "at each call" has one
meaning; `tests/hdfs/test_columns.py` kills real processes.
"""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from shipper.api import Sink
from shipper.files.columns import assignments, maker, workshop
from shipper.testing.fakes import ManualClock, sink_context
from tests.files import deaths
from tests.files.columns.life import rows_of
from tests.files.deaths import ROWS, TRANSACTION_ROWS, Channel, Death, DyingCalls, built, each_once

pytestmark = [
    pytest.mark.usefixtures("few_bytes_are_many"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.timeout(300),
]


class System(DyingCalls):
    """Nothing of this needs to reach the disk."""

    def fsync(self, descriptor: int) -> None:
        """The machine does not go down here."""

    def fdatasync(self, descriptor: int) -> None:
        """As `fsync`."""


def dying(
    monkeypatch: pytest.MonkeyPatch, calls: int, make: Callable[[int], DyingCalls] = System
) -> AbstractContextManager[DyingCalls]:
    """The stores and the journals have `calls` calls to live."""
    return deaths.dying(monkeypatch, calls, make=make, more=(assignments, maker, workshop))


def deliver_all(sink: Sink[Any], channel: Channel, clock: ManualClock, step: Callable[[], None]) -> None:
    """What a runner does, with transactions that are rolled back and timers and syncs that go off on the way."""
    turn = 0
    while channel.position < ROWS:
        turn += 1
        channel.take()
        if turn == 2:
            sink.deliver(channel.rows(channel.position, TRANSACTION_ROWS))
            sink.rolled_back()
        if turn == 3:
            sink.deliver(channel.rows(channel.position, TRANSACTION_ROWS))
            sink.flush()
            sink.rolled_back()
        if turn == 5:
            channel.sync_begins()
            sink.releasing()
            channel.synced()
        sink.deliver(channel.rows(channel.position, 2))
        sink.deliver(channel.rows(channel.position + 2, TRANSACTION_ROWS - 2))
        sequence = sink.flush()
        step()
        channel.commit(sequence)
        sink.committed()
        if turn % 2:
            channel.sync_begins()
            sink.sync()
            while not sink.synced():
                pass
            channel.synced()
        clock.advance(9)
        if sink.tick():
            channel.commit(sink.flush())
            sink.committed()
    channel.sync_begins()
    sink.close()


def live(make: Callable[[Path], Sink[Any]], folder: Path, channel: Channel, system: DyingCalls) -> bool:
    """One life of the worker. True when it reached its end."""
    clock = ManualClock(1_340_459_193_000 + channel.position * 10_000)
    sink = make(folder)
    try:
        sink.open(sink_context(folder / "state", clock=clock, committed_sequence=channel.sequence, takes=channel))
        deliver_all(sink, channel, clock, system.step)
    except Death:
        died = True
    else:
        died = False
    del sink
    # Arrow's writers end their files when they are forgotten: while nothing has an effect, not in the next life.
    gc.collect()
    return not died


def check(folder: Path, said: str) -> None:
    files = sorted(path for path in (folder / "out").rglob("*") if path.is_file())
    assert not [path.name for path in files if path.name.endswith(".tmp") or "set-aside" in path.name], said
    found: list[bytes] = []
    for path in files:
        rows = rows_of(path)
        assert rows == sorted(rows), f"{said}: order in {path.name}"
        found += rows
    each_once(found, said)
    assert [path.name for path in (folder / "state" / "stage").iterdir()] == ["files.journal"], said


def hdfs(**properties: str) -> Callable[[Path], Sink[Any]]:
    def make(folder: Path) -> Sink[Any]:
        wanted = {
            "path": f"file://{folder}/out/%Y/%{{h}}", "fileType": "Parquet", "rollInterval": "0", "rollCount": "3",
            "timeZone": "UTC", "columns": "timestamp:timestamp_ms", **properties,
        }  # fmt: skip
        return built("hdfs", {f"hdfs.{key}": value for key, value in wanted.items()})

    return make


SINKS = {
    "by count": hdfs(),
    "groups while it grows": hdfs(rollCount="0", rowGroupSize="1024", rollInterval="40"),
    "by target size": hdfs(rollCount="0", targetFileSize="1200", rowGroupSize="1024"),
    "few open files": hdfs(rollCount="0", maxOpenFiles="1", fileType="ORC"),
    "by time": hdfs(rollCount="0", rollInterval="20", fileType="Arrow"),
    "past the page cache": hdfs(rollCount="0", rowGroupSize="8192", rollInterval="40"),
}
#: Of some hundreds of calls these are a fair sample; all of them take minutes.
STRIDE = int(os.environ.get("SHIPPER_DEATHS_STRIDE", "47"))
STRIDES = [STRIDE, pytest.param(1, marks=[pytest.mark.nightly, pytest.mark.timeout(7200)])]


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("name", SINKS)
def test_a_death_at_any_call_loses_nothing_and_repeats_nothing(
    name: str, stride: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 1
    while True:
        folder = tmp_path / str(calls)
        folder.mkdir()
        channel = Channel()
        with dying(monkeypatch, calls) as system:
            ended = live(SINKS[name], folder, channel, system)
        if not ended:
            with dying(monkeypatch, 1 << 30) as system:
                assert live(SINKS[name], folder, channel, system)
        check(folder, f"death at call {calls}")
        shutil.rmtree(folder)
        if ended:
            break
        calls += stride
    assert calls > 100  # it did die on the way


@pytest.mark.parametrize("name", ["by count", "groups while it grows", "past the page cache"])
def test_a_second_death_during_recovery_loses_nothing_and_repeats_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dying(monkeypatch, 1 << 30) as system:
        (tmp_path / "whole").mkdir()
        assert live(SINKS[name], tmp_path / "whole", Channel(), system)
    for first in range(3, system.used, 2 * STRIDE):
        for second in range(first % 5, 40, 11):
            folder = tmp_path / f"{first}-{second}"
            folder.mkdir()
            channel = Channel()
            for calls in (first, second, 1 << 30):
                with dying(monkeypatch, calls) as system_again:
                    if live(SINKS[name], folder, channel, system_again):
                        break
            check(folder, f"deaths at calls {first} and {second}")
            shutil.rmtree(folder)
