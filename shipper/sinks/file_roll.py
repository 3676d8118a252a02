"""`file_roll`: events into files of a local directory, a new file every so often.

Names are Flume's: `<prefix><start of the sink in ms>-<n>[.<extension>]`, n = 1, 2, ...; with `sink.pathManager =
ROLLTIME` the time of the file itself, `yyyyMMddHHmmss`, and n begins at 1 again when the second changes.

What differs from Flume, and why:

- A file is made when its first event comes, and ends when its time is over. Flume makes one at every interval, events
  or not, so that a quiet night leaves thousands of empty files.
- A file that is there already is never truncated: n goes on to the next free number.
- After a death the sink goes on with the file it had open, cut to what was delivered: nothing is lost and nothing
  comes twice. Flume leaves rows of a failed transaction in the file and writes them again.
- A trickle is written as it comes: a transaction never waits to be full.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from shipper.api import (
    Clock,
    ComponentFailed,
    EventBatch,
    Options,
    SinkContext,
    at_least,
    choice,
    integer,
    mapping,
    option,
    path,
    seconds,
    text,
)
from shipper.files.format import serializer_doubts, serializer_problems, serializer_recipe
from shipper.files.local import LocalStore
from shipper.files.outlet import Outlet, RollingPlan, step
from shipper.files.roll import RollLimits
from shipper.files.rolling_sink import RollingSink

_ROLLTIME = "ROLLTIME"


@dataclass(frozen=True, kw_only=True)
class FileRollOptions(Options):
    """Options of the file_roll sink."""

    directory: str = option("sink.directory", path, help="Where the files go; must exist.")
    path_manager: str = option("sink.pathManager", choice("DEFAULT", _ROLLTIME), "DEFAULT",
        help="How files are named: by the start of the sink, or by their own time.")  # fmt: skip
    prefix: str = option("sink.pathManager.prefix", text, "", help="What every file name begins with.")
    extension: str = option("sink.pathManager.extension", text, "",
        help="What every file name ends in, behind a dot.")  # fmt: skip
    roll_interval_s: float = option("sink.rollInterval", at_least(seconds, 0), 30.0,
        help="A new file after so many seconds; 0 = one file for ever.")  # fmt: skip
    serializer: str = option("sink.serializer", text, "TEXT", help="How an event becomes bytes.")
    serializer_options: Mapping[str, str] = option(
        "sink.serializer.*", mapping(), {}, help="Options of the serializer."
    )
    batch_size: int = option("sink.batchSize", at_least(integer, 1), 100,
        help="Events of a full transaction in Flume's counters; a literal bound with strictBatch.")  # fmt: skip
    sync_interval_s: float = option("sync.interval", at_least(seconds, 0), 1.0, ours=True,
        help="Seconds between two syncs of what was written; 0 = never: a power cut may then lose it.")  # fmt: skip

    def problems(self) -> list[tuple[str, str]]:
        found = serializer_problems("sink.serializer", self.serializer, self.serializer_options)
        for key, value in (("sink.pathManager.prefix", self.prefix), ("sink.pathManager.extension", self.extension)):
            if "/" in value or "\0" in value:
                found.append((key, f"{key} = {value}: no / is possible in a file name; folders go to sink.directory"))
        return found

    def doubts(self) -> list[tuple[str, str]]:
        return serializer_doubts("sink.serializer", self.serializer, self.serializer_options)


class FileRollSink(RollingSink[FileRollOptions]):
    """Writes events to files of a directory."""

    Options = FileRollOptions
    aliases = ("file_roll", "org.apache.flume.sink.rollingfilesink")
    counted = (
        "ConnectionCreatedCount", "ConnectionClosedCount", "ConnectionFailedCount",
        "EventDrainAttemptCount", "EventDrainSuccessCount", "EventWriteFail", "ChannelReadFail", "open_files",
    )  # fmt: skip

    def open(self, context: SinkContext) -> None:
        self._directory = directory = os.path.abspath(self.options.directory)
        if not os.path.exists(directory):
            raise ComponentFailed(f"sink.directory = {directory} does not exist: mkdir -p {shlex.quote(directory)}")
        if not os.path.isdir(directory):
            raise ComponentFailed(f"sink.directory = {directory} is a file: name a directory")
        plan = RollingPlan(
            limits=RollLimits(interval_s=self.options.roll_interval_s),
            recipe=serializer_recipe(self.options.serializer, self.options.serializer_options),
            sync_interval_s=self.options.sync_interval_s,
        )
        names = _Names(self.options, context.clock)
        self.begin(Outlet(LocalStore(makes_folders=False), plan, names, context), directory)

    def deliver(self, batch: EventBatch) -> None:
        if batch.rows:
            self.files.append(((self._directory, batch, None),))


class _Names:
    """Names of the sink's files: `1340459193234-1`, `20120623134633-1`."""

    def __init__(self, options: FileRollOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._stamp = str(clock.now_ms())
        self._count = 0

    def next(self, key: str, taken: int = 0) -> tuple[str, str]:
        if self._options.path_manager == _ROLLTIME:
            now = datetime.fromtimestamp(self._clock.now_ms() / 1000).strftime("%Y%m%d%H%M%S")
            if now != self._stamp:
                self._stamp, self._count = now, 0
        self._count += step(taken)
        extension = f".{self._options.extension}" if self._options.extension else ""
        name = f"{key}/{self._options.prefix}{self._stamp}-{self._count}{extension}"
        return name, name

    def retired(self, key: str) -> None:
        """Nothing to do: the count goes on."""
