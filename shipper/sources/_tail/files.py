"""All files of a tail: found, opened, renamed, left, given up.

What is known about a file is what a look at it says; the watch only says where to look. Identity is (device, inode)
while we run, because an inode can't be used again as long as we hold the file open, plus the marks of `identity.py`
where we did not: after a restart, and after a file was closed because it was idle.

The file is long because finding and losing a file are one decision: what a name shows now, against what
was known of it and of its inode.
"""

from __future__ import annotations

import errno
import os
import stat as stats
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from shipper.api import Clock
from shipper.sources._tail.group import FileGroup
from shipper.sources._tail.identity import FileKey, Mark, key_of, owner_of
from shipper.sources._tail.rescue import Rescued
from shipper.sources._tail.watch import DirectoryWatch, Say
from shipper.sources._tail.watched import WatchedFile
from shipper.sources._unread import Unread, is_there

Identity = tuple[int, int]
_DIRECTORY_TIME_NS = 2_000_000_000  # the coarsest directory times that are in use
#: There are no descriptors left, here or on the machine.
NONE_LEFT = (errno.EMFILE, errno.ENFILE)
_ALL_FILES = "files"  # in the place of a path, where something is said of all of them
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


@dataclass(frozen=True, slots=True)
class _Listing:
    times: tuple[tuple[str, int], ...]
    paths: list[str]
    settled: bool


@dataclass(frozen=True, slots=True)
class _Found:
    path: str
    stat: os.stat_result
    group: FileGroup
    listed: bool


class FileSet:
    """The files of some groups.

    `replaced` are files that turned out to be gone, their inode used again: whoever asked to `find` releases them.
    `blind` says that the last look could not list a group: a file that left it may be in it under its new name.
    `unread` are the files and groups that can't be read now.

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
        say: Say,
        *,
        stream_prefix: str,
        mine: Callable[[Identity], bool],
        place: Callable[[WatchedFile, int, bool], None],
        descriptors_max: int,
        cache_listing: bool,
    ) -> None:
        self.groups = groups
        self.known: dict[Identity, WatchedFile] = {}
        self.replaced: list[WatchedFile] = []
        self.blind = False
        self.unread = Unread()
        self._watch = watch
        self._clock = clock
        self._say_line = say
        self._prefix = stream_prefix
        self._mine = mine
        self._place = place
        self._descriptors_max = descriptors_max
        self._cache_listing = cache_listing
        self._by_place: dict[str, WatchedFile] = {}
        self._behind_links: Counter[str] = Counter()  # files by directory
        self._listings: dict[FileGroup, _Listing] = {}
        self._open: dict[WatchedFile, None] = {}  # in order of use
        self._said: dict[str, str] = {}
        self._claimed: dict[str, FileGroup] = {}
        self._left: dict[str, str] = {}  # name -> what the last file that had it was renamed to, since the last look
        self._first = True

    # --- finding

    def find(self) -> list[WatchedFile]:
        """Looks at all names again: the files that have something to read, oldest change first.

        Whatever their times say, a file that had a name before comes before the one that has it now: the kernel's tick
        gives both the same time, and a writer that rotates may end the old one when the new one has begun.
        """
        found: dict[Identity, _Found] = {}
        self.blind = False
        self.unread.keep(lambda name: is_there(name) or any(name == group.name for group in self.groups))
        for path in [path for path in self._said if path != _ALL_FILES and not is_there(path)]:
            del self._said[path]
        for group in self.groups:
            for path in self._listing(group):
                self._look_up(path, group, found, listed=True)
        for path, group in self._claimed.items():
            self._look_up(path, group, found, listed=False)
        self._claimed.clear()
        missing = [self.known[identity] for identity in self.known.keys() - found.keys()]
        order = self._oldest_first(found, missing)
        self._left.clear()
        changed = []
        places = Places()
        for identity in order:
            file = self.known.get(identity)
            if (seen := found.get(identity)) is None:
                if file is not None and self._find_missing(file, places):
                    changed.append(file)
                continue
            if file is not None and self._replaced(file, seen):
                file.size = file.seen_to  # the size that was seen last may be the new file's
                self.replaced.append(self.known.pop(identity))
                file = None
            file = file or self._adopt(seen.path, seen.group)
            if file is None:
                continue
            self._settle(file, seen.path, listed=seen.listed)
            if self.grown(file, seen.stat):
                changed.append(file)
        self._first = False
        return changed

    def moved(self, old: str, new: str) -> None:
        """The watch saw a rename: what is at `new` is ours if `old` was, even if it was never seen there."""
        self._left[old] = new
        group = self._claimed.pop(old, None) or next((group for group in self.groups if group.matches(old)), None)
        if group is not None:
            self._claimed[new] = group

    def concerns(self, path: str) -> bool:
        """True when a name that came or went may be that of a file of ours."""
        known = path in self._by_place or path in self._claimed
        return known or os.path.dirname(path) in self._behind_links or any(group.matches(path) for group in self.groups)

    def adopt_left(self, mark: Mark, key: FileKey, places: Places) -> WatchedFile | None:
        """A file of an earlier run that no longer matches its group, if it is still in its directory.

        Raises:
            OSError: there are no descriptors left to look with.
        """
        identity = (key.device, key.inode)
        group = next((group for group in self.groups if group.matches(mark.path)), None)
        if group is None or identity in self.known:
            return None
        try:
            place = places.of(identity, os.path.dirname(mark.path)) or places.of(identity, _real_directory(mark.path))
        except OSError as problem:
            if problem.errno in NONE_LEFT:
                raise
            return None  # nobody can look there now; what is known of it is kept
        if place is None or not self._is_still(place, key, mark):
            return None
        file = self._adopt(place, group, mark.path)
        if file is not None and mark.offset and not file.offset:
            self.release(file)  # its inode is another file's now, and that one is none of ours
            return None
        return file

    def adopt_rescued(self, rescued: Rescued) -> WatchedFile | None:
        """The end of a file that was deleted, to be read on; None when no group reads its path any more."""
        group = next((group for group in self.groups if group.matches(rescued.path)), None)
        return None if group is None else self._adopt(rescued.place, group, rescued.path)

    def adopt_copy(self, path: str, original: WatchedFile, mark: Mark) -> WatchedFile | None:
        """The copy of a truncated file, to be read from where the original was left."""
        try:
            stat = os.stat(path)
        except OSError:
            return None
        file = self.known.get((stat.st_dev, stat.st_ino))
        if file is None:
            listed = original.group.matches(path)
            file = self._adopt(path, original.group, None if listed else original.path)
            if file is not None and file.offset:
                return file  # the run before had begun with it
        elif file.offset and file.copy_of is not original and self.opened(file) and file.unmoved():
            return None  # it was read by itself already; were it moved, the copy would have been written over it
        if file is not None and self.opened(file):
            file.resume(mark)
            file.copy_of = None
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
        if stat.st_size < file.size:
            file.destroyed_bytes = max(file.destroyed_bytes, file.size - file.offset)
        file.size = stat.st_size
        if stat.st_size != file.seen_to:
            file.changed_s = self._clock.monotonic_s()
            file.modified_ns = stat.st_mtime_ns
            return True
        if stat.st_mtime_ns != file.modified_ns:
            file.modified_ns = stat.st_mtime_ns
            return file.offset > 0 and self.opened(file) and not file.unmoved()
        return False

    def look(self, file: WatchedFile) -> bool:
        """True when an already known file has something to read."""
        try:
            stat = os.fstat(file.fd) if file.fd >= 0 else os.stat(file.place or file.path)
        except OSError:
            return False
        return (stat.st_dev, stat.st_ino) == file.identity and self.grown(file, stat)

    def is_gone(self, file: WatchedFile, places: Places) -> bool:
        """True when the next start will not find a file; False also when nobody can look."""
        try:
            return self._place_of(file, places) is None
        except OSError:
            return False

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
        fd = self._try_open(file.place)
        if fd is None:
            return False
        if key_of(fd, os.fstat(fd)) != file.key:  # renamed or replaced since; the next look finds out
            os.close(fd)
            file.modified_ns = -1
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
        if self.known.get(file.identity) is file:
            del self.known[file.identity]
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

    def _oldest_first(self, found: dict[Identity, _Found], missing: list[WatchedFile]) -> list[Identity]:
        """All of them by their times, and each behind the one that had its name before."""
        times = {identity: seen.stat.st_mtime_ns for identity, seen in found.items()}
        for file in missing:
            times[file.identity] = os.fstat(file.fd).st_mtime_ns if file.fd >= 0 else file.modified_ns
        at = {seen.path: identity for identity, seen in found.items()} if self._left else {}
        order: dict[Identity, None] = {}
        for identity in sorted(times, key=times.__getitem__):
            behind: list[Identity] = []
            following: Identity | None = identity
            while following is not None and following in times:
                del times[following]  # each is met once, also where names were exchanged
                behind.append(following)
                following = self._before(following, found, at)
            order.update(dict.fromkeys(reversed(behind)))
        return list(order)

    def _before(self, identity: Identity, found: dict[Identity, _Found], at: dict[str, Identity]) -> Identity | None:
        """Who had the name of a file before it; None when nobody is known, or it is its own."""
        if (seen := found.get(identity)) is None:
            return None
        file = self._by_place.get(seen.path)
        if file is not None and file.identity != identity:
            return file.identity
        return at.get(self._left.get(seen.path, "")) if file is None else None

    def _find_missing(self, file: WatchedFile, places: Places) -> bool:
        """Looks for a file that no longer has a name in its group; True when it has something to read."""
        try:
            place = self._place_of(file, places)
        except OSError:  # nobody can look now: it is where it was, until the next look
            place = file.place
        self._settle(file, place, listed=False)
        return self.look(file)

    def _look_up(self, path: str, group: FileGroup, found: dict[Identity, _Found], *, listed: bool) -> None:
        try:
            stat = os.stat(path)
        except OSError as problem:
            if listed and problem.errno != errno.ENOENT:
                self._cant_read(path, str(problem.strerror))
            return
        identity = (stat.st_dev, stat.st_ino)
        if identity in found or not self._mine(identity):
            self.unread.readable(path)
            return
        if stats.S_ISREG(stat.st_mode):
            found[identity] = _Found(path, stat, group, listed)
        else:
            self.unread.readable(path)
            what = "a directory" if stats.S_ISDIR(stat.st_mode) else "no regular file"
            self._say(path, f"is {what}: left alone")

    def _adopt(self, place: str, group: FileGroup, path: str | None = None) -> WatchedFile | None:
        """Opens and places a file that was not known; `path` is its name in the group if it has another one now."""
        fd = self._try_open(place)
        if fd is None:
            return None
        stat = os.fstat(fd)
        key = key_of(fd, stat)
        identity = (key.device, key.inode)
        if not stats.S_ISREG(stat.st_mode) or identity in self.known or not self._mine(identity):
            os.close(fd)  # something else got this name since it was listed
            return self.known.get(identity)
        file = WatchedFile(key, f"{self._prefix}{key.stream}", path or place, group)
        file.fd = fd
        if path is not None:
            file.place = place
            file.listed = False
            file.left_s = self._clock.monotonic_s()
        file.size = stat.st_size
        file.changed_s = self._clock.monotonic_s()
        self._open[file] = None
        self.known[identity] = file
        self._note_place(file, place)
        self._place(file, stat.st_size, self._first)
        return file

    def _is_still(self, place: str, key: FileKey, mark: Mark) -> bool:
        """True when the file there is the one that was known: its inode may be that of a file of another group by now,
        which would go on where that one was left, with this one's headers."""
        fd = self._try_open(place)
        if fd is None:
            return False
        try:
            stat = os.fstat(fd)
            return key_of(fd, stat) == key or (mark.strong and mark.fits(fd, stat.st_size))
        finally:
            os.close(fd)

    def _replaced(self, file: WatchedFile, seen: _Found) -> bool:
        """True when a file that was closed is gone, and its inode was given to another one."""
        unchanged = (seen.stat.st_mtime_ns, seen.stat.st_size) == (file.modified_ns, file.size)
        if file.fd >= 0 or unchanged or (fd := self._try_open(seen.path)) is None:
            return False
        key = key_of(fd, os.fstat(fd))
        if key == file.key:
            file.fd = fd
            self._open[file] = None
            return False
        os.close(fd)
        return (key.device, key.inode) == file.identity

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

    def _place_of(self, file: WatchedFile, places: Places) -> str | None:
        """Where a file is that no longer has a matching name; None when it was deleted."""
        if file.fd >= 0 and os.fstat(file.fd).st_nlink == 0:
            return None
        place = places.of(file.identity, file.directory)
        return place or places.of(file.identity, os.path.dirname(file.place or file.path))

    def _note_place(self, file: WatchedFile, place: str) -> None:
        """The watch speaks of real paths: behind a symbolic link, another directory has to be watched too."""
        self._by_place[place] = file
        real = os.path.realpath(place)
        file.directory = os.path.dirname(real)
        if real != place:
            self._by_place[real] = file
            self._behind_links[file.directory] += 1
            self._watch.add(file.directory)
        file.places = (place, real)

    def _forget_place(self, file: WatchedFile) -> None:
        for place in file.places:
            if self._by_place.get(place) is file:
                del self._by_place[place]
        if len(set(file.places)) > 1:
            directory = os.path.dirname(file.places[1])
            self._behind_links[directory] -= 1
            self._behind_links += Counter()  # those of no file are dropped
        file.places = ()

    def _listing(self, group: FileGroup) -> list[str]:
        """The paths that match; those that matched last when nobody can look."""
        while True:
            try:
                paths = self._list(group)
                self.unread.readable(group.name)
                return paths
            except OSError as problem:
                if not self.made_room(problem):
                    if self._first and problem.errno in NONE_LEFT:
                        raise  # which files were there at the start decides where some of them begin
                    self.blind = True
                    where = problem.filename or "its directory"
                    self._cant_read(group.name, f"listing {where}: {problem.strerror}")
                    return [file.path for file in self if file.group is group and file.listed]

    def _list(self, group: FileGroup) -> list[str]:
        """From memory while no directory of the group has changed."""
        for directory in group.directories():
            self._watch.add(directory)
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

    def _try_open(self, path: str) -> int | None:
        while len(self._open) >= self._descriptors_max:
            self._close_one()
        while True:
            try:
                fd = os.open(path, _OPEN)
            except OSError as problem:
                if self.made_room(problem):
                    continue
                if problem.errno != errno.ENOENT:
                    self._cant_read(path, str(problem.strerror))
                return None
            self.unread.readable(path)
            return fd

    def made_room(self, problem: OSError) -> bool:
        """True when there were no descriptors left, and now there is one."""
        if problem.errno not in NONE_LEFT or not self._open:
            return False
        self._say(_ALL_FILES, "are more than this process may open (ulimit -n): they take turns")
        self._close_one()
        return True

    def _close_one(self) -> None:
        """Closes the file that was used longest ago; one that could be lost only if there is no other."""
        safe = next((file for file in self._open if file.seen_to == file.offset and file.left_s is None), None)
        self.close_file(safe or next(iter(self._open)))

    def _cant_read(self, name: str, why: str) -> None:
        if self.unread.failed(name, why):
            self._say_line("warning", f"{name} can't be read: {why}; trying again")

    def _say(self, path: str, what: str) -> None:
        if self._said.get(path) != what:
            self._said[path] = what
            self._say_line("warning", f"{path} {what}")


class Places:
    """Which name an inode has, directory by directory; each is listed once however many files are looked for.

    What is renamed after that is not found by its new name: one look, one object.
    """

    def __init__(self) -> None:
        self._names: dict[str, dict[int, str]] = {}

    def of(self, identity: Identity, directory: str) -> str | None:
        """The path in `directory` of a file, under whatever name.

        Raises:
            OSError: nobody can look now.
        """
        if directory not in self._names:
            try:
                with os.scandir(directory) as entries:
                    self._names[directory] = {entry.inode(): entry.path for entry in entries}
            except (FileNotFoundError, NotADirectoryError):
                self._names[directory] = {}
        path = self._names[directory].get(identity[1])
        if path is None:
            return None
        try:
            stat = os.lstat(path)
        except OSError:
            return None
        return path if (stat.st_dev, stat.st_ino) == identity else None

    def in_directory(self, identity: Identity, path: str) -> bool:
        """True when a file is still somewhere in the directory of `path`, or nobody can look."""
        try:
            return self.of(identity, os.path.dirname(path)) is not None
        except OSError:
            return True


def belongs_to(
    worker: int, workers: int, originals: Mapping[Identity, Identity] = MappingProxyType({})
) -> Callable[[Identity], bool]:
    """Says of a file whether it is this worker's; `originals` are what others are the rest of, and belong with."""
    if workers == 1:
        return lambda identity: True
    return lambda identity: owner_of(originals.get(identity, identity), workers) == worker


def _real_directory(path: str) -> str:
    return os.path.dirname(os.path.realpath(path))


def _modified_ns(directory: str) -> int:
    try:
        return os.stat(directory).st_mtime_ns
    except OSError:
        return 0
