"""A block that was read to its place: its frame reads as if Arrow had written it, and the block is never touched."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shipper.batch import in_place, wire
from shipper.batch.batch import EventBatch, Origin
from shipper.batch.framing import line_ends, rows_of

BLOCK_BYTES = 1 << 16


def read_in_place(text: bytes, **parts: object) -> tuple[memoryview, EventBatch]:
    """Memory for a frame, and the batch of whole lines of `text` read into it."""
    memory = memoryview(bytearray(b"\xa5" * in_place.needed(BLOCK_BYTES)))
    room = in_place.room(memory, BLOCK_BYTES)
    room[: len(text)] = text
    offsets = line_ends(room[: len(text)])
    records = rows_of(room[: int(offsets[-1])], offsets)
    return memory, EventBatch(records, trim=1, **parts)  # type: ignore[arg-type]


def used_by(batch: EventBatch, memory: memoryview) -> int:
    """Bytes of the frame that is made of it."""
    done = in_place.complete(batch, memory)
    assert done is not None
    return done.used


@pytest.mark.parametrize("lines", [[b"x"], [b""], [b"", b"", b"abc"], [b"a" * 65_000], [b"y" * 99] * 600])
def test_what_is_read_back_is_what_arrow_would_have_carried(lines: list[bytes]) -> None:
    origin = Origin("tail:x:1:1.2.3", 5, 2**62, "anchor")
    memory, batch = read_in_place(
        b"".join(line + b"\n" for line in lines) + b"unfinished", constants={"host": "h", "n": None}, origins=(origin,)
    )
    used = used_by(batch, memory)
    back = wire.decode(memory[:used])
    assert back.records.equals(batch.records)
    back.records.validate(full=True)
    assert back.body.to_pylist() == lines
    assert (back.trim, back.constants, back.origins) == (1, {"host": "h", "n": None}, (origin,))


def test_any_arrow_reader_reads_it(tmp_path: Path) -> None:
    memory, batch = read_in_place(b"one\ntwo\n")
    used = used_by(batch, memory)
    place = tmp_path / "frame.arrows"
    place.write_bytes(memory[:used])
    with pa.memory_map(str(place)) as mapped:
        assert pa.ipc.open_stream(mapped).read_all().column("body").to_pylist() == [b"one\n", b"two\n"]


def test_the_buffers_of_a_frame_are_aligned_as_arrow_wants_them() -> None:
    memory, batch = read_in_place(b"abc\n" * 100)
    back = wire.decode(memory[: used_by(batch, memory)])
    _, offsets, block = back.raw_body.buffers()
    start = pa.py_buffer(memory).address
    assert [(buffer.address - start - in_place.HEAD_BYTES) % 64 for buffer in (offsets, block)] == [0, 0]
    assert in_place.HEAD_BYTES % 8 == 0


def test_completing_twice_gives_the_same_frame() -> None:
    memory, batch = read_in_place(b"abc\n" * 100)
    used = used_by(batch, memory)
    first = bytes(memory[:used])
    changed = batch.with_header("later", "constant")
    assert in_place.lies_in(changed, memory)
    assert used_by(changed, memory) == used
    assert wire.decode(memory[:used]).constants == {"later": "constant"}
    assert used_by(batch, memory) == used
    assert bytes(memory[:used]) == first


def test_metadata_that_is_too_long_is_refused_before_anything_is_written() -> None:
    memory, batch = read_in_place(b"abc\n", constants={"long": "x" * in_place.METADATA_BYTES})
    before = bytes(memory)
    assert in_place.complete(batch, memory) is None
    assert bytes(memory) == before


def test_lines_so_short_that_their_offsets_have_no_room_are_refused() -> None:
    memory, batch = read_in_place(b"\n" * BLOCK_BYTES)
    before = bytes(memory)
    assert in_place.complete(batch, memory) is None
    assert bytes(memory) == before


def test_only_the_whole_block_from_its_first_row_lies_in_place() -> None:
    memory, batch = read_in_place(b"abc\n" * 10)
    other = memoryview(bytearray(in_place.needed(BLOCK_BYTES)))
    assert in_place.lies_in(batch, memory)
    assert in_place.lies_in(batch.slice(0, 4), memory)
    assert not in_place.lies_in(batch, other)
    assert not in_place.lies_in(batch.slice(1), memory)
    assert not in_place.lies_in(batch.slice(0, 0), memory)
    assert not in_place.lies_in(batch.own(), memory)
    assert not in_place.lies_in(batch.filter(pa.array(np.arange(10) % 2 == 0)), memory)
    assert not in_place.lies_in(batch.with_header("h", pa.array(["v"] * 10)), memory)


def test_the_sum_of_a_block_is_found_from_that_of_its_frame() -> None:
    """The block is not looked at: the sum is that of the bytes that were there when the frame's was made."""
    text = b"".join(b"line %d\n" % n for n in range(5000))
    memory, batch = read_in_place(text)
    frame = memory[: used_by(batch, memory)]
    checksum, read = zlib.crc32(frame), wire.decode(frame)
    assert in_place.block_sum(frame, checksum, read) == (len(text), zlib.crc32(text))
    in_place.room(memory, len(text))[:4] = b"LINE"
    assert in_place.block_sum(frame, checksum, read) == (len(text), zlib.crc32(text))
    assert in_place.block_sum(frame, checksum, read.slice(1)) is None
    assert in_place.block_sum(frame, checksum, read.own()) is None


def test_only_the_whole_block_of_a_batch_has_its_sum() -> None:
    memory, batch = read_in_place(b"abc\nde\n")
    read = wire.decode(memory[: used_by(batch, memory)])
    read.find_sum = lambda _: (7, 1234)
    assert read.sum_of(read.lines()) == 1234
    assert read.with_header("h", "v").sum_of(read.lines()) == 1234
    assert read.sum_of(read.lines()[:4]) is None
    assert read.sum_of(bytes(read.lines())) is None
    assert read.slice(0, 2).sum_of(read.lines()) is None
    assert read.with_header("h", pa.array(["v", "w"])).sum_of(read.lines()) is None


def test_the_first_rows_of_a_block_can_stay_in_place_without_the_rest() -> None:
    memory, batch = read_in_place(b"abc\nde\nf\n")
    used = used_by(batch.slice(0, 2), memory)
    assert wire.decode(memory[:used]).body.to_pylist() == [b"abc", b"de"]


def test_a_sum_of_the_block_is_good_for_the_block_alone() -> None:
    """A batch that was given other records, or fewer, has none."""
    memory, batch = read_in_place(b"abc\nde\n")
    batch.block_sum = 7, zlib.crc32(b"abc\nde\n")
    assert in_place.complete(batch, memory) == (used_by(batch, memory), 7, zlib.crc32(b"abc\nde\n"))
    later = batch.with_header("h", "v").with_origins([Origin("s", 0, 7)])
    assert in_place.complete(later, memory) == (used_by(later, memory), 7, zlib.crc32(b"abc\nde\n"))
    assert in_place.complete(batch.slice(0, 1), memory) == (used_by(batch.slice(0, 1), memory), 4, None)
    batch.block_sum = 4, zlib.crc32(b"abc\n")
    assert in_place.complete(batch, memory) == (used_by(batch, memory), 7, None)
