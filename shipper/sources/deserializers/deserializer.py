"""The contract of a deserializer: a file's content becomes events.

::

    Deserializer(options, content, reading)     at the content's present offset
    read(rows_max) -> Rows | None               the next events, and the offsets that they cover; None: nothing is left

A source that goes back makes a new one at the older offset.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import BinaryIO, ClassVar, Generic, Protocol, TypeVar

from shipper.api import DamagedData, EventBatch, Options

O = TypeVar("O", bound=Options)


class Undecodable(DamagedData):
    """Bytes that are no characters: with another `Reading.errors` the file can be read on."""


class Content(Protocol):
    """What is in a file, after decompression.

    Attributes:
        offset: where the next `read_into` begins.
    """

    offset: int

    def read_into(self, view: memoryview) -> int:
        """Fills `view`, or as much of it as there is left, or stands before damage; the bytes that came.

        Raises:
            DamagedData: nothing can be read here, and it is not the end.
        """

    def at_end(self) -> bool:
        """True when it is known that nothing is left."""

    def left_bytes(self) -> int | None:
        """How much is left, as far as that is known: a hint for the size of buffers."""

    def seek(self, offset: int) -> None:
        """The next read begins there."""

    def as_file(self) -> BinaryIO:
        """The content as a file at its beginning, for a library that wants one; one at a time."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a source wants its files read.

    Attributes:
        charset: of the files, by Python's name.
        errors: `strict`, `replace` or `ignore`: what to do with bytes that are none of its characters.
        block_bytes: aim for batches of this many bytes.
    """

    charset: str = "utf-8"
    errors: str = "strict"
    block_bytes: int = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Events of one read.

    Attributes:
        batch: they; its memory may be used again by the next read.
        start, end: the offsets that they cover; a deserializer made at `end` goes on behind them.
        last: True when it is known that nothing follows.
        cut_lines: lines that were so long that they became several events.
        limit: the option that says how long is too long, as in `maxLineLength = 2048`.
    """

    batch: EventBatch
    start: int
    end: int
    last: bool
    cut_lines: int = 0
    limit: str = ""


class Deserializer(ABC, Generic[O]):
    """Base of all deserializers: one instance an open file."""

    Options: ClassVar[type[Options]]
    aliases: ClassVar[tuple[str, ...]]

    def __init__(self, options: O, content: Content, reading: Reading) -> None:
        self.options = options
        self.content = content
        self.reading = reading

    @abstractmethod
    def read(self, rows_max: int) -> Rows | None:
        """The next events, `rows_max` at most where the format allows it.

        Raises:
            DamagedData: what follows can't be read; all before it was delivered. The sentence says where and why.
        """

    @classmethod
    def needs(cls) -> str | None:
        """What is missing on this machine for it to work, with the command that brings it; None when nothing is."""
        return None
