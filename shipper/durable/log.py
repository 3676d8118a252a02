"""The writer of a log: whole puts are appended, one sync makes all that waited durable, and readers are told.

One process per log. It appends to one segment at a time. What is true when the process, or the machine, dies::

    append, flush   the put was not acknowledged; after a death of the machine it is there whole or not at all, after
                    the death of the process alone not at all (with `readable_before_sync`: whole, once flushed)
    sync            the same, until it returns; then the put is there whatever dies
    a new segment   it was whole before it was needed; all that is in the one before is durable
    checkpoint      the one before counts, or this one: both are true, the older one is read on from longer

Seqs, segment numbers and generations are counted in 64 bits; 2 ** 64 records of one microsecond are 500,000 years.

The file is long because the order of its steps is one argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from shipper.durable.absent import Noted, refuse_absent, refuse_unmounted
from shipper.durable.active import Active
from shipper.durable.board import Tail, removed
from shipper.durable.directory import Claim, translated
from shipper.durable.disk import Disk
from shipper.durable.layout import NONCE_BYTES, TAG_BYTES, Opening, record_length
from shipper.durable.opening import Opened, open_log
from shipper.durable.segment import discard
from shipper.durable.settings import Entry, LogSettings
from shipper.durable.state import LaneState, Position, State, position_bytes
from shipper.durable.supply import Supply
from shipper.durable.window import Window
from shipper.errors import ComponentFailed, DamagedData

#: Gathered records are written when they are so many bytes.
_GATHER_BYTES = 1 << 20
#: A recovery never has more records to read than these and the last sync's.
_RECORDS_BETWEEN_CHECKPOINTS = 50_000


class _Appended(NamedTuple):
    """A put that is appended and not durable yet."""

    producer: int
    put: int
    entries: Sequence[Entry]
    tails: Sequence[Tail]


class Log:
    """An open log, this process its writer. Made by `open`.

    Attributes:
        settings: as given.
        recovered: what opening it found.
        board: for meters and for the writer's own sleep words.
        appended_seq: of the last record that was appended; 0 = none ever.
        durable_seq: of the last one that is durable, and with it everything before: what may be acknowledged.
        full_because: why the last `append` found no room.
    """

    def __init__(self, disk: Disk, settings: LogSettings, claim: Claim, opened: Opened, window: Window) -> None:
        self._disk = disk
        self.settings = settings
        self._claim = claim
        self._keeper = keeper = opened.keeper
        self.board = board = opened.board
        state = keeper.state
        self.recovered = opened.recovered
        self.appended_seq = self.durable_seq = state.last_seq
        self.full_because = ""
        self._failed = ""
        self._supply = Supply(
            disk, settings.data_dirs, state.log_id, state.next_number, settings.segment_bytes,
            settings.minimum_free_bytes, settings.keys,
        )  # fmt: skip
        self._window = window
        self._active: Active | None = None
        #: Where the durable records end.
        self._synced = state.scan
        self._pending: list[_Appended] = []
        self._pending_bytes = 0
        self._producers = dict(state.producers)
        self._tails = {key: lane.tail for key, lane in state.lanes.items()}
        self._indices = board.lanes()
        self._overhead = NONCE_BYTES + TAG_BYTES if settings.keys is not None else 0
        self._checkpointed_s: float | None = None
        self._records = 0

    @classmethod
    def open(
        cls,
        settings: LogSettings,
        lanes: Sequence[str],
        origins_of: Callable[[memoryview], Iterable[Position]],
        *,
        window: Window | None = None,
        noted: Noted | None = None,
        disk: Disk | None = None,
    ) -> Log:
        """Takes the directories over, recovers what is there, and is ready to append. Makes them when missing.

        Args:
            lanes: the sink workers that lanes are home to (`k1.0`). Lanes of before that are not named stay on the
                board until they are drained.
            origins_of: the origins that stand in a body; asked for records that are newer than the checkpoint.
            window: in which readers see the newest bytes; the log's from now on. None = they read the files.
            noted: the log that is known to have lain here: it is missed when nothing lies here now.
            disk: file operations; another one in tests.

        Raises:
            ConfigurationError: the directories can't be used: another process uses them, they are another user's, can't
                be written, hold a Flume file channel, a newer version's files, or need a key that is not given. The
                message says what is safe and what to do.
            ComponentFailed: the disk failed, or is too full for a checkpoint.
        """
        disk = disk or Disk()
        claim = Claim(disk)
        try:
            # Nothing is made where a disk may be missing, before what is known of the log was asked about it.
            if noted is not None:
                refuse_unmounted(disk, settings, noted)
            claim.take(settings.checkpoint_dirs)
            refuse_absent(disk, settings)
            claim.take(settings.data_dirs)
            return cls(disk, settings, claim, open_log(disk, settings, lanes, origins_of), window or Window.make(None))
        except OSError as problem:
            claim.give_back()
            found = Path(problem.filename) if problem.filename else settings.checkpoint_dir
            raise translated(problem, found if found.is_dir() else found.parent) from problem
        except BaseException:
            claim.give_back()
            raise

    # --- putting

    def put_of(self, producer: int) -> int:
        """Number of the last put of a producer that the log has (appended or recovered); 0 = none.

        A producer is whoever numbers its puts: a ring that is read again after the writer died skips what is not
        larger. Its identity must not be used for another numbering (put the boot id and the ring's inode into it). Of
        so many producers as a checkpoint has room for (4,096), those that put last are remembered.
        """
        return self._producers.get(producer, 0)

    def append(self, producer: int, put: int, entries: Sequence[Entry]) -> int | None:
        """Appends the records of one put, all or none.

        Small puts are gathered and written together by `flush` or `sync`, or when enough has come together. Nothing
        is durable before `sync`; an append that begins a new segment syncs what came before.

        Args:
            put: number of the put; larger than `put_of(producer)`, or 0 when the producer does not number.
            entries: at least one; their lanes were given to `open` or are on the board.

        Returns:
            The seq of its last record: the put may be acknowledged when `durable_seq` has reached it. None when there
            is no room (`full_because`): nothing was appended; try again after `tick`.

        Raises:
            ComponentFailed: the disk failed twice.
        """
        if self._failed:
            self._alive()
        size_bytes = positions_bytes = 0
        for entry in entries:
            size_bytes += record_length(sum(map(len, entry.views)) + self._overhead)
            for origin in entry.origins:
                positions_bytes += position_bytes(origin[0], origin[3])
        if not self._make_room(size_bytes, positions_bytes):
            return None
        active, seq, last = self._active, self.appended_seq, self.appended_seq + len(entries)
        assert active is not None
        tails = []
        for entry in entries:
            seq += 1
            _, rows, counted_bytes = self._tails[entry.lane]
            tail = Tail(seq, rows + entry.rows, counted_bytes + entry.size_bytes)
            active.append(entry, tail, self.durable_seq, producer, put, more=seq < last)
            self._tails[entry.lane] = tail
            tails.append(tail)
        self.appended_seq = seq
        self._pending.append(_Appended(producer, put, entries, tails))
        self._pending_bytes += positions_bytes
        if put:
            self._producers[producer] = put
        if active.gathered_bytes >= _GATHER_BYTES:
            self.flush()
        return self.appended_seq

    def flush(self) -> int:
        """Writes what was gathered, without syncing it; returns `appended_seq`.

        With `readable_before_sync` the readers see it.

        Raises:
            ComponentFailed: as `sync`.
        """
        self._alive()
        if self._active is not None:
            try:
                self._active.write()
            except OSError as problem:
                self._move_on(problem)
            else:
                self._publish()
        return self.appended_seq

    def sync(self) -> int:
        """Makes everything that was appended durable, by one sync, tells the readers, and returns `durable_seq`.

        A sync that fails is never tried again on that file: the records go to a new one, which is synced.

        Raises:
            ComponentFailed: that failed as well. Nothing above `durable_seq` may be acknowledged, now or later; the log
                takes nothing more. Opening it again is safe.
        """
        self._alive()
        if self._pending:
            assert self._active is not None
            try:
                self._active.write()
                self._active.sync()
            except OSError as problem:
                self._move_on(problem)
            else:
                self._settle()
            if self._records >= _RECORDS_BETWEEN_CHECKPOINTS:
                self.checkpoint()
        return self.durable_seq

    # --- around it

    def tick(self, now_s: float) -> None:
        """Work beside the data: prepares the next segment, writes the checkpoint when it is due, removes segments
        that all lanes have delivered. Call about once a second, and after `append` found no room.

        Needs no new disk blocks except for the next segment.

        Args:
            now_s: of a monotonic clock, always the same one.

        Raises:
            ComponentFailed: no checkpoint can be stored.
        """
        self._alive()
        active = self._active
        if active is not None and active.half_full and self._supply.prepared is None:
            try:
                self._supply.prepare()
            except OSError as problem:
                self._keeper.notes.append(f"the next segment can't be prepared yet: {problem.strerror}")
        if self._checkpointed_s is None:
            self._checkpointed_s = now_s
        self._keeper.refresh_heads(self.board)
        due = now_s - self._checkpointed_s >= self.settings.checkpoint_interval_s
        if self._keeper.wants_another or (due and self._keeper.changed(self.durable_seq)):
            self.checkpoint()
        if due:
            self._checkpointed_s = now_s

    def checkpoint(self) -> None:
        """Writes the checkpoint now, with the heads that readers have synced.

        Raises:
            ComponentFailed: no copy of it can be stored.
        """
        self._alive()
        self._keeper.refresh_heads(self.board)
        self._keeper.store(self._synced, self.durable_seq, self._supply.next_number)
        self._records = 0
        self._publish_segments()

    def notes(self) -> list[str]:
        """What went wrong since the last call and could be done without, for the person."""
        found, self._keeper.notes = self._keeper.notes, []
        return found

    def positions(self) -> Mapping[str, Position]:
        """The last origin of each stream that is durable: where a replayable source goes on.

        Beyond 32 MiB of them, those that were not touched for the longest time are forgotten.
        """
        return self._keeper.state.positions

    def refuse_removed(self) -> None:
        """Looks whether what it writes to has its name still: into a file without one, rows go for good.

        Raises:
            ComponentFailed: it has not. What was acknowledged since the look before may be lost.
        """
        segment = [] if self._active is None else [self._keeper.paths[self._active.identity.number]]
        for path in (self.settings.board, *segment):
            if not path.exists():
                raise ComponentFailed(removed(path))

    @property
    def rows(self) -> int:
        """Rows in the log that are not delivered, appended ones included."""
        return sum(tail.rows - self.board.head(self._indices[key]).rows for key, tail in self._tails.items())

    @property
    def behind_oldest(self) -> int:
        """Seq that the readers have to reach before the oldest segment can be given back to the disk."""
        numbers = sorted(self._keeper.state.segments)
        return self._keeper.state.segments[numbers[1]] if len(numbers) > 1 else self.durable_seq + 1

    @property
    def size_bytes(self) -> int:
        """Bytes of those rows."""
        return sum(
            tail.size_bytes - self.board.head(self._indices[key]).size_bytes for key, tail in self._tails.items()
        )

    def outline(self, *, stopped: bool = False) -> State:
        """What has to be known elsewhere, so that this log is missed where it is not: all but its rows and positions.

        Args:
            stopped: nothing is put, or taken, behind this.
        """
        state = self._keeper.state
        lanes = {}
        for key, lane in state.lanes.items():
            try:
                head = self.board.head(self._indices[key])
            except DamagedData:
                head = lane.head
            lanes[key] = LaneState(lane.name, lane.tail, head)
        return State(
            state.log_id, self.durable_seq, state.last_seq, self._supply.next_number,
            self._synced._replace(closed=True), dict(state.segments), lanes, directories=state.directories,
            stopped=stopped,
        )  # fmt: skip

    def close(self) -> None:
        """Syncs, writes the checkpoint and gives the directories back. The board stays, readers may go on reading.

        Raises:
            ComponentFailed: as `sync` and `checkpoint`; the directories are given back all the same.
        """
        try:
            if not self._failed:
                self.sync()
                self._supply.drop()
                self._keeper.state.stopped = True
                self._synced = self._synced._replace(closed=True)
                self.checkpoint()
                if self._active is not None:
                    self._active.release_rest(self._synced.offset)
        finally:
            if self._active is not None:
                self._active.close()
            self._keeper.close()
            self.board.close()
            self._claim.give_back()
            self._window.close()

    # --- inside

    def _alive(self) -> None:
        if self._failed:
            raise ComponentFailed(self._failed)

    def _make_room(self, records_bytes: int, positions_bytes: int) -> bool:
        try:
            self._keeper.reserve(self._pending_bytes + positions_bytes)
        except OSError as problem:
            self.full_because = f"no room for a larger checkpoint: {problem.strerror}"
            return False
        if self._active is not None and self._active.has_room(records_bytes):
            return True
        self.sync()  # what is in a segment is durable before the next one is begun
        if self._active is not None and self._active.has_room(records_bytes):
            return True
        try:
            if not self._supply.prepare(records_bytes) and not (
                self._retire() and self._supply.prepare(records_bytes)
            ):  # fmt: skip
                self.full_because = self._supply.refused
                return False
            if self._active is not None:
                self.checkpoint()
            self._begin()
        except OSError as problem:
            # Once more with another file: a disk that fails twice in a row is given up.
            self._keeper.notes.append(f"a segment could not be begun ({problem.strerror}); another one is tried")
            try:
                if not self._supply.prepare(records_bytes):
                    self.full_because = self._supply.refused
                    return False
                self._begin()
            except OSError as again:
                self._fail(again)
        return True

    def _retire(self) -> bool:
        """Gives up the last segment when everything in it is delivered: on a full disk its space is the only one.

        It goes when two checkpoints say so. Dying in between leaves a log without, or with a drained, last segment.
        """
        self._keeper.refresh_heads(self.board)
        if not self._keeper.state.segments or self._keeper.state.first_waiting() <= self.durable_seq:
            return False
        if self._active is not None:
            self._active.close()
            self._active = None
        self._synced = self._synced._replace(closed=True)
        self._keeper.retiring = True
        self.checkpoint()
        self.checkpoint()
        self._keeper.retiring = False
        return True

    def _begin(self) -> None:
        """Goes on in the prepared segment, behind what is durable. Nothing is in it before the next sync."""
        prepared = self._supply.take()
        before = self._synced
        opening = Opening(
            self.durable_seq + 1, before.number, before.offset, before.seq, before.chain, prepared.identity.segment_id
        )
        try:
            # What is not synced soon is written often, and better gathered by the kernel.
            direct = not self.settings.readable_before_sync
            active = Active(self._disk, prepared, opening, self.settings.keys, self._window, direct=direct)
        except OSError:
            discard(self._disk, prepared.path)
            raise
        if self._active is not None:
            self._active.close()
        self._active = active
        self._synced = active.place
        self._keeper.paths[prepared.identity.number] = prepared.path
        self._keeper.state.segments[prepared.identity.number] = opening.base_seq
        self._publish_segments()

    def _move_on(self, problem: OSError) -> None:
        """A write or a sync failed: what is not durable is written to a new segment, and synced there."""
        old = self._active
        assert old is not None
        self._keeper.notes.append(
            f"{old.path} failed ({problem.strerror}): {len(self._pending)} puts that were not acknowledged are written "
            f"to another file"
        )
        needed = sum(record_length(sum(map(len, e.views)) + self._overhead) for p in self._pending for e in p.entries)
        try:
            if not self._supply.prepare(needed):
                self._failed = (
                    f"{old.path} failed ({problem.strerror}), and there is {self._supply.refused}. Nothing that was "
                    f"acknowledged is lost; make room, or repair the disk"
                )
                raise ComponentFailed(self._failed)
            self._begin()
            active = self._active
            assert active is not None
            for appended in self._pending:
                last = appended.tails[-1]
                for entry, tail in zip(appended.entries, appended.tails, strict=True):
                    active.append(
                        entry, tail, self.durable_seq, appended.producer, appended.put, more=tail is not last
                    )  # fmt: skip
            active.write()
            active.sync()
        except OSError as again:
            self._fail(again)
        self._settle()

    def _fail(self, problem: OSError) -> None:
        self._failed = (
            f"the disk failed twice in a row ({problem.strerror}): the channel takes nothing more. What was "
            f"acknowledged is as safe as the disk; look at `dmesg`"
        )
        raise ComponentFailed(self._failed) from problem

    def _settle(self) -> None:
        """Everything that was appended is durable."""
        assert self._active is not None
        state = self._keeper.state
        self._synced = self._active.place
        self.durable_seq = state.last_seq = self.appended_seq
        for appended in self._pending:
            for entry, tail in zip(appended.entries, appended.tails, strict=True):
                state.lanes[entry.lane].tail = tail
                if entry.origins:
                    state.add_origins(entry.origins)
            state.add_put(appended.producer, appended.put)
            self._records += len(appended.entries)
        self._pending.clear()
        self._pending_bytes = 0
        self._publish()

    def _publish(self) -> None:
        board = self.board
        board.publish(self.appended_seq, self.durable_seq)
        if self.settings.readable_before_sync or self.durable_seq == self.appended_seq:
            for key, tail in self._tails.items():
                index = self._indices[key]
                if board.tail(index).seq < tail.seq:
                    board.publish_tail(index, tail)

    def _publish_segments(self) -> None:
        segments = self._keeper.state.segments
        active = self._active.identity.number if self._active is not None else 0
        self.board.publish_segments(active, min(segments, default=0))
