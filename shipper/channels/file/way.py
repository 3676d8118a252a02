"""Making way in a log: its sink gives up records that no sink shall have, because they are too old or in the way.

Only who holds a lane moves its head. So the writer stores on the board how far it wants the head to be, and the sink
looks between two transactions. What a sink has in its hands is never given up under it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shipper.channels.file.lease import LogLease


def make_way(lane: LogLease, oldest_ms: int = 0) -> tuple[int, int]:
    """Gives up what is too old, and as much of the oldest as the writer has asked for. Between transactions.

    It is committed, with its tally, when this returns. Dying before that: nothing was given up.

    Args:
        oldest_ms: records that were put before that (wall ms) are too old; records without a time never are.

    Returns:
        Rows that were (too old, dropped).
    """
    reader = lane.reader
    seq, rows = reader.board.wanted_gone(reader.index)
    expired = dropped = 0
    while (oldest_ms or reader.cursor < seq or reader.rows_taken < rows) and (record := reader.peek()) is not None:
        done = reader.rows_done
        left = record.rows - done
        wanted = rows - (record.rows_after - left)  # of this record's rows; less than 0: enough are gone already
        if record.put_ms and record.put_ms < oldest_ms:
            expired += left
            lane.count(expired=left)
        elif record.seq < seq or wanted >= left > 0:
            dropped += left
            lane.count(dropped=left)
        elif wanted > 0:
            lane.count(dropped=wanted)
            lane.release_rows(done + wanted)
            return expired, dropped + wanted
        else:
            break
        reader.step()
    if expired or dropped:
        lane.release(0)
    else:
        lane.rewind()
    return expired, dropped
