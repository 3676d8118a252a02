"""The scan of a block as it is filled: the same answers as looking at each byte."""

from __future__ import annotations

import random
import zlib

import numpy as np
import pytest

from shipper.batch.line_scan import PIECE_BYTES, LineScan


def block_of(text: bytes, *, behind: bytes = b"") -> memoryview:
    """A block that begins with the text, and has something else in what is left of it."""
    return memoryview(bytearray(text + behind))


def scan_of(block: memoryview, *ends: int) -> LineScan:
    """A scan that saw the block filled to each of `ends`, one after the other."""
    scan = LineScan(asks_ascii=True)
    scan.begin(block)
    for end in ends:
        scan.see(end)
    return scan


def expected(text: bytes) -> list[int]:
    return [0] + [place + 1 for place, byte in enumerate(text) if byte == 10]


@pytest.mark.parametrize("line_bytes", [0, 1, 5, 17, 18, 19, 40, 63, 64, 65, 205, 3000, 70_000])
@pytest.mark.parametrize("size_bytes", [1, 63, 64, 65, 5000, 300_000])
def test_offsets_are_the_places_behind_newlines(line_bytes: int, size_bytes: int) -> None:
    """Lines of all lengths, in blocks of all lengths."""
    drawn = random.Random(line_bytes * 1000 + size_bytes)
    lines = []
    left = size_bytes
    while left > 0:
        length = min(left - 1, drawn.randint(0, 2 * line_bytes))
        lines.append(b"x" * length + b"\n")
        left -= length + 1
    text = b"".join(lines)
    scan = scan_of(block_of(text, behind=b"left\nover"), len(text))
    assert scan.is_ascii()
    offsets = scan.ends()
    assert offsets.dtype == np.int32
    assert offsets.tolist() == expected(text)


@pytest.mark.parametrize("step", [1000, 65_537, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 900_000])
def test_a_block_that_is_filled_little_by_little_is_seen_as_one(step: int) -> None:
    """However much comes at once, and also when it ends within a word."""
    drawn = random.Random(step)
    text = b"".join(b"x" * drawn.randint(0, 300) + b"\n" for _ in range(6000))
    ends = [*range(step, len(text), step), len(text)]
    assert scan_of(block_of(text), *ends).ends().tolist() == expected(text)


def test_what_is_filled_later_is_not_looked_at_before() -> None:
    """The bytes behind the seen ones may be anything, and become others."""
    block = memoryview(bytearray(b"\n" * 700_000))
    scan = LineScan(asks_ascii=True)
    scan.begin(block)
    text = (b"y" * 99 + b"\n") * 7000
    for begin in range(0, len(text), 100_100):
        end = min(begin + 100_100, len(text))
        block[begin:end] = text[begin:end]
        scan.see(end)
    assert scan.ends().tolist() == expected(text)


def test_one_scan_serves_blocks_of_different_lengths() -> None:
    """Nothing of a block is seen in the next."""
    scan = LineScan(asks_ascii=True)
    for text in (b"a\n" * 100_000, b"b\n", b"\n" * 64, b"c" * 200 + b"\n", b"d\n" * 300_000):
        scan.begin(block_of(text))
        scan.see(len(text))
        assert scan.is_ascii()
        assert scan.ends().tolist() == expected(text)


@pytest.mark.parametrize("place", [0, 63, 64, 262_143, 262_144, 399_998])
def test_one_byte_that_is_no_ascii_is_seen_wherever_it_is(place: int) -> None:
    """Also in the last word of a piece, and in the last of all."""
    text = bytearray(b"x" * 399_999 + b"\n")
    text[place] = 0xC3
    assert not scan_of(block_of(bytes(text)), len(text)).is_ascii()


@pytest.mark.parametrize("place", [-1, 0, 63, 64, 262_143, 262_144, 399_998, 400_000])
def test_one_carriage_return_is_seen_wherever_it_is(place: int) -> None:
    """And one that stands behind what was seen is not."""
    text = bytearray(b"x" * 399_999 + b"\n" + b"left over")
    if place >= 0:
        text[place] = 13
    scan = LineScan(asks_return=True)
    scan.begin(memoryview(text))
    for end in (300_000, 400_000):
        scan.see(end)
    assert scan.has_return() == (0 <= place < 400_000)
    scan.begin(memoryview(b"no more"))
    scan.see(7)
    assert not scan.has_return()


@pytest.mark.parametrize("seen", [[5], [70_000], [PIECE_BYTES], [PIECE_BYTES, 2 * PIECE_BYTES, 600_000], [700_000]])
def test_the_checksum_of_any_front_is_known(seen: list[int]) -> None:
    """Also when the lines were told, and however much came at once."""
    text = random.Random(1).randbytes(700_000)
    scan = LineScan(sums=True)
    scan.begin(block_of(text))
    for end in seen:
        scan.see(end)
    scan.ends()
    for length in {0, 1, seen[-1] // 2, seen[-1] - 64, seen[-1] - 1, seen[-1], *(end for end in seen)}:
        if length >= 0:
            assert scan.checksum(block_of(text[:length])) == zlib.crc32(text[:length])
    scan.begin(block_of(b"another"))
    scan.see(7)
    assert scan.checksum(block_of(b"another")) == zlib.crc32(b"another")


def test_what_lies_behind_the_lines_is_not_asked_about() -> None:
    """What an earlier block left there is not ASCII, and has newlines."""
    text = b"one\ntwo\n"
    scan = scan_of(block_of(text, behind=b"\xff\n" * 40), len(text))
    assert scan.is_ascii()
    assert scan.ends().tolist() == [0, 4, 8]


def test_a_scan_holds_on_to_no_block_whose_ends_it_has_told() -> None:
    """The block may be a channel's, which is closed one day."""
    memory = bytearray(b"a\n" * 200_000)
    scan = LineScan.of(memory)
    scan.ends()
    memory.append(0)  # raises BufferError while anybody looks at it
