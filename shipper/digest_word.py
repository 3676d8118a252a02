"""A word of a digest: the number by which what processes share, and what lies on disks, know a name.

0 stands for nobody there, so no name gets it. Sinks and lanes of rings have odd words: the even ones are left for what
is no name (`shared/tally.py`). Lanes and producers of a log only have 1 in place of 0. Files of earlier releases hold
words of both kinds, so neither ever changes.
"""

from __future__ import annotations

from _blake2 import blake2b  # hashlib would map all of OpenSSL into the supervisor


def odd_word_of(name: str) -> int:
    """64 bits, the lowest of them 1."""
    return _word_of(name, 8) | 1


def word_of(name: str, size_bytes: int) -> int:
    """So many bytes as a number; 1 in place of 0."""
    return _word_of(name, size_bytes) or 1


def _word_of(name: str, size_bytes: int) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=size_bytes).digest(), "little")
