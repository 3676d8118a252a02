"""What is remembered of the files, by whom, and who is believed.

Three may know where reading stopped: the channels (an origin came with every put), our own store, and Flume's JSON.
The channels know best, then the store.

Two heads: while we run, the channels' places are ahead of those in our store and in the JSON, which are *durable*: what
lies before them survives the death of the machine, at every target. A start without the channels goes on there.

But a JSON that is gone, or is not the one that we wrote last, was changed by a person or by Flume: then it alone
counts, and a line is said for each file. Unless it names other files only: then it is another agent's too, which has
the same default, and no word about ours.

What is known of a file that is gone from its directory is forgotten, by us and by the channels' positions
(`SourceContext.forget`), once it is durable that all of it was read, and our store no longer needs to say so. Dying
before that: the next start is told of it again, finds that it is gone, and forgets it then. A file that only left its
group is remembered while it is there, for it may get its name back.

The file is long because who is believed and what is written for the next start are one argument.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from shipper.api import Origin, SourceContext
from shipper.sources._tail import flume_positions
from shipper.sources._tail.files import FileSet, Places, belongs_to
from shipper.sources._tail.flume_positions import FlumePosition
from shipper.sources._tail.identity import FileKey, Mark, key_of
from shipper.sources._tail.positions import PositionStore, Remembered
from shipper.sources._tail.rescue import Rescued
from shipper.sources._tail.watched import WatchedFile, printable

#: In place of a fingerprint: there is no JSON yet.
_NONE = (0, -1)
_LOOKS = 3
#: So many files that left their group are remembered before anybody looks which of them are gone.
_LEFT_LEAST = 64

#: So many of those are known that the channels' positions may name again, for their table is not written anew at once.
_ENDED_MOST = 1024
#: So many files are named in one line.
_NAMED_MOST = 3

#: An offset, and what must be true of the file for it to be used.
Place = tuple[int, str]


class Memory:
    """The places of the last run, and the writing of this run's.

    Args:
        name: what the positions belong to.
        json_path: Flume's position file, or None to have none.
        apart: it is ours alone, because the one of the configuration is another source's.
        rescued: copies of files that are gone, by their own keys.

    `changed` says that a place moved since the last save, `empty` that nothing is remembered: this is the first start.
    `mine` says of an identity whether its file is this worker's.
    `misfits` are files whose content is not what was read last time, and where reading had stopped in that.
    """

    def __init__(
        self,
        name: str,
        json_path: str | None,
        context: SourceContext,
        *,
        apart: bool = False,
        rescued: Mapping[FileKey, Rescued] = MappingProxyType({}),
    ) -> None:
        self._json_path = json_path
        self._say = context.say
        self._alone = context.workers == 1
        self._writes_json = context.worker == 0
        self._rescued = rescued
        originals = {copy.key.identity: copy.original.identity for copy in rescued.values()}
        self.mine = belongs_to(context.worker, context.workers, originals)
        self._store = PositionStore(context.state_dir, name, context.worker, context.workers, apart=apart)
        remembered, content = self._look()
        if remembered.found and remembered.apart != apart:
            # What we wrote last was another file: this one says nothing, neither by what is in it nor by its absence.
            remembered.written, content = set(), None
        self._run = remembered.run + 1
        self._written = remembered.written
        self._by_hand = False
        self._flume: dict[int, FlumePosition] = {}
        self._marks: dict[FileKey, Mark] = {}
        self._stored: dict[FileKey, Mark] = {}
        self._others: dict[FileKey, list[Mark]] = {}
        self._runs: dict[FileKey, int] = {}
        self._handed_over: set[FileKey] = set()
        self._by_inode: defaultdict[int, list[FileKey]] = defaultdict(list)
        self._by_path: defaultdict[str, list[FileKey]] = defaultdict(list)
        self._opened = False
        self._told = context.tells_durable
        self._durable_marks = dict(remembered.marks)  # of files that have not been found yet
        self._in_channel: set[FileKey] = set()
        self._used: FileKey | None = None
        self.misfits: list[tuple[WatchedFile, Mark]] = []
        self._safe: dict[str, Place] = {}
        self._json_due = self._ending = False
        self.empty = not remembered.found and not context.positions
        self.epoch = remembered.epoch
        self.changed = False
        self._saved = True  # the last time that something durable was to be written down
        self._forget = context.forget
        self._told_of = {stream: o.end for stream, o in context.positions.items() if stream.startswith(f"tail:{name}:")}
        self._leaving: dict[str, int] = {}  # streams that are forgotten when they are durable up to there
        self._forgettable: list[str] = []
        self._now_called: dict[str, str] = {}
        self._look_at = _LEFT_LEAST
        self._decide(remembered, content, context.positions, f"tail:{name}:")
        self._ended = {key: None for key in remembered.ended if key in self._marks}
        for key, mark in self._marks.items():
            self._by_inode[key.inode].append(key)
            self._by_path[mark.path].append(key)
        self.stream_prefix = f"tail:{name}:{self.epoch}:"

    def mark_for(self, file: WatchedFile, size: int) -> Mark | None:
        """Where a newly found, open file was left, or None when nothing that is known fits it. Asked once a file.

        `placed` follows, when the file is where it is to be.
        """
        self._used = file.key
        if (rescued := self._rescued.get(file.key)) is not None:
            return self._mark_of_rescued(rescued, file, size)
        if (entry := self._flume.pop(file.key.inode, None)) is not None:
            return self._flume_mark(entry, file, size)
        if (told := self._marks.pop(file.key, None)) is not None:
            # Both the channel's and the store's fit when a file went to another worker and came back: the later counts.
            known = [told, self._stored.get(file.key), *self._others.pop(file.key, [])]
            fitting = [mark for mark in known if mark and mark.fits(file.fd, size)]
            if not self._opened and told not in fitting and (file.key in self._in_channel or not fitting):
                self.misfits.append((file, told))
            return max(fitting, key=lambda mark: mark.offset, default=None)
        for key in self._by_inode.get(file.key.inode, ()):
            mark = self._marks.get(key)
            # Disks get other numbers at reboot. Another generation on the same disk is the inode used again, as a rule.
            safe = mark is not None and mark.head_bytes > 0 and (key.device != file.key.device or mark.strong)
            if mark is not None and safe and mark.fits(file.fd, size):
                self._used = key
                return self._marks.pop(key)
        return self._restored(file, size)

    def placed(self, file: WatchedFile) -> None:
        """The file stands at its first place. What of it is durable: all before that, unless the channels have it."""
        self.changed = True
        place = (file.committed, file.committed_anchor)
        stored = self._durable_marks.pop(self._used or file.key, None)
        if self._used in self._in_channel and (stored is None or stored.offset < file.committed):
            # The channels are further than what was durable, and say themselves when they have caught up.
            stored = stored or Mark(0, path=printable(file.path))
            place = (stored.offset, stored.anchor)
            if self._used is not None and self._used != file.key:
                # What becomes durable under the name that the file had on another disk number is this file's.
                self._now_called[self.stream_prefix + self._used.stream] = file.stream
        self._safe[file.stream] = place
        self._ended.pop(file.key, None)
        self._leaving.pop(file.stream, None)
        if file.stream in self._forgettable:
            self._forgettable.remove(file.stream)

    def durable(self, origins: Iterable[Origin], by_stream: Mapping[str, WatchedFile], files: FileSet) -> bool:
        """All before these ends is durable: written down, and synced. False when it could not be.

        Dying before the sync ends: the places before it, and what lies between comes twice if the machine died.
        """
        for origin in origins:
            stream = self._now_called.get(origin.stream, origin.stream)
            file = by_stream.get(stream)
            # Beyond `committed` it is about what stood in the file before it was written anew.
            if file is not None and origin.end <= file.committed:
                self._safe[stream] = (origin.end, origin.anchor)
                self.changed = True
            elif file is None and (key := self._key_of(stream)) in self._in_channel and key is not None:
                self._durable_unplaced(key, origin)
            if origin.end >= self._leaving.get(origin.stream, origin.end + 1):
                del self._leaving[origin.stream]
                self._forgettable.append(origin.stream)
        if not self._opened:
            return False
        if self.changed or not self._saved:
            self._saved = self._save_store(files, self._written, sync=True)
            self.changed = False
            self._json_due = True
        elif self._forgettable:
            self._forget_now()
        return self._saved

    def unplaced(self) -> Iterator[tuple[FileKey, Mark]]:
        """Our files that were followed last time and have not been found under a matching name."""
        yield from [(key, mark) for key, mark in self._marks.items() if self.mine(key.identity)]

    def opened(self, files: FileSet) -> None:
        """All files of the first listing are placed. A decision by hand is written down, so that it is made once.

        What was remembered of a file that is gone is dropped, unless its whole directory is empty or gone: that may be
        a disk which is not mounted yet. What another worker reads is kept until that worker has written it down: it may
        start after we have saved.
        """
        self._say_gone(self._drop_gone(files))
        self._stored.clear()
        self._opened = True
        known = {file.stream for file in files}
        for stream, end in self._told_of.items():
            key = self._key_of(stream)
            if stream not in known and (key is None or key not in self._marks or not self.mine(key.identity)):
                self._leave(stream, end)
        self._told_of.clear()
        if self._by_hand or self._told:
            self.save(files, sync=True)

    def durable_offset(self, file: WatchedFile) -> int:
        """Before it nothing of a file will be read again, by whichever start."""
        return self._place(file)[0]

    def is_safe(self, file: WatchedFile) -> bool:
        """True when all that the channels have of a file is durable."""
        return self.durable_offset(file) == file.committed

    def released(self, file: WatchedFile, files: FileSet, *, gone: bool) -> None:
        """A file is followed no longer: it is gone, or has left its group and is safe."""
        self.changed = True
        for key in [key for key in self._marks if key.identity == file.identity and key != file.key]:
            mark = self._marks.pop(key)  # the inode was its, and is used again: it is gone
            self._leave(self.stream_prefix + key.stream, mark.offset if key in self._in_channel else -1)
        if gone:
            self._leave(file.stream, -1 if self.is_safe(file) else file.committed)
        else:
            self._end(file.key)  # if it is deleted one day: that is what happens to logs
            self._marks[file.key] = Mark.of(file.committed, file.committed_anchor)
            self._runs[file.key] = self._run
            self._in_channel.discard(file.key)
            if len(self._marks) > self._look_at:
                # It was found in its directory, so that is no disk which is not mounted.
                for key in self._drop_gone([file, *files]):
                    self._leave(self.stream_prefix + key.stream, -1)
                self._look_at = 2 * len(self._marks) + _LEFT_LEAST
        self._safe.pop(file.stream, None)

    def close(self, files: FileSet) -> None:
        """The last save. The JSON gets the places that the channels have: whoever goes on with it does so when the
        channels are empty. To ourselves it says nothing new, since we wrote it.
        """
        self._ending = True
        self.save(files, sync=True)

    def save(self, files: Iterable[WatchedFile], *, sync: bool = False) -> None:
        """Writes the durable places down, if any moved.

        Order: our store names the JSON that will be there and the one that is, then the JSON is replaced. If the
        process dies between the two, the store knows either. Nothing is written before the first listing is done:
        a start that failed must not forget.
        """
        if not self._opened or not (self.changed or self._json_due or sync):
            return
        sync = sync or self._told
        known = list(files)
        if self._json_path is None or not (self._writes_json or sync):
            self._save_store(known, self._written, sync=sync)
        else:
            listed = [FlumePosition(f.key.inode, self._json_offset(f), f.path) for f in known if f.listed]
            if not listed and self._is_anothers():
                if self._save_store(known, self._written, sync=sync):
                    self.changed = self._json_due = False
                return
            content = flume_positions.render(listed if self._alone else self._with_siblings(listed))
            written = flume_positions.fingerprint(content)
            # Until the first one is written there is none.
            if not self._save_store(known, (self._written or {_NONE}) | {written}, sync=sync):
                return
            try:
                flume_positions.write(self._json_path, content, sync=sync)
            except OSError as problem:
                self._failed(problem)
                return
            first, self._written = not self._written, {written}
            if first:
                self._save_store(known, self._written, sync=sync)
        self.changed = self._json_due = False

    # --- inside

    def _is_anothers(self) -> bool:
        """True when the JSON is not as we wrote it. Who reads no file has nothing to say in it: an empty list would
        tell the other agent, which has the same default, to read all of its files anew.
        """
        try:
            content = flume_positions.read(self._json_path) if self._json_path is not None else None
        except OSError:
            return False  # the write that follows says what is wrong with it
        return bool(content) and flume_positions.fingerprint(content or b"") not in self._written

    def _save_store(self, files: Iterable[WatchedFile], written: set[tuple[int, int]], *, sync: bool) -> bool:
        known = list(files)
        marks = [(file.key, *self._place(file)) for file in known]
        kept = []
        for key, mark in self._marks.items():
            safe = self._durable_marks.get(key) if key in self._in_channel else mark
            if safe is not None:
                kept += [(self._runs[key], key, one) for one in (safe, *self._others.get(key, ()))]
        if len(self._safe) > 2 * len(known) + 64:
            self._safe = {file.stream: self._safe[file.stream] for file in known if file.stream in self._safe}
        try:
            self._store.save(self._run, self.epoch, written, marks, kept, ended=self._ended, sync=sync)
        except OSError as problem:
            self._failed(problem)
            return False
        self._forget_now()
        return True

    def _say_gone(self, gone: Mapping[FileKey, Mark]) -> None:
        """What is gone since the last run, in one line: nobody knows whether more was written to it than was read."""
        ours = {key: mark for key, mark in gone.items() if self.mine(key.identity) and key not in self._ended}
        if not ours:
            return
        named = sorted(f"{mark.path} (read to byte {mark.offset})" for mark in ours.values())
        more = f" and {len(named) - _NAMED_MOST} more" if len(named) > _NAMED_MOST else ""
        self._say(
            "warning",
            f"gone since this source ran last, by deletion, compression or a move to another directory: "
            f"{', '.join(named[:_NAMED_MOST])}{more}; what was written behind that before they went was not read",
        )
        for key in ours:
            self._end(key)

    def _end(self, key: FileKey) -> None:
        """A file need not be found by the next start, and is not said to be gone."""
        self._ended.pop(key, None)
        self._ended[key] = None
        while len(self._ended) > _ENDED_MOST:
            del self._ended[next(iter(self._ended))]

    def _leave(self, stream: str, end: int) -> None:
        """Nothing of a stream will be read again: it is forgotten when it is durable up to `end`; -1 = it is."""
        if (key := self._key_of(stream)) is not None and self.mine(key.identity):
            self._end(key)
        if self._told and end >= 0:
            self._leaving[stream] = end
        else:
            self._forgettable.append(stream)

    def _forget_now(self) -> None:
        for stream in self._forgettable:
            self._forget(stream)
            self._now_called.pop(stream, None)
        self._forgettable.clear()

    def _durable_unplaced(self, key: FileKey, origin: Origin) -> None:
        if key in self._marks and origin.end <= self._marks[key].offset:
            self._durable_marks[key] = Mark.of(origin.end, origin.anchor)
            self._runs.setdefault(key, self._run - 1)  # its reader of today knows better
            self.changed = True

    def _key_of(self, stream: str) -> FileKey | None:
        """The file of a stream, None when the stream is of another epoch."""
        if not stream.startswith(self.stream_prefix):
            return None
        device, inode, generation = (int(part, 16) for part in stream[len(self.stream_prefix) :].split("."))
        return FileKey(device, inode, generation)

    def _drop_gone(self, found: Iterable[WatchedFile]) -> dict[FileKey, Mark]:
        """Drops what is remembered of files that will not come back, and returns it."""
        peopled = {os.path.dirname(file.path) for file in found if file.key not in self._rescued}
        places = Places()
        gone = [key for key, mark in self._marks.items() if not self._may_come_back(key, mark, peopled, places)]
        for key in gone:
            self._durable_marks.pop(key, None)
        return {key: self._marks.pop(key) for key in gone}

    def _place(self, file: WatchedFile) -> Place:
        """What of a file a start without channels need not read again."""
        if not self._told:
            return file.committed, file.committed_anchor
        safe = self._safe.get(file.stream)
        # Less is committed than is safe: it was written anew, and of what it holds now nothing is.
        if safe is not None and safe[0] <= file.committed:
            return safe
        return 0, Mark(0, path=printable(file.path)).anchor

    def _json_offset(self, file: WatchedFile) -> int:
        return file.committed if self._ending else self._place(file)[0]

    def _failed(self, problem: OSError) -> None:
        self._say(
            "error",
            f"writing positions to {problem.filename}: {problem.strerror}; lines may come twice after a restart",
        )

    def _look(self) -> tuple[Remembered, bytes | None]:
        """Our store, and the JSON; once more when they differ, for another worker may be writing them just now."""
        for _ in range(_LOOKS):
            content = flume_positions.read(self._json_path) if self._json_path is not None else None
            remembered = self._store.load()
            if not remembered.written or _print(content) in remembered.written:
                break
        return remembered, content

    def _decide(
        self, remembered: Remembered, content: bytes | None, positions: Mapping[str, Origin], ours: str
    ) -> None:
        """Who is believed."""
        streams = {stream: origin for stream, origin in positions.items() if stream.startswith(ours)}
        if remembered.written:
            self._by_hand = _print(content) not in remembered.written
        else:
            self._by_hand = content is not None and not remembered.found and not streams
        entries: list[FlumePosition] = []
        if self._by_hand and content is not None:
            try:
                entries = flume_positions.parse(content)
            except ValueError as problem:
                self._by_hand = False
                self._say("error", f"{self._json_path} is no position file: {problem}; going on with what we know")
        known = {key.inode for key in remembered.marks}
        if self._by_hand and entries and known and not any(entry.inode in known for entry in entries):
            # Nobody who wants one of our files read anew, and no Flume that went on with them, takes all of them out
            # and puts others in: that is another agent, and what it does to its files says nothing about ours.
            self._by_hand = False
            self._flume = {entry.inode: entry for entry in entries}
            self._say(
                "warning",
                f"{self._json_path} names none of the files read here: another agent writes it too. These go on where "
                f"they were left; give each agent a positionFile of its own, for Flume could not tell them apart",
            )
        if self._by_hand:
            self.epoch += 1
            self._flume = {entry.inode: entry for entry in entries}
            if content is None:
                self._say("info", f"{self._json_path} is gone: every file is read as if it was new")
            return
        self._stored, self._others, self._runs = remembered.marks, remembered.others, remembered.runs
        self._handed_over = remembered.handed_over
        self._marks = dict(remembered.marks)
        epochs = {stream: stream[len(ours) :].partition(":") for stream in streams}
        self.epoch = max([self.epoch, *(int(epoch) for epoch, _, _ in epochs.values())])
        for stream, (epoch, _, key) in epochs.items():
            if int(epoch) == self.epoch:
                device, inode, generation = (int(part, 16) for part in key.split("."))
                origin = streams[stream]
                self._marks[FileKey(device, inode, generation)] = Mark.of(origin.end, origin.anchor)
                self._in_channel.add(FileKey(device, inode, generation))

    def _flume_mark(self, entry: FlumePosition, file: WatchedFile, size: int) -> Mark | None:
        if entry.offset > size:
            self._say("info", f"{file.path} is shorter than {self._json_path} says: reading it from its beginning")
            return None
        if entry.path != file.path and entry.offset and os.pread(file.fd, 1, entry.offset - 1) != b"\n":
            return None  # the inode was used again: nobody ends a read inside a line
        self._say("info", f"{file.path}: going on at byte {entry.offset}, as {self._json_path} says")
        return Mark(entry.offset, path=entry.path)

    def _mark_of_rescued(self, rescued: Rescued, file: WatchedFile, size: int) -> Mark:
        """The furthest place that is known of it. Until what the channels have of the original is durable, both keys
        may have one there; after a decision by hand neither has, and all that was rescued is read.
        """
        fitting, durable = [Mark(rescued.start, path=printable(rescued.path))], []
        for key in (file.key, rescued.original):
            places = [self._marks.get(key), self._stored.get(key), *self._others.get(key, ())]
            fits = [mark for mark in places if mark and mark.fits(file.fd, size)]
            if not fits:
                continue  # the inode is another file's, which was left where that says
            fitting += fits
            self._marks.pop(key, None)
            if (mark := self._durable_marks.pop(key, None)) is not None:
                durable.append(mark)
            if key in self._in_channel:
                self._used = key
        if durable and self._used is not None:
            self._durable_marks[self._used] = max(durable, key=lambda mark: mark.offset)
        return max(fitting, key=lambda mark: mark.offset)

    def _restored(self, file: WatchedFile, size: int) -> Mark | None:
        """The mark of a file that stood at this path and is gone, if all that is known of its content is here.

        An editor or a restore puts the same content into a new inode. Checksums over few bytes would be too easily
        equal, so a short file is rather read again.
        """
        for key in self._by_path.get(printable(file.path), ()):
            mark = self._marks.get(key)
            if mark is not None and mark.strong and mark.fits(file.fd, size):
                if Places().in_directory(key.identity, file.path):
                    continue
                self._say("info", f"{file.path} is a copy of the file that stood here: going on at byte {mark.offset}")
                self._used = key
                return self._marks.pop(key)
        return None

    def _may_come_back(self, key: FileKey, mark: Mark, peopled: set[str], places: Places) -> bool:
        if key in self._handed_over and not self.mine(key.identity):
            return False
        return os.path.dirname(mark.path) not in peopled or self._is_there(key, mark, places)

    def _is_there(self, key: FileKey, mark: Mark, places: Places) -> bool:
        """True when a file is still in its directory, or nobody can look. Its inode may be another file's by now."""
        try:
            path = places.of(key.identity, os.path.dirname(mark.path))
            if path is None:
                return False
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return True
        try:
            stat = os.fstat(fd)
            return key_of(fd, stat) == key or mark.fits(fd, stat.st_size)
        finally:
            os.close(fd)

    def _with_siblings(self, listed: list[FlumePosition]) -> list[FlumePosition]:
        """Our entries, and those of the source's other workers as they last saved them."""
        inodes = {entry.inode for entry in listed}
        marks = self._store.load(note=False).marks
        return listed + [
            FlumePosition(key.inode, mark.offset, mark.path) for key, mark in marks.items() if key.inode not in inodes
        ]


def _print(content: bytes | None) -> tuple[int, int]:
    return _NONE if content is None else flume_positions.fingerprint(content)
