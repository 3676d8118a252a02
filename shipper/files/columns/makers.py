"""Makers: one for each store that files of stages go to, the one of new files first.

What was staged for a store becomes a file there, also when the configuration names another one by now. While that
store can't be reached its stages wait; what can be made elsewhere does not wait for them, but for one try now and then.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

from shipper.files.columns.maker import Maker
from shipper.files.columns.work import Work
from shipper.files.outlet import Outlet
from shipper.files.store import Explained, Store

#: A store that takes so long to refuse something does not answer at all.
_SILENT_S = 1.0


class Makers:
    """The makers of one sink worker. `round` is called in one thread at a time.

    Args:
        outlet: knows the stores.
        make: a maker for a store.
        now_s: monotonic clock.
    """

    def __init__(self, outlet: Outlet, make: Callable[[Store], Maker], now_s: Callable[[], float]) -> None:
        self._outlet = outlet
        self._make = make
        self._now_s = now_s
        self._here = make(outlet.store)
        self._others: dict[str, Maker] = {}

    def round(self, works: Sequence[Work]) -> None:
        """As `Maker.round`, of the maker of each."""
        if here := [work for work in works if not self._outlet.is_elsewhere(work.record)]:
            self._here.round(here)
        silent: set[str] = set()
        for work in works:
            if self._outlet.is_elsewhere(work.record):
                self._round_elsewhere(work, silent)

    def _round_elsewhere(self, work: Work, silent: set[str]) -> None:
        name = work.record.store or ""
        try:
            if name in silent:  # not for each of its files in turn, while those of other stores wait
                raise Explained(errno.ETIMEDOUT, f"{name} does not answer")
            maker = self._others.get(name) or self._make(self._outlet.store_of(work.record))
        except OSError as error:
            return self._here.later(work, "rename" if work.finished else "make", error)
        self._others[name] = maker
        began_s = self._now_s()
        maker.round([work])
        if work.tries and self._now_s() - began_s > _SILENT_S:
            silent.add(name)
