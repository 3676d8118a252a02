"""The hot loop of a channel's writer: append and sync what waits, keep the log in order, sleep until the bell rings.

At the supervisor's word, when the sources have ended, it empties the lanes and says so; it stays as long as a sink
holds a lane of the log, so that its last checkpoint has what they delivered, and ends then, or at the second word.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from shipper.channels.file.feed import FeedRoute
from shipper.channels.file.writer import LaneRoute, LogWriter, origins_of
from shipper.channels.memory.channel import sink_of
from shipper.channels.memory.salvage import Salvage
from shipper.durable.board import HOLDER, Board, lane_at, lane_id
from shipper.durable.layout import BLOCK_BYTES
from shipper.durable.log import Log
from shipper.durable.window import SIZE_BYTES, Window
from shipper.instance.handover import hand_over_log
from shipper.instance.log_books import note_base
from shipper.instance.log_notes import LogNote, noted
from shipper.instance.machine import cgroup_limit_bytes, free_memory_bytes
from shipper.ring.wait import BUSY_SLEEP_S, IDLE_SLEEP_S
from shipper.units import format_size
from shipper.workers.control import Phase
from shipper.workers.duty import Duty
from shipper.workers.logs import note, options_of, producer, say_open, window_path
from shipper.workers.spec import WorkerSpec

_TICK_S = 1.0
_WINDOW_LEAST_BYTES = 1 << 20
_FULL_TICK_S = 0.1

Say = Callable[[str, str], None]


def run(spec: WorkerSpec, duty: Duty, say: Say) -> None:
    """Writes the log of one channel until the supervisor has said that it is enough.

    Raises:
        ConfigurationError: its directories can't be used.
        ComponentFailed: the disk failed.
    """
    writer = open_writer(spec, say)
    note = LogNote(Path(spec.common.state_dir), writer.log)
    try:
        _keep(note, note.made(), say, synced=True)
        _loop(spec, writer, duty, note, say)
        last = note.made(stopped=True)
    finally:
        _keep(note, note.made(), say)  # what sinks took until now; the board may be closed, or gone, behind this
        writer.close()
        _say_notes(writer.log, say)
    # Dying before this: the note says that the log was not stopped in order, and may hold more than it knows of.
    _keep(note, last, say, synced=True)


def open_writer(spec: WorkerSpec, say: Say) -> LogWriter:
    """Opens the log, says what was found, and takes the lanes of the source workers over."""
    assert spec.log is not None
    options = options_of(spec.log)
    # Lanes in which rows may be for sinks that are gone have to have their lane of the log as well.
    pinned = [sink_of(Path(lane)) for lane, _ in spec.log.seconds]
    names = list(dict.fromkeys([*(name for name, _, _ in spec.log.sinks), *pinned]))
    settings, state_dir = options.log_settings(options.keys()), Path(spec.common.state_dir)
    missed = noted(state_dir, settings.checkpoint_dir)
    log = Log.open(settings, names, origins_of, window=_window(spec), noted=missed)
    try:
        _say_found(log, say)
        _free(spec, log.board, say)
        feeds = [
            FeedRoute(
                Path(t.path), Path(t.page), producer(spec.common.run_id, Path(t.path).name), Path(t.bell),
                lane_id(sink_of(Path(t.path))) if spec.log.spills else None,
            ) for t in spec.takes
        ]  # fmt: skip
        lanes = [LaneRoute(lane_id(name), Path(bell)) for name, _, bell in spec.log.sinks]
        writer = LogWriter(
            spec.channel, log, feeds, lanes, spec.sink_id, sync_each=options.sync_each,
            sync_interval_s=options.sync_interval_s, drops_oldest=options.on_full == "dropOldest",
            keep_damaged=Salvage(Path(spec.common.state_dir) / "damaged", say),
        )  # fmt: skip
        _begin_books(spec, log, say)
        say_open(Path(spec.common.run_dir), spec.channel, Path(spec.log.board), log.positions().values())
        return writer
    except BaseException:
        log.close()
        raise


def _begin_books(spec: WorkerSpec, log: Log, say: Say) -> None:
    directory, note = Path(spec.common.run_dir) / "channels" / spec.channel, LogNote(Path(spec.common.state_dir), log)
    if lost := note_base(directory, log.settings.board, note.path, anew=not log.recovered.same_boot):
        say("error", f"{lost:,} events are lost: they were put into the log that is gone, after the last note of it")


def _keep(note: LogNote, content: bytes, say: Say, *, synced: bool = False) -> None:
    """Without the note the channel works as well; only, nobody would miss its log where its disk is not mounted."""
    try:
        note.keep(content, synced=synced)
    except OSError as problem:
        say("warning", f"the note of its log, {note.path}, can't be written: {problem.strerror}")


def _loop(spec: WorkerSpec, writer: LogWriter, duty: Duty, note: LogNote, say: Say) -> None:
    phase = Phase.READY
    duty.phase(phase)
    said = ""
    duty.runs()
    now_s = found_s = time.monotonic()
    tick_s = now_s + _TICK_S
    while not duty.at_once() and not (phase == Phase.ENDING and not writer.is_read()):
        if writer.step(now_s):
            found_s = now_s
        elif phase == Phase.READY and duty.stopping() and not writer.waiting():
            writer.sync(now_s)
            phase = Phase.ENDING
            duty.phase(phase)
        else:
            _sleep(writer, duty, now_s - found_s)
        now_s = time.monotonic()
        if now_s >= tick_s:
            tick_s = now_s + (_FULL_TICK_S if writer.full_because else _TICK_S)
            writer.log.refuse_removed()
            writer.tick(now_s)
            _keep(note, note.made(), say)
            duty.progress()
            _say_notes(writer.log, say)
            if writer.full_because != said:
                said = writer.full_because
                duty.trouble(said)
                say("warning" if said else "info", f"takes nothing more: {said}" if said else "takes events again")
    if writer.unreleased():
        writer.sync(now_s)
    # What is in a lane still is safe there, and the next writer goes on with it, or sinks if there is no log any more.


def _sleep(writer: LogWriter, duty: Duty, idle_s: float) -> None:
    writer.sleeping(True)
    if writer.full_because or not writer.waiting():
        short = idle_s < 1 or writer.full_because or writer.unreleased()
        # Once the agent stops, `wait` does not sleep any more.
        (duty.rest if duty.stopping() else duty.wait)(BUSY_SLEEP_S if short else IDLE_SLEEP_S)
    writer.sleeping(False)


def _window(spec: WorkerSpec) -> Window:
    """What the sinks see of the newest bytes: small on a machine, or in a container, that has little memory."""
    place = window_path(spec)
    found = place.stat().st_size if place.exists() else 0
    limit = cgroup_limit_bytes()
    most = min(SIZE_BYTES, (free_memory_bytes(place.parent) + found) // 8, SIZE_BYTES if limit is None else limit // 32)
    if _WINDOW_LEAST_BYTES <= found <= SIZE_BYTES and found % BLOCK_BYTES == 0:
        most = found  # running sinks have it open
    return Window.make(place, max(most - most % BLOCK_BYTES, _WINDOW_LEAST_BYTES))


def _free(spec: WorkerSpec, board: Board, say: Say) -> None:
    """Frees lanes whose holder died and is not in this configuration: nobody will come back to settle them."""
    assert spec.log is not None
    known = {0, *(sink for _, sink, _ in spec.log.sinks)}
    holders = {board.words.load(lane_at(index) + HOLDER) for index in board.lanes().values()}
    for holder in holders - known:
        if hand_over_log(Path(spec.log.board), holder, note(spec, holder)):
            say(
                "warning", "a sink that took from it was killed and is not in this configuration: what it wrote and "
                "did not commit is delivered once more",
            )  # fmt: skip


def _say_found(log: Log, say: Say) -> None:
    found = log.recovered
    places = ", ".join(str(path) for path in log.settings.directories)
    if found.created:
        say("info", f"a new log in {places}")
    else:
        say("info", f"{log.rows} events ({format_size(log.size_bytes)}) wait in {places}")
    for line in found.notes:
        say("warning", line)
    for lost in found.lost:
        say("error", f"records {lost.first} to {lost.last} are lost: {lost.why} ({lost.where})")


def _say_notes(log: Log, say: Say) -> None:
    for line in log.notes():
        say("warning", line)
