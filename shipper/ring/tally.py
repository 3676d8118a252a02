"""Where tallies lie: beside what a put or a take commits, in force by the very same word, so no death makes them drift.

A lane's commit slot and a put page's slot have each a tally beside them, named by the same generation or put number::

    lane     1408  take tally 0      consumer: a line {accounts, before, expired, dropped, lost, checksum}, then
             1792  take tally 1      four words an account: {sink, rows delivered, bytes delivered, rows set aside}
             2176  HANDED_OVER       supervisor: how often the lane was opened to others after its holder had died
             2304  ROOM_WANTED       producer: {position, rows, units} that the consumer shall have passed, by giving
                                     the oldest up if need be; 0 = nothing is wanted
             2328  REFUSED           producer: puts that found no room because of what was not taken from here, ever

    page     head of a slot, +40     producer: the ten words of `Intake`, then the checksum of the whole tally
             lane line, +40          {rows offered, dropped, refused} for the channel that the lane is the first of

The checksum covers the generation (put number) too: a tally that does not fit it was never written for that commit, by
an older build or by a test, and counting begins there.
"""

from __future__ import annotations

from shipper.ring.lane import Lane
from shipper.ring.layout import GENERATION, CommitSlot, slot_checksum
from shipper.shared.tally import ACCOUNTS_MAX, Account, TakeTally
from shipper.shared.words import LINE_BYTES, Words

TAKE_TALLY = 11 * LINE_BYTES
HANDED_OVER = 17 * LINE_BYTES
ROOM_WANTED = 18 * LINE_BYTES
REFUSED = ROOM_WANTED + 24
_TAKE_TALLY_BYTES = 3 * LINE_BYTES
_HEAD_WORDS = 6


def write_take(words: Words, generation: int, tally: TakeTally) -> None:
    """Writes the tally of a commit that is about to be published under that generation."""
    head, rest = _take_words(tally)
    at = TAKE_TALLY + (generation & 1) * _TAKE_TALLY_BYTES
    words.write(at, (*head, slot_checksum((generation, *head, *rest))))
    words.write(at + LINE_BYTES, rest)


def read_take(lane: Lane) -> tuple[CommitSlot, TakeTally]:
    """The last take commit and its tally: both of the same moment. Any process may ask.

    Raises:
        DamagedData: as `Lane.committed`.
    """
    words = lane.words
    while True:
        generation = words.observe(GENERATION)
        slot = lane.committed()
        tally = take_of(words, generation)
        if words.observe(GENERATION) != generation:
            continue  # the tally may have been overwritten while it was read
        return slot, tally or TakeTally(before=slot.rows)


def take_of(words: Words, generation: int) -> TakeTally | None:
    """The tally that was written for the commit of that generation; None when what is there is of another, or none."""
    tally, checksum = _take_as_it_stands(words, generation)
    head, rest = _take_words(tally)
    return tally if checksum == slot_checksum((generation, *head, *rest)) else None


def unchecked_take(words: Words, generation: int) -> TakeTally:
    """What stands where that generation has its tally, whatever it was written for: for repair."""
    return _take_as_it_stands(words, generation)[0]


def _take_as_it_stands(words: Words, generation: int) -> tuple[TakeTally, int]:
    at = TAKE_TALLY + (generation & 1) * _TAKE_TALLY_BYTES
    count, before, expired, dropped, lost, checksum = words.read(at, _HEAD_WORDS)
    rest = words.read(at + LINE_BYTES, 4 * min(count, ACCOUNTS_MAX))
    accounts = tuple(Account(*rest[i : i + 4]) for i in range(0, len(rest), 4))
    return TakeTally(before, expired, dropped, lost, accounts), checksum


def _take_words(tally: TakeTally) -> tuple[tuple[int, ...], tuple[int, ...]]:
    accounts = tally.accounts
    head = (len(accounts), tally.before, tally.expired, tally.dropped, tally.lost)
    return head, tuple(word for account in accounts for word in account)
