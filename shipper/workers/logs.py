"""The log of a channel as the workers beside its writer see it: where it lies, and when it may be opened.

A board may be there from before a reboot: it counts once a writer of this life of the machine has opened the log, and
has said so in the run directory.

The parts of a channel with a log are imported when there is one: an agent that has none does without their memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from shipper import whole_file
from shipper.batch.batch import Origin
from shipper.config.bind import component
from shipper.digest_word import word_of
from shipper.durable.board import Board, lane_id
from shipper.errors import ComponentFailed, DamagedData
from shipper.instance.handover import note_of
from shipper.instance.settled import boot_id
from shipper.workers.spec import ChannelSpec, LogSpec, WorkerSpec

if TYPE_CHECKING:
    from shipper.channels.file.take import FileTakeSide
    from shipper.channels.file.view import LogView
    from shipper.channels.spillablememory.take import SecondLane
    from shipper.durable.keys import Keys
    from shipper.durable.settings import LogSettings

_OPEN, _POSITIONS, _WINDOW = "log.open", "log.positions", "log.window"


class LogOptions(Protocol):
    """What is asked of the options of a channel that has a log, of whatever type."""

    @property
    def sync_each(self) -> bool:
        """Rows are synced before their source is told."""

    @property
    def sync_interval_s(self) -> float:
        """Else, they are at least so often."""

    @property
    def on_full(self) -> str:
        """What a put does that finds no room."""

    @property
    def capacity(self) -> int | None:
        """Events that the channel holds."""

    def keys(self) -> Keys | None:
        """What its files are encrypted with."""

    def log_settings(self, keys: Keys | None = None) -> LogSettings:
        """Where it lies."""


def options_of(found: LogSpec | ChannelSpec) -> LogOptions:
    """The options of such a channel."""
    _, options = component("channel", found.type, found.properties)
    made: LogOptions = options
    return made


def producer(run_id: str, lane: str) -> int:
    """How a log knows a lane: a run directory's id and a name in it are never used for two lanes."""
    return word_of(f"{run_id}/{lane}", 8)


def run_id(spec: WorkerSpec) -> str:
    """What names the commits of a sink worker: the run directory's, or the log's in this life of the machine.

    Where rows are in memory too, a loss of the run directory loses commits: what counts then is what is on disk.
    """
    if spec.log is None or spec.log.spills:
        return spec.common.run_id
    board = Board.open(Path(spec.log.board))
    found = f"{board.log_id.hex()}.{spec.common.boot_id}"
    board.close()
    return found


def note(spec: WorkerSpec, sink: int) -> Path:
    """Where the note about a hand-over lies: beside what it is about, so that it lives as long."""
    in_run = spec.log is None or spec.log.spills
    return note_of(Path(spec.common.run_dir if in_run else spec.common.state_dir), sink)


def take_side(spec: WorkerSpec, say: Callable[[str, str], None]) -> FileTakeSide:
    """The take side of a sink worker of a channel with a log."""
    from shipper.channels.file.lease import LogLane
    from shipper.channels.file.take import FileTakeSide

    assert spec.log is not None
    options = options_of(spec.log)
    keys = options.keys()
    settings = options.log_settings(keys)
    routes = [LogLane(lane, name, home == spec.sink_id) for lane, (name, home) in lanes_of(spec.log).items()]
    return FileTakeSide(
        settings.board, settings.data_dirs, routes, spec.sink_id, Path(spec.log.writer_bell), window=window_path(spec),
        keys=keys, say=say, drops_oldest=spec.drops_oldest, max_age_s=spec.max_age_s,
    )  # fmt: skip


def window_path(spec: WorkerSpec) -> Path:
    """Where the writer of a log shares its newest bytes with the sinks."""
    assert spec.log is not None
    return Path(spec.common.run_dir) / "channels" / spec.log.name / _WINDOW


def second_lanes(spec: WorkerSpec) -> list[SecondLane]:
    """The lanes to the writer of a channel that spills, for a sink worker to look at."""
    from shipper.channels.spillablememory.take import SecondLane

    assert spec.log is not None
    return [
        SecondLane(Path(lane), Path(page), producer(spec.common.run_id, Path(lane).name))
        for lane, page in spec.log.seconds
    ]


def lanes_of(log: LogSpec) -> dict[int, tuple[str, int]]:
    """All lanes on the board: (name, the sink that it is home to). A lane whose own sink is gone is the first one's."""
    named = {lane_id(name): (name, sink) for name, sink, _ in log.sinks}
    board = Board.open(Path(log.board))
    try:
        return {lane: named.get(lane, (f"lane {lane:08x}", log.sinks[0][1])) for lane in board.lanes()}
    finally:
        board.close()


def sequence(spec: WorkerSpec, sink: int) -> int:
    """The largest sequence that a sink worker, this one or one before it, has committed in a log."""
    from shipper.channels.file.take import sequence_of

    assert spec.log is not None
    board = Board.open(Path(spec.log.board))
    try:
        return sequence_of(board, sink)
    finally:
        board.close()


def view(channel: ChannelSpec) -> LogView:
    """A view of a channel's log for a source worker."""
    from shipper.channels.file.view import LogView

    return LogView(options_of(channel).log_settings().board)


# --- what the writer says when it has opened a log


def say_open(run_dir: Path, channel: str, board: Path, positions: Iterable[Sequence[Any]]) -> None:
    """Says that a log is open, and where each stream stands in it, for source workers whose own tables are gone."""
    directory = run_dir / "channels" / channel
    whole_file.write(directory / _POSITIONS, [orjson.dumps(list(positions))])
    # Dying before this line: nobody opens the board, and the next writer says it.
    whole_file.write(directory / _OPEN, [orjson.dumps([board.stat().st_ino, boot_id()])])


def are_open(spec: WorkerSpec) -> bool:
    """True when all logs that a worker puts into or takes from are open, and have a lane for it to take from."""
    run_dir = Path(spec.common.run_dir)
    into = [channel for channel in (*spec.channels, *spec.letters) if channel.logged]
    puts = [(channel.name, options_of(channel).log_settings().board) for channel in into]
    if not all(_is_open(run_dir, name, board) for name, board in puts):
        return False
    if spec.kind != "sink" or (log := spec.log) is None:
        return True
    return _is_open(run_dir, log.name, Path(log.board)) and _has_lanes(log)


def read_positions(directories: Sequence[Path]) -> list[Origin]:
    """Where each stream stands in all of these channels: what one of them lacks must be read again for it.

    Raises:
        ComponentFailed: a writer has not said it.
    """
    found: list[dict[str, Origin]] = []
    for directory in directories:
        rows = _read(directory / _POSITIONS)
        if rows is None:
            raise ComponentFailed(f"where streams stand can't be read in {directory}")
        found.append({row[0]: Origin(*row) for row in rows})
    if not found:
        return []
    common = set(found[0]).intersection(*found[1:])
    least = {name: min((streams[name] for streams in found), key=lambda origin: origin.end) for name in common}
    return [least[name] for name in found[0] if name in least]


def _is_open(run_dir: Path, channel: str, board: Path) -> bool:
    said = _read(run_dir / "channels" / channel / _OPEN)
    try:
        return bool(said == [board.stat().st_ino, boot_id()])
    except OSError:
        return False


def _has_lanes(log: LogSpec) -> bool:
    try:
        board = Board.open(Path(log.board))
    except (OSError, DamagedData):
        return False
    known = board.lanes()
    board.close()
    return all(lane_id(name) in known for name, _, _ in log.sinks)


def _read(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
