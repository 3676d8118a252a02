"""Death of the machine and of the process behind every change on the disk: 0 acknowledged lost, whatever was torn.

Tier C judges some 10^4 states. Tier N is `SHIPPER_CRASH_STATES=10000000 python -m pytest --timeout 0 FILE`, with this
file; one seed again is `SHIPPER_SEED=7` before either.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.durable.simulated import SimulatedDisk
from tests.durable.world import KEYS, Deaths, World, live, settings_of

STATES = int(os.environ.get("SHIPPER_CRASH_STATES", "24000"))
SEEDS = [int(os.environ["SHIPPER_SEED"])] if "SHIPPER_SEED" in os.environ else list(range(12))
KINDS = {
    0: {"backup": True},
    1: {"readable_before_sync": True},
    2: {"keys": KEYS},
}


def deaths(seed: int, states: int, kind: dict[str, object]) -> int:
    """Lives until so many states were judged."""
    chance = random.Random(seed)
    judged = 0
    while judged < states:
        world = World(SimulatedDisk(), settings_of(**kind))
        watched = Deaths(world, chance, kills="readable_before_sync" not in kind)
        live(world, chance, chance.randrange(0, 12))
        watched.watch()
        live(world, chance, 10)
        world.disk.on_change = lambda: None
        judged += watched.states
    return judged


@pytest.mark.parametrize("seed", SEEDS)
def test_no_death_loses_what_was_acknowledged(seed: int) -> None:
    """And what is there is what was put, in order, whole, once; positions say what is there; recovery is idempotent."""
    print(f"seed {seed}")
    assert deaths(seed, STATES // len(SEEDS), KINDS.get(seed, {})) > 0
