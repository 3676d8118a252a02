"""Where the tallies of a log lie: on its board, beside what a take commits, in force by the very same word.

A lane's head slot has a tally beside it, named by the same generation::

    lane     1408  take tally 0     holder: {accounts, before, expired, dropped, lost, checksum}, then four words an
             1728  take tally 1     account: {sink, rows delivered, bytes delivered, rows set aside}

As in the lanes of a memory channel (`ring/tally.py`), a tally that does not fit its generation was never written for
that commit: counting begins there.
"""

from __future__ import annotations

from shipper.durable.board import GENERATION, Board, Head, lane_at
from shipper.ring.layout import slot_checksum
from shipper.shared.tally import ACCOUNTS_MAX, Account, TakeTally

TALLY = 1408
TALLY_BYTES = 320
_HEAD_WORDS = 6


def write_next(board: Board, index: int, tally: TakeTally) -> None:
    """Writes the tally of the commit that is about to be stored in a lane. Only its holder may."""
    generation = board.words.load(lane_at(index) + GENERATION) + 1
    head = (len(tally.accounts), tally.before, tally.expired, tally.dropped, tally.lost)
    rest = tuple(word for account in tally.accounts for word in account)
    at = lane_at(index) + TALLY + (generation & 1) * TALLY_BYTES
    board.words.write(at, (*head, slot_checksum((generation, *head, *rest)), *rest))


def read(board: Board, index: int) -> tuple[Head, TakeTally]:
    """The last take commit of a lane and its tally: both of the same moment. Any process may ask.

    Raises:
        DamagedData: as `Board.head`.
    """
    words, at = board.words, lane_at(index)
    while True:
        generation = words.observe(at + GENERATION)
        head = board.head(index)
        place = at + TALLY + (generation & 1) * TALLY_BYTES
        *first, checksum = words.read(place, _HEAD_WORDS)
        rest = words.read(place + _HEAD_WORDS * 8, 4 * min(first[0], ACCOUNTS_MAX))
        if words.observe(at + GENERATION) != generation:
            continue  # the tally may have been overwritten while it was read
        if checksum != slot_checksum((generation, *first, *rest)):
            return head, TakeTally(before=head.rows)
        accounts = tuple(Account(*rest[i : i + 4]) for i in range(0, len(rest), 4))
        return head, TakeTally(first[1], first[2], first[3], first[4], accounts)
