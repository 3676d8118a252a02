"""Checksums: the CRC-32 of a part, from that of the whole and of the rest, without looking at the part.

CRC-32 is linear: the sum of `front + behind` is the sum of the front, moved on by as many bytes as stand behind it, xor
the sum of what stands behind. Moving on repeats after 2**32 - 1 bits, so moving back is moving on by the rest of that.
"""

from __future__ import annotations

from isal import isal_zlib

#: Moving a sum on by so many bytes changes nothing: 8 and 2**32 - 1 have no factor in common.
_ROUND = (1 << 32) - 1


def checksum_behind(whole: int, front: int, behind_bytes: int) -> int:
    """CRC-32 of what stands behind a front, from the CRC-32 of both together, and of the front."""
    return whole ^ _moved(front, behind_bytes)


def checksum_before(whole: int, behind: int, behind_bytes: int) -> int:
    """CRC-32 of what stands before an end, from the CRC-32 of both together, and of the end."""
    return _moved(whole ^ behind, -behind_bytes % _ROUND)


def checksum_together(front: int, behind: int, behind_bytes: int) -> int:
    """CRC-32 of two parts together, from those of each."""
    return _moved(front, behind_bytes) ^ behind


def _moved(checksum: int, count: int) -> int:
    return int(isal_zlib.crc32_combine(checksum, 0, count))
