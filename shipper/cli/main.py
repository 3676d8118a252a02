"""The commands `shipper` and `flume-ng`: which command it is, and who carries it out.

`agent` never reaches typer: Flume's options are no typer options, and the supervisor stays small. All other commands
are typer's, and import what they need when they run.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Sequence

from shipper.likely import likely

COMMANDS = {
    "agent": "run an agent of a Flume configuration file",
    "check": "say everything that is wrong or doubtful in a file",
    "describe": "show the components and their options, also as a template",
    "stat": "show what a running agent does",
    "files": "what the sinks of a running agent have open, and what waits",
    "ledger": "what became of every event; 0 when all are accounted for",
    "health": "one line and an exit code for Nagios and its kin",
    "channel": "events left in channels of agents that do not run: list, export, adopt, discard",
    "version": "say which shipper this is",
    "help": "this text",
}

#: What Flume's script knows, or people believe it knows, and this one does not: why, and what to do instead.
REFUSED = {
    "avro-client": "the avro client is not in this build. A file is sent by an agent with a spooldir source.",
    "tool": "FCINTEGRITYTOOL repairs the files of a Java file channel, and shipper writes none.",
    "password": "no Flume since 1.9 has this command, and shipper has none either.",
    "monitor": "Flume has no such command. A running agent is shown by: shipper stat NAME",
    "sources": "Flume has no such command. Sources are written in the file that 'agent -f FILE' runs.",
    "channels": "Flume has no such command. Channels are written in the file that 'agent -f FILE' runs.",
    "sinks": "Flume has no such command. Sinks are written in the file that 'agent -f FILE' runs.",
}


#: Standard output could not be written: neither yes nor no of any command, and UNKNOWN for a check like Nagios.
NOT_SAID = 3
_UNWRITABLE = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `shipper`; the exit code."""
    return _dispatch("shipper", sys.argv[1:] if arguments is None else arguments)


def flume_ng(arguments: Sequence[str] | None = None) -> int:
    """The command `flume-ng`: the same commands under the name that scripts call."""
    return _dispatch("flume-ng", sys.argv[1:] if arguments is None else arguments)


def _dispatch(program: str, arguments: Sequence[str]) -> int:
    """Carries the command out. Ctrl-C while it is still being imported is an end like any other."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")  # a name that the terminal has no letters for is no reason to fail
    try:
        code = _carry_out(program, arguments)
        if sys.stdout is not None:
            sys.stdout.flush()  # a disk that is full is found here, and not when the interpreter ends
        return code
    except KeyboardInterrupt:
        return 130
    except OSError as problem:
        if problem.errno not in _UNWRITABLE or problem.filename is not None:
            raise
        _forget_output()
        if problem.errno != errno.EPIPE:  # who closed the pipe early has read enough
            print(f"{program}: what there is to say can't be written: {problem.strerror}", file=sys.stderr)
        return NOT_SAID


def _forget_output() -> None:
    """What is left in the buffer of standard output would fail once more at the end of the interpreter."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _carry_out(program: str, arguments: Sequence[str]) -> int:
    if not arguments:
        print(f"{program}: a command is missing.\n\n{usage(program)}", file=sys.stderr)
        return 2
    command, rest = arguments[0], arguments[1:]
    if command in ("agent", "node"):
        from shipper.cli.run import run_agent

        if command == "node":
            print(f"{program}: 'node' is the old name of 'agent'.", file=sys.stderr)
        return run_agent(rest, program)
    if command == "help" and rest and rest[0] not in ("version", "help"):
        return _carry_out(program, [rest[0], "--help"])
    if command in ("help", "--help", "-h"):
        print(usage(program))
        return 0
    if command in ("version", "--version"):
        from shipper.cli.version import version_lines

        print("\n".join(version_lines()))
        return 0
    if command in REFUSED:
        print(f"{program} {command}: {REFUSED[command]}", file=sys.stderr)
        return 2
    if command not in COMMANDS:
        meant = next(iter(likely(command, COMMANDS, 1, 0.6)), None)
        hint = f"; did you mean '{meant}'?" if meant else "."
        print(f"{program}: there is no command '{command}'{hint}\n\n{usage(program)}", file=sys.stderr)
        return 2
    return _typer(program, arguments)


def usage(program: str) -> str:
    """What `help` prints."""
    lines = [f"Usage: {program} COMMAND [options]", ""]
    lines += [f"  {name:<10}{sentence}" for name, sentence in COMMANDS.items()]
    lines += ["", f"'{program} COMMAND --help' shows the options of a command. The usual way to run an agent:", ""]
    lines += [f"  {program} agent -n a1 -c conf -f a1.properties -Dflume.root.logger=INFO,console"]
    return "\n".join(lines)


def _typer(program: str, arguments: Sequence[str]) -> int:
    """Runs one of the commands that typer parses; click's own usage errors end with 2."""
    if sys.stdout is None:  # closed, as by `>&-`: the exit code is all that is asked for
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    from shipper.cli.commands import app  # importing typer takes 60 ms and 4 MB: not for the supervisor

    try:
        app(args=list(arguments), prog_name=program)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
