"""Tied counters: those of Flume's that say what commits say, also when a process died between a commit and its count.

Flume's counters are words beside the commits. The ledger is part of them (`shared/tally.py`), so it misses nothing; a
counter would lack the rows of a commit whose process died before it had counted, or that the next one finished.

A *source* has its commits to itself: what its counters have to say is what its put page has counted, less what that had
when the counters began. They are set right as a worker starts. The commits of a *sink* are in lanes that it shares, so
what its counters are going to say is written down before each::

    word  0   generation of the lane once that is committed; 0 = nothing is announced     stored last
          1   checksum of the lane's name
          2   the counters of `DRAINED`, as they will be then

Died before the commit: nobody finds it, and what was announced is forgotten. Behind it: the next worker finds it, and
stores what the counters were to be; once or twice is the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final

from shipper.metrics.counters import Counters

#: Words of a component's entry that this needs.
TIED_WORDS: Final = 8
DRAINED: Final = ("EventDrainSuccessCount", "body_bytes", "rows_set_aside")
_BEGUN: Final = TIED_WORDS - 1
_MASK: Final = (1 << 64) - 1


class TiedToTakes:
    """The counters of a sink that its take commits add to.

    Args:
        words: `TIED_WORDS` of them, beside the counters; only the sink's own process writes.
    """

    def __init__(self, counters: Counters, words: memoryview) -> None:
        self._counters = counters
        self._words = words

    def announce(self, mark: tuple[str, int], *amounts: int) -> None:
        """Says what a commit is about to add to `DRAINED`, before anything of it can be found.

        Args:
            mark: the lane, and its generation before the commit.
        """
        words, (lane, generation) = self._words, mark
        words[0] = 0
        words[1] = zlib.crc32(lane.encode())
        for at, (name, amount) in enumerate(zip(DRAINED, amounts, strict=True), 2):
            words[at] = self._counters.get(name) + amount
        words[0] = generation + 1

    def count(self) -> None:
        """What was announced is committed."""
        for at, name in enumerate(DRAINED, 2):
            self._counters.set(name, self._words[at])

    def withdraw(self) -> None:
        """What was announced will not be committed: the lane's next commit is another one."""
        self._words[0] = 0

    def settle(self, generations: Mapping[str, int]) -> None:
        """Counts what a dead process had announced, if it is committed. Before the first `announce`.

        Args:
            generations: of all lanes of the channel, now.
        """
        generation, checksum = self._words[0], self._words[1]
        if generation and any(
            now >= generation and zlib.crc32(lane.encode()) == checksum for lane, now in generations.items()
        ):
            self.count()
        self.withdraw()

    @classmethod
    def private(cls, counters: Counters) -> TiedToTakes:
        """One that no other process will find: for tests and for tools."""
        return cls(counters, memoryview(bytearray(8 * TIED_WORDS)).cast("Q"))


def tie_to_puts(counters: Counters, words: memoryview, rows: int, size_bytes: int) -> None:
    """Sets right the counters of a source that its puts add to. As a worker starts, before the first put.

    Dying in here: it is done once more, and comes to the same.

    Args:
        words: as for `TiedToTakes`: what the page had counted when the counters began.
        rows, size_bytes: that the put page has counted. A page that was made anew begins at 0; the counters go on.
    """
    for at, (name, total) in enumerate((("EventAcceptedCount", rows), ("body_bytes", size_bytes))):
        said = counters.get(name)
        known = (total - words[at]) & _MASK if words[_BEGUN] else 0
        if said < known <= said + total:
            counters.set(name, known)
            said = known
        words[at] = (total - said) & _MASK
    words[_BEGUN] = 1
