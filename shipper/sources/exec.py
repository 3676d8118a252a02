"""`exec`: the lines that a command prints.

Most commands in Flume files are `tail -F FILES`. Those are not run: their files are read by our own tail with positions
(`_tail`), so that a restart neither loses nor repeats lines; `exec.native = false` runs the real one. A real command
can't be asked for its output again: when the channels have no room the rows are kept and tried again (Flume loses
them), and what the command prints meanwhile waits in its pipe. At an ordered stop the command is ended, and what it has
printed is put before the worker ends; what was read and not yet put is lost if this process dies.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence

from shipper.api import ComponentFailed, EventBatch, Origin, Source, SourceContext, digest_of
from shipper.sources._exec.command_output import CommandOutput
from shipper.sources._exec.options import ExecOptions
from shipper.sources._tail.command import TailCommand
from shipper.sources._tail.group import GlobGroup
from shipper.sources._tail.java_lines import JavaLineRule
from shipper.sources._tail.settings import TailSettings
from shipper.sources._tail.tail import Tail


class ExecSource(Source[ExecOptions]):
    """The output of a command, or the files that a `tail` command names."""

    Options = ExecOptions
    aliases = ("exec", "org.apache.flume.source.execsource")
    light = True
    counted = ("EventReceivedCount", "EventAcceptedCount")

    def __init__(self, options: ExecOptions) -> None:
        super().__init__(options)
        self._reader: _TailedFiles | CommandOutput
        self._reader = CommandOutput(options) if options.tail is None else _TailedFiles(options, options.tail)
        self.awaits_durable = False
        self.replayable = options.tail is not None  # type: ignore[misc]  # the class can't know, the command does

    def open(self, context: SourceContext) -> None:
        self._reader.open(context)

    def poll(self, wait_s: float) -> EventBatch | None:
        return self._reader.poll(wait_s)

    def position(self, origins: Sequence[Origin]) -> None:
        self._reader.position(origins)

    def committed(self, batch: EventBatch) -> None:
        self._reader.committed(batch)

    def durable(self, origins: Sequence[Origin]) -> bool:
        return isinstance(self._reader, _TailedFiles) and self._reader.durable(origins)

    def lag_bytes(self) -> int:
        return self._reader.lag_bytes()

    def trouble(self) -> str:
        return self._reader.trouble() if isinstance(self._reader, _TailedFiles) else ""

    def stop_reading(self) -> bool:
        return self._reader.stop_reading()

    def finished(self) -> bool:
        return self._reader.finished()

    def close(self) -> None:
        self._reader.close()


class _TailedFiles:
    """A `tail -F` that is read by our own tail."""

    def __init__(self, options: ExecOptions, command: TailCommand) -> None:
        self._options = options
        self._command = command
        self._tail: Tail | None = None

    def open(self, context: SourceContext) -> None:
        files = self._command.files
        globs = [file for file in files if glob.has_magic(file)]
        more = f"; new files that match {', '.join(globs)} are read too" if globs else ""
        context.say(
            "info",
            f"{self._options.command}: read by shipper itself, with positions that outlive a restart{more} "
            "(exec.native = false runs the real command)",
        )
        for file in files:
            if os.path.isdir(file):
                raise ComponentFailed(
                    f"reading {self._options.command}: {file} is a directory; name files, as in {file}/*"
                )
        settings = TailSettings(
            name=_positions_name(files),
            rule=JavaLineRule(self._options.charset),
            batch_rows=self._options.batch_size if context.strict else None,
            first_place=self._command.first,
            line_bytes_max=self._options.line_bytes_max,
        )
        self._tail = Tail([GlobGroup(file, file) for file in files], settings, context)
        self._tail.open()

    def poll(self, wait_s: float) -> EventBatch | None:
        assert self._tail is not None
        return self._tail.poll(wait_s)

    def position(self, origins: Sequence[Origin]) -> None:
        assert self._tail is not None
        self._tail.position(origins)

    def committed(self, batch: EventBatch) -> None:
        assert self._tail is not None
        self._tail.committed(batch)

    def durable(self, origins: Sequence[Origin]) -> bool:
        assert self._tail is not None
        return self._tail.durable(origins)

    def lag_bytes(self) -> int:
        return 0 if self._tail is None else self._tail.lag_bytes()

    def trouble(self) -> str:
        return "" if self._tail is None else self._tail.trouble()

    def stop_reading(self) -> bool:
        return False  # the next start reads on where the channels end

    def finished(self) -> bool:
        return False

    def close(self) -> None:
        if self._tail is not None:
            self._tail.close()


def _positions_name(files: Sequence[str]) -> str:
    """What positions belong to: the files that the command names."""
    return "exec-" + digest_of("\0".join(sorted(files)).encode("utf-8", "surrogateescape"))
