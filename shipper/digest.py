"""A digest: 16 letters that stand for something long, the same in every run and every version.

`hashlib` would map all of OpenSSL into the process: 1 MB of every agent, to name a file.
"""

from __future__ import annotations

import sys

if sys.version_info >= (3, 12):
    from _sha2 import sha256  # type: ignore[import-not-found]
else:
    from _sha256 import sha256  # type: ignore[import-not-found]

_LETTERS = 16


def digest_of(data: bytes) -> str:
    """The beginning of the SHA-256 of `data`, in hexadecimal."""
    return str(sha256(data).hexdigest()[:_LETTERS])
