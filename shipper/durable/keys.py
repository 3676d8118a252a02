"""The keys of an encrypted log: one is active, all can be read with; each segment names the one it needs.

A body is encrypted with AES-256-GCM under a key of its segment (derived from the named key and the segment's own salt)
and a random nonce of its own. What stands in the record's header is not secret, and is authenticated with it.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from shipper.durable.layout import KEY_NAME_BYTES, NONCE_BYTES, Identity
from shipper.errors import ConfigurationError, DamagedData

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_SECRET_BYTES = 32
#: Also a log in which nothing waits keeps its newest segment, which says with what it was encrypted.
NO_MORE = (
    "let the channel run empty with its keys first (`shipper channel inspect` says when), then remove all lines of "
    "encryption and give the channel other directories (checkpointDir, dataDirs)"
)


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
        _library()
        if active not in files:
            known = ", ".join(sorted(files)) or "none"
            raise ConfigurationError(f"the active key '{active}' has no key file (keys with one: {known})")
        return cls(active, {name: _secret(name, path) for name, path in files.items()})


class Cipher:
    """The cipher of one segment.

    Args:
        secret: of the key that the segment names.
        identity: of the segment.
    """

    def __init__(self, secret: bytes, identity: Identity, random: Callable[[int], bytes]) -> None:
        self._cipher: AESGCM = _library()(_derived(secret, identity.salt, b"shipper segment key"))
        self._random = random

    def encrypt(self, views: Sequence[memoryview | bytes], about: bytes) -> bytes:
        """The stored form of a body; `about` is authenticated with it."""
        plain = views[0] if len(views) == 1 else b"".join(views)
        nonce = self._random(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, about)

    def decrypt(self, stored: memoryview, about: bytes) -> memoryview:
        """The body.

        Raises:
            DamagedData: it was not made by `encrypt` with this key and these words about it.
        """
        from cryptography.exceptions import InvalidTag

        try:
            return memoryview(self._cipher.decrypt(bytes(stored[:NONCE_BYTES]), stored[NONCE_BYTES:], about))
        except (InvalidTag, ValueError) as problem:
            raise DamagedData("the body can't be decrypted: its tag does not fit") from problem


def cipher_of(identity: Identity, keys: Keys | None, random: Callable[[int], bytes], where: object) -> Cipher | None:
    """The cipher that a segment needs; None when it is not encrypted.

    Raises:
        ConfigurationError: its key is not among those given, or is another one of that name.
    """
    name = identity.key_name
    if not name:
        return None
    secret = keys.secrets.get(name) if keys else None
    if secret is None:
        have = ", ".join(sorted(keys.secrets)) if keys else "none is configured"
        raise ConfigurationError(
            f"{where} is encrypted with the key '{name}', which is not given (keys: {have}). Nothing was changed. Put "
            f"the file of '{name}' back into the configuration. To encrypt no more, {NO_MORE}. If that key is "
            f"lost for ever, so are the events in that file: move it out of its directory, and they are counted as lost"
        )
    if key_check(secret, identity.salt) != identity.key_check:
        raise ConfigurationError(
            f"{where} was encrypted with another key than the one that is now called '{name}'. Nothing was changed. "
            f"Give the right key file for '{name}', and call a new key by a new name"
        )
    return Cipher(secret, identity, random)


def key_check(secret: bytes, salt: bytes) -> bytes:
    """8 bytes by which a segment knows its key again, and that tell nothing of it."""
    return _derived(secret, salt, b"shipper key check")[:8]


def _derived(secret: bytes, salt: bytes, purpose: bytes) -> bytes:
    import hmac

    return hmac.digest(secret, purpose + salt, "sha256")


def _library() -> type[AESGCM]:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as problem:
        raise ConfigurationError(
            "encryption needs the library 'cryptography': install it with `pip install 'shipper[encryption]'`"
        ) from problem
    return AESGCM


def _secret(name: str, path: Path) -> bytes:
    if len(name.encode()) > KEY_NAME_BYTES or not name:
        raise ConfigurationError(f"the key name '{name}' is empty or longer than {KEY_NAME_BYTES} bytes")
    try:
        found, mode = path.read_bytes(), path.stat().st_mode
    except OSError as problem:
        raise ConfigurationError(f"can't read {path}, the file of the key '{name}': {problem.strerror}") from problem
    if found[:4] in (b"\xce\xce\xce\xce", b"\xfe\xed\xfe\xed"):
        raise ConfigurationError(
            f"{path}, the file of the key '{name}', is a Java key store, which only Java reads. Make a key file: "
            f"`(umask 077; head -c 32 /dev/urandom > {name}.key)`, and write its path there. Events that "
            f"Flume has encrypted with the old key are drained by Flume itself"
        )
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(f"others may read {path}, the file of the key '{name}': `chmod 600 {path}`")
    if len(found) != _SECRET_BYTES:
        try:
            found = bytes.fromhex(found.decode("ascii"))
        except ValueError:
            found = b""
    if len(found) != _SECRET_BYTES:
        raise ConfigurationError(
            f"{path}, the file of the key '{name}', holds no key: it must be 32 bytes, or 64 hexadecimal digits, as "
            f"`head -c 32 /dev/urandom` makes them"
        )
    return found
