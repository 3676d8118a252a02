"""Keyed lanes: the part of a shared page that says which of its lanes has which key.

A word a lane, 0 where it is free. A key that stands there stays: it is the index of a lane for as long as the page is
there.
"""

from __future__ import annotations

from shipper.errors import ComponentFailed
from shipper.shared.segment import Segment
from shipper.shared.words import Words


class KeyedLanes:
    """A page with such a part.

    Args:
        lanes_max: how many it has room for.
        keys_at: offset of the first word.
    """

    def __init__(self, segment: Segment, lanes_max: int, keys_at: int) -> None:
        self.segment = segment
        self.words = Words(segment.memory)
        self.lanes_max = lanes_max
        self._keys_at = keys_at

    def register(self, key: int) -> int:
        """Index of the lane with this key; a new one when there is none. Only the page's one writer of keys may.

        Raises:
            ComponentFailed: there is no room.
        """
        for index in range(self.lanes_max):
            found = self.key(index)
            if not found:
                self.words.publish(self._keys_at + 8 * index, key)
            if found in (0, key):
                return index
        raise ComponentFailed(f"{self.segment.path} has room for {self.lanes_max} lanes, and all are taken")

    def index(self, key: int) -> int:
        """Index of the lane with this key.

        Raises:
            KeyError: there is none.
        """
        for index in range(self.lanes_max):
            if self.key(index) == key:
                return index
        raise KeyError(f"no lane with key {key:#x} in {self.segment.path}")

    def key(self, index: int) -> int:
        """Key of the lane with this index; 0 when it is free."""
        return self.words.load(self._keys_at + 8 * index)
