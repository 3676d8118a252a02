"""The position table: which origins the channels have, and when a source is told that they are durable."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from shipper.batch.batch import Origin
from shipper.errors import ComponentFailed
from shipper.instance.told_rows import ToldRows
from shipper.workers.positions import Positions


class ManualHead:
    """A lane whose heads stand where they were put."""

    def __init__(self, name: str = "c1/r1.0--k1.0") -> None:
        self.name = name
        self.at = self.safe = 0

    def put(self) -> int:
        return self.at

    def rows(self) -> int:
        return 10 * self.at

    def durable(self) -> int:
        return self.safe


def nearly_full(patch: pytest.MonkeyPatch, room_bytes: int) -> None:
    """So many bytes more can be written, wherever."""
    write = os.write
    left = room_bytes

    def short(descriptor: int, data: bytes) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        came = write(descriptor, data[:left])
        left -= came
        return came

    patch.setattr(os, "write", short)


def put(table: Positions, heads: list[ManualHead], at: int, stream: str = "s") -> Origin:
    for head in heads:
        head.at = at
    origin = Origin(stream, at - 1, at)
    table.store([origin])
    return origin


def test_a_put_is_durable_when_every_lane_says_so(tmp_path: Path) -> None:
    heads = [ManualHead("c1/l"), ManualHead("c2/l")]
    table = Positions(tmp_path / "p", heads)
    first = put(table, heads, 10)
    put(table, heads, 20)
    heads[0].safe = 20
    assert table.durable() == []
    heads[1].safe = 15
    assert table.durable() == [first]
    assert table.durable() == [], "it is said once"


def test_a_table_that_is_opened_again_knows_what_is_not_durable_yet(tmp_path: Path) -> None:
    head = ManualHead()
    table = Positions(tmp_path / "p", [head])
    put(table, [head], 10)
    last = put(table, [head], 20)
    again = Positions(tmp_path / "p", [head])
    assert again.streams == {"s": last}
    assert again.durable() == []
    head.safe = 20
    assert again.durable() == [last]


def test_many_puts_that_wait_are_merged_and_none_is_durable_too_early(tmp_path: Path) -> None:
    head = ManualHead()
    table = Positions(tmp_path / "p", [head])
    for at in range(1, 5001):
        put(table, [head], at)
    assert len(table._waiting) <= 1024
    for safe in (1, 777, 4999, 5000):
        head.safe = safe
        assert all(origin.end <= safe for origin in table.durable())
    assert not table._waiting


class Told(ToldRows):
    """What the table tells of rows."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}

    def tell(self, rows: Mapping[str, int]) -> None:
        self.rows.update(rows)


def test_rows_are_told_when_their_source_has_written_its_places_down(tmp_path: Path) -> None:
    """Of every lane that is counted, those into optional channels too: all that stood in it when the put was made."""
    head, optional, heard = ManualHead("c1/l"), ManualHead("c2/l"), Told()
    table = Positions(tmp_path / "p", [head], counted=[head, optional], told=heard)
    put(table, [head, optional], 1)
    put(table, [head], 2)
    table.written()
    assert heard.rows == {}, "nothing of it is durable"
    head.safe = 1
    table.durable()
    assert heard.rows == {}, "the source has not written it down"
    put(table, [head, optional], 3)
    table.written()
    assert heard.rows == {"c1/l": 10, "c2/l": 10}
    head.safe = 3
    table.durable()
    table.written()
    assert heard.rows == {"c1/l": 30, "c2/l": 30}


def test_rows_of_puts_of_the_process_before_are_told_with_the_next_put(tmp_path: Path) -> None:
    """The table does not have them: until then less is told than is so."""
    head, heard = ManualHead(), Told()
    put(Positions(tmp_path / "p", [head]), [head], 1)
    table = Positions(tmp_path / "p", [head], counted=[head], told=heard)
    head.safe = 1
    assert table.durable()
    table.written()
    assert heard.rows == {}
    put(table, [head], 2)
    head.safe = 2
    table.durable()
    table.written()
    assert heard.rows == {head.name: 20}


def test_a_kept_table_counts_only_when_its_run_is_settled(tmp_path: Path) -> None:
    head = ManualHead()
    table = Positions(tmp_path / "p", [head], copy=tmp_path / "channel-0.kept", run_id="run 1")
    last = put(table, [head], 10)
    table.close()
    (tmp_path / "p").unlink()  # the run directory is gone

    def opened(settled_run: str) -> Positions:
        found = Positions(
            tmp_path / "q", [head], copy=tmp_path / "channel-0.kept", run_id="run 2", settled_run=settled_run
        )
        (tmp_path / "q").unlink()
        return found

    assert opened("run 0").streams == {}
    settled = opened("run 1")
    assert settled.streams == {"s": last}
    assert settled.durable() == [last], "the source is told"


def test_a_table_that_can_not_be_kept_says_where_and_what_to_do(tmp_path: Path) -> None:
    copy = tmp_path / "full" / "channel-0.kept"
    table = Positions(tmp_path / "p", [], copy=copy, run_id="run")
    with pytest.raises(ComponentFailed, match=r"can't keep the positions in .*/full: No such file.*; make room there"):
        table.close()


def test_a_put_for_which_there_is_no_room_hides_no_later_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full run directory takes a part of the line; when there is room again, what is stored then is found."""
    head = ManualHead()
    table = Positions(tmp_path / "p", [head])
    put(table, [head], 1)
    with monkeypatch.context() as full:
        nearly_full(full, 20)
        with pytest.raises(ComponentFailed, match=r"can't write the positions to .*/p: No space left on device; make"):
            put(table, [head], 2)
    last = put(table, [head], 3)
    assert Positions(tmp_path / "p", [head]).streams == {"s": last}


def test_a_table_that_can_not_be_rewritten_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a start on a full run directory."""
    head = ManualHead()
    last = put(Positions(tmp_path / "p", [head]), [head], 1)
    with monkeypatch.context() as full:
        nearly_full(full, 20)
        with pytest.raises(ComponentFailed, match="make room there"):
            Positions(tmp_path / "p", [head])
    assert Positions(tmp_path / "p", [head]).streams == {"s": last}
