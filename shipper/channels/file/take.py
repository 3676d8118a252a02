"""The take side of a file channel: one sink worker's transactions over the lanes of the log.

A transaction takes from one lane of the log; its commit is one stored word of the channel's board. Lanes change hands
as those of a memory channel do (`channels/memory/take.py`): a lane's home is the sink worker that it was made for.

What was taken is a view of the log's file, where the kernel keeps it: checked once, and valid as long as somebody holds
it.

The file is long because a transaction and the leases that it is drawn from change together.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from shipper.batch import wire
from shipper.batch.batch import EventBatch
from shipper.channels.channel import TakeTransaction
from shipper.channels.file import tally
from shipper.durable.board import GENERATION, Board, Head, lane_at
from shipper.durable.keys import Keys
from shipper.durable.reader import Reader
from shipper.errors import ComponentFailed
from shipper.ring.wait import Bell
from shipper.shared.tally import TakeTally, sink_key


class LogLane(NamedTuple):
    """A lane of the log as a sink worker is told of it.

    Attributes:
        lane: its id.
        name: of the sink worker that it was made for.
        home: True when that is this one.
    """

    lane: int
    name: str
    home: bool


class _Leased:
    """A lane of the log as its sink worker sees it."""

    def __init__(self, route: LogLane, reader: Reader) -> None:
        self.home = route.home
        self.name = route.name
        self.reader = reader
        self._inherits = False
        self._tally = self._tally_after = TakeTally()
        self._lost_rows = 0

    def try_hold(self) -> bool:
        """Takes the lane if it may be taken; True when this process holds it now."""
        reader = self.reader
        if not reader.held and reader.try_hold():
            head, synced = reader.committed, reader.board.synced_head(reader.index)
            # Another sink committed here, and died before it had said that what it wrote is durable.
            self._inherits = head.sink not in (0, reader.sink) and synced.seq < head.seq
            self._tally = self._tally_after = tally.read(reader.board, reader.index)[1]
            self._lost_rows = reader.lost_rows
        return reader.held

    def book(self, sink: int, rows: int, size_bytes: int, aside: int) -> None:
        """Says of rows before the cursor that a sink has delivered or set them aside. Stored with the commit."""
        self._tally_after = self._tally_after.booked(sink, rows, size_bytes, aside)

    def release(self, sequence: int) -> bool:
        """Commits, with the tally; True when the writer sleeps and wants to know.

        Dying between the two: the tally is of a generation that never was.
        """
        reader = self.reader
        lost = reader.lost_rows - self._lost_rows
        after = self._tally_after._replace(lost=self._tally_after.lost + lost)
        tally.write_next(reader.board, reader.index, after)
        # Whether the target still has the rows after a power cut is said later (`mark_synced`).
        asleep = reader.release(sequence, synced=False)
        self._tally = self._tally_after = after
        self._lost_rows = reader.lost_rows
        return asleep

    def rewind(self) -> None:
        """Goes back to the last commit."""
        self.reader.rewind()
        self._tally_after = self._tally

    def mark_synced(self, head: Head | None = None) -> None:
        """What was committed up to `head` (None: up to now) survives the death of the machine."""
        if self.reader.held and self._inherits:
            os.sync()  # what the dead sink wrote is somewhere: seldom, and then all of it
            self._inherits = False
        self.reader.mark_synced(head)


class FileTake(TakeTransaction):
    """Rows of one lane of the log, gone at commit or back at rollback.

    Args:
        lane: the lane that was chosen; None when none has rows.
        side: whose transaction it is.
    """

    def __init__(self, lane: _Leased | None, side: FileTakeSide) -> None:
        super().__init__()
        self._lane = lane
        self._side = side
        self.rows = 0
        self.size_bytes = 0
        self.sequence = 0

    def take(self) -> EventBatch | None:
        """The next rows as a view; None when there are none now. Records without rows are stepped over."""
        self._must_be("OPEN", "take")
        if self._lane is None:
            return None
        reader = self._lane.reader
        while (record := reader.peek()) is not None:
            done = reader.rows_done
            batch = wire.decode(record.body)
            reader.step()
            self.size_bytes += len(record.body)
            if batch.rows > done:
                self.rows += batch.rows - done
                return batch.slice(done) if done else batch
        return None

    @property
    def crowded(self) -> bool:
        return self._side.others_wait(self._lane)

    @property
    def mark(self) -> tuple[str, int]:
        lane = self._lane
        return ("", 0) if lane is None else (lane.name, self._side.generation(lane.name) or 0)

    def book(self, sink: str, rows: int, size_bytes: int, aside: int) -> None:
        if self._lane is not None:
            self._lane.book(sink_key(sink), rows, size_bytes, aside)

    @property
    def more(self) -> bool:
        """True when another record waits in the transaction's lane."""
        return self._lane is not None and self._lane.reader.waiting

    def put_back(self) -> None:
        """Forgets all that was taken, but stays open: the same rows come again."""
        self._must_be("OPEN", "put_back")
        if self._lane is not None:
            self._lane.rewind()
        self.rows = self.size_bytes = 0

    def do_commit(self) -> None:
        lane = self._lane
        if lane is not None and lane.reader.moved and lane.release(self.sequence):
            self._side.writer.ring()

    def do_rollback(self) -> None:
        if self._lane is not None:
            self._lane.rewind()


class FileTakeSide:
    """A sink worker's way out of its file channel.

    Args:
        board: path of the channel's board; its writer has opened the log.
        data_dirs: of the log.
        routes: all lanes of the log.
        sink: id of this sink worker, unique in the agent and not 0.
        writer: path of the writer's bell.
        keys: needed when the log is encrypted.
        say: one line for the person.
    """

    def __init__(
        self,
        board: Path,
        data_dirs: Sequence[Path],
        routes: Sequence[LogLane],
        sink: int,
        writer: Path,
        *,
        keys: Keys | None = None,
        say: Callable[[str, str], None] = lambda level, line: None,
    ) -> None:
        self.sink = sink
        self.board = Board.open(board)
        self._path, self._inode = board, board.stat().st_ino
        self.writer = Bell(writer)
        self._say = say
        self._said = 0
        self._lanes = [_Leased(route, Reader(self.board, data_dirs, route.lane, sink, keys=keys)) for route in routes]
        self._turn = 0
        self._held_back = False
        self.vouches: Callable[[], bool] = _yes

    def sequence(self) -> int:
        """The largest sink sequence that a commit of this sink stored in any lane."""
        return sequence_of(self.board, self.sink)

    def settle(self) -> None:
        """Takes back the lanes that this sink held when it died, and its home lanes where they are free."""
        for lane in self._lanes:
            if lane.home or lane.reader.holder == self.sink:
                lane.try_hold()

    def transaction(self) -> FileTake:
        """A new transaction over the lane whose turn it is. One at a time."""
        return FileTake(self._choose(), self)

    def make_way(self) -> tuple[int, int]:
        """Nothing is given up here; what was lost in the log is said."""
        for lane in self._lanes:
            while lane.reader.lost:
                self._say("error", lane.reader.lost.popleft())
        return 0, 0

    def others_wait(self, mine: _Leased | None) -> bool:
        """True when rows wait in another lane that this worker holds."""
        return any(o is not mine and o.reader.held and o.reader.waiting for o in self._lanes)

    def generation(self, lane: str) -> int | None:
        """How often takes of that lane were committed; None when it is none of this channel's."""
        return next(
            (self.board.words.load(lane_at(o.reader.index) + GENERATION) for o in self._lanes if o.name == lane), None
        )

    def store_sequence(self, sequence: int) -> None:
        """Commits a sink sequence without taking anything. Between transactions."""
        for lane in self._lanes:
            if lane.reader.held:
                lane.rewind()
                lane.release(sequence)
                return

    def waiting(self) -> bool:
        """True when rows wait in a lane that this worker holds or could hold."""
        return self._choose() is not None

    def delivered_before_ms(self) -> int:
        """The time of this moment when nothing waits; 0 when something does: the log does not say since when."""
        now_ms = time.time_ns() // 1_000_000
        return 0 if any((lane.reader.held or lane.home) and lane.reader.waiting for lane in self._lanes) else now_ms

    def let_go(self, before: Callable[[], None]) -> None:
        """Gives all lanes up because the target can't take anything: others may deliver what waits in them.

        Args:
            before: makes what was committed durable, and the sink's journal independent of the commits; called once,
                first.
        """
        if any(lane.reader.held for lane in self._lanes):
            before()
        vouched = self.vouches()
        for lane in self._lanes:
            if vouched:
                lane.mark_synced()
            lane.reader.let_go()
        self._held_back = True

    def come_back(self) -> None:
        """The target may take rows again: ask for the home lanes."""
        self._held_back = False
        for lane in self._lanes:
            if lane.home and not lane.try_hold():
                lane.reader.want()

    def give_back(self, before: Callable[[], None]) -> None:
        """Gives up foreign lanes that are empty or that their home wants. Between transactions."""
        for lane in self._lanes:
            reader = lane.reader
            if reader.held and not lane.home and (reader.wanted or not reader.waiting):
                before()
                if self.vouches():
                    lane.mark_synced()
                reader.let_go()

    def committed(self) -> tuple[tuple[int, Head], ...]:
        """How far this worker's lanes are committed: for `publish_durable`, once that much is safe at the target."""
        return tuple((i, lane.reader.committed) for i, lane in enumerate(self._lanes) if lane.reader.held)

    def publish_durable(self, committed: Sequence[tuple[int, Head]], *, ring: bool = False) -> None:
        """Says that all that `committed` returned survives the death of the machine: a checkpoint may name it."""
        for index, head in committed:
            self._lanes[index].mark_synced(head)

    def sleeping(self, asleep: bool) -> None:
        """Says on every lane that this worker holds or is home to whether it sleeps.

        Raises:
            ComponentFailed: the writer has made another board, in place of one that was damaged.
        """
        if asleep and self._path.stat().st_ino != self._inode:
            raise ComponentFailed(f"{self._path} was made anew: this worker starts again, and opens the new one")
        for lane in self._lanes:
            if lane.reader.held or lane.home:
                lane.reader.sleeping(asleep)

    @property
    def alone(self) -> bool:
        """True when no other sink worker can take from the channel."""
        return all(lane.home for lane in self._lanes)

    @property
    def lost_bytes(self) -> int:
        """Bytes that were stepped over because they are damaged: rows are known here, so none."""
        return 0

    @property
    def lost_rows(self) -> int:
        """Rows that are damaged or missing and were stepped over."""
        return sum(lane.reader.lost_rows for lane in self._lanes)

    def close(self) -> None:
        """Lets go of the files. Leases end as the process ends: give them up first when the stop is clean."""
        for lane in self._lanes:
            lane.reader.close()
        self.board.close()
        self.writer.close()

    def _choose(self) -> _Leased | None:
        lanes = self._lanes
        for step in range(len(lanes)):
            lane = lanes[(self._turn + step) % len(lanes)]
            reader = lane.reader
            if not reader.held:
                if self._held_back or not reader.waiting:
                    continue
                if not lane.home and reader.wanted:
                    continue
                if not lane.try_hold():
                    if lane.home:
                        reader.want()
                    continue
            if reader.waiting:
                self._turn = (self._turn + step + 1) % len(lanes)
                return lane
        return None


def sequence_of(board: Board, sink: int) -> int:
    """The largest sequence of a sink's journal that a commit on the board names."""
    heads = (board.head(index) for index in board.lanes().values())
    return max((head.sequence for head in heads if head.sink == sink), default=0)


def _yes() -> bool:
    return True
