"""A real command: started, read, and started again when it may be."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from shipper.api import ComponentFailed, EventBatch, Origin, SourceContext
from shipper.sources._exec.options import ExecOptions
from shipper.sources._exec.output import StreamLines
from shipper.sources._exec.process import Command
from shipper.sources._tail.java_lines import JavaLineRule

_ERRORS = logging.getLogger("shipper.source.exec")
_PACE_S = 0.002  # after a small batch, give the command this long: 500 small batches a second are enough
_EXIT_LOOK_S = 0.05
_ERRORS_BYTES = 64 << 10
_ERROR_LINE_BYTES = 8 << 10  # the log cuts a line before that, and shows that it did


class CommandOutput:
    """A real command: started, read, started again."""

    def __init__(self, options: ExecOptions) -> None:
        self._options = options
        self._argv = [*options.shell.split(), options.command] if options.shell else options.command.split()
        self._rule = JavaLineRule(options.charset)
        self._lines = StreamLines(self._rule, 1 << 20, options.line_bytes_max)
        self._command: Command | None = None
        self._ended = False
        self._stopped = False

    def open(self, context: SourceContext) -> None:
        self._context = context
        self._rows_max = min(context.rows_max, self._options.batch_size if context.strict else context.rows_max)
        self._next_start_s = self._paced_s = context.clock.monotonic_s()
        self._oldest_s: float | None = None
        self._start()

    def poll(self, wait_s: float) -> EventBatch | None:
        clock, waiter = self._context.clock, self._context.waiter
        now_s = clock.monotonic_s()
        if self._stopped:
            self._read()
            return self._batch(now_s, flowing=self._lines.full)
        deadline_s = now_s + wait_s
        while True:
            paced_s = min(self._paced_s, deadline_s)
            if now_s < paced_s:
                waiter.wait(paced_s - now_s)
                if (now_s := clock.monotonic_s()) < paced_s:
                    return None  # the worker was rung
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

    def stop_reading(self) -> bool:
        """Ends the command. What it has printed is still handed out, a last line without an end as well."""
        self._stopped = True
        if self._command is not None:
            self._command.end()
        return True

    def finished(self) -> bool:
        return self._ended

    def close(self) -> None:
        if self._stopped and self._lines.waiting_bytes:
            self._context.say(
                "warning", f"{self._options.command}: {self._lines.waiting_bytes} bytes that it printed are lost: "
                "the channels had no room for them before the agent had to end",
            )  # fmt: skip
        if self._command is not None:
            self._command.close()
            self._command = None

    # --- inside

    def _start(self) -> None:
        try:
            self._command = Command(self._argv, keep_errors=self._options.log_errors)
        except OSError as problem:
            raise ComponentFailed(f"starting {' '.join(self._argv)}: {problem.strerror}; correct `command`") from None
        if self._options.log_errors:
            self._errors = StreamLines(self._rule, _ERRORS_BYTES, _ERROR_LINE_BYTES)

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
        self._log_errors(last=True)
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

    def _log_errors(self, *, last: bool = False) -> None:
        if self._command is None or self._command.errors < 0:
            return
        flowing = self._errors.fill(self._command.errors)
        while (taken := self._errors.take(self._rows_max, finish=last or not flowing)) is not None:
            records, trim = taken
            for line in EventBatch(records, trim=trim).body.to_pylist():
                _ERRORS.info("%s: %s", self._context.name, line.decode("utf-8", "replace"))
        if not flowing:
            self._command.close_errors()

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
