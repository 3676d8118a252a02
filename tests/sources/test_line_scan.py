"""The scan of a block of received lines: the same answers as looking at each byte."""

from __future__ import annotations

import random

import numpy as np
import pytest

from shipper.sources._line_scan import WORD_BYTES, LineScan


def block_of(text: bytes, *, behind: bytes = b"") -> memoryview:
    """A block that begins with the text, and has something else in what is left of it."""
    size = -(-len(text + behind) // WORD_BYTES) * WORD_BYTES
    return memoryview(bytearray((text + behind).ljust(size, b"\n")))


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
    offsets, ascii_only = LineScan().scan(block_of(text, behind=b"left\nover"), len(text))
    assert offsets.dtype == np.int32
    assert offsets.tolist() == expected(text)
    assert ascii_only


def test_one_scan_serves_blocks_of_different_lengths() -> None:
    """Nothing of a block is seen in the next."""
    scan = LineScan()
    for text in (b"a\n" * 100_000, b"b\n", b"\n" * 64, b"c" * 200 + b"\n", b"d\n" * 300_000):
        assert scan.scan(block_of(text), len(text))[0].tolist() == expected(text)


@pytest.mark.parametrize("place", [0, 63, 64, 262_143, 262_144, 399_998])
def test_one_byte_that_is_no_ascii_is_seen_wherever_it_is(place: int) -> None:
    """Also in the last word of a piece, and in the last of all."""
    text = bytearray(b"x" * 399_999 + b"\n")
    text[place] = 0xC3
    assert not LineScan().scan(block_of(bytes(text)), len(text))[1]


def test_what_lies_behind_the_lines_is_not_asked_about() -> None:
    """What an earlier block left there is not ASCII, and has newlines."""
    text = b"one\ntwo\n"
    offsets, ascii_only = LineScan().scan(block_of(text, behind=b"\xff\n" * 40), len(text))
    assert offsets.tolist() == [0, 4, 8]
    assert ascii_only
