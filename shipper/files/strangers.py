"""Strangers: files with names of files that are being written, in folders of a sink that has no journal of them.

Where a state directory was lost, its journal is gone, and with it what is known of the files that were open then.
Whether somebody writes to such a file, and how much of it counts, nobody can say from here; so they are left alone and
named, with what a person can do. A sink looks only when it begins without a journal, once in each of the first folders
that it makes files in. See docs/decisions/0042-strangers.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from shipper.files.store import Store

#: Looks of a process at most: each lists a folder.
_LOOKS_MAX = 20
#: The clock's milliseconds or a little more, as names of the `hdfs` sink have them.
_COUNTER = re.compile(r"\d{13,}")


class Strangers:
    """The strangers of one sink worker that began without a journal.

    Args:
        since_ms: wall clock: what has a later name is of somebody who writes now, as the sink's other workers do.
        say: one line for a person.
    """

    def __init__(self, store: Store, since_ms: int, say: Callable[[str, str], None]) -> None:
        self._store = store
        self._since_ms = since_ms
        self._say = say
        self._seen: set[tuple[str, str]] = set()

    def look(self, path: str, final: str) -> None:
        """Looks beside a new file for others that have names of its kind, if nobody has looked there. Never raises."""
        folder, name = os.path.split(path)
        counters = _COUNTER.findall(name)
        if path == final or not counters:
            return
        before, _, behind = name.rpartition(counters[-1])
        if (folder, before) in self._seen or len(self._seen) >= _LOOKS_MAX:
            return
        self._seen.add((folder, before))
        like = re.compile(f"{re.escape(before)}({_COUNTER.pattern}){re.escape(behind)}")
        try:
            names = self._store.list(folder)
        except OSError:  # it was only to be said
            return
        found = [one for one in names if (match := like.fullmatch(one)) and int(match[1]) < self._since_ms]
        if found:
            self._tell(folder, found)

    def _tell(self, folder: str, found: list[str]) -> None:
        many = len(found) > 1
        what = f"{len(found):,} files have names" if many else "1 file has the name"
        first = "such as" if many else "it is"
        closes = "" if self._store.cuts else (
            f", close them (hdfs debug recoverLease -path FILE -retries 3; hdfs fsck {folder} -openforwrite says which "
            "are open)"
        )  # fmt: skip
        self._say("warning", f"{what} of files that are being written, and this sink has no journal of them: {first} "
                  f"{folder}/{found[0]}. Somebody else writes there, or they are of a run whose state directory is "
                  f"lost. They stay as they are: if you know that nobody writes to them{closes}, rename them"
                  )  # fmt: skip
