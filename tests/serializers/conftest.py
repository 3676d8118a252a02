"""What tests of serializers share: the events of the recorded files, and a crowd of other rows around one event."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from shipper.api import EventBatch, Serializer
from shipper.config.field import read_options
from shipper.testing.fakes import ManualClock

Event = tuple[dict[str, str | None], bytes]
Make = Callable[..., Serializer[Any]]


@pytest.fixture
def recorded_events() -> EventBatch:
    """The three events of which the real agent's files consist."""
    return EventBatch.of(
        [b"first event", "zweites Ereignis äöü €".encode(), b"third\twith tab"],
        [
            {"host": "web1", "timestamp": "1340459193234"},
            {"timestamp": "1340459193235"},
            {"k": "v", "timestamp": "1340459193236", "k2": "v2"},
        ],
    )


@pytest.fixture
def crowd() -> Callable[[Event], list[Event]]:
    """Puts an event among a thousand others with other headers, in an order that is always the same."""

    def around(event: Event) -> list[Event]:
        dice = random.Random(7)
        events: list[Event] = []
        for number in range(1000):
            names = dice.sample(["timestamp", "host", "other", "x.y", "größe", "Z-1"], dice.randrange(5))
            headers: dict[str, str | None] = {name: dice.choice(["", "v", "ä", f"{number}", None]) for name in names}
            events.append((headers, dice.randbytes(dice.randrange(40)).replace(b"\n", b" ")))
        events.append(event)
        dice.shuffle(events)
        return events

    return around


@pytest.fixture
def make() -> Make:
    """A serializer from the keys that a person would write, as `make(TextSerializer, appendNewline="false")`."""

    def made(kind: type[Serializer[Any]], state: str | None = None, **config: str) -> Serializer[Any]:
        options, findings = read_options(kind.Options, config)
        assert options is not None, findings
        return kind(options, ManualClock(), state)

    return made
