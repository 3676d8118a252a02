"""The hot loop of a source worker: poll, put, tell the source; and at the supervisor's word, stop.

A batch that was polled is either in all its channels or its source is told to go back. What the loop stores between
two batches is its position table: after put n is committed, and before put n + 1 is claimed.
"""

from __future__ import annotations

import time

from shipper.batch.batch import EventBatch
from shipper.pipeline.ingest import Ingest
from shipper.ring.wait import BUSY_SLEEP_S
from shipper.sources.source import Source
from shipper.workers.control import Phase
from shipper.workers.duty import Duty
from shipper.workers.positions import Positions

WAIT_S = 1.0
LAG_EVERY_S = 0.5
LAST_TRIES_S = 0.05
_DURABLE_LOOK_S = 0.05
_DURABLE_SHARE = 4


def run(source: Source[object], ingest: Ingest, positions: Positions, duty: Duty) -> bool:  # type: ignore[type-var]
    """Moves batches until the supervisor says stop, or the source is finished. The source is open and stays so.

    Returns:
        True when the source is finished: nothing will ever come again.
    """
    duty.phase(Phase.READY)
    look_s = durable_s = 0.0
    while not duty.stopping():
        batch = source.poll(WAIT_S)
        if (now_s := time.monotonic()) >= look_s:
            look_s = now_s + LAG_EVERY_S
            duty.lag(source.lag_bytes())
            duty.trouble(source.trouble())
            ingest.tick()
        if now_s >= durable_s:
            durable_s = now_s + tell_durable(source, positions)
        if batch is None:
            if source.finished():
                return True
            continue
        if _carry(source, ingest, batch, duty):
            _keep(source, ingest, positions, batch, duty)
            duty.progress()
    duty.phase(Phase.ENDING)
    if source.stop_reading():
        while not duty.at_once() and (batch := source.poll(0)) is not None:
            if _carry(source, ingest, batch, duty):
                _keep(source, ingest, positions, batch, duty)
    return False


def _keep(
    source: Source[object],  # type: ignore[type-var]
    ingest: Ingest,
    positions: Positions,
    batch: EventBatch,
    duty: Duty,
) -> None:
    """What follows every put: its origins are stored, and its source is told, once it is as safe as was promised."""
    # Dying before this line: the put is committed, its origins are read back from its frame. After it: from the
    # table. The next put is claimed only after the table has this one, so one of the two always is there.
    positions.store(batch.origins)
    # Dying before its source was told: the put is in its lanes, whole, and its channels' writers go on with it. If the
    # machine died too, nobody was told that it is safe.
    if not source.awaits_durable or _until_safe(ingest, duty):
        source.committed(batch)
    else:
        source.position(batch.origins)


def _until_safe(ingest: Ingest, duty: Duty) -> bool:
    """Waits until the last put is on disk where that was promised; False when there is no time for that any more."""
    if ingest.safe:
        return True
    ingest.listen(True)
    try:
        while not ingest.safe:
            if duty.at_once():
                return False
            duty.wait_for_room(BUSY_SLEEP_S)
    finally:
        ingest.listen(False)
    return True


def tell_durable(source: Source[object], positions: Positions) -> float:  # type: ignore[type-var]
    """Tells the source what has become durable; the seconds until it is worth while to ask again."""
    found = positions.durable()
    if not found:
        return _DURABLE_LOOK_S
    began_s = time.monotonic()
    if source.durable(found):
        positions.written()
    # It syncs, once a second as sinks do. What is durable and not written down comes twice after a power cut, so it
    # does that at once, unless its disk is so slow that nothing else would be done.
    return max(_DURABLE_LOOK_S, _DURABLE_SHARE * (time.monotonic() - began_s))


def _carry(source: Source[object], ingest: Ingest, batch: EventBatch, duty: Duty) -> bool:  # type: ignore[type-var]
    """Puts a batch, as often as the source wants it tried. False when it was given up or is to be read again."""
    while not ingest.put(batch):
        duty.lag(source.lag_bytes())
        if duty.stopping():
            # A source that can replay reads it again at the next start; one that can't has its last chance here.
            if source.replayable or duty.at_once():
                source.position(batch.origins)
                return False
            duty.wait_for_room(LAST_TRIES_S)
            continue
        if not source.refused(batch, "no room in a required channel within its keep-alive"):
            return False
    return True
