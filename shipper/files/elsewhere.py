"""Elsewhere: the stores that files were begun on before the configuration named another one.

A path says nothing of the cluster that it is on. So the journal knows the store of each file by its name, as in
`hdfs://a:8020` or `file://`, and what was begun there is settled there, while new files go to the store that is
configured now. A store that can't be reached is asked again, and its files wait for it.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable

from shipper.files.store import Explained, Store

#: The name of this machine's store.
LOCAL = "file://"


def _unknown(name: str) -> Store:
    raise Explained(errno.ENXIO, f"this sink does not know how to reach {name}", f"name {name} in an hdfs sink again")


class Elsewhere:
    """The other stores of one sink worker.

    Args:
        here: name of the store that new files go to.
        reopen: opens a store by its name, or raises OSError.
    """

    def __init__(self, here: str = LOCAL, reopen: Callable[[str], Store] = _unknown) -> None:
        self.here = here
        self._reopen = reopen
        self._lock = threading.Lock()
        self._stores: dict[str, Store] = {}

    def open(self, name: str) -> Store:
        """The store of that name; opened when it is asked for first. May be called from any thread.

        Raises:
            OSError: it can't be had; the next call tries again.
        """
        with self._lock:
            if name not in self._stores:
                self._stores[name] = self._reopen(name)
            return self._stores[name]

    def close(self) -> None:
        """Gives them back."""
        with self._lock:
            while self._stores:
                self._stores.popitem()[1].close()
