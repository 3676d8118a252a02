"""Anew: a file of which no byte was ever safe is made once more, under its name, when its first flush fails.

A cluster may give a new file to servers that are dead, and give it others when it is made once more. The transaction
goes on: what its entry says of the file holds for the next one of that name just as well. What is true when the process
dies is said at each step; none of it has more under the name than this transaction has put there.
"""

from __future__ import annotations

from collections.abc import Callable

from shipper.files.store import Store, Untaken


def flush(store: Store, identified: Callable[[str, str | None], None]) -> None:
    """What was written to all files outlives this process from here on, as `Store.flush` has it.

    Args:
        identified: the journal hears what identity the file at a path has; None = it will not be known.

    Raises:
        OSError: as `Store.flush`; a file may be gone.
    """
    while True:
        try:
            return store.flush()
        except Untaken as problem:
            if store.cuts:
                raise
            # Dying before this: all of the entry's bytes may be there after all, and then it counts (`half_done.py`);
            # else the file is the one that the journal knows, of which nothing counts: it is removed.
            store.clear(problem.paths)
            # Dying here: nothing has that name, and so the entry is void.
            for path in problem.paths:
                identified(path, None)
            # Dying from here on: nothing has that name, or an empty file has, which is removed (`settling.py`).
            for path, identity in zip(problem.paths, store.remake(problem.paths), strict=True):
                identified(path, identity)
            # Dying from here on: as before the first try.
