"""What is remembered of the files, by whom, and who is believed.

Three may know where reading stopped: the channels (an origin came with every put), our own store, and Flume's JSON.
The channels know best, then the store. But a JSON that is gone, or is not the one that we wrote last, was changed by a
person or by Flume: then it alone counts, and a line is said for each file.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from shipper.api import SourceContext
from shipper.sources._tail import flume_positions
from shipper.sources._tail.files import FileSet, Identity
from shipper.sources._tail.flume_positions import FlumePosition
from shipper.sources._tail.identity import FileKey, Mark
from shipper.sources._tail.positions import PositionStore, Remembered
from shipper.sources._tail.watched import WatchedFile

if TYPE_CHECKING:
    from shipper.sources._tail.tail import TailSettings


class Memory:
    """The places of the last run, and the writing of this run's.

    `changed` says that a place moved since the last save.
    """

    def __init__(self, settings: TailSettings, context: SourceContext, log: logging.Logger) -> None:
        self._json_path = settings.position_file
        self._log = log
        self._writes_json = context.worker == 0
        self._store = PositionStore(context.state_dir, settings.name, context.worker)
        remembered = self._store.load()
        self._run = remembered.run + 1
        self._written = remembered.written
        self._by_hand = False
        self._flume: dict[int, FlumePosition] = {}
        self._channel: dict[str, Mark] = {}
        self._marks: dict[FileKey, Mark] = {}
        self._used: set[FileKey] = set()
        self.epoch = remembered.epoch
        self.changed = False
        self._decide(remembered, context, settings.name)
        self.stream_prefix = f"tail:{settings.name}:{self.epoch}:"

    def mark_for(self, file: WatchedFile, size: int) -> Mark | None:
        """Where a newly found, open file was left, or None when nothing that is known fits it."""
        if self._flume:
            return self._flume_mark(file, size)
        told = self._channel.get(file.stream)
        known = [(file.key, told)] if told is not None else []
        known += [(key, mark) for key, mark in self._marks.items() if key.inode == file.key.inode]
        known.sort(key=lambda entry: entry[0] != file.key)
        for key, mark in known:
            if mark.fits(file.fd, size) and (key == file.key or mark.head_bytes):
                self._used.add(key)
                return mark
        if any(key == file.key for key, _ in known):
            self._used.add(file.key)
            self._log.info("%s is no longer what was read last time: reading it from its beginning", file.path)
            return None
        return self._restored(file, size)

    def unplaced(self) -> Iterator[tuple[Identity, Mark]]:
        """Files that were followed last time and have not been found under a matching name."""
        for key, mark in self._marks.items():
            if key not in self._used:
                yield (key.device, key.inode), mark

    def opened(self, files: FileSet) -> None:
        """All files of the first listing are placed. A decision by hand is written down, so that it is made once."""
        if self._by_hand:
            self.save(files, sync=True)
        self._marks.clear()
        self._channel.clear()
        self._flume.clear()

    def save(self, files: Iterable[WatchedFile], *, sync: bool = False) -> None:
        """Writes the committed places down, if any moved.

        Order: our store names the JSON that will be there and the one that is, then the JSON is replaced. If the
        process dies between the two, the store knows either.
        """
        if not self.changed and not sync:
            return
        known = list(files)
        content, written = None, None
        if self._json_path is not None and self._writes_json:
            listed = (file for file in known if file.listed)
            content = flume_positions.render(FlumePosition(f.key.inode, f.committed, f.path) for f in listed)
            written = flume_positions.fingerprint(content)
        marks = [(file.key, file.committed, file.committed_anchor) for file in known]
        try:
            if content is None or self._json_path is None or written is None:
                self._store.save(self._run, self.epoch, (), marks, sync=sync)
            else:
                self._store.save(self._run, self.epoch, self._written | {written}, marks, sync=sync)
                flume_positions.write(self._json_path, content)
                self._written = {written}
        except OSError as problem:
            self._log.error("positions can't be saved: %s; lines may come twice after a restart", problem)
            return
        self.changed = False

    # --- inside

    def _decide(self, remembered: Remembered, context: SourceContext, name: str) -> None:
        """Who is believed."""
        content = flume_positions.read(self._json_path) if self._json_path is not None else None
        if remembered.written:
            self._by_hand = content is None or flume_positions.fingerprint(content) not in remembered.written
        elif not remembered.found and not context.positions:
            self._by_hand = content is not None
        entries: list[FlumePosition] = []
        if self._by_hand and content is not None:
            try:
                entries = flume_positions.parse(content)
            except ValueError as problem:
                self._by_hand = False
                self._log.error("%s is no position file: %s; going on with what we know", self._json_path, problem)
        if self._by_hand:
            self.epoch += 1
            self._flume = {entry.inode: entry for entry in entries}
            if content is None:
                self._log.info("%s is gone: every file is read as if it was new", self._json_path)
            return
        self._marks = remembered.marks
        self._channel_marks(context, name)

    def _channel_marks(self, context: SourceContext, name: str) -> None:
        ours = f"tail:{name}:"
        epochs = [int(s[len(ours) :].split(":")[0]) for s in context.positions if s.startswith(ours)]
        self.epoch = max([self.epoch, *epochs])
        current = f"{ours}{self.epoch}:"
        for stream, origin in context.positions.items():
            if stream.startswith(current):
                mark = Mark.of(origin.end, origin.anchor)
                self._channel[stream] = mark
                device, inode, generation = (int(part, 16) for part in stream[len(current) :].split("."))
                self._marks[FileKey(device, inode, generation)] = mark

    def _flume_mark(self, file: WatchedFile, size: int) -> Mark | None:
        entry = self._flume.get(file.key.inode)
        if entry is None or entry.offset > size:
            return None
        if entry.path != file.path and entry.offset and os.pread(file.fd, 1, entry.offset - 1) != b"\n":
            return None  # the inode was used again: nobody ends a read inside a line
        self._log.info("%s: going on at byte %d, as %s says", file.path, entry.offset, self._json_path)
        return Mark(entry.offset, path=file.path)

    def _restored(self, file: WatchedFile, size: int) -> Mark | None:
        """The mark of a file that stood at this path and is gone, if all that is known of its content is here.

        An editor or a restore puts the same content into a new inode. Checksums over few bytes would be too easily
        equal, so a short file is rather read again.
        """
        for key, mark in self._marks.items():
            if mark.path == file.path and key not in self._used and mark.strong and mark.fits(file.fd, size):
                self._used.add(key)
                self._log.info("%s is a copy of the file that stood here: going on at byte %d", file.path, mark.offset)
                return mark
        return None
