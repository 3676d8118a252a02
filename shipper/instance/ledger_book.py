"""The ledger's book: a file in the state directory that carries the counts over runs whose memory is gone.

::

    ledger.json   {"version", "agent", "file", "run_dir", "names",   of the agent; sinks by the word of their accounts
                   "before": counts of all runs before,
                   "run", "began_ms", "at_ms", "closed": the run that it is about, and when that was written,
                   "seen_ms", "last": when its counts were last looked at, and what they were,
                   "unknown": runs that ended without a last look (a power cut, a run directory that was removed)}

What came twice after a power cut is added to the counts of the run that is gone, as another one begins, and before a
worker of it runs: its journals would say less afterwards.

The sum is `before` and the run that there is now, read from its memory; or `last`, when there is none. It is replaced
in one step: dying before that leaves the book as it was, and the memory still has the counts; dying after it, the book
names the run, so its counts are never added twice.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from shipper import log, whole_file
from shipper.instance import twice
from shipper.instance.instance import Instance
from shipper.instance.ledger import Ledger, read
from shipper.instance.settled import settled_run
from shipper.shared.tally import sink_key

VERSION = 1
_UNKNOWN_MAX = 20
_SAVE_EVERY_S = 30.0


class LedgerBook:
    """The book of one agent.

    Args:
        path: `ledger.json`.

    Attributes:
        damaged: what the last `save` could not read, a sentence each.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = _read(path)
        self.damaged: list[str] = []

    def open_run(self, run_id: str, run_dir: Path, agent: str, file: Path, names: Mapping[str, str]) -> None:
        """A run begins, or goes on: counts of another one before it are added up.

        Args:
            names: word of an account -> name of its sink.
        """
        data, now_ms, repeats = self.data, time.time_ns() // 1_000_000, False
        if data.get("run") not in (None, run_id):
            before = Ledger.from_data(data.get("before", {}))
            last = Ledger.from_data(data["last"])
            if not data["closed"]:
                # What came after the last look is unknown; what was in the channel then is not there any more.
                self._miss()
            last.gone().add(before)
            if data["run"] != settled_run(self.path.parent):
                repeats = last.repeat(twice.count(self.path.parent, data["run"], last.channels))
            data["before"] = last.as_data()
        if data.get("run") != run_id:
            data.update(run=run_id, began_ms=now_ms, seen_ms=now_ms, last=Ledger().as_data())
        # One that could not be read at its end, and goes on, is known again.
        data["unknown"] = [missing for missing in data.get("unknown", ()) if missing["run"] != run_id]
        names = {**data.get("names", {}), **names}
        data.update(version=VERSION, agent=agent, file=str(file), run_dir=str(run_dir), names=names)
        # Dying before this: no worker has run, and all is counted once more. Behind it: the book names another run.
        self._store(data, closed=False, sync=repeats)

    def save(self, closed: bool = False) -> None:
        """Writes down what the run's memory says now; without it, that the run is unknown since the last look.

        Args:
            closed: True when no worker runs any more: what is written is the end of it.
        """
        found = self._look()
        if found is not None and not found.damaged:
            self._seen(found)
        elif found is None or closed:
            self._miss()
        self.damaged = found.damaged if found is not None else []
        self._store(self.data, closed)

    def amend(self, run_id: str, run_dir: Path) -> None:
        """Writes down what a person has done with the channels of the last run, while no agent runs.

        Args:
            run_dir: its lanes as they are now, wherever they lie for the moment.
        """
        if run_id and self.data.get("run") == run_id:
            found = read(run_dir)
            if not found.damaged:
                self._seen(found)
            self._store(self.data, closed=True)

    def total(self) -> Ledger:
        """All counts: of the run that there is now, or was last, and of those before."""
        while True:
            total = self._present()
            now = _read(self.path)
            if _run(now) == _run(self.data):
                break
            # The run ended, and its memory may have been taken away under our eyes: the book has its end.
            self.data = now
        total.add(Ledger.from_data(self.data.get("before", {})))
        return total

    def _present(self) -> Ledger:
        found = None if self.data.get("closed") else self._look()
        return found or Ledger.from_data(self.data.get("last", {}))

    def _look(self) -> Ledger | None:
        """What the run's memory says; None when it is gone, or another run's: nothing in it is no count of 0."""
        run_dir = Path(self.data.get("run_dir", ""))
        with contextlib.suppress(OSError):
            if (run_dir / "id").read_text() == self.data.get("run"):
                return read(run_dir)
        return None

    def _seen(self, found: Ledger) -> None:
        self.data.update(last=found.as_data(), seen_ms=time.time_ns() // 1_000_000)

    def _miss(self) -> None:
        """The run of the book is unknown since it was last seen."""
        data = self.data
        others = [missing for missing in data.get("unknown", ()) if missing["run"] != data["run"]]
        missing = {"run": data["run"], "began_ms": data["began_ms"], "until_ms": data.get("seen_ms", data["at_ms"])}
        data["unknown"] = [*others, missing][-_UNKNOWN_MAX:]

    def _store(self, data: dict[str, Any], closed: bool, sync: bool = False) -> None:
        data.update(closed=closed, at_ms=time.time_ns() // 1_000_000)
        whole_file.write(self.path, [orjson.dumps(data)], synced=closed or sync)


def _read(path: Path) -> dict[str, Any]:
    """What the book says; nothing at the first start, or when a disk has lost it: counting begins again."""
    try:
        data: dict[str, Any] = orjson.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return data if data.get("version", VERSION) <= VERSION else {}


def _run(data: Mapping[str, Any]) -> tuple[Any, Any]:
    """Which run the book is about, and whether it has ended."""
    return data.get("run"), data.get("closed")


class Bookkeeper:
    """Keeps the book of a running agent, for its supervisor. A book that can't be written stops nobody.

    Args:
        file: the agent's first configuration file.
        sinks: names of its sinks.
    """

    def __init__(self, instance: Instance, file: Path, sinks: Iterable[str]) -> None:
        self._book = LedgerBook(instance.state_dir / "ledger.json")
        self._due_s = time.monotonic() + _SAVE_EVERY_S
        names = {f"{sink_key(sink):016x}": sink for sink in sinks}
        self._try(
            lambda: self._book.open_run(instance.run_id(), instance.run_dir, instance.agent, file.absolute(), names)
        )

    def twice(self) -> dict[str, dict[str, int]]:
        """What came twice in each channel, before this run."""
        before = Ledger.from_data(self._book.data.get("before", {}))
        return {
            name: {key: numbers.get(key, 0) for key in ("twice_at_most", "twice_unknown")}
            for name, numbers in before.channels.items()
        }

    @property
    def damaged(self) -> list[str]:
        """What could not be read at the last look, a sentence each: then numbers are missing."""
        return self._book.damaged

    def tick(self) -> None:
        """Writes down what there is now and then, for the case that the memory vanishes."""
        if time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + _SAVE_EVERY_S
            self._try(self._book.save)

    def close(self) -> None:
        """Writes down the end of the run. Only when no worker lives any more, and before its memory is removed."""
        self._try(lambda: self._book.save(closed=True))

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as problem:
            log.say(
                "WARN", "agent", f"the ledger {self._book.path} can't be written: {problem.strerror}; what this run "
                f"counts is unknown after the memory of its channels is gone",
            )  # fmt: skip
