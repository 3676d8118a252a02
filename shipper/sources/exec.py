"""`exec`: the lines that a command prints.

Most commands in Flume files are `tail -F FILES`. Those are not run: their files are read by our own tail with positions
(`_tail`), so that a restart neither loses nor repeats lines; `exec.native = false` runs the real one. A real command
can't be asked for its output again: when the channels have no room the rows are kept and tried again (Flume loses
them), and what the command prints meanwhile waits in its pipe; but what was read and not yet put is lost if this
process dies.
"""

from __future__ import annotations

import glob
import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

from shipper.api import (
    ComponentFailed,
    EventBatch,
    Options,
    Origin,
    Source,
    SourceContext,
    at_least,
    flag,
    integer,
    milliseconds,
    option,
    size,
    text,
)
from shipper.sources._exec.output import StreamLines
from shipper.sources._exec.process import Command
from shipper.sources._tail.command import TailCommand, parse_tail
from shipper.sources._tail.group import GlobGroup
from shipper.sources._tail.java_lines import JavaLineRule, charset_problem
from shipper.sources._tail.tail import Tail, TailSettings

_ERRORS = logging.getLogger("shipper.source.exec")
_PACE_S = 0.002  # after a small batch, give the command this long: 500 small batches a second are enough
_EXIT_LOOK_S = 0.05


@dataclass(frozen=True, kw_only=True)
class ExecOptions(Options):
    """Options of exec."""

    command: str = option("command", text, help="The command; without `shell` split at blanks, with no quoting.")
    shell: str | None = option("shell", text, None, help="A shell that runs the command, as in `/bin/sh -c`.")
    restart: bool = option("restart", flag, False, help="Start the command again when it ends.")
    restart_throttle_s: float = option(
        "restartThrottle", at_least(milliseconds, 0), 10.0, help="ms from the end of the command to its next start."
    )
    log_errors: bool = option("logStdErr", flag, False, help="Write what the command prints on stderr to the log.")
    batch_size: int = option(
        "batchSize", at_least(integer, 1), 20, help="Lines of one batch where `strictBatch` is set; else what is there."
    )
    batch_timeout_s: float = option(
        "batchTimeout", at_least(milliseconds, 0), 3.0,
        help="ms that lines wait for a full batch where `strictBatch` is set; else they do not wait.",
    )  # fmt: skip
    charset: str = option("charset", text, "UTF-8", help="How the output is encoded; invalid bytes become U+FFFD.")
    native: bool = option(
        "exec.native", flag, True, aliases=("native",), ours=True,
        help="Read the files of a `tail -F` ourselves, with positions; false: run the real command.",
    )  # fmt: skip
    line_bytes_max: int = option(
        "maxLineBytes", at_least(size, 1024, 1 << 30), 16 << 20, ours=True,
        help="A longer line is cut there, its rest dropped, and `truncated_lines` counts it.",
    )  # fmt: skip

    def problems(self) -> list[tuple[str, str]]:
        found = []
        if (problem := charset_problem(self.charset)) is not None:
            found.append(("charset", f"charset = {self.charset}: {problem}"))
        if not self.command.split():
            found.append(("command", "command is empty"))
        return found

    def doubts(self) -> list[tuple[str, str]]:
        if self.shell is None and self.tail is None and any(char in self.command for char in "|;&<>'\"`$"):
            advice = "set shell = /bin/sh -c to have a shell read it"
            return [
                ("command", f"command = {self.command}: without `shell`, | ; & > $ and quotes are plain text; {advice}")
            ]
        return []

    @property
    def tail(self) -> TailCommand | None:
        """The files and first place of a `tail -F`, if the command is one and may be read by us."""
        return parse_tail(self.command, self.shell) if self.native else None


class ExecSource(Source[ExecOptions]):
    """The output of a command, or the files that a `tail` command names."""

    Options = ExecOptions
    aliases = ("exec", "org.apache.flume.source.execsource")
    light = True
    counted = ("EventReceivedCount", "EventAcceptedCount")

    def __init__(self, options: ExecOptions) -> None:
        super().__init__(options)
        self._reader: _TailedFiles | _CommandOutput
        self._reader = _CommandOutput(options) if options.tail is None else _TailedFiles(options, options.tail)
        self.replayable = options.tail is not None  # type: ignore[misc]  # the class can't know, the command does

    def open(self, context: SourceContext) -> None:
        self._reader.open(context)

    def poll(self, wait_s: float) -> EventBatch | None:
        return self._reader.poll(wait_s)

    def position(self, origins: Sequence[Origin]) -> None:
        self._reader.position(origins)

    def committed(self, batch: EventBatch) -> None:
        self._reader.committed(batch)

    def lag_bytes(self) -> int:
        return self._reader.lag_bytes()

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

    def lag_bytes(self) -> int:
        return 0 if self._tail is None else self._tail.lag_bytes()

    def finished(self) -> bool:
        return False

    def close(self) -> None:
        if self._tail is not None:
            self._tail.close()


class _CommandOutput:
    """A real command: started, read, started again."""

    def __init__(self, options: ExecOptions) -> None:
        self._options = options
        self._argv = [*options.shell.split(), options.command] if options.shell else options.command.split()
        self._lines = StreamLines(JavaLineRule(options.charset), 1 << 20, options.line_bytes_max)
        self._command: Command | None = None
        self._ended = False

    def open(self, context: SourceContext) -> None:
        self._context = context
        self._rows_max = min(context.rows_max, self._options.batch_size if context.strict else context.rows_max)
        self._next_start_s = self._paced_s = context.clock.monotonic_s()
        self._oldest_s: float | None = None
        self._errors = b""
        self._start()

    def poll(self, wait_s: float) -> EventBatch | None:
        clock, waiter = self._context.clock, self._context.waiter
        now_s = clock.monotonic_s()
        deadline_s = now_s + wait_s
        while True:
            if now_s < min(self._paced_s, deadline_s):
                waiter.wait(min(self._paced_s, deadline_s) - now_s)
                now_s = clock.monotonic_s()
            if self._command is None and not self._ended and now_s >= self._next_start_s:
                self._start()
            flowing = self._read()
            if (batch := self._batch(now_s, flowing=flowing)) is not None:
                return batch
            if self._command is not None and not flowing and self._command.ended():
                self._finish(now_s)
            now_s = clock.monotonic_s()
            if now_s >= deadline_s:
                return None
            until_s = self._until(deadline_s, now_s, flowing)
            if not waiter.wait(max(0.0, until_s - now_s), self._fds(flowing)) and clock.monotonic_s() < until_s:
                return None  # the worker was rung
            now_s = clock.monotonic_s()

    def position(self, origins: Sequence[Origin]) -> None:
        """A command can't be asked again."""

    def committed(self, batch: EventBatch) -> None:
        """Nothing to acknowledge: the command does not listen."""

    def lag_bytes(self) -> int:
        return 0

    def finished(self) -> bool:
        return self._ended

    def close(self) -> None:
        if self._command is not None:
            self._command.close()
            self._command = None

    # --- inside

    def _start(self) -> None:
        try:
            self._command = Command(self._argv, keep_errors=self._options.log_errors)
        except OSError as problem:
            raise ComponentFailed(f"starting {' '.join(self._argv)}: {problem.strerror}; correct `command`") from None

    def _read(self) -> bool:
        """Reads what the command wrote; False at the end of its output."""
        if self._command is None:
            return False
        self._log_errors()
        return self._lines.full or self._lines.fill(self._command.output)

    def _batch(self, now_s: float, *, flowing: bool) -> EventBatch | None:
        if self._context.strict and flowing and self._lines.lines < self._rows_max and not self._lines.full:
            if not self._lines.lines:
                self._oldest_s = None
                return None
            self._oldest_s = self._oldest_s or now_s
            if now_s < self._oldest_s + self._options.batch_timeout_s:
                return None
        taken = self._lines.take(self._rows_max, finish=not flowing)
        self._oldest_s = None
        if self._lines.cut_lines:
            self._context.counters.add("truncated_lines", self._lines.cut_lines)
            self._lines.cut_lines = 0
            limit = f"maxLineBytes = {self._options.line_bytes_max}"
            self._context.say("warning", f"{self._options.command}: a line of more than {limit}: its rest is dropped")
        if taken is None:
            return None
        records, trim = taken
        self._paced_s = 0.0 if self._lines.lines else now_s + _PACE_S
        return EventBatch(records, trim=trim)

    def _finish(self, now_s: float) -> None:
        """The command has ended and all its lines were taken."""
        assert self._command is not None
        self._log_errors()
        code = self._command.close()
        self._command = None
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        again = "it is not started again (restart = false)"
        if self._options.restart:
            self._next_start_s = now_s + self._options.restart_throttle_s
            again = f"it starts again in {self._options.restart_throttle_s:g} s"
        else:
            self._ended = True
        self._context.say("warning" if code else "info", f"{self._options.command}: ended with {how}; {again}")

    def _log_errors(self) -> None:
        if self._command is None or self._command.errors < 0:
            return
        try:
            self._errors += os.read(self._command.errors, 64 << 10)
        except BlockingIOError:
            return
        *lines, self._errors = self._errors.split(b"\n")
        if self._command.ended() and self._errors:
            lines, self._errors = [*lines, self._errors], b""
        for line in lines:
            _ERRORS.info("%s: %s", self._context.name, line.decode("utf-8", "replace").rstrip("\r"))

    def _until(self, deadline_s: float, now_s: float, flowing: bool) -> float:
        if self._command is None:
            return deadline_s if self._ended else min(deadline_s, self._next_start_s)
        if not flowing:
            return min(deadline_s, now_s + _EXIT_LOOK_S)
        if self._oldest_s is not None:
            return min(deadline_s, self._oldest_s + self._options.batch_timeout_s)
        return deadline_s

    def _fds(self, flowing: bool) -> tuple[int, ...]:
        if self._command is None:
            return ()
        fds = (self._command.output if flowing else -1, self._command.errors)
        return tuple(fd for fd in fds if fd >= 0)


def _positions_name(files: Sequence[str]) -> str:
    """What positions belong to: the files that the command names."""
    return "exec-" + hashlib.sha256("\0".join(sorted(files)).encode("utf-8", "surrogateescape")).hexdigest()[:16]
