"""Notices: what a supervisor has to say that is no number, for those who ask how its agent is.

A line each, in a file of the run directory: that a changed configuration was refused, and channels that hold events
which the configuration does not have any more. `shipper health` reads it, and `/health`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from pathlib import Path

from shipper import log, whole_file
from shipper.instance.holdings import holdings
from shipper.metrics.health import NOTICES

_LOOK_EVERY_S = 30.0


class Notices:
    """The notices of one agent.

    Args:
        run_dir: of the instance.
    """

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / NOTICES
        self._refused = ""
        self._unclaimed: list[str] = []
        self._said: list[str] | None = None
        self._look_s = 0.0
        self._write()

    def refused(self, why: Sequence[str]) -> None:
        """A changed configuration can't be run."""
        reason = f": {why[0]}" if why else ""
        more = f" (and {len(why) - 1} more)" if len(why) > 1 else ""
        at = time.strftime("%Y-%m-%d %H:%M:%S")
        self._refused = f"the configuration of {at} was refused, the one before still runs{reason}{more}"
        self._write()

    def taken(self) -> None:
        """What the files say is what runs."""
        self._refused = ""
        self._look_s = 0.0
        self._write()

    def look(self, channels: Collection[str]) -> None:
        """Looks now and then for channels that hold events and are none of these."""
        if time.monotonic() < self._look_s:
            return
        self._look_s = time.monotonic() + _LOOK_EVERY_S
        others = any(path.name not in channels for path in (self._path.parent / "channels").glob("*"))
        self._unclaimed = [
            f"{found.events} events wait in channel {found.channel}, which the configuration does not have any more: "
            f"shipper channel list"
            for found in (holdings(self._path.parent) if others else ())
            if found.events and found.channel not in channels
        ]
        self._write()

    def remove(self) -> None:
        """The agent has stopped."""
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        lines = [line for line in (self._refused, *self._unclaimed) if line]
        if lines == self._said:
            return
        self._said = lines
        try:
            whole_file.write(self._path, [f"{log.printable(line)}\n".encode() for line in lines])
        except OSError:
            self._said = None  # a run directory that is full or gone is said elsewhere; tried again at the next look
