"""The take side of a file channel: one sink worker's transactions over the lanes of the log.

The commit of a transaction is one stored word of the channel's board. Lanes change hands as `channels/_leases.py` says.
What was taken is a copy out of the log's window, or a view of its file: checked once, and valid as long as somebody
holds it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from shipper.api import Clock
from shipper.batch import wire
from shipper.batch.batch import EventBatch
from shipper.channels._lease import LeasedTake
from shipper.channels._leases import LeasedTakeSide
from shipper.channels.file.lease import LogLane, LogLease
from shipper.channels.file.way import make_way
from shipper.durable.board import Board, removed
from shipper.durable.keys import Keys
from shipper.durable.reader import Reader
from shipper.durable.window import Window
from shipper.errors import ComponentFailed
from shipper.ring.wait import Bell


class FileTake(LeasedTake[LogLease]):
    """Rows of one lane of the log, gone at commit or back at rollback."""

    def next_of(self, lane: LogLease) -> EventBatch | None:
        reader = lane.reader
        record = reader.peek()
        if record is None:
            return None
        if lane.older_elsewhere is not None and lane.older_elsewhere(record.producer, record.put):
            return None
        done = reader.rows_done
        batch = wire.decode(record.body)
        reader.step()
        self.size_bytes += len(record.body)
        return batch.slice(done) if done else batch


class FileTakeSide(LeasedTakeSide[LogLease]):
    """A sink worker's way out of its file channel.

    Args:
        board: path of the channel's board; its writer has opened the log.
        data_dirs: of the log.
        routes: all lanes of the log.
        sink: id of this sink worker, unique in the agent and not 0.
        writer: path of the writer's bell.
        window: where the writer shares the newest bytes of the log.
        keys: needed when the log is encrypted.
        drops_oldest, max_age_s: of the channel: what `make_way` gives up.
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
        window: Path | None = None,
        keys: Keys | None = None,
        drops_oldest: bool = False,
        max_age_s: float = 0.0,
        clock: Clock | None = None,
        say: Callable[[str, str], None] = lambda level, line: None,
    ) -> None:
        self.board = Board.open(board)
        self._path, self._inode = board, board.stat().st_ino
        self.writer = Bell(writer)
        self._say = say
        self._window = newest = Window.open(window)
        readers = [Reader(self.board, data_dirs, route.lane, sink, keys=keys, window=newest) for route in routes]
        lanes = [LogLease(route, reader, self.writer) for route, reader in zip(routes, readers, strict=True)]
        super().__init__(lanes, sink, drops_oldest=drops_oldest, max_age_s=max_age_s, clock=clock)

    def sequence(self) -> int:
        """The largest sink sequence that a commit of this sink stored in any lane."""
        return sequence_of(self.board, self.sink)

    def transaction(self) -> FileTake:
        """A new transaction over the lane whose turn it is. One at a time."""
        return FileTake(self.choose(), self.others_wait)

    def make_way(self) -> tuple[int, int]:
        """As for every channel; and what was lost in the log is said."""
        for lane in self.lanes:
            while lane.reader.lost:
                self._say("error", lane.reader.lost.popleft())
        return super().make_way() if self._makes_way else (0, 0)

    def give_up(self, lane: LogLease, oldest_ms: int) -> tuple[int, int]:
        synced = lane.synced
        gone = make_way(lane, oldest_ms)
        if any(gone):
            if synced:  # and nothing was added at a target since: the disk is given back at once
                lane.publish_durable()
            self.writer.ring()
        return gone

    def lane(self, name: str) -> LogLease | None:
        """The lane that was made for a sink worker; None when the log has none."""
        return next((lane for lane in self.lanes if lane.name == name), None)

    def sleeping(self, asleep: bool) -> None:
        """Says on every lane that this worker holds or is home to whether it sleeps.

        Raises:
            ComponentFailed: the writer has made another board, in place of one that was damaged; or it was removed.
        """
        if asleep:
            try:
                inode = self._path.stat().st_ino
            except FileNotFoundError:
                raise ComponentFailed(removed(self._path)) from None
            if inode != self._inode:
                raise ComponentFailed(f"{self._path} was made anew: this worker starts again, and opens the new one")
        super().sleeping(asleep)

    @property
    def lost_bytes(self) -> int:
        """Bytes that were stepped over because they are damaged: rows are known here, so none."""
        return 0

    def close(self) -> None:
        """Lets go of the files. Leases end as the process ends: give them up first when the stop is clean."""
        super().close()
        self.board.close()
        self.writer.close()
        if self._window is not None:
            self._window.close()


def sequence_of(board: Board, sink: int) -> int:
    """The largest sequence of a sink's journal that a commit on the board names."""
    heads = (board.head(index) for index in board.lanes().values())
    return max((head.sequence for head in heads if head.sink == sink), default=0)
