"""The two directories of a spooldir source, the one it reads and the tracker's, and what is said when one is no use."""

from __future__ import annotations

import os
from pathlib import Path

from shipper.api import ComponentFailed
from shipper.sources._spool.config import SpooldirOptions

_WAY_OUT = "let the agent's user write in {}, or set trackingPolicy = tracker_dir and a trackerDir where it can"


class Places:
    """Where a source reads and where it keeps its progress, checked once at the start.

    Attributes:
        root: the directory that is read, absolute.
        tracker: the directory of the progress file.

    Raises:
        ComponentFailed: one of them can't be used; the sentence says what to do.
    """

    def __init__(self, options: SpooldirOptions) -> None:
        self._options = options
        self.root = os.path.abspath(os.path.expanduser(options.directory))
        self.tracker = Path(self.root, os.path.expanduser(options.tracker_directory))
        self._check_root()
        self._make_tracker()

    def about_root(self, problem: OSError) -> ComponentFailed:
        """The directory can't be listed."""
        return ComponentFailed(
            f"reading files of spoolDir = {self._options.directory}: {problem.strerror} "
            f"({problem.filename or self.root}); create the directory, or let the agent's user list and read it"
        )

    def about_tracker(self, problem: OSError) -> ComponentFailed:
        """The progress file can't be written."""
        return ComponentFailed(
            f"keeping progress in trackerDir = {self._options.tracker_directory}: {problem.strerror} "
            f"({problem.filename}); let the agent's user write there, or set trackerDir to a path where it can"
        )

    def about_retirement(self, path: str, problem: OSError) -> ComponentFailed:
        """A file that has been read can't be renamed or deleted."""
        return ComponentFailed(
            f"taking {path} out of the way, all of which was delivered: {problem.strerror}; "
            + _WAY_OUT.format("its directory")
        )

    def _check_root(self) -> None:
        try:
            with os.scandir(self.root):
                pass
        except OSError as problem:
            raise self.about_root(problem) from problem
        options = self._options
        renames = options.delete_policy == "immediate" or options.tracking_policy == "rename"
        if renames and not os.access(self.root, os.W_OK | os.X_OK):
            raise ComponentFailed(
                f"reading files of spoolDir = {options.directory}: files that have been read are renamed or deleted, "
                f"and this directory can't be written; {_WAY_OUT.format('it')}"
            )

    def _make_tracker(self) -> None:
        try:
            self.tracker.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise self.about_tracker(problem) from problem
        if not os.access(self.tracker, os.W_OK | os.X_OK):
            raise self.about_tracker(PermissionError(13, "Permission denied", str(self.tracker)))
