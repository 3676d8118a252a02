"""A recount: the tally beside a commit slot or a put that was repaired, or that was damaged itself, is put right.

What can't be told is as little as can be: where the tally of the commit before is whole, only the rows of one commit
have nothing that says what became of them ("before"). The equations of the ledger hold all the same.
"""

from __future__ import annotations

from shipper.ring.lane import Lane
from shipper.ring.layout import GENERATION, CommitSlot, LaneState
from shipper.ring.puts import PutPage
from shipper.ring.tally import take_of, unchecked_take, write_take
from shipper.shared.tally import Offers, PutTally, TakeTally
from shipper.shared.words import Words


def carry_take(words: Words, generation: int) -> None:
    """The slot of the commit before `generation` will count as the one behind it: its tally comes along.

    Dying behind this, before the generation is published: the slot is found once more, and so is the tally.
    """
    if generation and (earlier := take_of(words, generation - 1)) is not None:
        write_take(words, generation + 1, earlier)


def forget_take(words: Words, generation: int, slot: CommitSlot) -> None:
    """The slot was made up: no tally fits it."""
    write_take(words, generation, TakeTally(before=slot.rows))


def recount_take(lane: Lane) -> str:
    """Puts the tally of the last take commit right; what was wrong, "" when nothing was or nothing can be done."""
    words = lane.words
    generation, slot = words.load(GENERATION), lane.committed()
    if not slot.rows or take_of(words, generation) is not None:
        return ""
    earlier = take_of(words, generation - 1) if generation else None
    if earlier is not None and earlier.rows <= slot.rows:
        missing = slot.rows - earlier.rows
        write_take(words, generation, earlier._replace(before=earlier.before + missing))
        return f"what became of the {missing} events of its last take commit can't be told any more"
    # Neither fits: then it is the generation that was damaged. A tally with as many rows as the slot belongs to it.
    found = unchecked_take(words, generation)
    if found.rows == slot.rows:
        write_take(words, generation, found)
        return "the tally of its last take commit had lost its number and has one again"
    return ""


def recount_puts(page: PutPage) -> str:
    """Puts the tally of the last put right; what was wrong, "" when nothing was or nothing can be done."""
    state = page.state()
    earlier = page.slots()[1 - (state.number & 1)]
    if page.tally_of(state) is not None or earlier is None or earlier.number != state.number - 1:
        return ""
    tally = page.tally_of(earlier)
    if tally is None:
        return ""
    offers = []
    for index, lane in enumerate(state.lanes):
        before = earlier.lanes[index] if index < len(earlier.lanes) else LaneState()
        offered = tally.offers[index] if index < len(tally.offers) else Offers()
        offers.append(offered._replace(rows=offered.rows + lane.rows - before.rows))
    page.commit(state, PutTally(tally.intake, tuple(offers)))
    return f"what its source counted with put {state.number} can't be told any more"
