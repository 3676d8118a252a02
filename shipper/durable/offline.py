"""What can be done with a log while no agent runs: inspect, verify, export. None of them changes anything in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shipper.durable.keys import Keys
from shipper.durable.log import LostRange
from shipper.durable.reader import Record


@dataclass(frozen=True)
class SegmentReport:
    """One segment: its file, what it holds, the key it needs, and what is wrong with it ("" = nothing)."""

    path: Path
    number: int
    base_seq: int
    last_seq: int
    records: int
    rows: int
    size_bytes: int
    key_name: str
    wrong: str


@dataclass(frozen=True)
class LogReport:
    """A whole log. `lanes`: id -> (name or "", rows waiting, bytes waiting). `lost`: acknowledged and not there."""

    log_id: str
    durable_seq: int
    last_seq: int
    rows_waiting: int
    segments: Sequence[SegmentReport]
    lanes: dict[int, tuple[str, int, int]]
    lost: Sequence[LostRange]
    checkpoint_generation: int
    in_use: bool
    notes: Sequence[str]


def inspect(checkpoint_dir: Path, data_dirs: Sequence[Path]) -> LogReport:
    """What is in a log: headers are read, bodies are not. Needs no key.

    Raises:
        ConfigurationError: there is no log.
    """
    raise NotImplementedError


def verify(checkpoint_dir: Path, data_dirs: Sequence[Path], keys: Keys | None = None) -> LogReport:
    """As `inspect`, and every body is checked (decrypted when `keys` are given)."""
    raise NotImplementedError


def export(
    checkpoint_dir: Path, data_dirs: Sequence[Path], keys: Keys | None = None, *, delivered_too: bool = False
) -> Iterator[Record]:
    """The records that wait, in order of seq; also what was delivered and still lies there when asked.

    Records that can't be read are left out: `verify` names them.
    """
    raise NotImplementedError
