"""What a serializer refused of one batch, gathered over the parts that the batch was cut into."""

from __future__ import annotations

from typing import Any

import numpy as np

from shipper.errors import Refused

Numbers = np.ndarray[Any, np.dtype[np.int64]]


class Refusals:
    """Refusals of parts of a batch, by the numbers that their rows have in the batch."""

    def __init__(self) -> None:
        self._messages: dict[str, None] = {}
        self._rows: list[int] | None = []

    def __bool__(self) -> bool:
        return bool(self._messages)

    def add(self, refusal: Refused, start: int, numbers: Numbers | None) -> None:
        """Rows of a part that began at row `start` of a group whose rows have these `numbers` (None = their own)."""
        self._messages[str(refusal)] = None
        if refusal.rows is None or self._rows is None:
            self._rows = None
        else:
            rows = [start + row for row in refusal.rows]
            self._rows += rows if numbers is None else numbers[rows].tolist()

    def error(self) -> Refused:
        """All of it as one error."""
        more = f" (and {len(self._messages) - 1} more reasons)" if len(self._messages) > 1 else ""
        rows = None if self._rows is None else tuple(sorted(self._rows))
        return Refused(f"{next(iter(self._messages))}{more}", rows)
