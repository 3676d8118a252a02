"""The options of exec, and whether its command is a `tail` that we read ourselves."""

from __future__ import annotations

from dataclasses import dataclass

from shipper.api import Options, at_least, flag, integer, milliseconds, option, size, text
from shipper.sources._tail.command import TailCommand, parse_tail
from shipper.sources._tail.java_lines import charset_problem


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
