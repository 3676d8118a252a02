"""Syncing: what rolling files have committed becomes safe from a power cut, beside the loop that writes them.

::

    begin      between transactions: which files changed since the last time; the journal notes where it is
    ... a background job: fdatasync of those files, fsync of their folders ...
    done?      the journal gets its mark: everything up to that entry is on disk
    ... a background job: fdatasync of the journal ...
    done       True: the worker may publish the durable head that it noted when the sync began

The order is the whole point. A mark that reached the disk before the rows would claim what is not there; a head that
was published before the mark would let the source forget what the next start cuts off.

A sync that fails is never tried again: the kernel may have dropped the pages and forgotten it. From then on nothing
more is called durable by this process, and the source keeps what it needs to read it all again.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from shipper.files.background import Background
from shipper.files.journal import Journal
from shipper.files.journal_record import FileRecord
from shipper.files.store import Store, trouble


class Syncing:
    """The syncing of one sink worker's files.

    Args:
        say: one line for a person.
        also: what has to be on disk beside the files before the journal says that they are.
        begins: is called when all that counts is about to become durable.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        say: Callable[[str, str], None],
        also: Callable[[], None] = lambda: None,
        *,
        begins: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._journal = journal
        self._say = say
        self._also = also
        self._begins = begins
        self._files: dict[int, tuple[str, str]] = {}
        self._folders: set[str] = set()
        self._job: Background | None = None
        self._marking = False
        self.failed = False

    def touched(self, record: FileRecord) -> None:
        """The file was written, finished or renamed."""
        self._files[record.number] = (record.path, record.final)
        self._folders.add(os.path.dirname(record.path))
        if record.final != record.path:
            self._folders.add(os.path.dirname(record.final))

    def begin(self) -> None:
        """All that is committed now is to become durable. Not while the last one is under way."""
        if self.failed or self._job is not None or not self._journal.sync_begins():
            return
        self._begins()
        files, folders = self._taken()
        self._marking = False
        self._job = Background(lambda: self._sync(files, folders))

    def done(self) -> bool:
        """True when what the last `begin` asked for is durable. Never waits."""
        if self._job is not None and self._job.done:
            self._go_on()
        return self._job is None and not self.failed

    def now(self) -> None:
        """Makes all that is committed durable, and waits for it: between transactions, when a lane is given up."""
        for _ in range(2):  # what is under way first: it may have begun before the last commit
            while self._job is not None:
                self._job.wait()
                self._go_on()
            self.begin()
        while self._job is not None:
            self._job.wait()
            self._go_on()

    def all_now(self) -> None:
        """Syncs the files that were touched, and leaves the journal alone: before it is written anew.

        Raises:
            OSError: as the store says.
        """
        self._store.sync(*self._taken())

    def _sync(self, files: tuple[tuple[str, str], ...], folders: tuple[str, ...]) -> None:
        self._also()
        self._store.sync(files, folders)

    def _taken(self) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
        files, folders = tuple(self._files.values()), tuple(self._folders)
        self._files.clear()
        self._folders.clear()
        return files, folders

    def _go_on(self) -> None:
        assert self._job is not None
        error, self._job = self._job.error, None
        try:
            if error is not None:
                raise error
            if not self._marking and self._journal.synced():
                self._marking = True
                self._job = Background(self._journal.sync)
        except OSError as problem:
            self.failed = True
            self._journal.syncs = False
            what = trouble("sync", problem.filename or str(self._journal.path), problem)
            self._say("error", f"{what}. What is delivered from now on may be lost if the machine goes down, until "
                      "this agent is started again")  # fmt: skip
