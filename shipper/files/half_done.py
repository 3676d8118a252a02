"""A commit that is half done: its entry was written, its sink died, and nobody knows of the commit.

The entry was there before the first byte. So at the next start one question is left: are all of its bytes in the files?

==================================  ==============================================================================
the files of the newest entry       what becomes of it
==================================  ==============================================================================
hold all that it speaks of          the commit is finished, by the stores that the dead worker would have made: no
                                    byte that a reader has seen changes, no row comes again
lack some of it                     the entry is void: the files are cut to what counted before, and the rows come
                                    again
hold all, but the lane has moved    as if they lacked some: somebody else was given the rows (a hand-over)
hold all, and the lanes are gone    it counts (another run): a commit named it, or the rows are nowhere but here
==================================  ==============================================================================

After a power cut nothing is looked at: bytes may have reached the disk in any order, and only what was marked counts.
All of it may be done twice: once the commit is stored it names the entry, and nothing is half done any more.
"""

from __future__ import annotations

from collections.abc import Iterator

from shipper.files.extent import Extent
from shipper.files.journal import Journal
from shipper.files.journal_past import AGREES, HalfDone
from shipper.files.store import Store
from shipper.sinks.sink import Takes


def settle_half_done(store: Store, journal: Journal, takes: Takes | None) -> bool:
    """Finishes the commit that is half done, or makes its entry void. Before files are settled.

    Returns:
        True when there was one, and it counts now.

    Raises:
        OSError: the store or the journal can't be asked.
    """
    entry = journal.half_done
    if entry is None:
        return False
    if _is_whole(store, journal, entry) and (journal.found != AGREES or _finished(takes, entry)):
        journal.goes_forward()
        return True
    journal.forget()
    return False


def _finished(takes: Takes | None, entry: HalfDone) -> bool:
    return takes is not None and entry.take is not None and takes.finish(entry.take, entry.sequence)


def _is_whole(store: Store, journal: Journal, entry: HalfDone) -> bool:
    if not all(progress.number in journal.records for progress in entry.progress):
        return False
    return store.holds(list(_files(store, journal, entry)))


def _files(store: Store, journal: Journal, entry: HalfDone) -> Iterator[tuple[str, Extent]]:
    for progress in entry.progress:
        record = journal.records[progress.number]
        # What is renamed was committed: of that commit nobody else may know any more.
        renamed = progress.finished and record.path != record.final and store.stat(record.path) is None
        yield record.final if renamed else record.path, Extent(progress.length, record.identity, progress.tail)
