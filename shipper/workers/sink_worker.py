"""The hot loop of a sink worker: deliver what waits, roll and sync by time, sleep until the bell rings.

At the supervisor's word it empties its lanes first; at the second word it ends after the transaction under way.
"""

from __future__ import annotations

import time

from shipper.channels.channel import TakeSide
from shipper.pipeline.deliver import Delivery
from shipper.ring.wait import BUSY_SLEEP_S, IDLE_SLEEP_S
from shipper.workers.control import Phase
from shipper.workers.durable_head import DurableHead
from shipper.workers.duty import Duty

_TICK_S = 0.25
_NAP_S = 0.001
_NAPS = 4
_NAP_FOR_S = 0.05


def run(delivery: Delivery, side: TakeSide, head: DurableHead, duty: Duty) -> None:
    """Delivers until the supervisor says stop and the lanes are empty, or says that it is enough."""
    duty.phase(Phase.READY)
    now_s = found_s = ticked_s = time.monotonic()
    while not duty.at_once():
        if delivery.step():
            found_s = now_s
        elif delivery.retry_at_s:
            duty.rest(min(max(delivery.retry_at_s - time.monotonic(), 0.01), IDLE_SLEEP_S))
        elif duty.stopping() and not side.waiting():
            break
        elif not (delivery.in_flow and now_s - found_s < _NAP_FOR_S and _nap(side)):
            _sleep(side, duty, now_s - found_s)
        now_s = time.monotonic()
        if now_s - ticked_s >= _TICK_S:
            delivery.tick()
            ticked_s = now_s
            duty.progress()
        head.look(now_s)
    delivery.end()
    duty.phase(Phase.ENDING)


def _nap(side: TakeSide) -> bool:
    """Sleeps a little without a word, in the middle of a flow; True when rows came meanwhile.

    Each put would ring a sink that says that it sleeps, and waking a process costs the source as much as compressing
    a hundred lines. Naps cost a millisecond of latency, where much is under way anyway, and make transactions larger.
    """
    for _ in range(_NAPS):
        time.sleep(_NAP_S)
        if side.waiting():
            return True
    return False


def _sleep(side: TakeSide, duty: Duty, idle_s: float) -> None:
    side.sleeping(True)
    # Rows that came between the last look and the word "asleep" would not ring the bell: look once more.
    if not side.waiting():
        duty.wait(BUSY_SLEEP_S if idle_s < 1 else min(IDLE_SLEEP_S, _TICK_S if idle_s < 5 else IDLE_SLEEP_S))
    side.sleeping(False)
