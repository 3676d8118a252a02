"""The arguments of `agent`, taken as Flume's script and its main class take them.

Flume reads its command line twice: a shell script picks out `-c`, `-C`, `-d`, `-D...`, `-X...`, and hands the rest to
commons-cli, which knows `-name` as well as `--name`, `--name=a1`, `-na1` and unique beginnings (`--no-reload`). A typer
command can't do that, and importing typer costs the supervisor memory, so this file scans by hand and imports nothing
that the happy path does not need.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shipper.errors import ShipperError
from shipper.likely import likely
from shipper.units import parse_seconds

#: Flume looks at its files every 30 seconds.
POLL_INTERVAL_S = 30.0
#: For so long sinks may empty the channels at a stop.
STOP_DEADLINE_S = 30.0


class UsageError(ShipperError):
    """The command line can't be understood: exit code 2. The message is complete sentences for a person."""


class HelpWanted(Exception):
    """`-h` stood among the arguments."""


@dataclass(frozen=True)
class AgentCommand:
    """What a person asked for with `shipper agent ...`.

    Attributes:
        files: every `-f`, in order; a later file overrides an earlier one.
        agent: the name after `-n`.
        conf_dir: the directory after `-c`, None when there was none.
        system: system properties: `JAVA_OPTS` of flume-env.sh first, `-Dkey=value` of the command line over them.
        reload: False after `--no-reload-conf`.
        poll_interval_s: seconds between two looks at the files.
        strict: warnings of the configuration are errors.
        background: leave the terminal (`-d`).
        dry_run: show what would run, run nothing (`--dryrun`).
        stop_deadline_s: for how long sinks may empty the channels at a stop; what is left then is parked.
        run_dir, state_dir: where a person wants memory segments and positions; None = the usual places.
        notes: one line for each thing that was taken but has no effect here; said once at the start.
    """

    files: tuple[Path, ...]
    agent: str
    conf_dir: Path | None = None
    system: Mapping[str, str] = field(default_factory=dict)
    reload: bool = True
    poll_interval_s: float = POLL_INTERVAL_S
    stop_deadline_s: float = STOP_DEADLINE_S
    strict: bool = False
    background: bool = False
    dry_run: bool = False
    run_dir: Path | None = None
    state_dir: Path | None = None
    notes: tuple[str, ...] = ()


#: Every spelling of an option that stands alone -> what it means.
_FLAGS = {
    "--no-reload-conf": "no_reload",
    "-d": "background", "--daemon": "background", "--background": "background",
    "--dryrun": "dry_run", "--dry-run": "dry_run",
    "--strict": "strict",
    "-h": "help", "--help": "help",
}  # fmt: skip

#: Every spelling of an option with a value -> what it means.
_VALUES = {
    "-n": "name", "--name": "name",
    "-f": "file", "--conf-file": "file",
    "-c": "conf", "--conf": "conf", "--config": "conf",
    "-C": "classpath", "--classpath": "classpath",
    "--plugins-path": "plugins",
    "-i": "poll", "--poll-interval": "poll",
    "--stop-deadline": "stop_deadline",
    "--run-dir": "run_dir", "--state-dir": "state_dir",
}  # fmt: skip

#: Options of Flume that this build can't honour: spelling -> why, and what to do.
_REFUSED = {
    name: reason
    for names, reason in {
        ("-u", "--conf-uri"): "configuration from a URI is not in this build; fetch the file and name it with -f",
        ("-z", "--zkConnString"): "configuration from ZooKeeper is not in this build; name a file with -f",
        ("-p", "--zkBasePath"): "configuration from ZooKeeper is not in this build; name a file with -f",
        ("-a", "--auth-provider"): "it belongs to configuration from a URI, which is not in this build; use -f",
        ("-prov", "--conf-provider"): "it names a Java class, and there is no Java here; name a file with -f",
        ("-user", "--conf-user"): "it belongs to configuration from a URI, which is not in this build; use -f",
        ("-pwd", "--conf-password"): "it belongs to configuration from a URI, which is not in this build; use -f",
        ("-b", "--backup-directory"): "a backup of the configuration is not in this build; leave the option out",
    }.items()
    for name in names
}

_ATTACHED = ("-n", "-f", "-i")  # `-na1`: commons-cli takes the rest of the word as the value
_JVM = ("-X", "-agentlib", "-agentpath", "-javaagent", "-ea", "-server")
_SECTION = re.compile(r"^\s*([^\s.#!=:]+)\.(?:sources|channels|sinks)\s*[=:\s]", re.MULTILINE)


def parse_agent(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> AgentCommand:
    """Reads what follows `agent` on the command line.

    Args:
        environment: the process environment, for the `-D` flags of `JAVA_OPTS` and `FLUME_JAVA_OPTS`.

    Raises:
        UsageError: an option is unknown, refused, lacks its value or is missing.
        HelpWanted: `-h` was among them.
    """
    given: dict[str, list[str]] = {}
    flags: set[str] = set()
    system: dict[str, str] = {}
    notes: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        if word.startswith("-D") and word != "-D":
            key, _, value = word[2:].partition("=")
            system[key] = value
        elif word == "-D":
            raise UsageError("-D needs a property right behind it, as in -Dflume.root.logger=INFO,console.")
        elif word.startswith(_JVM):
            notes.append(f"{word} is for a Java machine and has no effect here.")
        elif word.startswith("-") and word not in ("-", "--"):
            spelling, value_here = _known(word)
            if spelling in _FLAGS:
                flags.add(_FLAGS[spelling])
                continue
            if value_here is None:
                if not words or words[0].split("=")[0] in (*_FLAGS, *_VALUES):
                    raise UsageError(f"{word} needs a value; {_example(spelling)}.")
                value_here = words.pop(0)
            given.setdefault(_VALUES[spelling], []).append(value_here)
        elif word != "--":
            notes.append(f"'{word}' stands alone on the command line and has no effect, as in Flume.")
    if "help" in flags:
        raise HelpWanted
    notes += [f"-C {paths} has no effect: there is no Java class path here." for paths in given.get("classpath", ())]
    notes += [
        f"--plugins-path {paths} has no effect: plugins are Python packages installed beside shipper."
        for paths in given.get("plugins", ())
    ]
    files = tuple(Path(text) for text in given.get("file", ()))
    conf_dir = Path(given["conf"][-1]) if "conf" in given else None
    agent = _agent_name(given.get("name", []), files)
    if not files:
        raise UsageError(f"Agent {agent} needs its file: shipper agent -n {agent} -f FILE.properties.")
    system = {**inherited_properties(conf_dir, os.environ if environment is None else environment, notes), **system}
    return AgentCommand(
        files=files,
        agent=agent,
        conf_dir=conf_dir,
        system=system,
        reload="no_reload" not in flags,
        poll_interval_s=_poll_interval_s(given.get("poll", [])),
        stop_deadline_s=_stop_deadline_s(given.get("stop_deadline", [])),
        strict="strict" in flags,
        background="background" in flags,
        dry_run="dry_run" in flags,
        run_dir=_directory(given.get("run_dir"), system.get("run.dir")),
        state_dir=_directory(given.get("state_dir"), system.get("state.dir")),
        notes=tuple(notes),
    )


def _known(word: str) -> tuple[str, str | None]:
    """The option that `word` means and the value that hangs on it, or a UsageError.

    Tried in the order of commons-cli: the whole word, the word up to `=`, `-long` for `--long`, a unique beginning of
    a long name, a short option with its value attached.
    """
    name, equals, value = word.partition("=")
    value_here = value if equals else None
    known = (*_FLAGS, *_VALUES, *_REFUSED)
    found = next((s for s in (name, f"-{name}") if s in known), None)
    if found is None:
        dashed = "--" + name.lstrip("-")
        found = _only({s for s in known if s.startswith(dashed) and len(dashed) > 3})
    if found is None and word[:2] in _ATTACHED and word[1] != "-" and not _nearest(name, 0.8):
        found, value_here = word[:2], word[2:].removeprefix("=")
    if found is None:
        meant = _nearest(name)
        hint = f"; did you mean {meant}?" if meant else "."
        raise UsageError(f"There is no option {name}{hint} 'shipper agent --help' lists them all.")
    if found in _REFUSED:
        raise UsageError(f"{found}: {_REFUSED[found]}.")
    if found in _FLAGS and value_here is not None:
        raise UsageError(f"{found} takes no value, but {word} gives it one.")
    return found, value_here


def _only(spellings: Iterable[str]) -> str | None:
    """The one spelling among those, when all of them mean the same."""
    found = sorted(spellings)
    return found[0] if len({_FLAGS.get(s) or _VALUES.get(s) or s for s in found}) == 1 else None


def _nearest(name: str, likeness: float = 0.7) -> str | None:
    """The long option that a person may have meant."""
    bare = name.lstrip("-").lower()
    if bare in ("fil", "file", "files"):
        return "--conf-file"
    known = [s for s in (*_FLAGS, *_VALUES, *_REFUSED) if s.startswith("--")]
    return next(iter(likely(f"--{bare}", known, 1, likeness)), None)


def _example(spelling: str) -> str:
    return {
        "name": "for instance -n a1",
        "file": "for instance -f a1.properties",
        "conf": "for instance -c conf",
        "poll": "for instance -i 30",
        "stop_deadline": "for instance --stop-deadline 8s",
    }.get(_VALUES[spelling], "write it behind the option")


def _agent_name(names: list[str], files: tuple[Path, ...]) -> str:
    if len(set(names)) > 1:
        raise UsageError(f"-n is given more than once ({', '.join(names)}), but a process runs one agent.")
    if names and names[0].strip():
        return names[0].strip()
    there = sorted({name for file in files for name in _agents_in(file)})
    choice = f" The file has {', '.join(there)}." if there else ""
    raise UsageError(f"Which agent of the file shall run? Say it with -n NAME.{choice}")


def _agents_in(file: Path) -> list[str]:
    """Names that look like agents in a file: only to help a person who left out `-n`."""
    try:
        with file.open(encoding="utf-8", errors="replace") as opened:
            return _SECTION.findall(opened.read(1 << 20))
    except OSError:
        return []


def _poll_interval_s(texts: list[str]) -> float:
    if not texts:
        return POLL_INTERVAL_S
    try:
        seconds = parse_seconds(texts[-1], 1.0)
    except ValueError as problem:
        raise UsageError(f"-i {texts[-1]}: {problem}.") from None
    if seconds <= 0:
        raise UsageError(f"-i {texts[-1]}: the files can be looked at every second, or any longer time.")
    return seconds


def _stop_deadline_s(texts: list[str]) -> float:
    if not texts:
        return STOP_DEADLINE_S
    try:
        return parse_seconds(texts[-1], 1.0)
    except ValueError as problem:
        raise UsageError(f"--stop-deadline {texts[-1]}: {problem}.") from None


def _directory(options: list[str] | None, system: str | None) -> Path | None:
    text = options[-1] if options else system
    if text and (shown := os.fsencode(text).decode("utf-8", "replace")) != text:
        raise UsageError(f"The directory {shown} is no valid UTF-8: give another one, or rename what is not.")
    return Path(text) if text else None


def missing_conf_dir(conf_dir: Path) -> str:
    """What is said of a `-c` that names no directory; "" when it does. As in Flume, the agent runs without."""
    if conf_dir.is_dir():
        return ""
    return f"-c {conf_dir}: there is no such directory, so no flume-env.sh and no Hadoop settings are read from it."


def inherited_properties(conf_dir: Path | None, environment: Mapping[str, str], notes: list[str]) -> dict[str, str]:
    """`-D` flags that Java would get from `flume-env.sh` and the environment; the command line stands over them.

    Args:
        notes: gets a sentence for each flag that can't be known without running the script.
    """
    found: dict[str, str] = {}
    if conf_dir is not None and (conf_dir / "flume-env.sh").is_file():
        from shipper.config.environment import read_environment  # reads the script's text; never runs it

        flags, unknown = read_environment(conf_dir, environment)
        found.update(flags)
        notes.extend(unknown)
    for variable in ("JAVA_OPTS", "FLUME_JAVA_OPTS"):
        for word in environment.get(variable, "").split():
            if word.startswith("-D") and len(word) > 2:
                key, _, value = word[2:].partition("=")
                found[key] = value
    return found
