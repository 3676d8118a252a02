"""The block that all connections of a listener receive into, line by line.

::

    block   | lines of A | lines of B | lines of A | <- here the next read begins
    runs      (A, end)     (B, end)     (A, end)

A read goes to the end of what is there. Its whole lines stay where they are; the unfinished one at its end is taken
out, kept with its connection, and put before that connection's next read. So the block is one gapless run of lines: it
*is* the next batch, however many connections it came from, and no byte of a whole line is copied. A connection costs
no more memory than its unfinished line.

A block may be borrowed: memory of the channel, in which the batch then stays where it lies. One at a time can be had,
for what is read between two batches; what comes behind a full block goes into a block of our own, and moves.

A line that grows longer than `_LONG` is gathered with its connection, so that it is not copied at every read.
"""

from __future__ import annotations

import mmap
from collections import deque
from typing import Generic, Protocol, TypeVar

from shipper.batch.line_scan import LineScan

_LONG = 1 << 16
_LEAST_ROOM = 1 << 14
_LEAST_CHUNK = 1 << 12
_MOST_CHUNK = 2 << 20
_MOVED_BYTES = 1 << 18


class Sender(Protocol):
    """A connection, as far as the intake knows it.

    Attributes:
        rest: what came of a line that has no end yet.
        open_runs: how many runs with lines of it are not yet settled.
    """

    rest: bytearray
    open_runs: int


S = TypeVar("S", bound=Sender)


class Block(Generic[S]):
    """Lines that were received: `view[:filled]` ends in a newline; `runs` says whose they are, in order.

    Args:
        memory: where they are received.
        borrowed: it is the channel's, and is given up with the batch.

    Attributes:
        scan: has seen the lines.
    """

    __slots__ = ("borrowed", "filled", "runs", "scan", "view")

    def __init__(self, memory: memoryview, *, borrowed: bool = False) -> None:
        self.view = memory
        self.borrowed = borrowed
        self.scan = LineScan(asks_ascii=True, sums=True)
        self.clear()

    def clear(self) -> None:
        """Nothing has been received."""
        self.filled = 0
        self.runs: list[tuple[S, int]] = []
        self.scan.begin(self.view)

    def fill(self, end: int) -> None:
        """Whole lines stand up to `end`, and stay."""
        self.filled = end
        self.scan.see(end)


def _own_block(size_bytes: int) -> Block[S]:
    return Block(memoryview(mmap.mmap(-1, size_bytes)))  # costs no memory before it is received into


class Intake(Generic[S]):
    """Where what is received goes.

    Args:
        block_bytes: size of a block; about that of a batch.

    Attributes:
        scratch: a place to receive into what does not go straight into the block; anybody's until the next read.
        block_bytes: size of a block.
        chunk_bytes: how much one read may bring.
        received_bytes: what came since somebody set this to 0.
        full: True when a whole block waits: reading more now is only buying memory.
    """

    def __init__(self, block_bytes: int) -> None:
        # An empty block must have room for the longest line that is kept for it, and for a read behind that.
        self.block_bytes = max(block_bytes, 2 * _LONG)
        self._block: Block[S] = _own_block(self.block_bytes)
        self._spare: Block[S] | None = None
        self._sealed: deque[Block[S]] = deque()
        self.scratch = memoryview(bytearray(_LONG))
        self.chunk_bytes = self.block_bytes
        self.received_bytes = 0
        self.full = False
        self._read_from = 0

    @property
    def empty(self) -> bool:
        """True when no whole line waits."""
        return not self._sealed and not self._block.filled

    def share(self, connections: int) -> None:
        """Sets how much one read may bring, so that one connection does not crowd out `connections` others."""
        self.chunk_bytes = max(_LEAST_CHUNK, min(self.block_bytes // max(4, connections), _MOST_CHUNK))

    @property
    def may_borrow(self) -> bool:
        """True when what is received next may go into memory that `borrow` is given."""
        return not self._sealed and len(self._block.view) == self.block_bytes and self._block.filled <= _MOVED_BYTES

    def borrow(self, memory: memoryview | None) -> None:
        """Receives into `memory` from now on; only when it `may_borrow`. None: whatever was borrowed is given back."""
        before = self._block
        if memory is not None and len(memory) == self.block_bytes:
            self._block = Block(memory, borrowed=True)
        elif before.borrowed:
            self._block = self._spare if self._spare is not None else _own_block(self.block_bytes)
            self._spare = None
        else:
            return
        block = self._block
        block.view[: before.filled] = before.view[: before.filled]
        block.runs = before.runs
        block.fill(before.filled)
        self.release(before)

    def room(self, sender: S) -> memoryview:
        """Where the next bytes of `sender` go. The place is theirs until anybody asks for room again."""
        rest = sender.rest
        if len(rest) > _LONG:
            return self.scratch
        block = self._block
        at = block.filled + len(rest)
        if len(block.view) - at < _LEAST_ROOM:
            self._seal()
            block = self._block
            at = len(rest)
        block.view[block.filled : at] = rest
        self._read_from = at
        # Behind a full block comes only what is under way, so that little has to move into the next borrowed one.
        return block.view[at : at + (_LEAST_ROOM if self.full else self.chunk_bytes)]

    def arrived(self, sender: S, size_bytes: int) -> None:
        """`size_bytes` have come into what `room` gave last."""
        if len(sender.rest) > _LONG:
            self.append(sender, bytes(self.scratch[:size_bytes]))
            return
        self.received_bytes += size_bytes
        view = self._block.view
        read_from = self._read_from
        end = read_from + size_bytes
        # The last newline is near the end, as a rule.
        last_bytes = bytes(view[max(read_from, end - _LEAST_CHUNK) : end])
        rest_bytes = len(last_bytes) - 1 - last_bytes.rfind(b"\n")
        if rest_bytes == len(last_bytes) < size_bytes:
            last_bytes = bytes(view[read_from:end])
            rest_bytes = size_bytes - 1 - last_bytes.rfind(b"\n")
        if rest_bytes < size_bytes:
            sender.rest = bytearray(last_bytes[len(last_bytes) - rest_bytes :])
            self._note(sender, end - rest_bytes)
        else:
            sender.rest += last_bytes

    def append(self, sender: S, data: bytes) -> None:
        """Takes bytes that were received elsewhere (into the scratch, or through a decoder)."""
        self.received_bytes += len(data)
        cut = data.rfind(b"\n") + 1
        if not cut:
            sender.rest += data
            return
        size = len(sender.rest) + cut
        if self._block.filled + size > len(self._block.view):
            self._seal()
            if size > len(self._block.view):
                before, self._block = self._block, _own_block(size)
                self.release(before)
        block = self._block
        begin = block.filled + len(sender.rest)
        block.view[block.filled : begin] = sender.rest
        block.view[begin : begin + cut] = data[:cut]
        sender.rest = bytearray(data[cut:])
        self._note(sender, begin + cut)

    def take(self) -> Block[S] | None:
        """The lines that came first; None when there are none. To be given back to `release`."""
        if not self._sealed:
            self._seal()
        block = self._sealed.popleft() if self._sealed else None
        self.full = bool(self._sealed)
        return block

    def release(self, block: Block[S]) -> None:
        """Nobody looks at the block any more: it may be received into again."""
        if len(block.view) == self.block_bytes and not block.borrowed:
            block.clear()
            self._spare = block

    def _note(self, sender: S, end: int) -> None:
        block = self._block
        block.fill(end)
        if block.runs and block.runs[-1][0] is sender:
            block.runs[-1] = (sender, end)
        else:
            block.runs.append((sender, end))
            sender.open_runs += 1

    def _seal(self) -> None:
        if not self._block.filled:
            return
        self._sealed.append(self._block)
        self.full = True
        self._block = self._spare if self._spare is not None else _own_block(self.block_bytes)
        self._spare = None
