"""A take commit that a dead process had announced is finished by the next one, if nobody else was given its lane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from shipper.channels.file import tally
from shipper.durable.reader import Reader
from shipper.durable.reader import disown as disown_in_log
from shipper.ring.consumer import Consumer, disown
from shipper.ring.tally import read_take
from shipper.shared.tally import Account, sink_key
from shipper.testing.contracts import ChannelUnderTest
from tests.channels.conftest import Memory
from tests.channels.logged import Logged

KINDS = pytest.mark.parametrize("kind", [Memory, Logged])


def announced(channel: ChannelUnderTest) -> list[Any]:
    """What worker 0 says of the commit of all that waits, before it dies."""
    side = channel.take_side(0)
    assert side.coming() is None, "nothing is under way"
    transaction = side.transaction()
    transaction.begin()
    rows = 0
    while (batch := transaction.take()) is not None:
        rows += batch.rows
    transaction.book("k0", rows, 10, 0)
    coming = orjson.loads(orjson.dumps(side.coming()))
    transaction.rollback()
    transaction.close()
    channel.kill()
    found: list[Any] = coming
    return found


@KINDS
def test_what_was_announced_is_delivered_when_it_is_finished(kind: Any, tmp_path: Path) -> None:
    """With the sequence of the sink's journal, and with its rows in the ledger."""
    channel = kind(tmp_path)
    channel.put(b"a", b"b")
    coming = announced(channel)
    side = channel.take_side(0)
    assert side.finish(coming, 7)
    assert side.sequence() == 7
    (lane,) = side.lanes
    found = read_take(lane.consumer.lane) if kind is Memory else tally.read(lane.reader.board, lane.reader.index)
    assert found[1].accounts == (Account(sink_key("k0"), 2, 10, 0),)
    channel.put(b"c")
    assert channel.take() == [b"c"]
    channel.kill()


@KINDS
def test_it_is_finished_once(kind: Any, tmp_path: Path) -> None:
    channel = kind(tmp_path)
    channel.put(b"a")
    coming = announced(channel)
    assert channel.take_side(0).finish(coming, 7)
    channel.kill()
    side = channel.take_side(0)
    assert not side.finish(coming, 7)
    assert side.holds, "before its sink has looked at its files, nobody else has the rows"
    channel.put(b"b")
    assert channel.take() == [b"b"]
    channel.kill()


def given_away(channel: Any) -> list[Any]:
    """What worker 0 had announced of a lane that was given to worker 1, who delivered the rows and one more."""
    channel.put(b"a")
    coming = announced(channel)
    channel.put(b"b")
    other = channel.take_side(1)
    for lane in other.lanes:
        if isinstance(channel, Memory):
            disown(lane.consumer.lane, 1000)
        else:
            disown_in_log(lane.reader.board, lane.reader.lane, 1000)
    delivered = []
    while rows := channel.take(1):
        delivered += rows
    assert sorted(delivered) == [b"a", b"b"]
    other.let_go(lambda: None)
    channel.kill()
    return coming


def holder(channel: ChannelUnderTest) -> Any:
    """Worker 0, with all lanes in its hands."""
    side = channel.take_side(0)
    for lane in side.lanes:
        assert lane.try_hold()
    return side


@KINDS
def test_it_is_not_finished_when_the_lane_was_given_to_another_sink(kind: Any, tmp_path: Path) -> None:
    channel = kind(tmp_path, sinks=2)
    coming = given_away(channel)
    assert not holder(channel).finish(coming, 7)
    assert channel.take() == []
    channel.kill()


@KINDS
def test_a_worker_that_did_not_ask_whether_the_lane_has_moved_would_be_seen(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests above have teeth: it would deliver a row once more."""
    monkeypatch.setattr(Consumer, "_base", lambda self: [])
    monkeypatch.setattr(Reader, "_base", lambda self: [])
    channel = kind(tmp_path, sinks=2)
    coming = given_away(channel)
    assert holder(channel).finish(coming, 7)
    channel.kill()
