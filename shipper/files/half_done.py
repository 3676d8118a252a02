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

Each file is looked for on the store that it was begun on. After a power cut nothing is looked at: bytes may have
reached the disk in any order, and only what was marked counts.
All of it may be done twice: once the commit is stored it names the entry, and nothing is half done any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shipper.files.extent import Extent
from shipper.files.journal import Journal
from shipper.files.journal_past import AGREES, HalfDone
from shipper.files.journal_record import Progress
from shipper.files.outlet import Outlet
from shipper.files.store import Store
from shipper.sinks.sink import Takes


def settle_half_done(outlet: Outlet, journal: Journal, takes: Takes | None) -> bool:
    """Finishes the commit that is half done, or makes its entry void. Before files are settled.

    Returns:
        True when there was one, and it counts now.

    Raises:
        OSError: the store that is configured, or the journal, can't be asked.
    """
    entry = journal.half_done
    if entry is None:
        return False
    if _is_whole(outlet, journal, entry) and (journal.found != AGREES or _finished(takes, entry)):
        journal.goes_forward()
        return True
    journal.forget()
    return False


def _finished(takes: Takes | None, entry: HalfDone) -> bool:
    return takes is not None and entry.take is not None and takes.finish(entry.take, entry.sequence)


def _is_whole(outlet: Outlet, journal: Journal, entry: HalfDone) -> bool:
    if not all(progress.number in journal.records for progress in entry.progress):
        return False
    return all(_hold(outlet, journal, some) for some in _by_store(journal, entry))


def _by_store(journal: Journal, entry: HalfDone) -> Iterable[list[Progress]]:
    found: dict[str | None, list[Progress]] = {}
    for progress in entry.progress:
        found.setdefault(journal.records[progress.number].store, []).append(progress)
    return found.values()


def _hold(outlet: Outlet, journal: Journal, some: list[Progress]) -> bool:
    """True when these files, all of one store, hold all that the entry speaks of."""
    first = journal.records[some[0].number]
    try:
        store = outlet.store_of(first)
        return store.holds(list(_files(store, journal, some)))
    except OSError:
        if not outlet.is_elsewhere(first):
            raise
        # Nobody waits for a store that may be gone for good. The rows come again while lanes have them, and what the
        # files have of them is cut off; where they are nowhere else, whatever is there is kept.
        return journal.found != AGREES


def _files(store: Store, journal: Journal, some: list[Progress]) -> Iterator[tuple[str, Extent]]:
    for progress in some:
        record = journal.records[progress.number]
        # What is renamed was committed: of that commit nobody else may know any more.
        renamed = progress.finished and record.path != record.final and store.stat(record.path) is None
        yield record.final if renamed else record.path, Extent(progress.length, record.identity, progress.tail)
