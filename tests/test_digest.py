"""Names that stand for something long: what lies on a disk is found by them, so they are the same for ever."""

from __future__ import annotations

import hashlib

from shipper.digest import digest_of


def test_a_digest_is_the_beginning_of_the_sha_256() -> None:
    for data in (b"", b"/var/log/a.json", bytes(1000)):
        assert digest_of(data) == hashlib.sha256(data).hexdigest()[:16]
