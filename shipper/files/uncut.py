"""Uncut files: they have more in them than what counts, because a transaction was rolled back or a write failed.

Each is cut back before anything else is written; until that can be done, they stay here. Where the store does not cut
(a cluster), a file that has more than what counts is not waited for: it ends where it counts, and its bucket goes on in
a new one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from shipper.files.final_names import FinalNames
from shipper.files.journal import Journal
from shipper.files.journal_record import FileRecord, Progress
from shipper.files.open_file import OpenFile
from shipper.files.open_files import OpenFiles
from shipper.files.outlet import Outlet
from shipper.files.syncing import Syncing


class UncutFiles(dict[OpenFile, str]):
    """The uncut files of one sink worker, and their buckets.

    Args:
        names: takes what ends.
        syncing: hears of what ends.
        removed: hears of what is gone.
    """

    def __init__(
        self,
        outlet: Outlet,
        journal: Journal,
        files: OpenFiles,
        names: FinalNames,
        syncing: Syncing,
        removed: Callable[[FileRecord], None],
    ) -> None:
        super().__init__()
        self._store = outlet.store
        self._context = outlet.context
        self._journal = journal
        self._open = files
        self._names = names
        self._syncing = syncing
        self._removed = removed

    def cut(self) -> None:
        """Takes out of them what does not count.

        Raises:
            OSError: the rest is still to be cut.
        """
        while self:
            file, key = next(iter(self.items()))
            if file.record.progress is None:
                self.remove(key, file)
            elif not self._store.cuts and not file.takes_back():
                self._end_early(key, file, file.record.progress)
            else:
                try:
                    file.cut_back()
                except FileNotFoundError:
                    self._forget_lost(key, file)
                else:
                    self._open.restore(key, file)
            del self[file]

    def remove(self, key: str, file: OpenFile) -> None:
        """Removes a file in which nothing counts.

        Raises:
            OSError: it is there still.
        """
        file.close()
        self._store.delete(file.record.path)
        self._forget(key, file)

    def _end_early(self, key: str, file: OpenFile, counted: Progress) -> None:
        """The file has more than what counts, or can't be written any more: it ends where it counts."""
        self._journal.settled([replace(counted, finished=True)])
        file.close()
        if self._open.get(key) is file:
            self._open.retire(key)
        self._syncing.touched(file.record)
        self._names.add(file.record)

    def _forget_lost(self, key: str, file: OpenFile) -> None:
        file.close()
        self._forget(key, file)
        self._context.counters.add("files_lost")
        rows = file.record.progress.rows if file.record.progress else 0
        self._context.say("error", f"{file.record.path} was removed or replaced while it was written, with {rows} rows "
                          "that were delivered to it: let nothing touch files that are being written")  # fmt: skip

    def _forget(self, key: str, file: OpenFile) -> None:
        if self._open.get(key) is file:
            self._open.retire(key)
        self._journal.gone([file.record.number])
        self._removed(file.record)
