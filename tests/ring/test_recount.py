"""One damaged word of a lane or a put page: the ledger's equations hold, and one commit is forgotten at most."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.ring.layout import COMMIT_SLOT, GENERATION, RING
from shipper.ring.puts import NO_LANE, PutState
from shipper.ring.tally import TAKE_TALLY, read_take
from shipper.shared.tally import Intake, Offers, PutTally
from tests.ring.conftest import Ring
from tests.ring.test_repair import DAMAGES, PUT, TAKEN, repaired, spoil, words

SINK = 7


def made(directory: Path, ring: Callable[..., Ring]) -> None:
    """Puts and takes as in the tests of the repair, each with its tally; of each put, one row more is refused."""
    directory.mkdir()
    one = ring(2, directory)
    for number, payload in enumerate(PUT, 1):
        assert one.stage(payload, 0) and one.stage(payload, 1)
        tally = PutTally(Intake(rows=3 * number, kept=3 * number), (Offers(2 * number, 0, number), Offers(number)))
        one.page.commit(PutState(number, NO_LANE, 0, tuple(producer.state for producer in one.producers)), tally)
        for lane in range(2):
            one.producers[lane].committed()
            if number <= TAKEN:
                consumer = one.consumers[lane]
                assert consumer.peek() is not None
                consumer.step()
                consumer.book(SINK, 1, len(payload), 0)
                consumer.release(number)
    one.close()


def judged(directory: Path) -> tuple[int, int]:
    """Rows of lane 0 of which nothing is known, and puts of which nothing is; the equations hold."""
    one = Ring(directory, 2)
    try:
        slot, tally = read_take(one.consumers[0].lane)
        assert tally.rows == slot.rows
        assert tally.before + sum(account.rows for account in tally.accounts) == slot.rows
        if tally.accounts:
            account = tally.accounts[0]
            assert account.sink == SINK and account.size_bytes == len(PUT[0]) * account.rows
        state, puts = one.page.tallied()
        for lane, offers in zip(state.lanes, puts.offers, strict=True):
            assert offers.rows == lane.rows + offers.dropped + offers.refused
        return tally.before, state.number - puts.intake.rows // 3
    finally:
        one.close()


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["lane0", "page"])
def test_a_damaged_word_costs_the_ledger_one_commit_at_most(
    tmp_path: Path, ring: Callable[..., Ring], file: str, damage: str
) -> None:
    home, copy = tmp_path / "home", tmp_path / "copy"
    made(home, ring)
    assert judged(home) == (0, 0)
    for at, word in words(home / file, RING if file == "lane0" else 1 << 20):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(home, copy)
        with (copy / file).open("r+b") as target:
            target.seek(at)
            target.write(DAMAGES[damage](word))
        repaired(copy)
        taken, put = judged(copy)
        in_tally = (file == "lane0" and at >= TAKE_TALLY, file == "page" and at > 600)
        assert taken <= in_tally[0], f"word {at}"
        assert put <= in_tally[1], f"word {at}"
        assert repaired(copy) == [], f"word {at}: what was repaired once is whole"


def test_the_slot_before_brings_its_tally_along(tmp_path: Path, ring: Callable[..., Ring]) -> None:
    made(tmp_path / "home", ring)
    at = COMMIT_SLOT + (TAKEN & 1) * 128
    spoil(tmp_path / "home" / "lane0", at, at + 32, at + 40)
    assert "comes once more" in " ".join(repaired(tmp_path / "home"))
    assert judged(tmp_path / "home") == (0, 0)


def test_made_up_slots_have_no_tally(tmp_path: Path, ring: Callable[..., Ring]) -> None:
    """All comes once more, and all of it is counted when it does."""
    made(tmp_path / "home", ring)
    spoil(tmp_path / "home" / "lane0", *(COMMIT_SLOT + at for at in (0, 8, 32, 128, 136, 160)))
    repaired(tmp_path / "home")
    assert judged(tmp_path / "home") == (0, 0)


def test_lanes_of_a_build_without_tallies_are_left_alone(tmp_path: Path, ring: Callable[..., Ring]) -> None:
    made(tmp_path / "home", ring)
    lane = tmp_path / "home" / "lane0"
    with lane.open("r+b") as file:
        file.seek(TAKE_TALLY)
        file.write(bytes(6 * 128))
    before = lane.read_bytes()
    assert repaired(tmp_path / "home") == []
    assert lane.read_bytes() == before
    assert judged(tmp_path / "home") == (TAKEN, 0)
    assert GENERATION < TAKE_TALLY
