"""Line rules: which lines a client may send. They decode, and they are not too long.

A line's length is counted as Flume counts it: in Java's characters, its newline included.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shipper.sources._charset import is_utf8, java_chars
from shipper.sources._intake import Block
from shipper.sources._line_client import Fault, LineClient


class LineRules:
    """The rules of one listener.

    Args:
        encoding: what clients send, by Python's name.
        chars_max: of the longest line.

    Attributes:
        decodes: clients are decoded as they send, and their lines are UTF-8 here.
    """

    def __init__(self, encoding: str, chars_max: int) -> None:
        self._encoding = encoding
        self._chars_max = chars_max
        self.decodes = encoding not in ("utf-8", "ascii")
        self._ascii_only = encoding == "ascii"

    def all_kept(self, block: Block[LineClient], offsets: Any, ascii_only: bool) -> bool:
        """True when no line of the block breaks a rule, and nobody who sent one has broken a rule before.

        Args:
            offsets: where the lines begin and end.
            ascii_only: all of the block is ASCII.
        """
        fine = int(np.maximum.reduce(offsets[1:] - offsets[:-1])) <= self._chars_max and (
            ascii_only or self.decodes or (not self._ascii_only and is_utf8(block.view, block.filled))
        )
        return fine and not any(sender.broken for sender, _ in block.runs)

    def judge(
        self, block: Block[LineClient], offsets: Any, run_rows: Any
    ) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], list[tuple[LineClient, Fault]]]:
        """Looks at a block client by client.

        Args:
            run_rows: rows up to the end of each run.

        Returns:
            True for the rows that may go on, and who broke a rule now. Nothing that they sent behind that goes on.
        """
        good = np.ones(len(offsets) - 1, np.bool_)
        faults: dict[LineClient, Fault] = {}
        first = 0
        for (client, _), end in zip(block.runs, run_rows.tolist(), strict=True):
            if client.broken or client in faults:
                good[first:end] = False
            else:
                count, fault = self._first_fault(block, offsets[first : end + 1])
                good[first + count : end] = False
                if first + count < end:
                    faults[client] = fault
            first = end
        return good, list(faults.items())

    def _first_fault(self, block: Block[LineClient], offsets: Any) -> tuple[int, Fault]:
        """How many lines between `offsets` are good before the first that is not, and what is wrong with that."""
        start, end = int(offsets[0]), int(offsets[-1])
        data = np.frombuffer(block.view, np.uint8, end - start, start)
        long = np.flatnonzero(np.add.reduceat(java_chars(data), offsets[:-1] - start) > self._chars_max)
        first_long = int(long[0]) if len(long) else len(offsets) - 1
        if not self.decodes:
            try:
                bytes(block.view[start:end]).decode(self._encoding)
            except UnicodeDecodeError as problem:
                line = int(np.searchsorted(offsets, start + problem.start, side="right")) - 1
                if line <= first_long:
                    return line, Fault.UNDECODABLE
        return first_long, Fault.TOO_LONG

    def fault_of_rest(self, rest: bytearray) -> Fault | None:
        """What is wrong with an unfinished line already, whatever comes behind it; None when it may go on."""
        try:
            rest.decode("utf-8" if self.decodes else self._encoding)
        except UnicodeDecodeError as problem:
            # A character whose last bytes are still under way is no error.
            if problem.end < len(rest) or len(rest) > 4 * self._chars_max:
                return Fault.UNDECODABLE
        if int(java_chars(np.frombuffer(rest, np.uint8)).sum()) >= self._chars_max:
            return Fault.TOO_LONG
        return None
