"""Holding the take side of a lane: at most one process takes, and who took when it died stays known.

A lock says that a process holds the lane, and dies with it. The HOLDER word says for which sink worker, and stays: what
a dead holder has delivered may not be committed, so only that same sink takes the lane over (it settles its target
first), or another one after the lane was disowned. The home sink of a lane sets WANTED to have it back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from shipper.shared.segment import Segment
from shipper.shared.words import Words, full_fence


class HoldWords(NamedTuple):
    """Where the words and the lock of one lane's take side are.

    Attributes:
        segment: the file they are in; `role` is the lock's byte.
        words: its words, in which `epoch`, `asleep`, `holder` and `wanted` are offsets.
        epoch: how often a process has taken the lane.
        asleep: 1 = the holder, or the lane's home, wants its bell rung when something comes.
        holder: id of the sink worker; 0 = nobody, and nothing of it is unsettled.
        wanted: 1 = the lane's home asks for it.
    """

    segment: Segment
    role: int
    words: Words
    epoch: int
    asleep: int
    holder: int
    wanted: int

    def disown(self, sink: int, count: Callable[[], None] | None = None) -> bool:
        """Frees a lane whose holder `sink` is dead and could not be settled: others may take from it now.

        What it delivered and did not commit comes twice. Only the supervisor may. False when it is not so.

        Args:
            count: writes down that it happened. Dying behind it, before the lane is free: it is done at the next start
                and written down once more, so what it counts are lanes that may have been disowned.
        """
        if self.words.load(self.holder) != sink or not self.segment.try_lock(self.role):
            return False
        if count is not None:
            count()
        self.words.publish(self.holder, 0)
        self.segment.unlock(self.role)
        return True


class TakeSide(ABC):
    """One process's take side of one lane, as far as it is about who holds it.

    Args:
        sink: id of this sink worker, not 0.

    Attributes:
        held: this process may take.
    """

    def __init__(self, hold: HoldWords, sink: int) -> None:
        self.sink = sink
        self.held = False
        self._hold = hold
        self._epoch = 0

    @property
    def holder(self) -> int:
        """Id of the sink worker that holds the lane, or held it when it died; 0 when the lane is free."""
        return self._hold.words.load(self._hold.holder)

    def try_hold(self) -> bool:
        """Takes the lane if it is free, or was this sink's own before. True when this process holds it now."""
        if self.held:
            return True
        segment, role, words, epoch, _, holder, wanted = self._hold
        if self.holder not in (0, self.sink) or not segment.try_lock(role):
            return False
        if self.holder not in (0, self.sink):  # somebody was faster, and died since
            segment.unlock(role)
            return False
        self._epoch = words.load(epoch) + 1
        words.publish(epoch, self._epoch)
        words.publish(holder, self.sink)
        if self.wanted:
            words.publish(wanted, 0)
        self.held = True
        self._begin()
        return True

    def let_go(self) -> None:
        """Frees the lane for another sink. Only between transactions, when nothing of this sink is unsettled."""
        if self.held:
            self.rewind()
            self._hold.words.publish(self._hold.holder, 0)
            self._unlock()

    @property
    def wanted(self) -> bool:
        """True when the lane's home sink asked for it."""
        return bool(self._hold.words.load(self._hold.wanted))

    def want(self) -> None:
        """Asks the present holder for the lane. Only its home sink may."""
        self._hold.words.publish(self._hold.wanted, 1)

    def sleeping(self, asleep: bool) -> None:
        """Says whether this sink's bell is to be rung when there is something to take."""
        self._hold.words.publish(self._hold.asleep, int(asleep))
        full_fence()

    @abstractmethod
    def rewind(self) -> None:
        """Goes back to the last commit: rollback."""

    @abstractmethod
    def _begin(self) -> None:
        """The lane has just become this process's: looks where the last commit left it."""

    def _unlock(self) -> None:
        """Gives the lock up; the lane stays named as held unless its word says otherwise."""
        if self.held:
            self._hold.segment.unlock(self._hold.role)
            self.held = False
