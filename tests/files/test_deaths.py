"""A sink worker dies at each of its system calls, once and twice; no row is lost, none comes twice, and a reader who
looks at the files between any two calls sees no byte change that he has seen.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from shipper.files.journal_rows import rows_vouched_for
from tests.files.deaths import ROWS, SINKS, TRANSACTION_ROWS, Channel, Reader, check, dying, live, written

STRIDE = int(os.environ.get("SHIPPER_DEATHS_STRIDE", "5"))
DEATHS = [(name, "renameat2", 1 if name in ("file_roll", "hdfs") else STRIDE) for name in SINKS]
DEATHS.append(("hdfs", "link", STRIDE))


@pytest.mark.parametrize(("name", "how", "stride"), DEATHS)
def test_a_death_at_any_call_loses_nothing_and_repeats_nothing(
    name: str, how: str, stride: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    while True:
        folder = tmp_path / str(calls)
        folder.mkdir()
        channel = Channel()
        with dying(monkeypatch, calls, how) as system:
            ended = live(SINKS[name], folder, channel, system)
        if not ended:
            with dying(monkeypatch, 1 << 30, how) as system:
                assert live(SINKS[name], folder, channel, system)
        check(folder, f"death at call {calls}")
        shutil.rmtree(folder)
        if ended:
            break
        calls += stride
    assert calls > 40  # it did die on the way


@pytest.mark.parametrize(("name", "stride"), [("file_roll", 1), ("hdfs, gzip, one bucket", 1), ("hdfs, gzip", 11)])
def test_no_byte_that_a_reader_has_seen_changes(
    name: str, stride: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A death between the bytes and the commit is rolled forward. Of a transaction over several files, what was in
    some of them when it died is taken back: there he looks only between two of them.
    """
    calls, finished = 0, 0
    while True:
        folder = tmp_path / str(calls)
        folder.mkdir()
        channel, reader = Channel(), Reader(folder / "out", always=stride == 1)
        with dying(monkeypatch, calls, "renameat2") as system:
            ended = live(SINKS[name], folder, channel, system, reader)
        if not ended:
            reader.always &= system.torn is None  # what a write that was cut short has left is taken back
            with dying(monkeypatch, 1 << 30, "renameat2") as system:
                assert live(SINKS[name], folder, channel, system, reader)
        check(folder, f"death at call {calls}")
        shutil.rmtree(folder)
        finished += channel.finished
        if ended:
            break
        calls += stride
    assert finished >= 6 or stride > 1, "of each transaction"


@pytest.mark.parametrize(("name", "stride"), [("file_roll", STRIDE), ("hdfs, gzip", 5 * STRIDE + 2)])
def test_what_comes_twice_when_the_channel_is_gone_too_is_said_by_the_journal(
    name: str, stride: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rows come again. Those that were in files are twice: never more than the journal says, and at most one take
    fewer.
    """
    calls, ended, exact = 0, False, 0
    while not ended:
        folder = tmp_path / str(calls)
        folder.mkdir()
        with dying(monkeypatch, calls, "renameat2") as system:
            ended = live(SINKS[name], folder, Channel(), system, run_id="run 1")
        journal = folder / "state" / "files.journal"
        said = rows_vouched_for(journal.read_bytes(), "boot").get("lane", 0) if journal.exists() else 0
        with dying(monkeypatch, 1 << 30, "renameat2") as system:
            assert live(SINKS[name], folder, Channel(), system, run_id="run 2")
        twice = sum(map(len, written(folder, f"death at call {calls}").values())) - ROWS
        assert twice <= said <= twice + TRANSACTION_ROWS, f"death at call {calls}: {twice} twice, {said} are said"
        exact += twice == said > 0
        shutil.rmtree(folder)
        calls += stride
    assert exact > 2, "between two takes"


@pytest.mark.parametrize("name", ["file_roll", "hdfs", "hdfs, gzip", "hdfs, few open files"])
def test_a_second_death_during_recovery_loses_nothing_and_repeats_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dying(monkeypatch, 1 << 30, "renameat2") as system:
        (tmp_path / "whole").mkdir()
        assert live(SINKS[name], tmp_path / "whole", Channel(), system)
    for first in range(3, system.used, 29):
        for second in range(first % 5, 30, 5):
            folder = tmp_path / f"{first}-{second}"
            folder.mkdir()
            channel = Channel()
            for calls in (first, second, 1 << 30):
                with dying(monkeypatch, calls, "renameat2") as system_again:
                    if live(SINKS[name], folder, channel, system_again):
                        break
            check(folder, f"deaths at calls {first} and {second}")
            shutil.rmtree(folder)
