"""A lane: a ring of frames with one producer and one consumer, and the words they tell each other positions by.

This file makes and opens lanes and reads what anybody may read; `producer.py` and `consumer.py` are the two roles.
"""

from __future__ import annotations

import time
from pathlib import Path

from shipper.errors import DamagedData
from shipper.ring.layout import (
    COMMIT_SLOT,
    DURABLE,
    GENERATION,
    LANE_MAGIC,
    RING,
    CommitSlot,
    read_segment_header,
    segment_header,
    slot_checksum,
)
from shipper.shared.segment import Segment
from shipper.shared.words import LINE_BYTES, Words

_SLOT_WORDS = len(CommitSlot._fields)

#: How long bytes that do not fit are looked at again before they are judged damaged.
REREAD_S = 0.002


class Lane:
    """An open lane.

    Attributes:
        segment: the mapped file.
        words: its page of words.
        ring: the bytes of the frames.
        capacity_bytes: length of the ring.
    """

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.capacity_bytes = read_segment_header(segment.memory, LANE_MAGIC, f"the lane {segment.path}")
        self.words = Words(segment.memory[:RING])
        self.ring = segment.memory[RING : RING + self.capacity_bytes]

    @classmethod
    def create(cls, path: Path, capacity_bytes: int) -> Lane:
        """Makes an empty lane of `capacity_bytes` (rounded up to whole pages).

        Raises:
            ComponentFailed: no room for it.
            FileExistsError: it is there already.
        """
        capacity_bytes = -(-capacity_bytes // 4096) * 4096

        def fill(memory: memoryview) -> None:
            header = segment_header(LANE_MAGIC, capacity_bytes)
            memory[: len(header)] = header
            # Generation 0 names slot 0: an empty ring from position 0.
            empty = CommitSlot()
            Words(memory[:RING]).write(COMMIT_SLOT, (*empty, slot_checksum(empty)))

        return cls(Segment.create(path, RING + capacity_bytes, fill))

    @classmethod
    def open(cls, path: Path) -> Lane:
        """Opens a lane that is there.

        Raises:
            FileNotFoundError, DamagedData
        """
        return cls(Segment.open(path))

    @classmethod
    def ensure(cls, path: Path, capacity_bytes: int) -> Lane:
        """Opens the lane, or makes it when it is not there. An existing one keeps its own capacity."""
        try:
            return cls.open(path)
        except FileNotFoundError:
            return cls.create(path, capacity_bytes)

    def committed(self) -> CommitSlot:
        """The last take commit. Any process may ask.

        A slot is rewritten only after the other one was published, so a generation that stands still around the
        read, and a checksum that fits, prove that the words belong together.

        Raises:
            DamagedData: the slot that the generation names does not fit its checksum, and nobody is changing it.
        """
        words = self.words
        deadline_s = 0.0
        while True:
            generation = words.observe(GENERATION)
            values = words.read(COMMIT_SLOT + (generation & 1) * LINE_BYTES, _SLOT_WORDS + 1)
            if words.observe(GENERATION) != generation:
                continue
            if values[-1] == slot_checksum(values[:-1]):
                return CommitSlot(*values[:-1])
            # On machines that reorder stores the slot may be a moment behind the word that names it.
            deadline_s = deadline_s or time.monotonic() + REREAD_S
            if time.monotonic() > deadline_s:
                raise DamagedData(f"the lane {self.segment.path} is damaged at its take commit {generation}")

    def head(self) -> int:
        """Position of the first frame that is not wholly delivered.

        The word is checked like the slot: a consumer that is one commit further writes the next position into this
        very slot before it publishes it, and would take it back by dying in between.
        """
        words = self.words
        while True:
            generation = words.observe(GENERATION)
            position = words.load(COMMIT_SLOT + (generation & 1) * LINE_BYTES)
            if words.observe(GENERATION) == generation:
                return position

    def durable(self) -> int:
        """Position before which all was taken and is safe from a power cut at its target; never beyond `head`."""
        return self.words.observe(DURABLE)

    def close(self) -> None:
        """Lets go of the memory and of all roles."""
        self.words.close()
        self.ring.release()
        self.segment.close()
