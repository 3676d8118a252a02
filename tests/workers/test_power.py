"""The power goes: what lay in memory is gone, and of what was written only that is sure to be there that was synced.

The run directory is removed, as a reboot does; the machine gets another boot id in the sinks' journals; and every file
of a sink is cut to what its journal's last mark vouches for, or filled with zeros behind it, as file systems do.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.files.journal import Journal
from shipper.files.journal_record import MAGIC, framed, records_in
from shipper.instance.ledger_book import LedgerBook
from shipper.sources._tail.positions import PositionStore
from shipper.testing.agent import Agent
from tests.workers.conftest import agent_of, file_roll, hdfs_lz4, lz4_texts, taildir, texts
from tests.workers.test_kills import Writer, judge, line

SINKS = {"file_roll": (file_roll, texts), "hdfs lz4": (hdfs_lz4, lz4_texts)}


def numbers(out: bytes) -> Counter[int]:
    """How often each line is there."""
    return Counter(int(text[:10]) for text in out.splitlines())


def power_cut(one: Agent, chance: random.Random | None) -> None:
    """What a reboot leaves of an agent that was killed; with `chance`, unsynced bytes of its sinks are gone too."""
    shutil.rmtree(one.instance_dir())
    for path in one.state_dir.glob("*/sinks/*/files.journal"):
        if chance is not None:
            for names, safe in vouched_for(path):
                for name in names:
                    if os.path.exists(name):
                        lose(Path(name), safe, chance)
        # The journal itself is written again as if by an earlier life of the machine.
        path.write_bytes(of_another_boot(path.read_bytes()))


def vouched_for(path: Path) -> list[tuple[set[str], int]]:
    """Names of the files that a journal knows, and how much of each its last mark says is on disk."""
    copy = path.with_name("copy")
    copy.write_bytes(of_another_boot(path.read_bytes()))
    journal = Journal(copy, 0, "another run", boot_id="this boot", syncs=True)
    found = [({r.path, r.final}, r.progress.length if r.progress else 0) for r in journal.records.values()]
    journal.close()
    copy.unlink()
    return found


def lose(path: Path, safe: int, chance: random.Random) -> None:
    """Bytes behind `safe` are there, or are zeros, or the file ends before them."""
    size = path.stat().st_size
    if size <= safe:
        return
    keep = chance.randint(safe, size)
    os.truncate(path, keep)
    if chance.random() < 0.5:
        os.truncate(path, size)


def of_another_boot(data: bytes) -> bytes:
    """A journal with another boot id in it."""
    records, end = records_in(data)
    out = MAGIC
    for sequence, base, payload, _ in records:
        if payload.get("boot"):
            payload["boot"] = "f" * len(payload["boot"])
        out += framed(sequence, base, payload)
    assert len(out) == end, "the records have the same places"
    return out


def told_twice(one: Agent, channel_name: str = "c1") -> dict[str, int]:
    """What the ledger says of rows that came twice."""
    numbers = LedgerBook(next(one.state_dir.glob("*/ledger.json"))).total().channels[channel_name]
    return {key: number for key, number in numbers.items() if key.startswith("twice")}


def tail(directory: Path) -> str:
    """A tail that often writes down how far its rows are safe."""
    return taildir("r1", "c1", directory, writePosInterval=500)


def delivered(directory: Path) -> bool:
    """True once the tail knows that all of its files is safe."""
    found = json.loads((directory.parent / f"{directory.name}-r1.json").read_text())
    return sum(file["pos"] for file in found) == sum(path.stat().st_size for path in directory.iterdir())


@pytest.mark.parametrize("kind", SINKS)
@pytest.mark.parametrize("loses", [False, True], ids=["run directory", "unsynced bytes"])
def test_after_a_power_cut_nothing_is_lost(kind: str, loses: bool, agent: Callable[..., Agent], tmp_path: Path) -> None:
    """And at most one second's worth comes twice."""
    seed = int(os.environ.get("SHIPPER_SEED", "22"))
    chance = random.Random(seed)
    sink, read = SINKS[kind]
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    one = agent(agent_of(tail(tmp_path / "in"), sink("k1", "c1", tmp_path / "out")))
    writer = Writer(tmp_path / "in", seed)
    writer.start()
    twice_most = 0
    for _ in range(2):
        one.start()
        before = writer.lines
        threading.Event().wait(2.0 + chance.random())
        one.kill_all()
        rate = (writer.lines - before) / 2.0
        twice_most += int(2 * rate)
        power_cut(one, chance if loses else None)
    writer.ending.set()
    writer.join()
    one.start()
    one.until(lambda: delivered(tmp_path / "in"), "everything is delivered", 90)
    assert one.stop() == 0, one.log()
    assert "Traceback" not in one.log(), one.log()
    found = numbers(read(tmp_path / "out"))
    missing = set(range(writer.lines)) - found.keys()
    assert not missing, f"{len(missing)} of {writer.lines} lines are lost\n{one.log()}"
    twice = sum(times - 1 for times in found.values())
    assert twice <= twice_most, f"{twice} of {writer.lines} lines came twice"
    said = told_twice(one)
    most = said.pop("twice_at_most")
    assert twice <= most <= twice + twice_most, f"{twice} came twice, the ledger says {most} at most"
    assert said == {"twice_unknown": 0}
    print(f"{kind}: {writer.lines} lines, {twice} twice, at most {most}")


def written_down(one: Agent, workers: int) -> int:
    """Bytes that a tail need not read again, as all of its workers have written down."""
    if (slot := next(one.state_dir.glob("**/tail-*-0.[01]"), None)) is None:
        return 0
    store = PositionStore(slot.parent, slot.stem.removeprefix("tail-").rpartition("-")[0], 0, workers)
    return sum(mark.offset for mark in store.load(note=False).marks.values())


@pytest.mark.parametrize("workers", [(2, 2, 2, 2, 2), (2, 3, 1, 2, 2)], ids=["two workers", "more and fewer workers"])
def test_what_was_safe_before_a_power_cut_never_comes_again(
    workers: tuple[int, ...], agent: Callable[..., Agent], tmp_path: Path
) -> None:
    """Whichever worker reads a file then, and however often the power went before."""
    logs, out = tmp_path / "in", tmp_path / "out"
    logs.mkdir()
    written = 0
    one = agent("")
    for count in workers:
        tailed = taildir("r1", "c1", logs, writePosInterval=500, workers=count)
        one.file.write_text(agent_of(tailed, file_roll("k1", "c1", out)))
        one.start()
        for path in [logs / f"{number}.log" for number in range(8)]:
            with path.open("ab") as file:
                file.write(b"".join(map(line, range(written, written + 100))))
            written += 100
        size = sum(path.stat().st_size for path in logs.iterdir())
        one.until(lambda size=size, count=count: written_down(one, count) == size, "all is written down", 30)
        one.kill_all()
        power_cut(one, None)
    found = numbers(texts(out))
    assert found == Counter(range(written)), f"{found.total() - len(found)} of {written} lines came twice"


def test_a_clean_stop_without_its_run_directory_is_exact(agent: Callable[..., Agent], tmp_path: Path) -> None:
    """Nothing is lost and nothing comes twice: what the channels had is known to be on disk."""
    (tmp_path / "in").mkdir()
    one = agent(agent_of(tail(tmp_path / "in"), file_roll("k1", "c1", tmp_path / "out")))
    writer = Writer(tmp_path / "in", 23)
    writer.start()
    for _ in range(3):
        one.start()
        threading.Event().wait(0.8)
        assert one.stop() == 0, one.log()
        assert not list(one.run_dir.glob("a1-*")), "an empty run directory is removed"
    writer.ending.set()
    writer.join()
    one.start()
    one.until(lambda: delivered(tmp_path / "in"), "everything is delivered", 90)
    assert one.stop() == 0, one.log()
    judge(texts(tmp_path / "out"), writer)


def spooldir(name: str, channel_name: str, directory: Path) -> str:
    """A source of whole files."""
    lines = {"type": "spooldir", "spoolDir": directory, "channels": channel_name, "pollDelay": 20}
    return "".join(f"a1.sources.{name}.{key} = {value}\n" for key, value in lines.items())


def test_spooled_files_survive_a_power_cut(agent: Callable[..., Agent], tmp_path: Path) -> None:
    """A file is renamed only when its rows are safe on disk; killed sources read none of the others twice."""
    chance = random.Random(24)
    spool = tmp_path / "in"
    spool.mkdir()
    one = agent(agent_of(spooldir("r1", "c1", spool), file_roll("k1", "c1", tmp_path / "out")))
    total = 0

    def put(files: int) -> None:
        nonlocal total
        for _ in range(files):
            rows = chance.randrange(1, 400)
            path = spool / f".{total}"
            path.write_bytes(b"".join(line(total + i) for i in range(rows)))
            path.rename(spool / f"{total:09d}.log")
            total += rows

    def retired() -> bool:
        return all(path.suffix == ".COMPLETED" or path.name.startswith(".") for path in spool.iterdir())

    put(100)
    one.start()
    for _ in range(4):
        put(50)
        threading.Event().wait(chance.random() * 0.2)
        one.kill("r1")
    one.until(retired, "all files are renamed")
    assert numbers(texts(tmp_path / "out")) == Counter(range(total)), "kills alone repeat nothing"
    put(200)
    threading.Event().wait(0.3)
    one.kill_all()
    power_cut(one, chance)
    one.start()
    one.until(retired, "all files are renamed")
    assert one.stop() == 0, one.log()
    assert set(numbers(texts(tmp_path / "out"))) == set(range(total)), "something is lost"
    assert "Traceback" not in one.log(), one.log()
