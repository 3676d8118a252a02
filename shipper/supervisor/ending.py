"""The end of workers: of all of them at a stop, of some at a reload; in order, to a deadline, and then by force.

::

    sources   read no more and end                     deadline: they end after the batch under way
    writers   of logs empty the lanes of the sources   and stay until no sink takes from their log any more
    sinks     empty their lanes, close their files     deadline: they end after the transaction under way
    all       who is still there 10 s later is killed: rings and journals are made for that

A person who signals once more than needed does not want to wait: the deadline is over then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from shipper import log
from shipper.supervisor.fleet import PATIENCE_S, Fleet, Worker
from shipper.supervisor.reload import Difference
from shipper.workers.control import Order


class Waiting(Protocol):
    """How the supervisor's loop goes on while somebody is to end."""

    def __call__(self, alive: Callable[[], object], seconds: float, *, patiently: bool = False) -> bool:
        """Waits until nobody is alive any more; False when the time is over, or a person has said to hurry.

        Args:
            patiently: what was said before does not count any more; only what is said from now on.
        """


def end_all(fleet: Fleet, wait: Waiting, deadline_s: float) -> bool:
    """Ends everybody.

    Args:
        deadline_s: for how long sources and sinks may take, together.

    Returns:
        True when everybody ended as told; False when somebody had to be killed.
    """
    began_s = time.monotonic()
    fleet.give_order(Order.STOP, "source")
    if not wait(lambda: fleet.alive("source"), deadline_s):
        fleet.give_order(Order.NOW, "source")
    # Who takes dead letters is told after those who put them.
    for writers, sinks in _ranks(fleet.workers):
        # Before sinks may say that nothing is left, all of it is in the logs.
        fleet.give_order(Order.STOP, workers=writers)
        wait(lambda: set(fleet.writing()) & writers, began_s + deadline_s - time.monotonic())  # noqa: B023
        fleet.give_order(Order.STOP, workers=sinks)
        wait(lambda: set(fleet.alive("sink")) & sinks, began_s + deadline_s - time.monotonic())  # noqa: B023
    if wait(lambda: fleet.alive("source") + fleet.alive("sink"), began_s + deadline_s - time.monotonic()):
        fleet.give_order(Order.NOW, "channel")
    if wait(fleet.alive, began_s + deadline_s - time.monotonic()):
        return True
    log.say("WARN", "agent", "the channels are not empty yet; ending all the same, what is left stays in them")
    fleet.give_order(Order.NOW)
    if wait(fleet.alive, PATIENCE_S, patiently=True):
        return True
    _kill(fleet, fleet.alive(), wait)
    return False


def _ranks(workers: Sequence[Worker]) -> list[tuple[set[Worker], set[Worker]]]:
    """Writers and sinks, those of a dead-letter channel behind all who put into it."""
    left = {worker for worker in workers if worker.spec.kind != "source"}
    ranks = []
    while left:
        fed = {channel.name for worker in left for channel in worker.spec.letters}
        # What a reload has left behind may make a circle; then the order does not matter.
        rank = {worker for worker in left if worker.spec.channel not in fed} or left
        sinks = {worker for worker in rank if worker.spec.kind == "sink"}
        ranks.append((rank - sinks, sinks))
        left = left - rank
    return ranks


def end_some(fleet: Fleet, change: Difference, wait: Waiting, deadline_s: float) -> None:
    """Ends those who don't go on with another configuration.

    What waits in front of a sink that ends waits for who comes next, so it ends at once; sinks of a removed channel
    are left to empty it (`Fleet.press` has an eye on them).

    Raises:
        whatever `wait` raises to get out of it: some have ended then, the others have their orders.
    """
    sources = [worker for worker in change.ends if worker.spec.kind == "source"]
    others = [worker for worker in change.ends if worker.spec.kind != "source"]

    def left(workers: Sequence[Worker]) -> list[Worker]:
        return [worker for worker in fleet.alive() if worker in workers]

    fleet.dismiss(sources, Order.STOP)
    if not wait(lambda: left(sources), deadline_s):
        fleet.dismiss(left(sources), Order.NOW)
    drains = [worker for worker in change.drains if not worker.leaving]
    writers = [worker for worker in drains if worker.spec.kind == "channel"]
    fleet.dismiss(writers, Order.STOP, deadline_s)
    wait(lambda: [worker for worker in fleet.writing() if worker in writers], PATIENCE_S)
    fleet.dismiss([worker for worker in drains if worker not in writers], Order.STOP, deadline_s)
    fleet.dismiss(others, Order.NOW)
    if not wait(lambda: left(change.ends), PATIENCE_S):
        _kill(fleet, left(change.ends), wait)


def _kill(fleet: Fleet, workers: Sequence[Worker], wait: Waiting) -> None:
    names = ", ".join(worker.spec.label for worker in workers)
    log.say("ERROR", "agent", f"{names} did not end in time and is killed; nothing in a channel is lost")
    fleet.kill(workers)
    wait(lambda: [worker for worker in fleet.alive() if worker in workers], PATIENCE_S, patiently=True)
