"""`shipper channel inspect`, `verify`, and `export` of a directory: what is in a file channel, without its agent."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from shipper.durable import offline
from shipper.durable.came_back import CAME_BACK
from shipper.durable.checkpoint import CHECKPOINT_NAME
from shipper.durable.directory import BOARD_NAME
from shipper.durable.keys import Keys
from shipper.durable.offline import LogReport
from shipper.durable.segment import is_segment_name
from shipper.errors import ConfigurationError, ShipperError
from shipper.instance.instance import state_places
from shipper.units import format_size

T = TypeVar("T")

Directory = Annotated[Path, typer.Argument(help="The channel's checkpointDir, or the directory that holds it.")]
Data = Annotated[
    list[Path] | None, typer.Option("--data", help="One of its dataDirs; again for each. Found when beside it.")
]
KeyFiles = Annotated[
    list[str] | None, typer.Option("--key", help="NAME=FILE, when it is encrypted; again for each key.")
]


def is_log(directory: Path) -> bool:
    """True when a file channel lies in this directory, or in one of those in it; or files of one in this."""
    named = any((place / name).exists() for place in _near(directory) for name in (BOARD_NAME, CHECKPOINT_NAME))
    return named or any(place == directory and _has_segments(place) for place in _near(directory))


def add_to(app: typer.Typer) -> None:
    """Gives the command `channel` what it says about file channels."""

    @app.command("inspect")
    def inspect_command(directory: Directory, data: Data = None) -> None:
        """Shows what is in a file channel: its files, and what waits in them."""
        report = _told(lambda: offline.inspect(*_places(directory, data)))
        _show(report, "nothing is wrong with what was looked at")

    @app.command("verify")
    def verify_command(directory: Directory, data: Data = None, key: KeyFiles = None) -> None:
        """Reads all of a file channel and names what is damaged. Exit code 1 when something is."""
        report = _told(lambda: offline.verify(*_places(directory, data), keys_of(key)))
        _show(report, "every record is whole")
        if not report.sound:
            raise typer.Exit(1)

    @app.command("give-up")
    def give_up_command(
        directory: Annotated[Path, typer.Argument(help="The channel's checkpointDir.")],
        places: Annotated[list[Path], typer.Argument(help="Its dataDirs that are gone for good.")],
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
        state_dir: Annotated[
            Path | None, typer.Option("--state-dir", help="Where the state of its agent lies, if given then.")
        ] = None,
    ) -> None:
        """Says that data directories of a file channel do not come back: what was in them is lost."""
        from shipper.durable.absent import give_up
        from shipper.instance import log_notes

        gone = ", ".join(map(str, places))
        if not yes:
            if not sys.stdin.isatty():
                typer.echo(f"giving up what lay in {gone} needs a word: add --yes", err=True)
                raise typer.Exit(1)
            typer.confirm(f"Give up for good what the channel had in {gone}?", abort=True)
        known = log_notes.find(state_places() if state_dir is None else [state_dir], directory.absolute())
        paths = [place.absolute() for place in places]
        _told(lambda: give_up(directory.absolute(), paths, noted=next(known, None)))
        typer.echo(f"{gone} is given up: the channel's next start goes on without it, and counts what it had as lost.")


def export(directory: Path, data: list[Path] | None, key: list[str] | None, to: Path, serializer: str) -> None:
    """Writes the events that wait in a file channel into files. They stay in the channel too."""
    from shipper.instance import log_events

    checkpoint_dir, data_dirs = _places(directory, data)
    to.mkdir(parents=True, exist_ok=True)
    for path, events, size_bytes in log_events.export(checkpoint_dir, data_dirs, keys_of(key), to, serializer):
        typer.echo(f"{path}: {events} events, {format_size(size_bytes)}")
    typer.echo(f"The events are still in {checkpoint_dir}.")


def keys_of(given: list[str] | None) -> Keys | None:
    """The keys of the command line; None when it names none.

    Raises:
        ConfigurationError: one is no key.
    """
    if not given:
        return None
    files = {}
    for text in given:
        name, is_one, path = text.partition("=")
        if not is_one:
            raise ConfigurationError(f"--key {text}: write NAME=FILE")
        files[name] = Path(path)
    return Keys.load(next(iter(files)), files)


def _near(directory: Path) -> list[Path]:
    if not directory.is_dir() or not _readable(directory):
        return []
    inside = (path for path in sorted(directory.iterdir()) if path.is_dir() and _readable(path))
    # What was set aside is of no channel any more, unless it is what the person names.
    return [directory, *(path for path in inside if not path.name.startswith(CAME_BACK))]


def _readable(directory: Path) -> bool:
    return os.access(directory, os.R_OK | os.X_OK)


def _places(directory: Path, data: list[Path] | None) -> tuple[Path, tuple[Path, ...]]:
    """The checkpointDir and the dataDirs. A person who names one of them, or the one above, means both.

    Raises:
        ConfigurationError: what was named is no directory, may not be read, or has no file of a log.
    """
    for place in (directory, *(data or ())):
        if not place.is_dir():
            raise ConfigurationError(f"there is no directory {place}")
        if not _readable(place):
            raise ConfigurationError(f"{place} can't be read by this user")
    near = _near(directory) + _near(directory.absolute().parent)
    checkpoint_dir = next((p for p in near if (p / CHECKPOINT_NAME).exists()), directory)
    if data:
        if not any(map(_has_segments, data)):
            named = ", ".join(map(str, data))
            raise ConfigurationError(f"no file of a channel lies in {named}: --data names a dataDir")
        return checkpoint_dir, tuple(data)
    found = [place for place in _near(checkpoint_dir) + near if _has_segments(place)]
    return checkpoint_dir, tuple(dict.fromkeys(found)) or (checkpoint_dir,)


def _has_segments(place: Path) -> bool:
    return any(is_segment_name(path.name) for path in place.iterdir())


def _show(report: LogReport, all_is_well: str) -> None:
    if report.in_use:
        typer.echo("An agent has it open: the numbers are of some moment before.")
    typer.echo(f"{report.rows_waiting:,} events wait; the log is {report.log_id}, its last record {report.last_seq}")
    for key, lane in sorted(report.lanes.items(), key=lambda found: found[1].name):
        typer.echo(
            f"  for {lane.name or f'lane {key:08x}'}: {lane.rows_waiting:,} events, {format_size(lane.bytes_waiting)}; "
            f"{lane.head.rows:,} were delivered"
        )
    for segment in report.segments:
        secret = f", encrypted with {segment.key_name}" if segment.key_name else ""
        typer.echo(f"  {segment.path}: {segment.rows:,} events, {format_size(segment.size_bytes)}{secret}")
        for wrong in segment.wrong:
            typer.echo(f"    damaged: {wrong}")
    for lost in report.lost:
        typer.echo(f"  lost: records {lost.first} to {lost.last}, {lost.why} ({lost.where})")
    typer.echo(all_is_well if report.sound else "What is damaged is stepped over by the agent, and counted as lost.")


def _told(question: Callable[[], T]) -> T:
    try:
        return question()
    except (ShipperError, OSError) as problem:
        typer.echo(f"shipper channel: {problem}", err=True)
        raise typer.Exit(1) from None
