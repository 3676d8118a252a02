"""Reading a log to its end."""

from __future__ import annotations

from shipper.durable.reader import Reader


def bodies(reader: Reader) -> list[bytes]:
    """All that waits."""
    found = []
    while (record := reader.peek()) is not None:
        found.append(bytes(record.body))
        reader.step()
    return found
