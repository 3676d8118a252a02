"""The contract of a sink processor: which sink of a group is asked next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

from shipper.clock import Clock
from shipper.config.field import Options

O = TypeVar("O", bound=Options)


class Processor(ABC, Generic[O]):
    """Base of all processors. It only decides; `pipeline/deliver.py` carries out.

    Args:
        options: as declared.
        sinks: names of the group's sinks in the order of the file.
        clock: for penalties.
    """

    Options: ClassVar[type[Options]]
    aliases: ClassVar[tuple[str, ...]]

    def __init__(self, options: O, sinks: Sequence[str], clock: Clock) -> None:
        self.options = options
        self.sinks = tuple(sinks)
        self.clock = clock

    @classmethod
    def wiring_problems(cls, options: O, sinks: Sequence[str]) -> list[tuple[str, str]]:
        """What is wrong between the options and the group's sinks: (key, sentence) pairs."""
        return []

    @abstractmethod
    def order(self) -> Sequence[str]:
        """The sinks to try for the next transaction, first choice first; empty when all are in penalty."""

    def delivered(self, sink: str) -> None:
        """The sink took a transaction."""

    def failed(self, sink: str) -> None:
        """The sink raised RetryLater."""
