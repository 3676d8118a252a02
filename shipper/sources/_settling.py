"""A block of received lines on its way out: handed out in batches, and each batch settled with those who sent it."""

from __future__ import annotations

from typing import Generic

import pyarrow as pa

from shipper.api import EventBatch
from shipper.sources._intake import Block, S


class ReceivedLines(Generic[S]):
    """The rows of a block, and how far they were handed out.

    Args:
        block: what the rows lie in; kept until they are done.
        records: the rows, without those that nobody may have.
        runs: those who sent them, and the number of rows up to the end of each run.
        block_sum: of all that the block has (`EventBatch.block_sum`).
    """

    def __init__(
        self, block: Block[S], records: pa.RecordBatch, runs: list[tuple[S, int]], block_sum: tuple[int, int]
    ) -> None:
        self.block = block
        self._block_sum = block_sum
        self._records = records
        self._runs = runs
        self._run = 0
        self._first = 0
        self._end = 0

    @property
    def polled(self) -> int:
        """Rows of the batch that was handed out last."""
        return self._end - self._first

    @property
    def done(self) -> bool:
        """True when all rows have been settled."""
        return bool(self._first == self._records.num_rows)

    def batch(self, rows_max: int) -> EventBatch | None:
        """The next rows, or the same again when they were not settled; None when the block has none."""
        self._end = min(self._first + rows_max, self._records.num_rows)
        if not self.polled:
            return None
        whole = self.polled == self._records.num_rows
        batch = EventBatch(self._records if whole else self._records.slice(self._first, self.polled), trim=1)
        batch.block_sum = self._block_sum if whole else None
        return batch

    def settle(self) -> list[tuple[S, int]]:
        """Whose rows were in the last batch, and how many; the next batch begins behind them."""
        owed: dict[S, int] = {}
        first = self._first
        for sender, run_end in self._runs[self._run :]:
            end = min(run_end, self._end)
            if end > first:
                owed[sender] = owed.get(sender, 0) + end - first
            if run_end > self._end:
                break
            first = end
        self._first = self._end
        return list(owed.items())

    def finished_runs(self) -> list[S]:
        """Who sent the runs that ended with the last batch, once for each run."""
        finished = []
        while self._run < len(self._runs) and self._runs[self._run][1] <= self._first:
            finished.append(self._runs[self._run][0])
            self._run += 1
        return finished
