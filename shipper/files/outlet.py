"""An outlet: where the files of one sink worker go, what they are called and when they end.

All who work on these files are made for one outlet.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from shipper.files.closed_files import ClosedFiles
from shipper.files.elsewhere import Elsewhere
from shipper.files.journal_record import FileRecord
from shipper.files.open_file import Recipe
from shipper.files.roll import RollLimits
from shipper.files.store import Store
from shipper.sinks.sink import SinkContext

#: Two that write side by side meet a name or two of each other; who meets more is behind, and doubles his steps.
_SINGLE_STEPS, _DOUBLINGS = 4, 20


@dataclass(frozen=True, kw_only=True)
class RollingPlan:
    """What a rolling sink's options say.

    Attributes:
        open_files_max: beyond it, the file that was written longest ago is finished.
        rename_tries: 0 or less is without end.
        rename_retry_s: between two tries; 0 or less is one try only.
        sync_interval_s: between two syncs; 0 is never.
    """

    limits: RollLimits
    recipe: Recipe
    open_files_max: int = 5000
    rename_tries: int = 0
    rename_retry_s: float = 180.0
    sync_interval_s: float = 0.0

    @property
    def syncs(self) -> bool:
        """True when what is written is to survive the death of the machine."""
        return self.sync_interval_s > 0


class Naming(Protocol):
    """Names for the files of a bucket."""

    def next(self, key: str, taken: int = 0) -> tuple[str, str]:
        """The name of a new file while it is written, and after; a later pair on every call.

        Args:
            taken: so many names before this one were somebody else's, all in a row: the next one is a `step` further.
        """

    def retired(self, key: str) -> None:
        """The bucket has no open file any more."""


def step(taken: int) -> int:
    """How much further a counter goes behind so many names that were taken, all in a row.

    Another writer of these names may be hours ahead, and each name costs a question at the store. The bound keeps a
    counter that begins at the clock's milliseconds near to it.
    """
    return 1 << min(max(taken - _SINGLE_STEPS, 0), _DOUBLINGS)


@dataclass(frozen=True)
class Outlet:
    """The outlet of one sink worker.

    Attributes:
        store: where new files go.
        plan: when they end and what is in them.
        naming: what they are called.
        context: the sink's.
        closed: hears of files that have their final names; None when nobody wants to know.
        elsewhere: the stores of files that were begun under another configuration.
    """

    store: Store
    plan: RollingPlan
    naming: Naming
    context: SinkContext
    closed: ClosedFiles | None = None
    elsewhere: Elsewhere = field(default_factory=Elsewhere)

    def is_elsewhere(self, record: FileRecord) -> bool:
        """True when the file is not on the store that new files go to."""
        return record.store not in (None, self.elsewhere.here)

    def store_of(self, record: FileRecord) -> Store:
        """Where a file is. Raises OSError when that can't be reached; never where new files go."""
        return self.store if record.store in (None, self.elsewhere.here) else self.elsewhere.open(record.store)

    def shown(self, record: FileRecord) -> str:
        """A file's name while it is written, for a person: with its store, where that is another one."""
        return f"{record.store}{record.path}" if self.is_elsewhere(record) else record.path

    def elsewhere_left(self, records: Iterable[FileRecord]) -> str:
        """How many of these files wait for which other store, as a sentence; "" when none does."""
        counts = Counter(record.store for record in records if self.is_elsewhere(record))
        return "; ".join(f"files that were begun on {name} and are to be finished there: {count}"
                         for name, count in counts.items())  # fmt: skip

    def sync(self, store: Store, records: Iterable[FileRecord]) -> None:
        """These files of a store survive the death of the machine, where anything ever does."""
        names = [(record.path, record.final) for record in records]
        if self.plan.syncs:
            store.sync(names, {os.path.dirname(name) for pair in names for name in pair})
