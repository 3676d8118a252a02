"""An outlet: where the files of one sink worker go, what they are called and when they end.

All who work on these files are made for one outlet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shipper.files.closed_files import ClosedFiles
from shipper.files.open_file import Recipe
from shipper.files.roll import RollLimits
from shipper.files.store import Store
from shipper.sinks.sink import SinkContext


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

    def next(self, key: str) -> tuple[str, str]:
        """The name of a new file while it is written, and after; a later pair on every call."""

    def retired(self, key: str) -> None:
        """The bucket has no open file any more."""


@dataclass(frozen=True)
class Outlet:
    """The outlet of one sink worker.

    Attributes:
        store: where the files are.
        plan: when they end and what is in them.
        naming: what they are called.
        context: the sink's.
        closed: hears of files that have their final names; None when nobody wants to know.
    """

    store: Store
    plan: RollingPlan
    naming: Naming
    context: SinkContext
    closed: ClosedFiles | None = None
