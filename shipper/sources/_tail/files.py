"""All files of a tail: found, opened, renamed, left, given up.

What is known about a file is what a look at it says; the watch only says where to look. Identity is (device, inode)
while we run, because an inode can't be used again as long as we hold the file open, plus the marks of `identity.py`
where we did not: after a restart, and after a file was closed because it was idle.
"""

from __future__ import annotations

import logging
import os
import stat as stats
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from shipper.clock import Clock
from shipper.sources._tail.group import FileGroup
from shipper.sources._tail.identity import FileKey, Mark, key_of
from shipper.sources._tail.watch import DirectoryWatch
from shipper.sources._tail.watched import WatchedFile

Identity = tuple[int, int]
_DIRECTORY_TIME_NS = 2_000_000_000  # the coarsest directory times that are in use
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


@dataclass(frozen=True, slots=True)
class _Listing:
    times: tuple[tuple[str, int], ...]
    paths: list[str]
    settled: bool


class FileSet:
    """The files of some groups.

    Args:
        mine: says which files belong to this worker.
        place: (file, its size, True at the first listing) puts a newly found, open file at its first offset.
        descriptors_max: files that may be open at once.
        cache_listing: a directory whose own time did not change is not listed again.
    """

    def __init__(
        self,
        groups: Sequence[FileGroup],
        watch: DirectoryWatch,
        clock: Clock,
        log: logging.Logger,
        *,
        stream_prefix: str,
        mine: Callable[[FileKey], bool],
        place: Callable[[WatchedFile, int, bool], None],
        descriptors_max: int,
        cache_listing: bool,
    ) -> None:
        self.groups = groups
        self.known: dict[Identity, WatchedFile] = {}
        self._watch = watch
        self._clock = clock
        self._log = log
        self._prefix = stream_prefix
        self._mine = mine
        self._place = place
        self._descriptors_max = descriptors_max
        self._cache_listing = cache_listing
        self._by_place: dict[str, WatchedFile] = {}
        self._listings: dict[FileGroup, _Listing] = {}
        self._open: dict[WatchedFile, None] = {}  # in order of use
        self._others: dict[Identity, str] = {}  # files of other workers
        self._said: dict[str, str] = {}
        self._first = True
        self._claimed: dict[str, FileGroup] = {}

    # --- finding

    def find(self) -> list[WatchedFile]:
        """Looks at all names again: the files that are new, renamed or grown, oldest change first."""
        found: dict[Identity, tuple[str, os.stat_result, FileGroup]] = {}
        for group in self.groups:
            for directory in group.directories():
                self._watch.add(directory)
            for path in self._listing(group):
                self._look_up(path, group, found)
        for path, group in self._claimed.items():
            self._look_up(path, group, found, claimed=True)
        self._claimed.clear()
        changed = []
        for identity, (path, stat, group) in sorted(found.items(), key=lambda item: item[1][1].st_mtime_ns):
            file = self.known.get(identity) or self._adopt(path, group)
            if file is None:
                continue
            self._settle(file, path, listed=group.matches(path))
            if self.grown(file, stat):
                changed.append(file)
        for identity in self.known.keys() - found.keys():
            if self._left(self.known[identity]):
                changed.append(self.known[identity])
        self._first = False
        return changed

    def moved(self, old: str, new: str) -> None:
        """The watch saw a rename: what is at `new` is ours if `old` was, even if it was never seen there."""
        group = self._claimed.pop(old, None) or next((group for group in self.groups if group.matches(old)), None)
        if group is not None:
            self._claimed[new] = group

    def adopt_left(self, mark: Mark, identity: Identity) -> WatchedFile | None:
        """A file of an earlier run that no longer matches its group, if it is still in its directory."""
        group = next((group for group in self.groups if group.matches(mark.path)), None)
        if group is None or identity in self.known:
            return None
        place = _place_of(identity, os.path.dirname(mark.path))
        if place is None:
            return None
        file = self._adopt(place, group)
        if file is not None:
            file.path = mark.path
            self._left(file)
        return file

    def at(self, path: str) -> WatchedFile | None:
        """The known file that the watch calls `path`."""
        file = self._by_place.get(path)
        if file is None:
            try:
                stat = os.stat(path)
            except OSError:
                return None
            file = self.known.get((stat.st_dev, stat.st_ino))  # by another of its names
        return file

    def grown(self, file: WatchedFile, stat: os.stat_result) -> bool:
        """True when there may be something to read: another size, or the same one written again."""
        file.size = stat.st_size
        if stat.st_size != file.seen_to:
            file.changed_s = self._clock.monotonic_s()
            file.modified_ns = stat.st_mtime_ns
            return True
        if stat.st_mtime_ns != file.modified_ns:
            file.modified_ns = stat.st_mtime_ns
            return self.opened(file) and not file.unmoved()
        return False

    def look(self, file: WatchedFile) -> bool:
        """True when an already known file has something to read."""
        try:
            stat = os.fstat(file.fd) if file.fd >= 0 else os.stat(file.place or file.path)
        except OSError:
            return False
        return (stat.st_dev, stat.st_ino) == (file.key.device, file.key.inode) and self.grown(file, stat)

    def __iter__(self) -> Iterator[WatchedFile]:
        return iter(self.known.values())

    # --- descriptors

    def opened(self, file: WatchedFile) -> bool:
        """Makes sure that a file is open; False when it can't be now."""
        if file.fd >= 0:
            self._open[file] = self._open.pop(file)
            return True
        if file.place is None:
            return False
        self._make_room()
        try:
            fd = os.open(file.place, _OPEN)
        except OSError as problem:
            self._say(file.place, f"can't be opened: {problem.strerror}; trying again")
            return False
        if key_of(fd, os.fstat(fd)) != file.key:  # renamed since; the next look finds out where to
            os.close(fd)
            return False
        file.fd = fd
        self._open[file] = None
        return True

    def close_file(self, file: WatchedFile) -> None:
        """Gives back a descriptor; the file stays known."""
        self._open.pop(file, None)
        file.close()

    def release(self, file: WatchedFile) -> None:
        """Forgets a file."""
        self.close_file(file)
        self.known.pop((file.key.device, file.key.inode), None)
        self._forget_place(file)

    def close(self) -> None:
        """Gives back all descriptors."""
        for file in list(self._open):
            self.close_file(file)

    @property
    def open_files(self) -> int:
        """Descriptors in use."""
        return len(self._open)

    # --- inside

    def _look_up(
        self,
        path: str,
        group: FileGroup,
        found: dict[Identity, tuple[str, os.stat_result, FileGroup]],
        claimed: bool = False,
    ) -> None:
        try:
            stat = os.stat(path)
        except OSError as problem:
            if not claimed:
                self._say(path, f"can't be looked at: {problem.strerror}; trying again")
            return
        identity = (stat.st_dev, stat.st_ino)
        if identity in found or identity in self._others:
            return
        if not stats.S_ISREG(stat.st_mode):
            if not stats.S_ISDIR(stat.st_mode):
                self._say(path, "is no regular file: left alone")
            return
        found[identity] = (path, stat, group)

    def _adopt(self, path: str, group: FileGroup) -> WatchedFile | None:
        """Opens and places a file that was not known."""
        self._make_room()
        try:
            fd = os.open(path, _OPEN)
        except OSError as problem:
            if problem.errno != 2:
                self._say(path, f"can't be read: {problem.strerror}; trying again")
            return None
        stat = os.fstat(fd)
        identity = (stat.st_dev, stat.st_ino)
        key = key_of(fd, stat)
        if not stats.S_ISREG(stat.st_mode) or identity in self.known or not self._mine(key):
            os.close(fd)  # renamed between the listing and here, or not ours
            if identity not in self.known and stats.S_ISREG(stat.st_mode):
                self._others[identity] = path
            return self.known.get(identity)
        file = WatchedFile(key, f"{self._prefix}{key.stream}", path, group)
        file.fd = fd
        file.changed_s = self._clock.monotonic_s()
        self._open[file] = None
        self.known[identity] = file
        self._said.pop(path, None)
        self._note_place(file, path)
        self._place(file, stat.st_size, self._first)
        return file

    def _left(self, file: WatchedFile) -> bool:
        """A known file matches no longer: where is it now? True when it has something to read."""
        directory = os.path.dirname(file.place or file.path)
        self._settle(file, _place_of((file.key.device, file.key.inode), directory), listed=False)
        return self.look(file)

    def _settle(self, file: WatchedFile, place: str | None, *, listed: bool) -> None:
        """Notes where a file was seen; another place than before, or none, means that it was left by its writer."""
        if place == file.place and listed == file.listed and place is not None:
            return
        if file.left_s is None:
            file.left_s = self._clock.monotonic_s()
        self._forget_place(file)
        file.place = place
        file.listed = listed
        if place is not None:
            if listed:
                file.path = place
            self._note_place(file, place)

    def _note_place(self, file: WatchedFile, place: str) -> None:
        """The watch speaks of real paths: behind a symbolic link, another directory has to be watched too."""
        self._by_place[place] = file
        real = os.path.realpath(place)
        if real != place:
            self._by_place[real] = file
            self._watch.add(os.path.dirname(real))

    def _forget_place(self, file: WatchedFile) -> None:
        for place in [place for place, there in self._by_place.items() if there is file]:
            del self._by_place[place]

    def _listing(self, group: FileGroup) -> list[str]:
        """The paths that match; from memory while no directory of the group has changed."""
        if not self._cache_listing:
            return group.listing()
        times = tuple((directory, _modified_ns(directory)) for directory in group.directories())
        known = self._listings.get(group)
        if known is not None and known.times == times and known.settled:
            return known.paths
        # A directory that changed just now may change again without another time to show for it.
        newest_ns = max((time_ns for _, time_ns in times), default=0)
        settled = newest_ns < self._clock.now_ms() * 1_000_000 - _DIRECTORY_TIME_NS
        listing = self._listings[group] = _Listing(times, group.listing(), settled)
        return listing.paths

    def _make_room(self) -> None:
        while len(self._open) >= self._descriptors_max:
            oldest = next((f for f in self._open if f.seen_to == f.offset and f.place is not None), None)
            self.close_file(oldest or next(iter(self._open)))

    def _say(self, path: str, what: str) -> None:
        if self._said.get(path) != what:
            self._said[path] = what
            self._log.warning("%s %s", path, what)


def belongs_to(worker: int, workers: int) -> Callable[[FileKey], bool]:
    """Deals files to workers by their identity, so that a renamed file stays with its worker."""
    if workers == 1:
        return lambda key: True
    return lambda key: zlib.crc32(b"%d:%d" % (key.device, key.inode)) % workers == worker


def _modified_ns(directory: str) -> int:
    try:
        return os.stat(directory).st_mtime_ns
    except OSError:
        return 0


def _place_of(identity: Identity, directory: str) -> str | None:
    """Where in `directory` a file is, under whatever name."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.inode() == identity[1] and entry.stat(follow_symlinks=False).st_dev == identity[0]:
                    return entry.path
    except OSError:
        pass
    return None
