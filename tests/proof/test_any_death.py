"""RC2: SIGKILL of anything at any moment, under load and rotation, in every topology: 0 lost, 0 twice, in order.

Each campaign draws its scenario, load and kills from one seed, and prints it; `SHIPPER_SEED=N` begins with another one.
The full size is 1,000 kills a role: `python -m pytest -m nightly -n 0 -s tests/proof/test_any_death.py`;
`SHIPPER_KILLS=N` makes it another number.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path

import pytest

from shipper.testing.agent import AgentFailed
from tests.proof.campaign import ROLES, WRITER, Outcome, run
from tests.proof.scenario import SOURCES, TOPOLOGIES, Scenario

FIRST_SEED = int(os.environ.get("SHIPPER_SEED", "1"))
_EACH_ROLE = 10


@pytest.mark.parametrize("number", range(8))
def test_no_line_is_lost_or_comes_twice(number: int, tmp_path: Path) -> None:
    """Two deaths of each role: 64 in all."""
    topology, source = TOPOLOGIES[number % len(TOPOLOGIES)], SOURCES[number % len(SOURCES)]
    scenario = Scenario.of(FIRST_SEED + number, topology=topology, source=source)
    outcome = run(scenario, tmp_path, [*ROLES, *ROLES])
    print(f"{scenario}\n{outcome}")
    assert not outcome.faults, "\n".join([str(scenario), *outcome.faults])


@pytest.mark.parametrize("number", range(2))
def test_no_line_is_lost_or_comes_twice_with_a_file_channel(number: int, tmp_path: Path) -> None:
    """And the writer of the channel is killed, too."""
    scenario = Scenario.of(FIRST_SEED + number, topology=TOPOLOGIES[number], source=SOURCES[number], channel="file")
    outcome = run(scenario, tmp_path, [*ROLES, WRITER, WRITER])
    print(f"{scenario}\n{outcome}")
    assert not outcome.faults, "\n".join([str(scenario), *outcome.faults])


def campaign(seed: int) -> tuple[str, Outcome, str]:
    """One of many, in a process of its own. Every other one has channels with a log, whose writers die too."""
    channel = ("memory", "file", "memory", "spillablememory")[seed % 4]
    scenario = Scenario.of(seed, channel=channel)
    home = Path(tempfile.mkdtemp(prefix=f"proof-{seed}-"))
    roles = ROLES if channel == "memory" else (*ROLES, WRITER)
    try:
        outcome = run(scenario, home, list(roles) * _EACH_ROLE)
    except AgentFailed as trouble:  # the others go on, and are judged
        outcome = Outcome(faults=[str(trouble).partition("\n")[0]])
    if outcome.faults:
        return str(scenario), outcome, str(home)
    import shutil

    shutil.rmtree(home)
    return str(scenario), outcome, ""


def campaigns(seeds: Iterable[int]) -> Iterable[Future[tuple[str, Outcome, str]]]:
    """All of them, as many at once as there are processors."""
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=spawned) as pool:
        yield from as_completed([pool.submit(campaign, seed) for seed in seeds])


@pytest.mark.nightly
@pytest.mark.timeout(4 * 3600)
def test_a_thousand_deaths_a_role_lose_nothing_and_repeat_nothing() -> None:
    kills, lines, wrong = Counter[str](), 0, []
    each = int(os.environ.get("SHIPPER_KILLS", "1000"))
    for done in campaigns(range(FIRST_SEED, FIRST_SEED + -(-each // _EACH_ROLE))):
        scenario, outcome, left = done.result()
        kills += outcome.kills
        print(f"{scenario}\n    {outcome}", *outcome.faults, sep="\n    ", file=sys.stderr)
        print(f"    so far {kills.total()} kills", file=sys.stderr, flush=True)
        lines += outcome.lines
        wrong += [f"{scenario} (see {left}): {fault}" for fault in outcome.faults]
    print(f"{kills.total()} kills ({dict(kills)}), {lines} lines, {len(wrong)} faults")
    assert not wrong, "\n".join(wrong)
