"""`shipper channel`: events that wait in channels which no running agent will empty, and what becomes of them."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Annotated, NoReturn

import typer

from shipper.cli import channel_log
from shipper.cli.named_places import cant_look
from shipper.errors import ShipperError
from shipper.instance import leftovers
from shipper.instance.holdings import holdings
from shipper.instance.leftovers import Leftover
from shipper.units import format_seconds, format_size

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if sys.stdout.isatty() else None,
    help="Shows events that are left in channels of agents that do not run, and says what becomes of them.",
)

channel_log.add_to(app)

_RunDir = Annotated[Path | None, typer.Option("--run-dir", help="Where the agent's shared memory lay, if given then.")]
_StateDir = Annotated[Path | None, typer.Option("--state-dir", help="Where the agent's state lies, if given then.")]
_Which = Annotated[str, typer.Argument(help="As in the first column of the list; its beginning is enough.")]
_Channel = Annotated[str | None, typer.Option("--channel", help="One of its channels; all without it.")]


@app.command("list")
def list_command(run_dir: _RunDir = None, state_dir: _StateDir = None) -> None:
    """Lists what channels hold that no running agent owns."""
    if reason := cant_look(run_dir, state_dir):
        _fail(reason)
    found = _find(run_dir, state_dir)
    rows = [
        [
            _title(one), held.channel, "?" if held.damaged else f"{held.events:,}", format_size(held.size_bytes),
            format_seconds(max(0.0, time.time() - one.since_s)), _whose(one), str(one.place),
        ]
        for one in found for held in one.channels
    ]  # fmt: skip
    files, logs = _unclaimed_files(state_dir), _logs_at_rest(state_dir)
    if not rows and not files and not logs:
        typer.echo("No channel holds events that no running agent owns.")
    for instance, sink, sentence in files:
        typer.echo(f"{instance} sink {sink}: {sentence}")
    for instance, channel, sentence in logs:
        typer.echo(f"{instance} channel {channel}: {sentence}")
    if not rows:
        return
    head = ["LEFTOVER", "CHANNEL", "EVENTS", "BYTES", "AGE", "OF", "WHERE"]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        cells = [c.rjust(w) if n in (2, 3, 4) else c.ljust(w) for n, (c, w) in enumerate(zip(row, widths, strict=True))]
        typer.echo("  ".join(cells).rstrip())


@app.command("export")
def export_command(
    which: _Which,
    to: Annotated[Path, typer.Option("--to", help="Directory for the files; made when it is not there.")],
    channel: _Channel = None,
    json_lines: Annotated[
        bool, typer.Option("--json-lines", help="One JSON object an event, with its headers; else one body a line.")
    ] = False,
    data: channel_log.Data = None,
    key: channel_log.KeyFiles = None,
    run_dir: _RunDir = None,
    state_dir: _StateDir = None,
) -> None:
    """Writes the events of a leftover, or of a file channel, into files. They stay where they are: see discard."""
    from shipper.instance.leftover_events import export

    if channel_log.is_log(Path(which)):
        if channel is not None:
            _fail("--channel is for a leftover, which may have several; a directory has one channel: leave it out")
        with _Told(f"export {which}"):
            channel_log.export(Path(which), data, key, to, "json_lines" if json_lines else "text")
        return
    found = _one(which, run_dir, state_dir)
    with _Told(f"export {_title(found)}"), leftovers.opened(found) as directory:
        to.mkdir(parents=True, exist_ok=True)
        for name in _channels(found, channel):
            for path, events, size_bytes in export(directory, name, to, "json_lines" if json_lines else "text"):
                typer.echo(f"{path}: {events} events, {format_size(size_bytes)}")
    typer.echo(f"The events are still in {found.place}. When the files are safe: shipper channel discard {which}")


@app.command("discard")
def discard_command(
    which: _Which,
    channel: _Channel = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    run_dir: _RunDir = None,
    state_dir: _StateDir = None,
) -> None:
    """Throws the events of a leftover away, and frees their memory."""
    found = _one(which, run_dir, state_dir)
    names = _channels(found, channel)
    events = sum(held.events for held in found.channels if held.channel in names)
    what = f"{events} events of {', '.join(names)} in {found.place}"
    if not yes:
        if not sys.stdin.isatty():
            _fail(f"discarding {what} needs a word: add --yes")
        typer.confirm(f"Throw {what} away for good?", abort=True)
    state = _state_of(found, state_dir)
    with (
        _Told(f"discard {_title(found)}"),
        leftovers.claimed(state, found.name),
        leftovers.opened(found) as directory,
    ):
        for name in names:
            events = leftovers.discard(directory, name)
            typer.echo(f"{events} events of {name} are gone.")
        leftovers.tidy(found, state, directory, holdings(directory))


@app.command("adopt")
def adopt_command(
    which: _Which,
    name: Annotated[str, typer.Option("--name", "-n", help="The agent that shall deliver them.")],
    file: Annotated[Path, typer.Option("--conf-file", "-f", help="Its first configuration file.")],
    channel: Annotated[
        str | None, typer.Option("--channel", help="Its channel for them; else of the same name.")
    ] = None,
    run_dir: _RunDir = None,
    state_dir: _StateDir = None,
) -> None:
    """Gives the events of a leftover to another agent: its next start delivers them."""
    from shipper.config.bind import agent_names, load
    from shipper.instance.instance import find

    found = _one(which, run_dir, state_dir)
    target = find(name, file, run_dir=run_dir, state_dir=state_dir)
    if target.name == found.name:
        _fail(f"{_title(found)} is what agent {name} of {file} left: just start it, and it takes that back")
    if not file.is_file():
        _fail(f"there is no file {file}: an agent is known by its name and its first configuration file")
    if (there := agent_names([file])) and name not in there:
        _fail(f"there is no agent {name} in {file}, which has {', '.join(there)}: nobody would deliver the events")
    plan, _ = load([file], name)
    there = [one.name for one in plan.channels] if plan is not None else []
    if there and (absent := {channel or held.channel for held in found.channels}.difference(there)):
        _fail(
            f"agent {name} of {file} has no channel {', '.join(sorted(absent))}: nobody would deliver the events. It "
            f"has {', '.join(there)}: name the one for them with --channel"
        )
    target.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _Told(f"adopt {_title(found)}"), leftovers.claimed(_state_of(found, state_dir), found.name):
        target.claim()
        try:
            place = leftovers.adopt(found, target, lambda old: channel or old)
        finally:
            target.close()
    events = sum(held.events for held in found.channels)
    names = channel or ", ".join(held.channel for held in found.channels)
    typer.echo(f"{events} events are in {place}: the next start of agent {name} of {file} delivers them from {names}.")


# --- finding


def _find(run_dir: Path | None, state_dir: Path | None) -> list[Leftover]:
    from shipper.instance.instance import run_places, state_places

    runs = [run_dir] if run_dir is not None else run_places()
    states = [state_dir] if state_dir is not None else state_places()
    return [found for found in leftovers.find(runs, states) if found.channels]


def _one(which: str, run_dir: Path | None, state_dir: Path | None) -> Leftover:
    found = _find(run_dir, state_dir)
    fitting = [one for one in found if _title(one) == which or os.fspath(one.place) == which]
    fitting = fitting or [one for one in found if _title(one).startswith(which)]
    if len(fitting) == 1:
        if fitting[0].running:
            _fail(f"the agent of {_title(fitting[0])} is running: stop it first")
        return fitting[0]
    if fitting:
        _fail(f"'{which}' may be {', '.join(_title(one) for one in fitting)}: write more of it")
    if name := _running(which, run_dir):
        _fail(f"agent {name} is running, and empties its channels itself: stop it first")
    if not found:
        _fail(cant_look(run_dir, state_dir) or "no channel holds events that no running agent owns")
    _fail(f"there is no leftover '{which}'; there are {', '.join(_title(one) for one in found)}")


def _running(which: str, run_dir: Path | None) -> str:
    """The name of an agent that runs and is called so, by its name or that of its directory; "" when there is none."""
    from shipper.cli.stat import find_blocks

    running = (block for block in find_blocks(run_dir) if block.is_running())
    return next((b.agent for b in running if b.agent == which or b.path.parent.name.startswith(which)), "")


def _unclaimed_files(state_dir: Path | None) -> list[tuple[str, str, str]]:
    from shipper.workers.orphans import unclaimed

    return [(path.name, sink, said) for path in _state_dirs(state_dir) for sink, said in unclaimed(path)]


def _logs_at_rest(state_dir: Path | None) -> list[tuple[str, str, str]]:
    from shipper.instance.known_logs import at_rest

    return [(path.name, channel, said) for path in _state_dirs(state_dir) for channel, said in at_rest(path)]


def _state_dirs(state_dir: Path | None) -> list[Path]:
    """Of all instances."""
    from shipper.instance.instance import state_places

    places = [state_dir] if state_dir else state_places()
    return sorted(path for place in places for path in place.glob("*-*") if path.is_dir())


def _channels(found: Leftover, wanted: str | None) -> list[str]:
    names = [held.channel for held in found.channels]
    if wanted is not None and wanted not in names:
        _fail(f"{_title(found)} has no events in a channel '{wanted}'; it has some in {', '.join(names)}")
    return names if wanted is None else [wanted]


def _title(found: Leftover) -> str:
    aside = found.place.name.rpartition(".aside-")
    return f"{found.name}/{aside[2]}" if aside[0] else found.name


def _whose(found: Leftover) -> str:
    text = f"{found.agent} of {found.file}" if found.file else found.agent
    return f"{text} (running without this channel)" if found.running else text


def _state_of(found: Leftover, state_dir: Path | None) -> Path:
    from shipper.instance.instance import state_places

    if found.kind != leftovers.RUN_DIRECTORY:
        return found.place.parent
    places = [state_dir] if state_dir is not None else state_places()
    return next((place / found.name for place in places if (place / found.name).is_dir()), places[0] / found.name)


# --- saying


def _fail(problem: str) -> NoReturn:
    typer.echo(f"shipper channel: {problem}", err=True)
    raise typer.Exit(1)


class _Told:
    """What goes wrong inside is one line for the person, and exit code 1."""

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(value, ShipperError):
            _fail(f"can't {self._doing}: {value}")
        if isinstance(value, OSError):
            _fail(f"can't {self._doing}: {value.filename or ''}: {value.strerror}")
