"""The keeper of a log's state: it writes the checkpoint, and removes segments that nobody needs any more.

A segment is removed only after checkpoints that do not list it are durable, and only when the heads of the checkpoint
before that one were behind it too: whichever slot is read next, what it names is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from shipper.durable.board import Board, Head
from shipper.durable.came_back import said_aside, set_aside
from shipper.durable.checkpoint import CHECKPOINT_NAME, Checkpoint
from shipper.durable.disk import Disk
from shipper.durable.segment import SegmentFile, discard
from shipper.durable.state import Place, State
from shipper.errors import ComponentFailed, DamagedData


class Keeper:
    """Keeps what is stored in step with what is true.

    Args:
        state: as recovered.
        generation: of the checkpoint that was found, 0 when none was.
        directories: of the copies of the checkpoint.
        files: the segments that are there.
        low: seq below which the heads of the checkpoint that was found had delivered everything.

    Attributes:
        state: what counts as durable; its `scan`, `durable_seq` and `next_number` are set by who stores it.
        paths: where each segment lies, by number.
        retiring: the last segment is closed and may be removed too, once everything is delivered.
        notes: what went wrong and could be done without, for the person; the caller empties it.
    """

    def __init__(
        self, disk: Disk, state: State, generation: int, directories: Sequence[Path], files: Sequence[SegmentFile],
        low: int,
    ) -> None:  # fmt: skip
        self._disk = disk
        self.state = state
        self.generation = generation
        self.paths = {file.number: file.path for file in files}
        self.notes: list[str] = []
        self.retiring = False
        self._low_before = low
        self._copies = [Checkpoint(disk, directory / CHECKPOINT_NAME) for directory in directories]
        self._slot_bytes = 0
        self._heads_before: list[Head] = []
        for copy in self._copies:
            try:
                copy.open()
            except OSError as problem:
                self.notes.append(f"{copy.path} can't be opened ({problem.strerror}) and is written anew")
        self._measure()

    def refresh_heads(self, board: Board) -> None:
        """Takes over how far the readers have synced what they delivered."""
        for key, index in board.lanes().items():
            lane = self.state.lanes.get(key)
            try:
                head = board.synced_head(index)
            except DamagedData as problem:
                self.notes.append(str(problem))
                continue
            if lane is not None and (head.seq, head.rows_done) >= (lane.head.seq, lane.head.rows_done):
                lane.head = head

    def removable(self) -> list[int]:
        """Numbers of the segments that can go with the next checkpoint.

        The last one goes only when it is closed: else it is the active one, or a start goes on behind it.
        """
        low = min(self.state.first_waiting(), self._low_before)
        if self.retiring and low > self.state.last_seq:
            return sorted(self.state.segments)
        found = []
        numbers = sorted(self.state.segments)
        for number, after in pairwise(numbers):
            if self.state.segments[after] > low:
                break
            found.append(number)
        return found

    @property
    def wants_another(self) -> bool:
        """True when a further checkpoint would let segments go."""
        numbers = sorted(self.state.segments)
        return len(numbers) > 1 and self.state.segments[numbers[1]] <= self.state.first_waiting()

    def changed(self, durable_seq: int) -> bool:
        """True when a checkpoint would say something new."""
        return self._stored_heads() != self._heads_before or durable_seq != self.state.durable_seq

    def reserve(self, more_bytes: int) -> None:
        """Makes room for a state that is so many bytes larger.

        Raises:
            OSError: there is none; the stored one is as it was.
        """
        needed = self.state.payload_bytes + more_bytes
        if needed > self._slot_bytes:
            payload = self.state.to_bytes()
            for copy in self._copies:
                copy.reserve(needed + needed // 2, self.generation, payload)
            self._measure()

    def store(self, scan: Place, durable_seq: int, next_number: int) -> None:
        """Stores the state as of `scan`, durably; then removes segments.

        Raises:
            ComponentFailed: no copy could be stored. What is stored is older and still true.
        """
        state = self.state
        state.scan, state.durable_seq, state.next_number = scan, durable_seq, next_number
        state.last_seq = max(state.last_seq, durable_seq)
        removable = self.removable()
        left = {number: base for number, base in state.segments.items() if number not in removable}
        listed, state.segments = state.segments, left
        # What was delivered and goes now is named by the checkpoint that leaves it out: a file that is in no list and
        # not among these may hold what nobody has delivered.
        state.absent.intersection_update(listed)
        state.going.update(n for n in removable if n in self.paths and n not in state.absent)
        returned = [n for n in removable if n in self.paths and n in state.absent]
        absent, state.absent = state.absent, state.absent.difference(removable)
        payload = state.to_bytes()
        failures = []
        for copy in self._copies:
            try:
                copy.store(self.generation + 1, payload)
            except OSError as problem:
                failures.append(f"{copy.path}: {problem.strerror}")
        self._measure()
        if failures:
            state.segments, state.absent = listed, absent  # a copy that is older lists them still
            state.going.difference_update(listed)
            if len(failures) == len(self._copies):
                raise ComponentFailed(
                    f"the checkpoint can't be stored ({'; '.join(failures)}). What was acknowledged is safe; free "
                    f"space, or repair the disk"
                )
            self.notes.append(f"a copy of the checkpoint can't be stored: {'; '.join(failures)}")
            self.generation += 1
            return
        self.generation += 1
        self._heads_before = self._stored_heads()
        self._low_before = state.first_waiting()
        for number in returned:
            self._set_aside(self.paths.pop(number))
        # Dying between two of these leaves files that no checkpoint lists: they are removed at the next start, because
        # the checkpoint says that they go. It says so until their removal is durable.
        directories = set()
        for number in removable:
            path = self.paths.pop(number, None)
            if path is not None:
                discard(self._disk, path)
                directories.add(path.parent)
        kept = len(self.notes)
        for directory in directories:
            try:
                self._disk.sync_directory(directory)
            except OSError as problem:
                self.notes.append(f"{directory}: {problem.strerror} while removed segments were made durable")
        if len(self.notes) == kept:
            state.going.clear()

    def close(self) -> None:
        """Gives the files back."""
        for copy in self._copies:
            copy.close()

    def _set_aside(self, path: Path) -> None:
        """A segment that was away for a while goes: some of it may have been passed in that time."""
        try:
            self.notes.append(said_aside(path, set_aside(self._disk, path)))
        except OSError as problem:  # it is in no list: the next start tries again
            self.notes.append(f"{path} can't be set aside: {problem.strerror}")

    def _stored_heads(self) -> list[Head]:
        return [lane.head for lane in self.state.lanes.values()]

    def _measure(self) -> None:
        self._slot_bytes = min(copy.room_bytes for copy in self._copies)
