"""A hand-over: lanes of a sink worker that is dead, and will not come back to settle its target, are opened to others.

The sink's last commit is written down first. Its word in a lane goes when another sink commits there, and a sink that
came back later and found no word of its last journal entry would take rows out of its files that nobody has any more.
The note lies in the run directory: it is as true, and as volatile, as the lanes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from pathlib import Path

from shipper import log, whole_file
from shipper.ring.consumer import disown
from shipper.ring.lane import Lane
from shipper.ring.layout import HOLDER


def hand_over(lanes: Sequence[Path], sink: int, note: Path) -> list[Path]:
    """Opens the lanes that sink worker `sink` holds to others; those that are open now.

    Only the supervisor may, and only while no process of that worker runs. Rows that it delivered there and did not
    commit come twice.
    """
    freed = []
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(contextlib.closing(Lane.open(path))) for path in lanes]
        slots = [lane.committed() for lane in opened]
        sequence = max((slot.sequence for slot in slots if slot.sink == sink), default=0)
        _note(sequence, note)
        # Dying before this: the lanes are still the sink's, and the note says no more than they do.
        for path, lane in zip(lanes, opened, strict=True):
            if disown(lane, sink):
                freed.append(path)
    return freed


def free(run_dir: Path, channel: str, lanes: Sequence[Path], takers: Collection[int], writer: int) -> None:
    """Frees lanes whose holder died and is none of `takers`: nobody will ever come back to settle them.

    Args:
        writer: the word of the channel's own log writer; it is no sink, and what it wrote is in the log.
    """
    holders = set()
    for path in lanes:
        with contextlib.closing(Lane.open(path)) as lane:
            holders.add(lane.words.load(HOLDER))
    for holder in holders - {0} - set(takers):
        who, what = "the sink", "what it wrote and did not commit is delivered once more"
        if holder == writer:
            who, what = "the writer", "what it wrote and did not commit is delivered, and is in the log as well"
        for path in hand_over(lanes, holder, note_of(run_dir, holder)):
            log.say(
                "WARN", channel, f"{who} that took from {path.name} was killed and is not in this configuration: {what}"
            )


def hand_over_log(path: Path, sink: int, note: Path) -> int:
    """As `hand_over`, for the lanes of a log that sink worker `sink` holds; how many are open now.

    Args:
        path: of the log's board.
    """
    from shipper.durable.board import Board  # an agent that has no log does without all of this
    from shipper.durable.reader import disown as disown_lane

    try:
        board = Board.open(path)
    except FileNotFoundError:
        return 0
    with contextlib.closing(board):
        heads = [board.head(index) for index in board.lanes().values()]
        _note(max((head.sequence for head in heads if head.sink == sink), default=0), note)
        # Dying before this: the lanes are still the sink's, and the note says no more than they do.
        return sum(disown_lane(board, lane, sink) for lane in board.lanes())


def _note(sequence: int, note: Path) -> None:
    if sequence > committed_before(note):
        note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        whole_file.write(note, [str(sequence).encode()])


def committed_before(note: Path) -> int:
    """The largest sequence that a sink worker had committed when lanes of it were handed over; 0 when none were."""
    try:
        return int(note.read_text())
    except (FileNotFoundError, ValueError):
        return 0


def note_of(run_dir: Path, sink: int) -> Path:
    """Where the note about a sink worker lies."""
    return run_dir / "handed-over" / f"{sink:016x}"
