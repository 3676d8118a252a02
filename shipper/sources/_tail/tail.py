"""A tail: reads files as they grow, whole lines only, one file a batch, each file in its turn.

Theory of operation. `_look` finds out what may have changed (the watch's word, a sweep when it is due) and queues the
files that have something to read. `_next` takes the file whose turn it is, reads one block, and makes a batch of it
that shares the block. `committed` moves the place that a restart will find. Rules of this file:

* A file leaves the queue only when its end was seen; what is written after that is found by the next look.
* What is handed out lies between `committed` and `offset`; nothing is released before the two meet.
* No clock of the file system decides anything: a file changed when its size is not what we saw, or when the bytes
  before our offset are not those that we read.

The file is long because these rules hold over all of its verbs, and are easiest to check in one place.
"""

from __future__ import annotations

import resource
from collections import deque
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from shipper.api import EventBatch, Origin, SourceContext
from shipper.batch import kernels as pc
from shipper.sources._tail.copies import Copies
from shipper.sources._tail.files import FileSet, Places, belongs_to
from shipper.sources._tail.group import FileGroup
from shipper.sources._tail.identity import Mark
from shipper.sources._tail.lines import FileChanged, LineReader, Lines
from shipper.sources._tail.memory import Memory
from shipper.sources._tail.rescue import Rescue
from shipper.sources._tail.settings import TailSettings
from shipper.sources._tail.watch import DirectoryWatch
from shipper.sources._tail.watched import WatchedFile, printable

_LOOK_S = 0.05  # while there is work, ask the watch this often
_PACE_S = 0.002  # after a small batch, give the writer this long: 500 small batches a second are enough
_VAIN_S = 0.005
_FIND_SHARE = 10  # finding files again takes at most this part of the time, however often names change; so does the lag
_TEND_S = 1.0  # how often files that were left or fell idle are looked after
_LAG_S = 0.5  # how often the files are asked for their sizes, for whoever asks for the lag
_DESCRIPTORS_KEPT = 64  # for everything else that a worker opens


class Tail:
    """The engine: a source's verbs over some groups of files."""

    def __init__(self, groups: Sequence[FileGroup], settings: TailSettings, context: SourceContext) -> None:
        self._settings = settings
        self._context = context
        self._clock = context.clock
        self._counters = context.counters
        self._say = context.say
        self._rescue = Rescue(context.state_dir, settings.name)
        rescued = self._rescue.found(belongs_to(context.worker, context.workers))
        self._rescued = {copy.key: copy for copy in rescued}
        self._memory = Memory(
            settings.name, settings.position_file, context, apart=settings.apart, rescued=self._rescued
        )
        self._watch = DirectoryWatch(settings.inotify, context.say)
        self._files = FileSet(
            groups, self._watch, context.clock, context.say,
            stream_prefix=self._memory.stream_prefix,
            mine=self._memory.mine,
            place=self._place,
            descriptors_max=max(8, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _DESCRIPTORS_KEPT),
            cache_listing=settings.cache_listing,
        )  # fmt: skip
        self._copies = Copies(self._files, context.clock, settings.rotate_wait_s, self._queue)
        self._reader = LineReader(
            settings.rule, context.batch_bytes, settings.line_bytes_max, context.room, context.awaited_room
        )
        self._rows_max = min(context.rows_max, settings.batch_rows or context.rows_max)
        self._by_stream: dict[str, WatchedFile] = {}
        self._ready: deque[WatchedFile] = deque()
        self._turn_rows = 0
        self._lag_bytes = 0
        self._lag_s = 0.0
        self._empty_sweeps = 0
        now_s = self._clock.monotonic_s()
        self._look_s = self._sweep_s = now_s
        self._tend_s = now_s + min(_TEND_S, settings.save_interval_s)
        self._save_s = now_s + settings.save_interval_s
        self._nothing_said = False
        self._paced_s = 0.0
        self._in_vain = False
        self._names_changed = False
        self._find_s = now_s
        self._is_open = False

    # --- the verbs

    def open(self) -> None:
        """Finds the files, and the places where reading goes on."""
        self._read_rescued()  # before another file can have an inode that was that of one of them
        self._sweep(self._clock.monotonic_s())
        for file, mark in self._memory.misfits:
            self._go_on_anew(file, mark)
        if not self._memory.empty:
            for file in self._files:
                if not file.offset:
                    self._copies.suspect(file, file.size)
        places = Places()
        for key, mark in self._memory.unplaced():
            left = self._files.adopt_left(mark, key, places)
            if left is not None:
                self._queue(left)
        self._memory.opened(self._files)
        self._is_open = True

    def poll(self, wait_s: float) -> EventBatch | None:
        """The next lines of some file; waits at most `wait_s` for them."""
        clock = self._clock
        now_s = clock.monotonic_s()
        deadline_s = now_s + wait_s
        paced_s = min(self._paced_s, deadline_s)
        if not self._ready and now_s < paced_s:
            self._context.waiter.wait(paced_s - now_s)
            if (now_s := clock.monotonic_s()) < paced_s:
                return None  # the worker was rung
        while True:
            if not self._ready or now_s >= self._look_s:
                self._look(now_s)
            if self._ready and (batch := self._next()) is not None:
                self._in_vain = False
                return batch
            now_s = clock.monotonic_s()
            if now_s >= deadline_s:
                return None
            until_s = min(deadline_s, self._tend_s, self._find_s if self._names_changed else self._sweep_s)
            fds: tuple[int, ...] = (self._watch.fileno,) if self._watch.fileno >= 0 else ()
            if self._in_vain:
                # Others write in our directories: do not run for each of their lines.
                until_s, fds = min(until_s, now_s + _VAIN_S), ()
            readable = self._context.waiter.wait(max(0.0, until_s - now_s), fds)
            self._in_vain = bool(readable)
            now_s = clock.monotonic_s()
            if not readable and now_s < until_s:
                return None  # the worker was rung

    def committed(self, batch: EventBatch) -> None:
        """Moves the place that a restart finds behind the batch.

        If the process dies before this line, the channels have the origins and the next start asks them first; the
        places on disk are older, so that a start without the channels repeats lines and loses none.
        """
        for origin in batch.origins:
            file = self._by_stream.get(origin.stream)
            if file is not None:
                file.committed = origin.end
                file.committed_anchor = origin.anchor
        self._memory.changed = True

    def durable(self, origins: Sequence[Origin]) -> bool:
        """Moves the place that a start without the channels finds; True when it is there."""
        return self._memory.durable(origins, self._by_stream, self._files)

    def position(self, origins: Sequence[Origin]) -> None:
        """Reads again what lies behind the starts of `origins`."""
        for origin in reversed(origins):
            file = self._by_stream.get(origin.stream)
            if file is not None and self._files.opened(file):
                file.go_to(origin.start)
                self._queue(file, first=True)

    def close(self) -> None:
        """Writes the places down and gives everything back."""
        if self._is_open:
            self._is_open = False
            self._keep_unread()
        self._memory.close(self._files)
        self._files.close()
        self._watch.close()

    def lag_bytes(self) -> int:
        """Bytes that wait in the files found so far, as of the last half second.

        It looks for itself: a source that is held up by its channel is asked for nothing else.
        """
        now_s = self._clock.monotonic_s()
        if now_s >= self._lag_s:
            self._lag_bytes = sum(file.unread_bytes() for file in self._files)
            taken_s = self._clock.monotonic_s() - now_s
            self._lag_s = now_s + max(_LAG_S, _FIND_SHARE * taken_s)
        return self._lag_bytes

    def trouble(self) -> str:
        """The files that can't be read now, as a sentence."""
        return self._files.unread.sentence()

    def _go_on_anew(self, file: WatchedFile, mark: Mark) -> None:
        """A file that was truncated or written anew while nobody looked."""
        in_copy = self._copies.go_on(file, mark)
        if file.offset:
            return  # an older place fits
        what = f"{file.path} is no longer what was read last time, up to byte {mark.offset}: reading it from its"
        if in_copy:
            self._say("info", f"{what} beginning, and the rest of what it was from its copy")
        else:
            self._say("warning", f"{what} beginning; what was written behind that byte and not read is gone")

    # --- files that are there only as long as they are held open

    def _keep_unread(self) -> None:
        """Copies what was not read of files that the next start will not find.

        Dying before a copy is whole: it is lost, and the next start says that the file is gone. After it: that start
        reads the copy. The channels know where the original was left, and so does our store, which is written next.
        """
        places = Places()
        for file in list(self._files):
            if not file.unread_bytes() or not self._files.is_gone(file, places):
                continue
            if self._files.opened(file) and file.key not in self._rescued:
                try:
                    self._rescue.keep(file.fd, file.key, file.path, self._memory.durable_offset(file))
                    self._say("info", f"{file.path} was deleted: its end, not read yet, is kept for the next start")
                    continue
                except OSError as problem:
                    where = self._context.state_dir
                    self._say(
                        "error", f"keeping the end of {file.path} in {where}: {problem.strerror}; make room there"
                    )
            self._release(file, gone=True)

    def _read_rescued(self) -> None:
        for copy in self._rescued.values():
            if self._files.adopt_rescued(copy) is not None:
                self._say("info", f"{copy.path} was deleted before it was read to its end: going on in {copy.place}")
            else:
                what = f"{copy.place} is the end of {copy.path}, which no file group reads any more"
                self._say("warning", f"{what}: give it back its group, or remove it, and {copy.place}.note")

    def _tend_rescued(self, file: WatchedFile) -> bool:
        """Removes a copy of which all is durable; True when it is gone."""
        if not self._memory.is_safe(file):
            return False
        try:
            self._rescue.remove(self._rescued[file.key].place)
        except OSError as problem:
            self._say("error", f"removing {problem.filename}: {problem.strerror}; trying again")
            return False
        self._release(file, gone=True)
        return True

    # --- looking

    def _look(self, now_s: float) -> None:
        self._look_s = now_s + _LOOK_S
        changes = self._watch.changes()
        for old, new in changes.moved:
            self._files.moved(old, new)
        if changes.overflow:
            self._say("info", "more happened than the kernel keeps count of: looking at every file")
        if changes.overflow or changes.directories or any(self._files.concerns(path) for path in changes.named):
            self._names_changed = True
        if now_s >= (self._find_s if self._names_changed else self._sweep_s):
            self._sweep(now_s)
        for path in changes.written:
            file = self._files.at(path)
            if file is not None and not file.queued and self._files.look(file):
                self._queue(file)
        if now_s >= self._tend_s:
            self._tend(now_s)

    def _sweep(self, now_s: float) -> None:
        self._names_changed = False
        changed = self._files.find()
        while self._files.replaced:
            self._release(self._files.replaced.pop(), gone=True)
        taken_s = self._clock.monotonic_s() - now_s
        self._find_s = now_s + min(_FIND_SHARE * taken_s, _TEND_S)
        for file in changed:
            self._queue(file)
        self._empty_sweeps = 0 if changed else self._empty_sweeps + 1
        settings = self._settings
        self._sweep_s = now_s + min(max(1, self._empty_sweeps) * settings.sweep_step_s, settings.sweep_max_s)
        if not self._files.known and not self._nothing_said:
            self._nothing_said = True
            names = ", ".join(group.name for group in self._files.groups)
            self._say("warning", f"no file matches {names} yet: looking on")

    def _tend(self, now_s: float) -> None:
        """Looks after files that nobody wakes us for: those that were renamed or deleted, and those that fell idle."""
        settings = self._settings
        for file in list(self._files):
            if file.queued:
                continue
            if file.copy_of is not None:
                self._queue(file)
                continue
            if file.left_s is not None and self._tend_left(file, now_s):
                continue
            if file.fd >= 0 and now_s - file.changed_s > settings.idle_timeout_s and file.committed == file.offset:
                self._files.close_file(file)
        self._counters.set("open_files", self._files.open_files)
        if now_s >= self._save_s:
            self._save_s = now_s + settings.save_interval_s
            self._memory.save(self._files)
        self._tend_s = min(now_s + _TEND_S, max(self._save_s, now_s + _LOOK_S))

    def _tend_left(self, file: WatchedFile, now_s: float) -> bool:
        """Looks after a file that was renamed or deleted; True when it was queued or released."""
        assert file.left_s is not None
        if self._files.look(file):
            self._queue(file)
            return True
        settings = self._settings
        quiet_s = now_s - max(file.left_s, file.changed_s)
        if quiet_s < settings.rotate_wait_s:
            return False
        if file.seen_to > file.offset and not file.skipping and self._files.opened(file):
            file.tail_due = True  # nobody will finish the last line of a file that was left and is silent since
            self._queue(file)
            return True
        if file.committed != file.offset:
            return False
        if file.key in self._rescued:
            return self._tend_rescued(file)
        if file.listed or self._files.blind:
            return False
        # One that is still there could get its name back. So it is known until it need not be read again.
        if (gone := file.place is None) or (quiet_s > settings.idle_timeout_s and self._memory.is_safe(file)):
            self._release(file, gone=gone)
            return True
        return False

    def _release(self, file: WatchedFile, *, gone: bool) -> None:
        unread_bytes = file.unread_bytes()
        if unread_bytes and not file.skipping:
            self._counters.add("files_lost")
            self._say("error", f"{file.path} was deleted before its last {unread_bytes} bytes were read")
        self._by_stream.pop(file.stream, None)
        self._files.release(file)
        self._memory.released(file, self._files, gone=gone)

    def _queue(self, file: WatchedFile, *, first: bool = False) -> None:
        if file.queued:
            return
        file.queued = True
        if first:
            self._ready.appendleft(file)
        else:
            self._ready.append(file)

    # --- reading

    def _next(self) -> EventBatch | None:
        """One batch of the file whose turn it is; None when no file has a whole line."""
        ready = self._ready
        while ready:
            if self._copies.told:
                return self._copies.told.popleft()
            file = ready[0]
            rows_max = self._rows_max
            if (turn_rows := self._settings.turn_rows) is not None:
                rows_max = min(rows_max, turn_rows - self._turn_rows)
            lines = self._read(file, rows_max)
            if self._copies.told:
                continue  # the file stays where it is in the queue
            if lines is not None and lines.more:
                self._turn_rows += lines.records.num_rows
                if turn_rows is None or self._turn_rows >= turn_rows:
                    self._turn_rows = 0
                    ready.rotate(-1)
            else:
                ready.popleft()
                file.queued = file.tail_due = False
                self._turn_rows = 0
            if lines is not None:
                file.read_ns = file.modified_ns
                return self._batch(file, lines)
        return None

    def _read(self, file: WatchedFile, rows_max: int) -> Lines | None:
        if not self._files.opened(file) or self._copies.waits(file):
            return None
        try:
            return self._reader.read(file, rows_max, finish=file.tail_due)
        except FileChanged:
            if not self._start_over(file) or self._copies.told or self._copies.waits(file):
                return None
        except OSError as problem:
            self._counters.add("EventReadFail")
            where = f"{file.path} at byte {file.offset}"
            self._say("warning", f"reading {where}: {problem.strerror}; trying again")
            self._files.close_file(file)
            return None
        try:
            return self._reader.read(file, rows_max, finish=file.tail_due)
        except (FileChanged, OSError):  # it changes under our hands; the next look tries again
            return None

    def _start_over(self, file: WatchedFile) -> bool:
        """The content of a file is another one; what of the old one was not read may be in a copy.

        Returns:
            False when the file is no longer ours: it had left its group, and was then written anew by somebody.
        """
        if not file.listed:
            self._by_stream.pop(file.stream, None)
            self._files.release(file)
            self._memory.released(file, self._files, gone=True)
            return False
        self._files.look(file)  # how long it is now
        found = self._copies.go_on(file, Mark.of(file.offset, file.mark_text))
        if file.destroyed_bytes > 0 and not found:
            self._counters.add("files_lost")
            self._say(
                "error", f"{file.path} was truncated or written anew before {file.destroyed_bytes} bytes were read"
            )
        file.destroyed_bytes = 0
        self._say("info", f"{file.path} was truncated or written anew: reading it from its beginning")
        file.start_over()
        file.committed = 0
        file.committed_anchor = file.mark_text
        self._copies.suspect(file, file.size)
        return True

    def _batch(self, file: WatchedFile, lines: Lines) -> EventBatch:
        settings = self._settings
        constants: dict[str, str | None] = dict(file.group.headers)
        if settings.path_header is not None:
            constants[settings.path_header] = printable(file.path)
        if self._reader.cut_lines:
            self._counters.add("truncated_lines", self._reader.cut_lines)
            self._reader.cut_lines = 0
            if not file.too_long_said:
                file.too_long_said = True
                limit = f"more than maxLineBytes = {settings.line_bytes_max}"
                self._say(
                    "warning", f"{file.path}, from byte {lines.first} on: a line has {limit}: its rest is dropped"
                )
        self._paced_s = 0.0 if lines.more else self._clock.monotonic_s() + _PACE_S
        origin = Origin(file.stream, lines.first, file.offset, file.mark_text)
        batch = EventBatch(lines.records, trim=lines.trim, constants=constants, origins=(origin,))
        if lines.checksum is not None:
            batch.block_sum = file.offset - lines.first, lines.checksum
        if settings.byte_offset_header is None:
            return batch
        offsets = pa.array(lines.starts.astype(np.int64) + lines.first)
        return batch.with_header(settings.byte_offset_header, pc.cast(offsets, pa.string()))

    def _place(self, file: WatchedFile, size: int, at_start: bool) -> None:
        """Puts a newly found file at its first offset."""
        self._by_stream[file.stream] = file
        mark = self._memory.mark_for(file, size)
        if mark is not None:
            file.resume(mark)
            if mark.path != printable(file.path) and file.left_s is None:
                file.left_s = self._clock.monotonic_s()  # renamed while nobody looked
        elif at_start and self._memory.empty and self._settings.first_place is not None:
            file.resume(Mark(self._settings.first_place(file.fd, size)))
        elif at_start and self._settings.skip_to_end:
            file.resume(Mark(size))
        elif not at_start:
            self._copies.suspect(file, size)
        self._memory.placed(file)
