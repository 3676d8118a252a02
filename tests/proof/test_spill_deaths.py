"""RC2 for channels that spill: SIGKILL of anything while rows go to disk and come back, 0 lost, 0 twice, in order.

As in `test_any_death.py`: each campaign prints its seed, and `SHIPPER_SEED=N` begins with another one.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shipper.durable import offline
from tests.proof.campaign import ROLES, WRITER, run
from tests.proof.scenario import SOURCES, TOPOLOGIES, Scenario

FIRST_SEED = int(os.environ.get("SHIPPER_SEED", "1"))


@pytest.mark.parametrize("number", range(2))
def test_no_line_is_lost_or_comes_twice_with_a_channel_that_spills(number: int, tmp_path: Path) -> None:
    _campaign(number, tmp_path, [*ROLES, WRITER, WRITER])


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(20))
def test_many_deaths_lose_nothing_and_repeat_nothing(number: int, tmp_path: Path) -> None:
    _campaign(number, tmp_path, [*ROLES, WRITER] * 5)


def _campaign(number: int, home: Path, roles: list[str]) -> None:
    topology, source = TOPOLOGIES[number % len(TOPOLOGIES)], SOURCES[number % len(SOURCES)]
    scenario = Scenario.of(FIRST_SEED + number, topology=topology, source=source, channel="spillablememory")
    outcome = run(scenario, home, roles)
    print(f"{scenario}\n{outcome}")
    assert not outcome.faults, "\n".join([str(scenario), *outcome.faults])
    over_the_disk = 0
    for channel in scenario.routes:
        report = offline.inspect(home / channel / "checkpoint", [home / channel / "data"])
        delivered = sum(lane.head.rows for lane in report.lanes.values())
        print(f"{channel}: {delivered} rows went over the disk")
        assert not report.rows_waiting
        over_the_disk += delivered
    assert over_the_disk, "no channel was full: nothing was tried"
