"""The keys of an encrypted log: one is active, all can be read with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Keys:
    """Keys of 32 bytes by name; new segments are encrypted with the active one.

    To rotate: add a key, make it the active one, keep the old ones until no segment names them (`offline.inspect`).
    """

    active: str
    secrets: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def load(cls, active: str, files: Mapping[str, Path]) -> Keys:
        """Reads key files: 32 raw bytes, or 64 hexadecimal digits.

        Raises:
            ConfigurationError: a file is missing, can be read by others, or holds no key; the active name has no file;
                or the library `cryptography` is not installed.
        """
        raise NotImplementedError
