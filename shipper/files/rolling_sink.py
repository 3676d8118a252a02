"""A sink whose target is rolling files: its verbs are theirs. What is left to it is where each row goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from shipper.batch.batch import EventBatch
from shipper.config.field import Options
from shipper.errors import ComponentFailed
from shipper.files.columns import places
from shipper.files.outlet import Outlet
from shipper.files.progress import Page, Progress
from shipper.files.rolling import RollingFiles
from shipper.files.store import trouble
from shipper.sinks.sink import Sink

if TYPE_CHECKING:
    from shipper.files.columns.staged_files import StagedFiles
    from shipper.files.columns.staged_plan import StagedPlan

O = TypeVar("O", bound=Options)


class RollingSink(Sink[O]):
    """Base of the sinks that write rolling files. A subclass calls `begin` in its `open` and has `deliver`."""

    promise = "exactly once"
    files: RollingFiles | StagedFiles

    def begin(self, outlet: Outlet, where: str, staged: StagedPlan | None = None) -> None:
        """Takes up what the process before left behind.

        Args:
            where: for messages.
            staged: what files are made of rows that are staged first.

        Raises:
            ComponentFailed: the journal or a file of the process before can't be worked with.
        """
        page, context = None, outlet.context
        if context.board is not None:
            try:
                context.board.parent.mkdir(mode=0o700, exist_ok=True)
                page = Page(context.board)
            except (OSError, ComponentFailed) as problem:
                context.say("warning", f"shipper files can't show the files of {context.name}: {problem}")
        progress = Progress(page, context.name, context.worker, where, context.clock, context.counters)
        try:
            if staged is not None:
                # Imported where it is needed: Arrow's functions on columns take 4 MB.
                from shipper.files.columns.handover import enter
                from shipper.files.columns.staged_files import StagedFiles

                enter(outlet)
                self.files = StagedFiles(outlet, staged, progress)
            else:
                if (context.state_dir / places.FOLDER).is_dir():
                    from shipper.files.columns.handover import leave

                    leave(outlet)
                self.files = RollingFiles(outlet, progress)
            self.files.open()
        except OSError as error:
            raise ComponentFailed(trouble("take up the work in", error.filename or where, error)) from error

    @property
    def wants_ahead(self) -> bool:
        return self.files.wants_ahead

    def ahead(self, batch: EventBatch) -> None:
        self.files.ahead(batch)

    def flush(self) -> int:
        return self.files.flush()

    def committed(self) -> None:
        self.files.committed()

    def rolled_back(self) -> None:
        self.files.rolled_back()

    def tick(self) -> bool:
        return self.files.tick()

    def trouble(self) -> str:
        return self.files.trouble()

    @property
    def sync_interval_s(self) -> float:
        return self.files.sync_interval_s

    def sync(self) -> None:
        self.files.sync()

    def synced(self) -> bool:
        return self.files.synced()

    @property
    def unsynced(self) -> bool:
        return self.files.unsynced

    def releasing(self) -> None:
        self.files.releasing()

    def close(self) -> None:
        if hasattr(self, "files"):
            self.files.close()
