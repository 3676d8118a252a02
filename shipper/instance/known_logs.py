"""Known logs: where the channels of an agent have kept rows on disk, so that none is forgotten with its channel.

A channel that is taken out of the file, or becomes one in memory, leaves its log where it is: its rows are delivered if
it comes back, and by nobody else. So each start names the logs that hold rows and belong to no channel any more.

::

    logs.json   in the state directory: [{"channel", "checkpoint", "data": [directory, ...]}, ...]
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from shipper import log, whole_file
from shipper.errors import ShipperError

_NAME = "logs.json"

#: Of a log: the directory of its checkpoint, and those of its rows.
Places = tuple[Path, Sequence[Path]]
_Signature = tuple[tuple[str, int], ...]


def follow(state_dir: Path, logs: Mapping[str, Places], *, live: bool = False) -> None:
    """Notes the logs that are in use now, and says which others hold rows. A log without rows is forgotten.

    Dying in here: the note before; what was in use then is looked at once more.

    Args:
        live: a running agent changes; what it leaves is still being emptied, and the next start looks.
    """
    used = {os.path.realpath(checkpoint) for checkpoint, _ in logs.values()}
    logs_known = known(state_dir)
    unread = [
        entry
        for entry in logs_known
        if os.path.realpath(entry["checkpoint"]) not in used and (live or _holds_rows(entry))
    ]
    now = [
        {"channel": name, "checkpoint": str(checkpoint), "data": [str(path) for path in data]}
        for name, (checkpoint, data) in logs.items()
    ]  # fmt: skip
    if logs_known != now + unread:
        whole_file.write(state_dir / _NAME, [orjson.dumps(now + unread)])


class Unread:
    """Which logs hold rows and have no channel: for a supervisor, who asks again and again, and must not wait for long.

    A log of very small records takes seconds to read, so one that nobody has changed is not read again.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._read: dict[str, tuple[_Signature, str]] = {}

    def beside(self, checkpoints: Iterable[Path]) -> list[tuple[str, str]]:
        """The known logs that are none of these: (the channel that it was of, a sentence for the person)."""
        used = {os.path.realpath(checkpoint) for checkpoint in checkpoints}
        entries = [entry for entry in known(self._state_dir) if os.path.realpath(entry["checkpoint"]) not in used]
        before, self._read = self._read, {}
        for entry in entries:
            signature = _signature(entry)
            found = before.get(entry["checkpoint"])
            if found is None or found[0] != signature:
                found = signature, _left_in(entry)
            self._read[entry["checkpoint"]] = found
        sentences = [(entry["channel"], self._read[entry["checkpoint"]][1]) for entry in entries]
        return [(channel, sentence) for channel, sentence in sentences if sentence]


def _signature(entry: Mapping[str, Any]) -> _Signature:
    """Changes with what is in a log: when its directories, or the files in that of its checkpoint, were written."""
    places = [entry["checkpoint"], *entry["data"]]
    with contextlib.suppress(OSError):
        places += [file.path for file in os.scandir(entry["checkpoint"])]
    times = []
    for place in places:
        try:
            times.append((place, os.stat(place).st_mtime_ns))
        except OSError:
            times.append((place, 0))
    return tuple(sorted(times))


def _holds_rows(entry: Mapping[str, Any]) -> bool:
    """True when rows wait in a log that no channel has; the person is told."""
    if sentence := _left_in(entry):
        log.say("WARN", entry["channel"], sentence)
    return bool(sentence)


def _left_in(entry: Mapping[str, Any]) -> str:
    """What waits in a log that no channel has, and what to do about it; "" when nothing does."""
    from shipper.durable import offline  # only for those that have left a log behind

    checkpoint = Path(entry["checkpoint"])
    try:
        rows = offline.inspect(checkpoint, [Path(path) for path in entry["data"]]).rows_waiting
    except ShipperError as problem:
        if not checkpoint.exists():
            return ""
        return f"no channel has the log in {checkpoint} any more, and {problem}"
    if not rows:
        return ""
    return (
        f"{rows} events wait in the log in {checkpoint}, which no channel of this configuration reads: give a channel "
        f"these directories again, or have them written into files by shipper channel export {checkpoint} --to DIR "
        f"and remove {', '.join([str(checkpoint), *entry['data']])}"
    )


def at_rest(state_dir: Path) -> list[tuple[str, str]]:
    """The known logs that hold rows and that no agent has open: (the channel that it was of, a sentence)."""
    from shipper.durable import offline

    found = []
    for entry in known(state_dir):
        checkpoint = Path(entry["checkpoint"])
        try:
            report = offline.inspect(checkpoint, [Path(path) for path in entry["data"]])
        except ShipperError as problem:
            if checkpoint.exists():
                found.append((entry["channel"], f"what waits in the log in {checkpoint} can't be told: {problem}"))
            continue
        if report.rows_waiting and not report.in_use:
            found.append((
                entry["channel"], f"{report.rows_waiting} events wait in the log in {checkpoint}: the agent delivers "
                f"them when it runs with a channel of these directories; to look at them, shipper channel inspect "
                f"{checkpoint}, and to have them as files, shipper channel export {checkpoint} --to DIR",
            ))  # fmt: skip
    return found


def known(state_dir: Path) -> list[dict[str, Any]]:
    """The logs that are known: of the channels of the last start, and those that held rows then."""
    try:
        found: list[dict[str, Any]] = orjson.loads((state_dir / _NAME).read_bytes())
    except (OSError, ValueError):
        return []
    return found
