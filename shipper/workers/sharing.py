"""Sharing: which sources have a worker of their own, and which take turns in one.

A worker of its own costs 11 MiB and one wake-up a second; a source that takes turns 2 MiB and a tenth of the wake-ups
(measured, see `docs/decisions/0009-shared-workers.md`). So an agent with many sources that are light (they say so:
`Source.light`) lets them share.
"""

from __future__ import annotations

from collections.abc import Sequence

from shipper.config.plan import SourcePlan

#: Up to so many light sources each have a worker of their own: a core's worth of speed, and a death of one is of one.
ALONE_MOST = 16

#: At most so many take turns in one worker. A turn moves one batch, a millisecond or two: with 16 that are all busy a
#: source waits 30 ms for its turn, and a worker that is killed takes 16 with it. 40 would save another 0.6 MiB each.
SHARE_MOST = 16


def sharing(sources: Sequence[SourcePlan]) -> list[list[SourcePlan]]:
    """The sources that share a worker, a list a worker; sources in none of them have workers of their own.

    A source with `workers = N` has been given its processes by a person and keeps them.
    """
    light = [source for source in sources if source.light and source.workers == 1]
    if len(light) <= ALONE_MOST:
        return []
    workers = -(-len(light) // SHARE_MOST)
    # Dealt out like cards: sources that stand together in a file are often busy together.
    return [light[worker::workers] for worker in range(workers)]
