"""The machine goes down while files of columns are written: nothing is lost, whatever of the rest had reached the disk.

What is sure to be there is what was synced: bytes of files, and names of directories. Of the rest the test lets some
survive, by chance, each file and each directory for itself. The channel's memory is gone with the machine; the source
reads again from where the sink last said that all is durable. Rows come twice only where the machine went down between
the sink's mark and that word.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from shipper.files.journal_rows import rows_vouched_for
from shipper.testing.fakes import ManualClock, sink_context
from tests.files.columns.life import rows_of
from tests.files.columns.test_deaths import SINKS, STRIDES, deliver_all, dying
from tests.files.deaths import ROWS, Channel, Death, DyingCalls

pytestmark = [
    pytest.mark.usefixtures("few_bytes_are_many"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.timeout(300),
]


class Disk(DyingCalls):
    """System calls that know what would survive the machine.

    Args:
        kept: a directory for names of files, so that none of them is gone for good.
    """

    def __init__(self, calls: int, kept: Path) -> None:
        super().__init__(calls)
        self.kept = kept
        self.bytes: dict[int, bytes] = {}
        self.names: dict[Path, dict[str, int]] = {}

    def fsync(self, descriptor: int) -> None:
        self.step()
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_dir():
            self.names[path] = {file.name: self.keep(file) for file in path.iterdir() if file.is_file()}
        else:
            self.bytes[self.keep(path)] = path.read_bytes()

    def fdatasync(self, descriptor: int) -> None:
        self.fsync(descriptor)

    def keep(self, file: Path) -> int:
        inode = file.stat().st_ino
        if not (self.kept / str(inode)).exists():
            os.link(file, self.kept / str(inode))
        return inode

    def goes_down(self, folder: Path, chance: random.Random) -> None:
        """Leaves in `folder` what the disk has."""
        for place in [path for path in folder.rglob("*") if path.is_dir() and path != self.kept]:
            now = {file.name: self.keep(file) for file in place.iterdir() if file.is_file()}
            after = now if chance.random() < 0.5 else self.names.get(place, {})
            for name in now:
                (place / name).unlink()
            for name, inode in after.items():
                os.link(self.kept / str(inode), place / name)
        for file in self.kept.iterdir():
            synced = self.bytes.get(int(file.name), b"")
            found = file.read_bytes()
            if found[: len(synced)] != synced:  # it was cut or written over meanwhile
                found = chance.choice((found, synced))
            elif chance.random() < 0.8:
                length = chance.randint(len(synced), max(len(synced), len(found)))
                lost = chance.randint(len(synced), length) if length else 0
                found = found[:lost] + bytes(length - lost)
            with file.open("r+b") as opened:
                opened.truncate()
                opened.write(found)


class Source(Channel):
    """A channel whose memory goes with the machine, and a source that reads again."""

    durable = 0
    #: As far as a mark may speak of it.
    marked = 0

    def sync_begins(self) -> None:
        self.marked = self.position

    def synced(self) -> None:
        self.durable = self.marked

    def machine_down(self) -> None:
        self.position, self.sequence = self.durable, 0


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("name", SINKS)
def test_a_power_cut_at_any_call_loses_nothing(
    name: str, stride: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, ended = 5, False
    while not ended:
        folder, kept = tmp_path / str(calls), tmp_path / f"kept-{calls}"
        folder.mkdir()
        kept.mkdir()
        source, chance = Source(), random.Random(calls)
        with dying(monkeypatch, calls, lambda left, kept=kept: Disk(left, kept)) as disk:
            ended = life(name, folder, source, disk, boot=1)
        may_come_twice, said = range(source.durable, source.marked), 0
        if not ended:
            assert isinstance(disk, Disk)
            disk.goes_down(folder, chance)
            source.machine_down()
            journals = [path for path in folder.rglob("*.journal") if path.is_file()]
            said = max((rows_vouched_for(path.read_bytes(), "boot 2").get("lane", 0) for path in journals), default=0)
            with dying(monkeypatch, 1 << 30) as system:
                assert life(name, folder, source, system, boot=2)
        twice = check(folder, may_come_twice, f"power cut at call {calls}")
        most = max(0, said - may_come_twice.start)
        assert twice <= most <= max(len(may_come_twice), 0), f"call {calls}: {twice} twice, {most} at most"
        shutil.rmtree(folder)
        shutil.rmtree(kept)
        calls += 3 * stride
    assert calls > 250


def life(name: str, folder: Path, source: Source, system: DyingCalls, boot: int) -> bool:
    """One life of the worker. True when it reached its end."""
    clock = ManualClock(1_340_459_193_000 + boot * 1_000_000)
    sink = SINKS[name](folder)
    context = sink_context(folder / "state", clock=clock, committed_sequence=source.sequence)
    try:
        sink.open(dataclasses.replace(context, run_id=f"run {boot}", boot_id=f"boot {boot}", takes=source))
        deliver_all(sink, source, clock, system.step)
    except Death:
        return False
    finally:
        del sink
        gc.collect()
    return True


def check(folder: Path, may_come_twice: range, said: str) -> int:
    """How many rows are there twice."""
    files = sorted(path for path in (folder / "out").rglob("*") if path.is_file())
    found = Counter(row for path in files if path.suffix != ".tmp" for row in rows_of(path))
    expected = {b"row %03d" % n for n in range(ROWS)}
    assert not expected - found.keys(), f"{said}: lost {sorted(expected - found.keys())}"
    twice = {row for row, times in found.items() if times > 1}
    assert twice <= {b"row %03d" % n for n in may_come_twice}, f"{said}: twice {sorted(twice)}, {may_come_twice}"
    return sum(found.values()) - len(found)
