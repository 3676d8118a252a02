"""The contract of a channel selector: which channels get which rows of a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from shipper.batch.batch import EventBatch
from shipper.config.field import Options

O = TypeVar("O", bound=Options)


@dataclass(frozen=True)
class Route:
    """Rows for one channel. A channel appears at most once among the required and once among the optional routes."""

    channel: str
    batch: EventBatch
    required: bool = True


class Selector(ABC, Generic[O]):
    """Base of all selectors.

    Args:
        options: as declared.
        channels: the source's channels in the order of the file.
    """

    Options: ClassVar[type[Options]]
    aliases: ClassVar[tuple[str, ...]]

    def __init__(self, options: O, channels: Sequence[str]) -> None:
        self.options = options
        self.channels = tuple(channels)

    @classmethod
    def wiring_problems(cls, options: O, channels: Sequence[str]) -> list[tuple[str, str]]:
        """What is wrong between the options and the source's channels: (key, sentence) pairs."""
        return []

    @property
    def required_channels(self) -> Sequence[str]:
        """The channels that get required rows: those that a row may not miss."""
        return self.channels

    @abstractmethod
    def route(self, batch: EventBatch) -> list[Route]:
        """Where the rows go. Each row keeps its order within a channel; a row may go to several, or to none."""
