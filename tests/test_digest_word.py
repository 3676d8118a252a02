"""Words that stand for names: recorded ones, since files of earlier releases hold them."""

from __future__ import annotations

import hashlib

from shipper.digest_word import odd_word_of, word_of


def test_the_words_of_a_name_never_change() -> None:
    assert odd_word_of("k2.0") == 2072787678691448313
    assert word_of("k2.0", 8) == 2072787678691448312
    assert word_of("k2.0", 4) == 4259666411


def test_a_word_is_a_digest_of_the_bytes_of_the_name() -> None:
    for name in ("", "c/r1.0--k1.0", "é"):
        digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
        assert word_of(name, 8) == int.from_bytes(digest, "little")
        assert odd_word_of(name) == int.from_bytes(digest, "little") | 1
