"""The contract of an event serializer: rows become the bytes of a file.

A file is `header()` once, then one `serialize()` result a batch, then `footer()`. Every serialize result ends at a
place where the file may be cut and continued by another process that was given `state()`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

from shipper.batch.batch import EventBatch
from shipper.clock import Clock
from shipper.config.field import Options

O = TypeVar("O", bound=Options)
Bytes = bytes | bytearray | memoryview


class Serializer(ABC, Generic[O]):
    """Base of all serializers: one instance an open file.

    Args:
        options: as declared.
        clock: for formats that need a time where the event has none.
        state: what `state()` of the process before said when its file was committed last; None for a new file.
    """

    Options: ClassVar[type[Options]]
    aliases: ClassVar[tuple[str, ...]]

    def __init__(self, options: O, clock: Clock, state: str | None = None) -> None:
        self.options = options
        self.clock = clock

    def header(self) -> Bytes:
        """The first bytes of a new file."""
        return b""

    @abstractmethod
    def serialize(self, batch: EventBatch) -> Bytes:
        """The rows as bytes. The result may be a view of the batch's memory."""

    def pieces(self, batch: EventBatch) -> Sequence[Bytes]:
        """The same in several pieces, where joining them would be a copy."""
        return (self.serialize(batch),)

    def footer(self) -> Bytes:
        """The last bytes of a file."""
        return b""

    def state(self) -> str | None:
        """What another process needs to go on with the file (a sync marker, in hex); None when nothing."""
        return None
