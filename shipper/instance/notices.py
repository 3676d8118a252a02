"""Notices: what a supervisor has to say that is no number, for those who ask how its agent is.

A line each, in a file of the run directory: that a changed configuration was refused, that the state directory is gone
or the ledger can't be read, and channels that hold events which the configuration does not have any more. `shipper
health` reads it, and `/health`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from pathlib import Path

from shipper import log, whole_file
from shipper.instance import known_logs
from shipper.instance.holdings import holdings
from shipper.metrics.health import NOTICES

_LOOK_EVERY_S = 30.0
#: While some channel is named: what it holds may be on its way out.
_LOOK_AGAIN_S = 2.0


class Notices:
    """The notices of one agent.

    Args:
        run_dir, state_dir: of the instance.
    """

    def __init__(self, run_dir: Path, state_dir: Path) -> None:
        self._path = run_dir / NOTICES
        self._refused = ""
        self._state: list[str] = []
        self._logs = known_logs.Unread(state_dir)
        self._unclaimed: list[str] = []
        self._unread: list[str] = []
        self._changed = False
        self._said: list[str] | None = None
        self._look_s = self._logs_s = 0.0
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
        self._write()

    def state(self, wrong: Sequence[str]) -> None:
        """What is wrong with what the agent keeps on disk, a sentence each."""
        self._state = list(wrong)
        self._write()

    def changed(self) -> None:
        """Another configuration runs: the next look is at once, and logs that it left behind are said."""
        self._look_s = self._logs_s = 0.0
        self._changed = True

    def look(self, channels: Collection[str], checkpoints: Collection[Path] | None) -> None:
        """Looks now and then for channels, and logs, that hold events and are none of these.

        Args:
            checkpoints: of the logs that are in use; None while others are still being emptied.
        """
        now_s = time.monotonic()
        if checkpoints is not None and now_s >= self._logs_s:
            self._logs_s = now_s + _LOOK_EVERY_S
            self._look_at_logs(checkpoints)
        if now_s < self._look_s:
            return
        others = any(path.name not in channels for path in (self._path.parent / "channels").glob("*"))
        self._unclaimed = [
            f"{found.events} events wait in channel {found.channel}, which the configuration does not have any more: "
            f"shipper channel list"
            for found in (holdings(self._path.parent) if others else ())
            if found.events and found.channel not in channels
        ]
        self._look_s = now_s + (_LOOK_AGAIN_S if self._unclaimed else _LOOK_EVERY_S)
        self._write()

    def _look_at_logs(self, checkpoints: Collection[Path]) -> None:
        found = self._logs.beside(checkpoints)
        if self._changed:  # at a start, who builds the grid has said it
            for channel, sentence in found:
                log.say("WARN", channel, sentence)
        self._changed = False
        self._unread = [sentence.partition(":")[0] for _, sentence in found]
        self._write()

    def remove(self) -> None:
        """The agent has stopped."""
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        lines = [line for line in (self._refused, *self._state, *self._unclaimed, *self._unread) if line]
        if lines == self._said:
            return
        self._said = lines
        try:
            whole_file.write(self._path, [f"{log.printable(line)}\n".encode() for line in lines])
        except OSError:
            self._said = None  # a run directory that is full or gone is said elsewhere; tried again at the next look
