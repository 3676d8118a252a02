"""Checksums: that of a part, without looking at it."""

from __future__ import annotations

import random
import zlib

import pytest

from shipper.checksums import checksum_before, checksum_behind, checksum_together

RANDOM = random.Random(7)


@pytest.mark.parametrize(("front", "behind"), [(0, 0), (0, 9), (9, 0), (1, 1), (3000, 70_001), (1 << 20, 100_000)])
def test_the_checksum_of_a_part_is_found_from_the_others(front: int, behind: int) -> None:
    one, other = RANDOM.randbytes(front), RANDOM.randbytes(behind)
    whole = zlib.crc32(one + other)
    assert checksum_together(zlib.crc32(one), zlib.crc32(other), behind) == whole
    assert checksum_behind(whole, zlib.crc32(one), behind) == zlib.crc32(other)
    assert checksum_before(whole, zlib.crc32(other), behind) == zlib.crc32(one)
