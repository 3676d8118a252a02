"""Tallies: what became of rows. Stored by whoever commits them, so that no death makes them drift (`ring/tally.py`)."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from shipper.digest_word import odd_word_of

#: More sinks than that at one lane share the last account, whose sink is 0.
ACCOUNTS_MAX = 8

#: The account of what a person has thrown away (`shipper channel discard`), under `aside`. No sink has an even word.
DISCARDED = 2
#: The account of what a channel's writer has put into its log; what became of it there, the log's board says.
LOGGED = 4


class Account(NamedTuple):
    """What one sink has done with rows of a lane.

    Attributes:
        sink: see `sink_key`; 0 stands for all that found no account of their own.
        rows, size_bytes: delivered; bytes of bodies.
        aside: rows that it refused for good, set aside.
    """

    sink: int
    rows: int = 0
    size_bytes: int = 0
    aside: int = 0


class TakeTally(NamedTuple):
    """What became of the rows that were taken from a lane.

    Attributes:
        before: taken before anybody kept this tally: nothing more is known of them.
        expired: older than the channel's `maxAge`.
        dropped: given up to make room (`onFull = dropOldest`).
        lost: in frames or overflow files that did not pass their checks.
    """

    before: int = 0
    expired: int = 0
    dropped: int = 0
    lost: int = 0
    accounts: tuple[Account, ...] = ()

    @property
    def rows(self) -> int:
        """All of them: what the commit slot must say too."""
        booked = sum(account.rows + account.aside for account in self.accounts)
        return self.before + self.expired + self.dropped + self.lost + booked

    def packed(self) -> list[int]:
        """As words, for a journal."""
        accounts = [word for account in self.accounts for word in account]
        return [self.before, self.expired, self.dropped, self.lost, *accounts]

    @classmethod
    def unpacked(cls, words: list[int]) -> TakeTally:
        """What was packed."""
        accounts = (Account(*words[at : at + 4]) for at in range(4, len(words), 4))
        return cls(words[0], words[1], words[2], words[3], tuple(accounts))

    def booked(self, sink: int, rows: int, size_bytes: int, aside: int) -> TakeTally:
        """The tally after that sink has delivered some rows, and set some aside."""
        accounts = list(self.accounts)
        index = next((i for i, account in enumerate(accounts) if account.sink == sink), len(accounts))
        if index == ACCOUNTS_MAX:
            index -= 1
            accounts[index] = accounts[index]._replace(sink=0)
        elif index == len(accounts):
            accounts.append(Account(sink))
        held = accounts[index]
        accounts[index] = Account(
            held.sink, held.rows + rows, held.size_bytes + size_bytes, held.aside + aside
        )  # fmt: skip
        return self._replace(accounts=tuple(accounts))


class Intake(NamedTuple):
    """What a source worker has read, and what of it went on.

    Attributes:
        rows, size_bytes: read and offered to the interceptors.
        kept: rows that the interceptors left.
        unrouted: of those, rows that the selector gave to no channel.
        cut: lines that were cut because they were too long.
        undecodable: places that were no valid text.
        lost_files: files that went away, or were overwritten, before they were read to their end.
        given_up: rows that the source itself gave up (its peer was told, or left).
    """

    rows: int = 0
    size_bytes: int = 0
    kept: int = 0
    unrouted: int = 0
    cut: int = 0
    undecodable: int = 0
    lost_files: int = 0
    given_up: int = 0
    spare_1: int = 0
    spare_2: int = 0

    def plus(self, other: Intake) -> Intake:
        """Both together."""
        return Intake(*map(int.__add__, self, other))


class Offers(NamedTuple):
    """What a source worker has offered to one channel.

    Attributes:
        rows: all that the selector sent there.
        dropped: of those, given up because the channel was full and its `onFull` says so.
        refused: of those, given up because the channel is optional and was full.
    """

    rows: int = 0
    dropped: int = 0
    refused: int = 0


class PutTally(NamedTuple):
    """What a put page says of rows before they stand in a lane; `offers` by lane index."""

    intake: Intake = Intake()
    offers: tuple[Offers, ...] = ()


@cache
def sink_key(name: str) -> int:
    """The word by which an account knows a sink; never 0."""
    return odd_word_of(name)
