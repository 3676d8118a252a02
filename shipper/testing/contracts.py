"""The contracts as tests: what every channel must do, ready to be run against any of them.

A channel's own test file subclasses `ChannelContract` and says how one is made::

    class TestMemory(ChannelContract):
        @pytest.fixture
        def channel(self, tmp_path): ...

Every check is a sentence of the contract; the channel may be empty of everything but what a check puts into it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from shipper.api import EventBatch, Origin


class ChannelUnderTest(ABC):
    """A channel with some source workers and some sink workers, all in this process.

    Attributes:
        name: of the channel.
        misused: what is raised when a transaction is used outside its states.
    """

    name: str
    misused: type[Exception]

    @abstractmethod
    def put_side(self, worker: int = 0) -> Any:
        """The put side of a source worker: `transaction()` makes its transactions."""

    @abstractmethod
    def take_side(self, worker: int = 0) -> Any:
        """The take side of a sink worker: `transaction()` makes its transactions."""

    @abstractmethod
    def kill(self) -> None:
        """Ends all sides as SIGKILL does; the next `put_side` and `take_side` are those of new processes."""

    # --- what tests say most

    def put(self, *bodies: bytes, worker: int = 0, origins: Sequence[Origin] = ()) -> bool:
        """One committed put; False when there was no room."""
        return self.put_batch(EventBatch.of(bodies).with_origins(origins), worker)

    def put_batch(self, batch: EventBatch, worker: int = 0) -> bool:
        """The same, of a batch."""
        transaction = self.put_side(worker).transaction()
        transaction.begin()
        if not transaction.put(self.name, batch):
            transaction.rollback()
            transaction.close()
            return False
        transaction.commit()
        transaction.close()
        return True

    def take(self, worker: int = 0, *, commit: bool = True, batches: int | None = None) -> list[bytes]:
        """The bodies that one transaction takes: of all batches that wait in its lane, or of so many."""
        transaction = self.take_side(worker).transaction()
        transaction.begin()
        found: list[bytes] = []
        while batches is None or batches > 0:
            batch = transaction.take()
            if batch is None:
                break
            found += batch.body.to_pylist()
            batches = None if batches is None else batches - 1
        if commit:
            transaction.commit()
        else:
            transaction.rollback()
        transaction.close()
        return found

    def drain(self, worker: int = 0) -> list[bytes]:
        """Everything, in as many transactions as it needs."""
        found: list[bytes] = []
        while taken := self.take(worker):
            found += taken
        return found


class ChannelContract:
    """What Flume promises of every channel (`BasicTransactionSemantics`), and what ours promise beyond it."""

    def test_take_of_an_empty_channel_is_none(self, channel: ChannelUnderTest) -> None:
        transaction = channel.take_side().transaction()
        transaction.begin()
        assert transaction.take() is None
        transaction.commit()
        transaction.close()

    def test_rows_come_out_as_they_went_in(self, channel: ChannelUnderTest) -> None:
        batch = EventBatch.of([b"a\n", b"\x00\n", b"\n"], [{"k": "1"}, {"k": None, "l": "\u00fc"}, {}])
        batch = EventBatch(batch.records, trim=1, constants={"c": "all"}, origins=[Origin("s", 1, 2, "x")])
        transaction = channel.put_side().transaction()
        transaction.begin()
        assert transaction.put(channel.name, batch)
        transaction.commit()
        transaction.close()
        taking = channel.take_side().transaction()
        taking.begin()
        found = taking.take()
        assert found.body.to_pylist() == [b"a", b"\x00", b""]
        assert [found.headers_of(row) for row in range(3)] == [batch.headers_of(row) for row in range(3)]
        assert found.origins == (Origin("s", 1, 2, "x"),)
        del found
        taking.commit()
        taking.close()

    def test_nothing_is_seen_before_the_put_is_committed(self, channel: ChannelUnderTest) -> None:
        transaction = channel.put_side().transaction()
        transaction.begin()
        assert transaction.put(channel.name, EventBatch.of([b"a"]))
        assert channel.take() == []
        transaction.commit()
        transaction.close()
        assert channel.take() == [b"a"]

    def test_a_put_that_is_rolled_back_never_was(self, channel: ChannelUnderTest) -> None:
        transaction = channel.put_side().transaction()
        transaction.begin()
        assert transaction.put(channel.name, EventBatch.of([b"never"]))
        transaction.rollback()
        transaction.close()
        assert channel.put(b"a")
        assert channel.drain() == [b"a"]

    def test_a_take_that_is_rolled_back_comes_again_in_order(self, channel: ChannelUnderTest) -> None:
        assert channel.put(b"a", b"b") and channel.put(b"c")
        assert channel.take(commit=False) == [b"a", b"b", b"c"]
        assert channel.take(commit=False, batches=1) == [b"a", b"b"]
        assert channel.take() == [b"a", b"b", b"c"]
        assert channel.take() == []

    def test_what_was_taken_and_committed_is_gone(self, channel: ChannelUnderTest) -> None:
        assert channel.put(b"a") and channel.put(b"b")
        assert channel.take(batches=1) == [b"a"]
        assert channel.take() == [b"b"]

    def test_a_transaction_is_new_then_open_then_completed_then_closed(self, channel: ChannelUnderTest) -> None:
        for side in (channel.put_side(), channel.take_side()):
            for end in ("commit", "rollback"):
                transaction = side.transaction()
                states = [transaction.state]
                transaction.begin()
                states.append(transaction.state)
                getattr(transaction, end)()
                states.append(transaction.state)
                transaction.close()
                assert [*states, transaction.state] == ["NEW", "OPEN", "COMPLETED", "CLOSED"]

    def test_a_verb_outside_its_state_is_an_error_and_changes_nothing(self, channel: ChannelUnderTest) -> None:
        allowed = {
            "NEW": {"begin", "close"}, "OPEN": {"commit", "rollback", "work"},
            "COMPLETED": {"close"}, "CLOSED": {"close"},
        }  # fmt: skip
        for kind in ("put", "take"):
            for state, fine in allowed.items():
                for verb in ("begin", "commit", "rollback", "close", "work"):
                    if verb in fine:
                        continue
                    side = channel.put_side() if kind == "put" else channel.take_side()
                    transaction = side.transaction()
                    if state != "NEW":
                        transaction.begin()
                    if state in ("COMPLETED", "CLOSED"):
                        transaction.rollback()
                    if state == "CLOSED":
                        transaction.close()
                    try:
                        if verb != "work":
                            getattr(transaction, verb)()
                        elif kind == "put":
                            transaction.put(channel.name, EventBatch.of([b"x"]))
                        else:
                            transaction.take()
                    except channel.misused:
                        assert transaction.state == state
                    else:
                        raise AssertionError(f"{verb} of a {kind} transaction that is {state} must be refused")
                    if transaction.state == "OPEN":
                        transaction.rollback()
        assert channel.put(b"still works") and channel.drain() == [b"still works"]

    def test_an_empty_transaction_may_be_committed(self, channel: ChannelUnderTest) -> None:
        for side in (channel.put_side(), channel.take_side()):
            transaction = side.transaction()
            transaction.begin()
            transaction.commit()
            transaction.close()
        assert channel.put(b"a") and channel.drain() == [b"a"]

    def test_order_is_kept_over_many_transactions(self, channel: ChannelUnderTest) -> None:
        found: list[bytes] = []
        for number in range(200):
            assert channel.put(b"%d" % number, b"%d." % number)
            if number % 7 == 6:
                found += channel.take(batches=6)
        assert found + channel.drain() == [b for n in range(200) for b in (b"%d" % n, b"%d." % n)]

    def test_what_is_in_it_outlives_the_processes(self, channel: ChannelUnderTest) -> None:
        assert channel.put(b"taken") and channel.take() == [b"taken"]
        assert channel.put(b"a") and channel.put(b"b")
        transaction = channel.put_side().transaction()
        transaction.begin()
        assert transaction.put(channel.name, EventBatch.of([b"not committed"]))
        taking = channel.take_side().transaction()
        taking.begin()
        assert taking.take() is not None
        channel.kill()
        assert channel.put(b"c")
        assert channel.drain() == [b"a", b"b", b"c"]

    def test_the_last_origins_are_found_by_the_next_process(self, channel: ChannelUnderTest) -> None:
        assert channel.put(b"a", origins=[Origin("f", 0, 2)])
        assert channel.put(b"b", origins=[Origin("f", 2, 4), Origin("g", 0, 1, "crc")])
        channel.drain()
        channel.kill()
        assert channel.put_side().last_origins() == [Origin("f", 2, 4), Origin("g", 0, 1, "crc")]

    def test_rows_without_rows_carry_their_origins(self, channel: ChannelUnderTest) -> None:
        """Interceptors may leave nothing of what was read; that it was read is remembered all the same."""
        assert channel.put(origins=[Origin("f", 0, 7)])
        assert channel.put(b"a")
        assert channel.drain() == [b"a"]
        channel.kill()
        assert channel.put(origins=[Origin("f", 7, 9)])
        channel.kill()
        assert channel.put_side().last_origins() == [Origin("f", 7, 9)]
        assert channel.drain() == []
