"""Making way: a consumer gives up rows of its lane that no sink shall have, because they are too old or in the way.

The producer can't do it: only who holds the lane moves its head. So it stores how far it wants the head to be, and the
consumer looks between two transactions. What a sink has in its hands is never given up under it.
"""

from __future__ import annotations

from shipper.ring.consumer import Consumer
from shipper.ring.tally import ROOM_WANTED


def make_way(consumer: Consumer, oldest_ms: int = 0) -> tuple[int, int]:
    """Gives up what is too old, and as much of the oldest as the producer has asked for. Between transactions.

    It is committed, with its tally, when this returns. Dying before that: nothing was given up.

    Args:
        oldest_ms: frames that were put before that (wall ms) are too old; frames without a time never are.

    Returns:
        Rows that were (too old, dropped).
    """
    position, rows, units = consumer.lane.words.read(ROOM_WANTED, 3)
    units_gone = consumer.lane.committed().units
    expired = dropped = 0
    while (frame := consumer.peek()) is not None:
        done = consumer.rows_done
        left = frame.rows - done
        wanted = rows - (frame.rows_after - left)  # of this frame's rows; less than 0: enough are gone already
        if frame.put_ms and frame.put_ms < oldest_ms:
            expired += left
            consumer.count(expired=left)
        elif frame.position < position or units_gone < units or wanted >= left > 0:
            dropped += left
            consumer.count(dropped=left)
        elif wanted > 0:
            consumer.count(dropped=wanted)
            consumer.release_rows(done + wanted, 0)
            return expired, dropped + wanted
        else:
            break
        units_gone = frame.units_after
        consumer.step()
    if expired or dropped:
        consumer.release(0)
    else:
        consumer.rewind()
    return expired, dropped
