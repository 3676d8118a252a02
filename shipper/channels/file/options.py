"""The options of the file channel: Flume's keys, with what each of them does here, or why it can't be had."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shipper.config.field import (
    Kind,
    Options,
    at_least,
    choice,
    commas,
    flag,
    integer,
    mapping,
    milliseconds,
    option,
    path,
    seconds,
    size,
    text,
    words,
)  # fmt: skip
from shipper.durable.keys import NO_MORE, Keys
from shipper.durable.settings import LogSettings

SEGMENT_BYTES_DEFAULT = 256 << 20
SEGMENT_BYTES_LEAST = 64 << 10
_SPACE_LEAST = 1 << 20
#: No disk is larger, and nearer to 2**63 the kernel refuses such numbers.
_BYTES_MOST = 1 << 60
_KEY_FILE = re.compile(r"(?P<name>.+)\.file\Z")
_MAKE_KEY = "`(umask 077; head -c 32 /dev/urandom > /path/to/k1.key)`"
_NEW_KEY = (
    "a Java key store is read by Java only, and its keys are not needed here: let Flume empty the channel, whose files "
    f"only Flume reads. Then make a key with {_MAKE_KEY}, write encryption.keyProvider = FILE, encryption.activeKey = "
    "k1, encryption.keyProvider.keys = k1, encryption.keyProvider.keys.k1.file = /path/to/k1.key, and remove the lines "
    "of the key store"
)
_NO_STORE = (
    "it belongs to a Java key store, which is read by Java only: remove the line, and see encryption.keyProvider"
)


def _only(wanted: bool, reason: str) -> Kind:
    """A flag of which one value is as it always is here, and the other can't be had."""

    def parse(value: str) -> bool:
        if (value.strip().lower() == "true") != wanted:
            raise ValueError(f"must be {str(wanted).lower()}: {reason}")
        return wanted

    return Kind("true" if wanted else "false", parse)


def _key_provider(value: str) -> str:
    if value.strip().upper() == "FILE":
        return "FILE"
    if "jceks" in value.lower():
        raise ValueError(_NEW_KEY)
    raise ValueError("must be FILE: one file a key")


def _cipher(value: str) -> str:
    if value.strip().upper() in ("AESGCM", "AESGCMNOPADDING", "AESCTRNOPADDING"):
        return "AESGCM"
    raise ValueError("must be AESGCM")


def _cipher_doubt(value: str) -> str | None:
    if "CTR" in value.upper():
        return "AES-256-GCM is used, which finds changes too; write AESGCM"
    return None


@dataclass(frozen=True, kw_only=True)
class LogOptions(Options):
    """Options of every channel that has a log on disk."""

    checkpoint_dir: str = option(
        "checkpointDir", path, "~/.flume/file-channel/checkpoint",
        help="Directory of the checkpoint; of no other channel.",
    )  # fmt: skip
    data_dirs: tuple[str, ...] = option(
        "dataDirs", commas, ("~/.flume/file-channel/data",),
        help="Directories of the log's files, with commas between; each new file goes where most space is free.",
    )  # fmt: skip
    dual_checkpoints: bool = option(
        "useDualCheckpoints", flag, False, help="Keep a second copy of the checkpoint in backupCheckpointDir."
    )
    backup_checkpoint_dir: str | None = option(
        "backupCheckpointDir", path, None, help="Directory of that copy, best on another disk."
    )
    compress_backup: bool = option(
        "compressBackupCheckpoint", _only(False, "the checkpoint is a few kilobytes, and its copy is never compressed"),
        False, help="Only false.",
    )  # fmt: skip
    transaction_capacity: int | None = option(
        "transactionCapacity", at_least(integer, 1), None,
        help="Events a transaction carries at most when strictBatch is true; else one carries what is waiting.",
    )  # fmt: skip
    checkpoint_interval_s: float = option(
        "checkpointInterval", at_least(milliseconds, 1.0), 30.0,
        help="Milliseconds between checkpoints while rows come; 1000 at least.",
    )  # fmt: skip
    checkpoint_on_close: bool = option(
        "checkpointOnClose", _only(True, "a checkpoint at the end costs a millisecond and makes the next start quick"),
        True, help="Only true.",
    )  # fmt: skip
    segment_bytes: int = option(
        "maxFileSize", at_least(size, SEGMENT_BYTES_LEAST, _BYTES_MOST), SEGMENT_BYTES_DEFAULT,
        help="Bytes of a file of the log; the file is made that large at once. 256 MiB by default.",
    )  # fmt: skip
    minimum_free_bytes: int = option(
        "minimumRequiredSpace", at_least(size, _SPACE_LEAST, _BYTES_MOST), 524_288_000,
        help="Bytes that are left free in each of dataDirs: with less, nothing more is taken in.",
    )  # fmt: skip
    sync_each: bool = option(
        "fsyncPerTransaction", flag, True,
        help="Tell sources that rows are safe only once they are on disk; false: every fsyncInterval is often enough.",
    )  # fmt: skip
    sync_interval_s: float = option(
        "fsyncInterval", at_least(seconds, 0.001), 5.0, help="Seconds between syncs when fsyncPerTransaction is false."
    )
    replay_v1: bool = option(
        "use-log-replay-v1", _only(False, "there is one way to start, and it replays no log"), False, help="Only false."
    )
    replay_fast: bool = option(
        "use-fast-replay", _only(False, "there is one way to start, and it replays no log"), False, help="Only false."
    )
    active_key: str | None = option(
        "encryption.activeKey", text, None, help="Name of the key with which new files of the log are encrypted."
    )
    cipher: str = option(
        "encryption.cipherProvider", Kind("AESGCM", _cipher, _cipher_doubt), "AESGCM", help="AESGCM: AES-256-GCM."
    )
    key_provider: str | None = option(
        "encryption.keyProvider", Kind("FILE", _key_provider), None, help="Where keys come from: FILE, one file a key."
    )
    key_names: tuple[str, ...] = option(
        "encryption.keyProvider.keys", words, (), help="Names of the keys that files may be encrypted with."
    )
    key_files: Mapping[str, str] = option(
        "encryption.keyProvider.keys.*", mapping(path), {},
        help="NAME.file: the file of that key, 32 bytes or 64 hexadecimal digits.",
    )  # fmt: skip
    key_store: str | None = option(
        "encryption.keyProvider.keyStoreFile", path, None, help="A Java key store.",
        refused=_NO_STORE,
    )  # fmt: skip
    key_store_password: str | None = option(
        "encryption.keyProvider.keyStorePasswordFile", path, None, help="Of a Java key store.",
        aliases=("encryption.keyStorePasswordFile",), refused=_NO_STORE,
    )  # fmt: skip
    ring_bytes: int | None = option(
        "ring.bytes", at_least(size, 64 << 10, 1 << 40), None, ours=True,
        help="Shared memory in front of the log, over all source workers; default 64 MiB, less where memory is scarce.",
    )  # fmt: skip
    strict_batch: bool = option(
        "strictBatch", flag, False, ours=True, help="Take batchSize and transactionCapacity literally, as Flume does."
    )
    max_age_s: float = option(
        "maxAge", at_least(seconds, 0), 0.0, ours=True,
        help="Seconds in the channel after which events are not delivered any more, but counted as expired; 0 = never.",
    )  # fmt: skip

    def problems(self) -> list[tuple[str, str]]:
        found = []
        if not self.data_dirs:
            found.append(("dataDirs", "dataDirs names no directory"))
        if self.dual_checkpoints and not self.backup_checkpoint_dir:
            found.append(
                ("useDualCheckpoints", "useDualCheckpoints = true needs backupCheckpointDir: where does the copy go?")
            )
        checkpoint, backup, data = self._places()
        if backup is not None and backup in (checkpoint, *data):
            found.append(
                ("backupCheckpointDir", f"backupCheckpointDir = {self.backup_checkpoint_dir} is used already: a copy "
                 "beside the original is lost with it; give it a directory of its own, best on another disk")
            )  # fmt: skip
        if len(set(data)) < len(data):
            found.append(("dataDirs", "dataDirs names a directory twice"))
        return found + self._key_problems()

    def doubts(self) -> list[tuple[str, str]]:
        if self.backup_checkpoint_dir and not self.dual_checkpoints:
            return [("backupCheckpointDir", "backupCheckpointDir is not used unless useDualCheckpoints = true")]
        return []

    def _key_problems(self) -> list[tuple[str, str]]:
        prefix = "encryption.keyProvider.keys."
        found = []
        for key in self.key_files:
            if key.endswith(".passwordFile"):
                new = f"{prefix}{key.removesuffix('.passwordFile')}.file = /path/to/k1.key"
                found.append(
                    (prefix + key, f"{prefix}{key} is of a Java key store, read by Java only: remove the line, "
                     f"make a new key with {_MAKE_KEY}, and write {new}")
                )  # fmt: skip
            elif not _KEY_FILE.match(key):
                found.append((prefix + key, f"{prefix}{key} is not known; write {prefix}{key.partition('.')[0]}.file"))
        for name in self.key_names:
            if f"{name}.file" not in self.key_files and f"{name}.passwordFile" not in self.key_files:
                found.append((f"{prefix[:-1]}", f"{prefix[:-1]} names {name}, but {prefix}{name}.file is missing"))
        if self.active_key and self.active_key not in self.key_names:
            found.append(
                ("encryption.activeKey", f"encryption.activeKey = {self.active_key} is not among "
                 f"encryption.keyProvider.keys = {' '.join(self.key_names)}")
            )  # fmt: skip
        if self.key_names and not self.active_key:
            found.append(
                ("encryption.keyProvider.keys", "encryption.activeKey is missing: which of the keys is for new files? "
                 f"To encrypt no more: {NO_MORE}")
            )  # fmt: skip
        return found

    def _places(self) -> tuple[Path, Path | None, tuple[Path, ...]]:
        backup = self.backup_checkpoint_dir if self.dual_checkpoints else None
        return _place(self.checkpoint_dir), _place(backup) if backup else None, tuple(map(_place, self.data_dirs))

    def keys(self) -> Keys | None:
        """The keys, read from their files; None when nothing is encrypted.

        Raises:
            ConfigurationError: a file is missing, can be read by others, or holds no key.
        """
        if not self.active_key:
            return None
        return Keys.load(self.active_key, {name: _place(self.key_files[f"{name}.file"]) for name in self.key_names})

    def log_settings(self, keys: Keys | None = None) -> LogSettings:
        """Where the log lies and what bounds it."""
        checkpoint, backup, data = self._places()
        return LogSettings(
            checkpoint_dir=checkpoint, data_dirs=data, backup_checkpoint_dir=backup, segment_bytes=self.segment_bytes,
            minimum_free_bytes=self.minimum_free_bytes, checkpoint_interval_s=self.checkpoint_interval_s,
            readable_before_sync=not self.sync_each, keys=keys,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class FileOptions(LogOptions):
    """Options of the file channel."""

    capacity: int | None = option(
        "capacity", at_least(integer, 1), None, help="Events it holds at most; without it, the disk is the bound."
    )
    keep_alive_s: float = option(
        "keep-alive", at_least(seconds, 0), 3.0, help="Seconds that a put waits for room before its source is told."
    )
    on_full: str = option(
        "onFull", choice("block", "dropNewest", "dropOldest"), "block", ours=True,
        help="What a put does that finds no room: wait, give its own rows up, or the oldest; the ledger counts them.",
    )  # fmt: skip

    #: What a put side asks of any channel's options, and a file channel does not have.
    slots = None
    slot_bytes = 1
    byte_capacity = None

    def problems(self) -> list[tuple[str, str]]:
        return too_large(self.transaction_capacity, "capacity", self.capacity) + super().problems()


def _place(text_of_it: str) -> Path:
    return Path(text_of_it).expanduser().absolute()


def too_large(transaction_capacity: int | None, key: str, capacity: int | None) -> list[tuple[str, str]]:
    """What is wrong when a transaction may carry more than the channel holds."""
    if not capacity or not transaction_capacity or transaction_capacity <= capacity:
        return []
    return [
        (
            "transactionCapacity",
            f"transactionCapacity = {transaction_capacity} is more than {key} = {capacity}: no transaction could ever "
            f"be that large; raise {key} or lower transactionCapacity",
        )
    ]
