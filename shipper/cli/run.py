"""Running an agent from the command line: arguments, log, background, and every failure as an exit code.

Exit codes: 0 a clean end, 1 the configuration can't be run, 2 the command line can't be understood, 3 a component
gave up (or shipper itself failed). Flume ends with 0 whatever happened; a service manager can't work with that.

Nothing here is imported before it is needed: what this process imports, it keeps as long as the agent lives.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from shipper.cli import log
from shipper.cli.arguments import AgentCommand, HelpWanted, UsageError, missing_conf_dir, parse_agent
from shipper.errors import ConfigurationError, ShipperError

CLEAN, CONFIGURATION, USAGE, GAVE_UP = 0, 1, 2, 3

#: How long the process that went into the background is waited for; longer starts are left to the log.
BACKGROUND_START_S = 30.0

AGENT_HELP = """\
Usage: {program} agent -n NAME -f FILE [-f FILE ...] [-c DIR] [options]

Runs one agent of a Flume configuration file until it is stopped (Ctrl-C, SIGTERM).

  -n, --name NAME           the agent of the file to run
  -f, --conf-file FILE      its properties file; a later -f overrides an earlier one
  -c, --conf, --config DIR  configuration directory: the -D flags in its flume-env.sh count, and
                            core-site.xml and hdfs-site.xml say where a cluster is
  -Dkey=value               a system property; those that have an effect:
                              -Dflume.root.logger=INFO,console   the log goes to the terminal (the default)
                              -Dflume.root.logger=INFO,LOGFILE   the log goes to flume.log.dir/flume.log.file
                              -Dflume.log.dir=./logs  -Dflume.log.file=flume.log
                              -Dflume.monitoring.type=http       serve /metrics (or type=prometheus)
                              -Dflume.monitoring.port=41414  -Dflume.monitoring.host=127.0.0.1
  -i, --poll-interval TIME  how often the files are looked at for changes (30 seconds)
      --no-reload-conf      read the files once
      --stop-deadline TIME  how long sinks may empty the channels at a stop (30 seconds); the rest is parked
  -d, --daemon              run in the background; prints the process id and the log file
      --dryrun              show what would run, and run nothing
      --strict              warnings about the files are errors
      --run-dir DIR         where the shared memory lies
      --state-dir DIR       where positions and journals lie
  -h, --help                this text

-C, --plugins-path, -X... and -javaagent... are taken and have no effect: there is no Java here.
Exit codes: 0 clean, 1 configuration, 2 usage, 3 a component gave up."""


def run_agent(arguments: Sequence[str], program: str = "shipper") -> int:
    """Runs what `agent ARGUMENTS` asks for; the exit code."""
    try:
        command = parse_agent(arguments)
        for file in command.files:
            _refuse_pipe(file)
    except HelpWanted:
        print(AGENT_HELP.format(program=program))
        return CLEAN
    except UsageError as problem:
        return complain(program, problem, USAGE)
    except ConfigurationError as problem:
        return complain(program, problem, CONFIGURATION)
    try:
        if command.background and not command.dry_run:
            return _in_background(command, program)
        log.configure_supervisor_log(command.system)
    except OSError as problem:
        return complain(program, f"the log can't be opened: {problem}", CONFIGURATION)
    return _run(command)


def _refuse_pipe(file: Path) -> None:
    """What can be read only once, and by one process, is no file for an agent."""
    with contextlib.suppress(OSError, ValueError):  # whoever reads it says what is wrong with it
        if stat.S_ISFIFO(os.stat(file).st_mode):
            raise UsageError(
                f"{file} is a pipe: an agent reads its files more than once. Write it to a file, and name that with -f."
            )


def complain(program: str, problem: object, code: int) -> int:
    """Says on stderr why nothing was started; returns `code`."""
    print(f"{program}: {problem}", file=sys.stderr)
    return code


def _run(command: AgentCommand, on_running: Callable[[], None] | None = None) -> int:
    # Whoever asks for the files to be read again while they are read the first time would kill the agent: it waits
    # until the supervisor hears signals.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    for note in command.notes:
        log.say("INFO", "agent", note)
    if command.conf_dir is not None:
        if missing := missing_conf_dir(command.conf_dir):
            log.say("WARN", "agent", missing)
        os.environ["SHIPPER_CONF_DIR"] = str(command.conf_dir.resolve())  # for the workers: Hadoop's files lie there
    else:
        log.say("INFO", "agent", "No configuration directory is set (-c DIR), so no flume-env.sh is read.")
    try:
        # A KeyboardInterrupt in the middle of the start of an extension module can crash the interpreter: it waits.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            from shipper.cli.view import TerminalView
            from shipper.supervisor import supervisor
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        view = TerminalView(command.system, command.background, on_running)
        return supervisor.run(command, view)
    except ConfigurationError as problem:
        log.say("ERROR", "agent", str(problem))
        return CONFIGURATION
    except ShipperError as problem:
        log.say("ERROR", "agent", str(problem))
        return GAVE_UP
    except KeyboardInterrupt:
        return CLEAN  # before the supervisor took the signals over, nothing was started
    except Exception as problem:
        if isinstance(problem, OSError) and problem.errno in (errno.EMFILE, errno.ENFILE):
            log.say("ERROR", "agent", f"{problem.strerror}: raise the limit (ulimit -n, LimitNOFILE), start it again")
        else:
            log.defect("agent", problem)
        return GAVE_UP
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        log.flush()


def _in_background(command: AgentCommand, program: str) -> int:
    """Leaves the terminal: a session of its own, no terminal descriptors, the log in a file.

    The parent stays until all workers are up or the agent has ended, so that what is wrong is said here and not only
    in the log: it repeats the log's warnings and errors.
    """
    log_file = log.log_file(command.system)
    log_file.parent.mkdir(parents=True, exist_ok=True)
    already_bytes = log_file.stat().st_size if log_file.exists() else 0
    sys.stdout.flush()
    sys.stderr.flush()
    running_fd, tell_fd = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        code = GAVE_UP
        try:
            os.setsid()
            os.close(running_fd)
            log.configure_supervisor_log(command.system, background=True)
            code = _run(command, on_running=lambda: _tell(tell_fd))
        finally:
            os._exit(code)
    os.close(tell_fd)
    ended = _ended_at_start(child, running_fd, BACKGROUND_START_S)
    os.close(running_fd)
    with log_file.open("rb") as opened:
        opened.seek(already_bytes)
        said = opened.read(1 << 20).decode("utf-8", "replace").splitlines()
    for line in said:
        if " WARN  " in line[:32] or " ERROR " in line[:32]:
            print(line, file=sys.stderr)
    if ended is None:
        print(f"agent {command.agent} runs in the background: process {child}, log {log_file.resolve()}")
        return CLEAN
    return complain(program, f"agent {command.agent} has ended; its log is {log_file.resolve()}", ended)


def _tell(fd: int) -> None:
    os.write(fd, b"running")
    os.close(fd)


def _ended_at_start(child: int, running_fd: int, seconds: float) -> int | None:
    """The exit code of a child that ended; None as soon as it tells that it runs, or after that time."""
    import select

    if not select.select([running_fd], [], [], seconds)[0] or os.read(running_fd, 16):
        return None
    # The end of the pipe without a word: the child is about to be gone.
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
