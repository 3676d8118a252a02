"""`spooldir`: whole files that are put into a directory; each is read once and then taken out of the way.

A file is retired when its last rows are *durable*: safe from a power cut at every target, not only in the channels.
Until then it stays under its name and is not read again: the channels know where reading stopped (an origin came with
every put), and after a power cut, which empties them, Flume's progress file does. Dying between the last commit and
the retirement reads nothing again: the next worker finds the end where the origin says, and waits in its turn.

::

    the last rows are put         died: the origin is the end; the file is opened there, and nothing is left of it
    its end is seen               with them, or only by the next read; the file is closed, and waits
    their origin is durable       died: the next worker is told so again
    the file is retired           died: it is nobody's any more; a power cut may bring its name back
    its folder is synced          only now the progress file goes, and that the rows need not come again is written down

Where Flume stops for ever, because a file was changed while it was read, or its name was used before, or it can't be
decoded, this source says so, sets the file aside or leaves it, and reads the next one.

The file is long because the life of a spooled file, from its opening to its retirement, is told in one place.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shipper import whole_file
from shipper.api import DamagedData, EventBatch, Origin, Source, SourceContext, digest_of
from shipper.sources._spool.config import SpooldirOptions
from shipper.sources._spool.directory import Candidate, Rules, SpoolDirectory
from shipper.sources._spool.memory import PROGRESS_NAME, Memory
from shipper.sources._spool.places import Places
from shipper.sources._spool.progress import ProgressFile
from shipper.sources._spool.retire import Delete, Rename, Retirement, Track
from shipper.sources._spool.spooled import Ended, Place, Spooled
from shipper.sources._tail.java_regex import compile_java
from shipper.sources._unread import Unread, is_there
from shipper.sources.deserializers._find import deserializer_maker
from shipper.sources.deserializers.deserializer import Deserializer, Reading, Rows, Undecodable

_FIRST_BACKOFF_S = 0.25
#: A file that can't be opened is tried again after so long; nothing may tell that it can, as when descriptors ran out.
_OPEN_AGAIN_S = 5.0
#: Files follow each other in so many streams, so that their rows may lie in several lanes of a channel.
_STREAMS = 16
_ERRORS = {"FAIL": "strict", "REPLACE": "replace", "IGNORE": "ignore"}


class SpooldirSource(Source[SpooldirOptions]):
    """Reads the files of a directory, one after the other."""

    Options = SpooldirOptions
    aliases = ("spooldir", "org.apache.flume.source.spooldirectorysource")
    replayable = True
    awaits_durable = False
    counted = (
        "EventReceivedCount", "EventAcceptedCount", "AppendBatchReceivedCount", "AppendBatchAcceptedCount",
        "ChannelWriteFail", "EventReadFail", "GenericProcessingFail",
    )  # fmt: skip

    def __init__(self, options: SpooldirOptions) -> None:
        super().__init__(options)
        self._file: Spooled | None = None
        self._deserializer: Deserializer[Any] | None = None
        self._progress: ProgressFile | None = None
        self._left_alone: dict[str, tuple[tuple[int, int, int], float]] = {}  # its state, and until when (monotonic)
        self._unread = Unread()
        self._backoff_s = _FIRST_BACKOFF_S
        self._polled: Rows | None = None
        self._ended: dict[str, Ended] = {}  # by stream
        self._ended_paths: set[str] = set()
        self._durable: dict[str, Origin] = {}  # by stream, of files that are not retired: the last one that is

    def open(self, context: SourceContext) -> None:
        options = self.options
        self._context = context
        self._places = Places(options)
        root, tracker = self._places.root, self._places.tracker
        self._retirement = self._choose_retirement(tracker)
        identity = f"{os.path.realpath(root)}\0{os.path.realpath(tracker)}"
        name = digest_of(os.fsencode(identity))
        self._stream = f"spool:{name}:{context.worker}:"
        self._files_opened = 0
        self._memory = Memory(context.positions, f"spool:{name}:", tracker, context.say)
        worker = f"-{context.worker}" if context.worker else ""
        self._progress = ProgressFile(tracker / PROGRESS_NAME.format(worker))
        reading = Reading(
            charset=options.charset, errors=_ERRORS[options.decode_errors], block_bytes=context.batch_bytes
        )
        self._make = deserializer_maker(options.deserializer, options.all_deserializer_options(), reading)
        self._rows_max = min(context.rows_max, options.batch_size) if context.strict else context.rows_max
        rules = Rules(
            directory=root, suffix=options.suffix, include=compile_java(options.include),
            ignore=compile_java(options.ignore), recursive=options.recursive, order=options.order,
            relist_s=options.poll_delay_s, worker=context.worker, workers=context.workers, done=self._retirement.done,
        )  # fmt: skip
        self._directory = SpoolDirectory(rules, context.clock)

    def poll(self, wait_s: float) -> EventBatch | None:
        batch = self._read()
        if batch is None:
            self._context.waiter.wait(min(wait_s, self.options.poll_delay_s))
            batch = self._read()
        return batch

    def position(self, origins: Sequence[Origin]) -> None:
        file = self._file
        if file is None or not origins:
            return
        file.content.seek(origins[0].start)
        file.read_something = origins[0].start > 0
        self._deserializer = self._make(file.content)

    def committed(self, batch: EventBatch) -> None:
        file = self._file
        self._backoff_s = _FIRST_BACKOFF_S
        if file is None or not batch.origins:
            return
        file.last = batch.origins[-1]
        place = Place.of(file.last.end, file.last.anchor)
        if place.done:
            self._end(file)
        elif not self._context.tells_durable:
            self._note(file.path, place)

    def durable(self, origins: Sequence[Origin]) -> bool:
        for origin in origins:
            self._durable[origin.stream] = origin
            ended = self._ended.get(origin.stream)
            if ended is not None and ended.last == origin:
                self._retire_ended(ended)
            else:
                self._note_durable(origin, ended)
        assert self._progress is not None
        try:
            self._progress.sync()
        except OSError as problem:
            raise self._places.about_tracker(problem) from problem
        self._keep_retired()
        # What can't be written down: a place in a compressed file, or in several files, as where others were left
        # alone or put back. The next start reads them from their beginning.
        packed = [stream for stream, ended in self._ended.items() if ended.compressed]
        if self._file is not None and self._file.compressed:
            packed.append(self._stream_of(self._file))
        in_pieces = any(stream in self._durable for stream in packed)
        return not (in_pieces or self._left_alone or self._memory.has_put_back)

    def refused(self, batch: EventBatch, reason: str) -> bool:
        self._context.waiter.wait(min(self._backoff_s, self.options.backoff_max_s))
        self._backoff_s = min(2 * self._backoff_s, max(self.options.backoff_max_s, _FIRST_BACKOFF_S))
        return True

    def lag_bytes(self) -> int:
        file = self._file
        return self._directory.waiting_bytes + (max(0, file.size - file.content.offset) if file is not None else 0)

    def trouble(self) -> str:
        return self._unread.sentence()

    def close(self) -> None:
        self._close_file()
        if self._progress is not None:
            self._progress.close()

    # --- reading

    def _read(self) -> EventBatch | None:
        while True:
            file = self._file or self._open_next()
            if file is None:
                return None
            assert self._deserializer is not None
            try:
                rows = self._deserializer.read(self._rows_max)
            except (DamagedData, OSError) as problem:
                self._leave_alone(file, f"{problem}; what stands before has been delivered", problem)
                continue
            if rows is None and file.size == 0 and not file.read_something:
                rows = Rows(batch=EventBatch.of([b""]), start=0, end=0, last=True)
            if rows is None:
                self._end(file)
                continue
            file.read_something = True
            return self._batch(file, rows)

    def _batch(self, file: Spooled, rows: Rows) -> EventBatch:
        options = self.options
        if rows.cut_lines:
            self._context.counters.add("truncated_lines", rows.cut_lines)
            if not file.cut_lines:
                self._say(file, f"a line is longer than deserializer.{rows.limit}: such lines become several events")
            file.cut_lines += rows.cut_lines
            file.limit = rows.limit
        batch = rows.batch
        if options.file_header:
            batch = batch.with_header(options.file_header_key, printable(file.path))
        if options.basename_header:
            batch = batch.with_header(options.basename_header_key, printable(os.path.basename(file.path)))
        anchor = file.place(rows.end, done=rows.last).anchor
        return batch.with_origins((Origin(self._stream_of(file), rows.start, rows.end, anchor),))

    def _open_next(self) -> Spooled | None:
        while True:
            try:
                found = self._directory.next(self._is_left_alone)
            except OSError as problem:
                raise self._places.about_root(problem) from problem
            self._say_unlisted()
            if found is None:
                self._forget_gone()
                return None
            try:
                file = Spooled(found, gunzip=self.options.gunzip)
            except FileNotFoundError:
                continue
            except OSError as problem:
                self._left_alone[found.path] = found.state, self._context.clock.monotonic_s() + _OPEN_AGAIN_S
                if self._unread.failed(found.path, str(problem.strerror)):
                    self._context.counters.add("EventReadFail")
                    why = f"can't be opened: {problem.strerror}"
                    self._context.say("warning", f"spooldir: {found.path} {why}; it stays, and is tried again")
                continue
            self._unread.readable(found.path)
            self._file = file
            self._files_opened += 1
            if self._resume(file):
                return file

    def _resume(self, file: Spooled) -> bool:
        """Goes to where a file was left; False when there was nothing left to do but to retire it."""
        known = self._memory.place_of(file)
        file.last = known.last
        if known.done and file.compressed:
            self._end(file)  # there is no need to decompress all of it
            return False
        file.content.seek(known.offset)
        file.read_something = known.offset > 0
        if known.done:
            self._end(file)
            return self._file is not None
        self._deserializer = self._make(file.content)
        return True

    def _stream_of(self, file: Spooled) -> str:
        """One of a few streams; where files wait to be durable, one each, so that the channels remember all of them."""
        return f"{self._stream}{file.identity if self._context.tells_durable else self._files_opened % _STREAMS}"

    # --- the end of a file

    def _note(self, path: str, place: Place) -> None:
        assert self._progress is not None
        try:
            self._progress.note(path, place.identity, place.offset)
        except OSError as problem:
            raise self._places.about_tracker(problem) from problem

    def _note_durable(self, origin: Origin, ended: Ended | None) -> None:
        """Puts become durable in their order, so that at any time there is one file of which a part is."""
        file = self._file
        if ended is not None:
            path, compressed = ended.found.path, ended.compressed
        elif file is not None and origin.stream == self._stream_of(file):
            path, compressed = file.path, file.compressed
        else:
            return
        if not compressed:  # Flume has no compressed files: an offset in one would mean nothing to it
            self._note(path, Place.of(origin.end, origin.anchor))

    def _end(self, file: Spooled) -> None:
        """All of a file is in the channels. It is retired when that is durable: now, or when `durable` says so."""
        if not file.is_in_place():
            self._say(file, "was removed or replaced while it was read; what it had was delivered")
            self._close_file()
            self._keep_retired()
        elif file.grown_bytes() > 0 and not file.compressed:
            self._read_on(file)
        elif file.last is None or self._is_durable(file.last):
            self._take_away(file, changed=file.is_changed())
            self._close_file()
            self._forget(file.last)
            self._keep_retired()
        else:
            place = file.place(file.content.offset, done=True)
            self._ended[file.last.stream] = Ended(file.found, place, file.last, file.compressed)
            self._ended_paths.add(file.path)
            self._close_file()

    def _is_durable(self, last: Origin) -> bool:
        return not self._context.tells_durable or self._durable.get(last.stream) == last

    def _read_on(self, file: Spooled) -> None:
        grown_bytes = file.grown_bytes()
        self._say(file, f"grew by {grown_bytes} bytes while it was read: a file must be complete when it is put here")
        read_to = file.content.offset
        file.look_again()
        file.content.seek(read_to)
        self._deserializer = self._make(file.content)

    def _retire_ended(self, ended: Ended) -> None:
        """All of a file is durable. It was closed meanwhile: is it still what was read?"""
        found, place = ended.found, ended.place
        del self._ended[ended.last.stream]
        self._ended_paths.discard(found.path)
        try:
            file = Spooled(found, gunzip=self.options.gunzip)
        except OSError:
            self._context.say("warning", f"spooldir: {found.path}: was removed after it was read; it was delivered")
            self._forget(ended.last)
            return
        with contextlib.closing(file):
            still = file.identity == place.identity  # else another file has its name: it will be read as any other
            if still and file.size > place.size and not file.compressed:
                self._say(file, f"grew by {file.size - place.size} bytes after it was read: a file must be complete "
                          "when it is put here")  # fmt: skip
                self._memory.put_back(place)
                return
            if still:
                self._take_away(file, changed=(file.size, file.mtime_ns) != (place.size, place.mtime_ns))
        self._forget(ended.last)

    def _take_away(self, file: Spooled, *, changed: bool) -> None:
        try:
            note = self._retirement.retire(file.path, file.name, changed=changed)
        except OSError as problem:
            raise self._places.about_retirement(file.path, problem) from problem
        if changed:
            note = f"was changed while it was read; {note}"
        if note is not None:
            self._say(file, note)

    def _forget(self, last: Origin | None) -> None:
        """Nobody will ask for the place of a file again."""
        if last is not None and self._context.tells_durable:
            self._durable.pop(last.stream, None)
            self._context.forget(last.stream)

    def _keep_retired(self) -> None:
        """What was retired stays so; then the progress file goes, unless a file is half delivered."""
        assert self._progress is not None
        try:
            if self._context.tells_durable:
                # A name that comes back after a power cut would bring the whole file again.
                for folder in self._retirement.folders():
                    whole_file.sync_directory(folder)
            if self._file is None and not self._ended:
                self._progress.end()
        except OSError as problem:
            raise self._places.about_tracker(problem) from problem

    def _leave_alone(self, file: Spooled, why: str, problem: Exception) -> None:
        """A file can't be read on. It stays where it is until somebody changes it, or the agent starts again."""
        self._left_alone[file.path] = file.found.state, math.inf
        self._unread.failed(file.path, why)
        self._context.counters.add("EventReadFail")
        hint = "; decodeErrorPolicy = REPLACE reads on" if isinstance(problem, Undecodable) else ""
        self._say(file, f"{why}; it is left where it is{hint}")
        self._close_file()
        if self._progress is not None:
            self._progress.close()

    def _is_left_alone(self, found: Candidate) -> bool:
        if found.path in self._ended_paths:
            return True
        state, until_s = self._left_alone.get(found.path, (None, 0.0))
        if state is None:
            return False
        if state == found.state and self._context.clock.monotonic_s() < until_s:
            return True
        del self._left_alone[found.path]
        return False

    def _say_unlisted(self) -> None:
        for path, why in self._directory.unlisted.items():
            if self._unread.failed(path, why):
                self._context.say("warning", f"spooldir: {path} can't be looked at: {why}; the others are read")

    def _forget_gone(self) -> None:
        """Files that were left alone, and that somebody took away, are nobody's trouble any more."""
        for path in [path for path in self._left_alone if not is_there(path)]:
            del self._left_alone[path]
        self._unread.keep(lambda name: name in self._left_alone or name in self._directory.unlisted)

    def _close_file(self) -> None:
        self._deserializer = None
        if self._file is not None:
            if self._file.cut_lines > 1:
                self._say(self._file, f"{self._file.cut_lines:,} lines were longer than "
                          f"deserializer.{self._file.limit}")  # fmt: skip
            self._file.close()
            self._file = None

    # --- the start

    def _choose_retirement(self, tracker: Path) -> Retirement:
        options, clock = self.options, self._context.clock
        if options.delete_policy == "immediate":
            return Delete(options.suffix, clock)
        return Rename(options.suffix, clock) if options.tracking_policy == "rename" else Track(options.suffix, tracker)

    # --- what is said

    def _say(self, file: Spooled, what: str, level: str = "warning") -> None:
        self._context.say(level, f"spooldir: {file.path}: {what}")


def printable(name: str) -> str:
    """A path as text: bytes that are no UTF-8 become U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")
