"""The contract of an interceptor: a batch in, a batch out; rows changed or dropped, columns at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

from shipper.batch.batch import EventBatch
from shipper.clock import Clock
from shipper.config.field import Options

O = TypeVar("O", bound=Options)


class Interceptor(ABC, Generic[O]):
    """Base of all interceptors. Runs in the source's worker, in the order of the file."""

    Options: ClassVar[type[Options]]
    aliases: ClassVar[tuple[str, ...]]

    def __init__(self, options: O, clock: Clock) -> None:
        self.options = options
        self.clock = clock

    @abstractmethod
    def intercept(self, batch: EventBatch) -> EventBatch:
        """The batch as it goes on. It may have no rows left; its origins must be those of the batch that came in."""
