"""The order of a source's rows that go two ways: through a lane in memory, and through another one into a log.

A source worker puts each batch either into its lane for a sink worker, or, when that is full, into a second lane, which
the channel's writer empties into the log's lane of the same sink worker. Which way a put goes is nobody's concern but
the source's; that rows come out as they went in is seen to here, by the numbers of the puts::

    source --- puts 1 2 3 . . . . 8 9 ------------------------ lane in memory ---.
          '--- puts . . . 4 5 6 7 . . --- second lane --- writer --- log's lane ---> sink

Each way by itself is in order. A frame with put n may leave memory when everything of the same source with a smaller
number that went the other way was delivered::

    the log's lane:  what stands first in it is of this source and has a larger number (all that is smaller was moved
                     there before it, and is delivered), or both of these, looked at in this order:
    the second lane: empty, or what stands first in it has a larger number
    the log's lane:  empty, or everything was delivered that the writer had moved when it gave the second lane that
                     much back (its commit names the seq)

A record with put n may leave the log when the lane in memory is empty, or what stands first there has a larger number.

**In this order nothing is missed**: put n is visible in memory only when all puts before it are visible, for
one word commits them; a row is readable in the log before the writer gives its place in the second lane back. "First"
is what no commit has passed, so what a sink has in its hands counts as not delivered.

**One of the two can always go on.** The log's first record waits only for a smaller put of its own source in memory,
and that one sees this very record first in the log.

Nothing is stored for this but the seq in the second lane's commits. So no death can leave it half done: every answer is
made of what puts and takes have committed.
"""

from __future__ import annotations

from pathlib import Path

from shipper.durable.reader import Reader
from shipper.ring.lane import Lane
from shipper.ring.layout import lane_key, put_at
from shipper.ring.puts import PutPage


def first_put(lane: Lane, page: PutPage, index: int) -> int | None:
    """Number of the first put in a lane that no take commit has passed; None when there is none. Anybody may ask.

    Where bytes are damaged it is None as well: nothing waits for what can't be delivered.
    """
    capacity = lane.capacity_bytes
    while True:
        position = head = lane.head()
        tail = page.tail(index)
        found: tuple[int, int] | None = None
        while position < tail and (found := put_at(lane.ring, position % capacity, position)) is not None:
            length, put = found
            if put:
                break
            position += length
            found = None
        if lane.head() == head:  # else it may have been overwritten while it was read
            return None if found is None else found[1]


class Ways:
    """The two ways of one source worker to one sink worker.

    Args:
        channel: name of the channel.
        direct: the lane in memory; None when there is none any more.
        second: the lane to the writer; it and `direct` have the same put page.
        page: that put page.
        reader: of the log's lane.
        producer: how the log knows the second lane.
    """

    def __init__(
        self, channel: str, direct: Path | None, second: Path, page: Path, reader: Reader | None, producer: int
    ) -> None:
        self._page = PutPage.ensure(page)
        self._direct = None if direct is None else Lane.open(direct)
        self._second = Lane.open(second)
        self._direct_index = -1 if direct is None else self._page.index(lane_key(channel, direct.name))
        self._second_index = self._page.index(lane_key(channel, second.name))
        self._reader = reader
        self.producer = producer
        #: Where the second lane ended when all that ever went through it was found delivered.
        self._clear_to = -1

    @property
    def on_the_way(self) -> bool:
        """True when the writer has not yet given all of the second lane back."""
        return self._second.head() < self._page.tail(self._second_index)

    def older_in_memory(self, put: int) -> bool:
        """True when the lane in memory has rows that are older than a record with that put."""
        if self._direct is None:
            return False
        first = first_put(self._direct, self._page, self._direct_index)
        return first is not None and first < put

    def older_on_disk(self, put: int) -> bool:
        """True when rows that are older than a frame with that put went through the second lane, undelivered."""
        tail = self._page.tail(self._second_index)
        if tail == self._clear_to:
            return False
        reader = self._reader
        first = first_put(self._second, self._page, self._second_index)
        if (first is None or first > put) and (reader is None or self._delivered(reader)):
            if first is None:
                self._clear_to = tail
            return False
        record = None if reader is None else reader.look()
        return record is None or record.producer != self.producer or record.put < put

    def _delivered(self, reader: Reader) -> bool:
        seq = self._second.committed().sequence
        head = reader.board.head(reader.index).seq
        return head > seq or reader.board.tail(reader.index).seq < max(head, 1)

    def close(self) -> None:
        """Lets go of the memory."""
        if self._direct is not None:
            self._direct.close()
        self._second.close()
        self._page.close()
