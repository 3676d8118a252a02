"""The board of a log: one mapped page of words by which its writer and its readers tell each other how far they are.

The writer makes it; sink workers open it. It trusts the page cache: it counts only under the boot id that it was
written under, and for the log whose id it names. Behind a reboot the checkpoint says where each lane stands, and the
writer makes a new board. The file is long because it draws the page for three roles.

All numbers are little-endian u64; words of different writers stand on lines of their own::

    offset  what                                                        writer
    ------  ----------------------------------------------------------  ---------------------------------------
         0  magic, version, lanes, log id, boot id, checksum            log writer, before the file has its name
       128  EPOCH: + 1 when a process has become the log's writer; 0    log writer
            while the board is being filled in for the first time
       256  APPENDED, DURABLE: largest seq written, synced              log writer
       384  ACTIVE, OLDEST: number of the segment in use, of the first  log writer
       512  WRITER_ASLEEP: 1 = ring my bell when you have committed     log writer
       640  what a channel's writer tells its sinks beside the log      log writer
      1024  keys: a word a lane, 0 = free                               log writer
      4096  lanes, 2048 bytes each:
         0    TAIL: seq of its last readable record; rows, bytes so far log writer
        24    WANTED_GONE: seq and rows below which the holder shall log writer
              give up what is not delivered; 0 = nothing is wanted
       128    GENERATION: names head slot `GENERATION & 1`              holder of the lane
       256    head slot 0, 384 slot 1                                   holder: the take commit, see `Head`
       512    SYNCED: names synced slot `SYNCED & 1`                    holder
       640    synced slot 0, 768 slot 1                                 holder: the head that its target has synced
       896    READER_ASLEEP: 1 = ring my bell when something comes      holder, or the lane's home
      1024    HOLDER: sink id; 0 = nobody, nothing of it is unsettled   holder
      1152    WANTED: 1 = give this lane back when you can              the lane's home
      1280    READER_EPOCH: + 1 when a process takes the lane           holder
      1408    whatever the holder keeps beside its commits, to the end  holder
"""

from __future__ import annotations

import errno
import struct
import time
from pathlib import Path
from typing import NamedTuple

from isal import isal_zlib

from shipper.digest_word import word_of
from shipper.errors import DamagedData
from shipper.shared.keyed_lanes import KeyedLanes
from shipper.shared.segment import Segment
from shipper.shared.words import LINE_BYTES, Words, full_fence

MAGIC = b"SHPBORD1"
VERSION = 1
EPOCH = 1 * LINE_BYTES
APPENDED = 2 * LINE_BYTES
DURABLE = APPENDED + 8
ACTIVE = 3 * LINE_BYTES
OLDEST = ACTIVE + 8
WRITER_ASLEEP = 4 * LINE_BYTES
KEYS = 1024
LANES = 4096
LANE_BYTES = 2048
TAIL = 0
WANTED_GONE = 24
GENERATION = 1 * LINE_BYTES
HEAD_SLOT = 2 * LINE_BYTES
SYNCED = 4 * LINE_BYTES
SYNCED_SLOT = 5 * LINE_BYTES
READER_ASLEEP = 7 * LINE_BYTES
HOLDER = 8 * LINE_BYTES
WANTED = 9 * LINE_BYTES
READER_EPOCH = 10 * LINE_BYTES

#: How long words that do not fit each other are looked at again before they are judged damaged.
_REREAD_S = 0.002
_HEADER = struct.Struct("<8sQQ16s16sQ")


class Head(NamedTuple):
    """What a take commit stores for a lane.

    Attributes:
        seq: every record of the lane below it is delivered.
        rows_done: rows of the lane's first record at or above `seq` that are delivered too.
        sink: id of the sink worker that committed; 0 = nobody yet.
        sequence: of the entry in that sink's own journal that belongs to this commit; 0 when it keeps none.
        rows, size_bytes: delivered, or lost and counted, since the lane was made.
        epoch: of the take side.
        segment, offset: a hint where the record is.
    """

    seq: int = 0
    rows_done: int = 0
    sink: int = 0
    sequence: int = 0
    rows: int = 0
    size_bytes: int = 0
    epoch: int = 0
    segment: int = 0
    offset: int = 0


class Tail(NamedTuple):
    """How far a lane is filled with what may be read: last seq, rows and bytes since the lane was made."""

    seq: int
    rows: int
    size_bytes: int


_HEAD_WORDS = len(Head._fields)


def lane_id(name: str) -> int:
    """The number (u32, not 0) by which records know a lane. `name` is the sink worker that it is home to (`k1.0`)."""
    return word_of(name, 4)


def log_key(log_id: bytes, lane: int) -> str:
    """Names a lane among those of all logs."""
    return f"{log_id.hex()}:{lane:08x}"


def boot_id() -> bytes:
    """16 bytes that change with each boot of the machine."""
    return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))


class Board(KeyedLanes):
    """An open board. One process writes the log, each lane has at most one holder, any process may look."""

    def __init__(self, segment: Segment) -> None:
        memory = segment.memory
        if len(memory) < LANES:
            raise DamagedData(f"{segment.path} is too short to be the board of a log")
        magic, version, lanes, self.log_id, self.boot_id, checksum = _HEADER.unpack(bytes(memory[: _HEADER.size]))
        if magic != MAGIC or checksum != isal_zlib.crc32(memory[: _HEADER.size - 8]):
            raise DamagedData(f"{segment.path} is not the board of a log, or its first line is damaged")
        if version != VERSION or len(memory) < LANES + lanes * LANE_BYTES:
            raise DamagedData(f"{segment.path} has layout version {version}; this build reads version {VERSION}")
        super().__init__(segment, int(lanes), KEYS)

    @classmethod
    def create(cls, path: Path, log_id: bytes, boot: bytes, lanes_max: int = 64) -> Board:
        """Makes an empty board in place of whatever lies at `path`. Only the log's writer may.

        Raises:
            ComponentFailed: no room for it.
        """

        def fill(memory: memoryview) -> None:
            head = _HEADER.pack(MAGIC, VERSION, lanes_max, log_id, boot, 0)[:-8]
            memory[: _HEADER.size] = head + int(isal_zlib.crc32(head)).to_bytes(8, "little")
            words = Words(memory)
            empty = Head()
            for index in range(lanes_max):
                for slot in (HEAD_SLOT, SYNCED_SLOT):
                    words.write(lane_at(index) + slot, (*empty, head_checksum(empty)))
            words.close()

        path.unlink(missing_ok=True)
        return cls(Segment.create(path, LANES + lanes_max * LANE_BYTES, fill))

    @classmethod
    def open(cls, path: Path) -> Board:
        """Opens a board that is there.

        Raises:
            FileNotFoundError: it is not there, or not filled in: the log's writer has not come so far yet.
            DamagedData: it is none.
        """
        board = cls(Segment.open(path))
        if not board.words.observe(EPOCH):
            board.close()
            raise FileNotFoundError(errno.ENOENT, "the log's writer has not filled in its board yet", str(path))
        return board

    def close(self) -> None:
        """Lets go of the memory and of all lanes that were held."""
        self.words.close()
        self.segment.close()

    # --- lanes

    def lanes(self) -> dict[int, int]:
        """All lanes of the log: id -> index. Also those that no sink of the configuration is home to any more."""
        keys = self.words.read(KEYS, self.lanes_max)
        return {key: index for index, key in enumerate(keys) if key}

    # --- how far things are

    def appended(self) -> int:
        """Largest seq that is written."""
        return self.words.observe(APPENDED)

    def durable(self) -> int:
        """Largest seq that is synced: what a source may acknowledge."""
        return self.words.observe(DURABLE)

    def ready(self) -> None:
        """Everything that a reader needs is on the board. Only the log's writer may."""
        self.words.publish(EPOCH, self.words.load(EPOCH) + 1)

    def publish(self, appended: int, durable: int) -> None:
        """Says how far the log is. Only the log's writer may."""
        self.words.store(APPENDED, appended)
        self.words.publish(DURABLE, durable)

    def publish_segments(self, active: int, oldest: int) -> None:
        """Says which segments there are; `active` is 0 as long as none was used. Only the log's writer may."""
        self.words.store(OLDEST, oldest)
        self.words.publish(ACTIVE, active)

    def active(self) -> int:
        """Number of the segment that the log's writer appends to."""
        return self.words.observe(ACTIVE)

    # --- who sleeps

    def writer_sleeping(self, asleep: bool) -> None:
        """Says whether the log's writer waits for a commit. Only it may."""
        self.words.publish(WRITER_ASLEEP, int(asleep))
        full_fence()

    def writer_sleeps(self) -> bool:
        """True when the log's writer wants to be woken after a commit."""
        return bool(self.words.observe(WRITER_ASLEEP))

    def reader_sleeps(self, index: int) -> bool:
        """True when the sink worker that waits for this lane wants to be woken. Ask behind a full fence."""
        return bool(self.words.observe(lane_at(index) + READER_ASLEEP))

    def tail(self, index: int) -> Tail:
        """How far a lane is filled. The three numbers may be of neighbouring moments; each one only grows."""
        at = lane_at(index) + TAIL
        rows, size_bytes = self.words.load(at + 8), self.words.load(at + 16)
        return Tail(self.words.observe(at), rows, size_bytes)

    def publish_tail(self, index: int, tail: Tail) -> None:
        """Makes records readable. Only the log's writer may."""
        at = lane_at(index) + TAIL
        self.words.write(at + 8, tail[1:])
        self.words.publish(at, tail.seq)

    def want_gone(self, index: int, seq: int, rows: int) -> None:
        """Asks the lane's holder to give up records below a seq, and all but so many rows of what it ever had to take.

        Only the log's writer may. Between the two stores the holder may see one of them new: each says the least that
        is to go, so it gives up less than both, and looks again.
        """
        words, at = self.words, lane_at(index) + WANTED_GONE
        words.store(at, seq)
        words.store(at + 8, rows)

    def wanted_gone(self, index: int) -> tuple[int, int]:
        """What `want_gone` said last."""
        at = lane_at(index) + WANTED_GONE
        return self.words.load(at), self.words.load(at + 8)

    def generation(self, index: int) -> int:
        """How often takes of a lane were committed."""
        return self.words.load(lane_at(index) + GENERATION)

    def head(self, index: int) -> Head:
        """The last take commit of a lane.

        Raises:
            DamagedData: the slot does not fit its checksum, and nobody is changing it.
        """
        return self._slot(index, GENERATION, HEAD_SLOT)

    def synced_head(self, index: int) -> Head:
        """The last take commit of a lane that its target has synced: what a checkpoint may name.

        Raises:
            DamagedData: as `head`.
        """
        return self._slot(index, SYNCED, SYNCED_SLOT)

    def store_head(self, index: int, head: Head) -> None:
        """Stores a take commit. Only the lane's holder may, or the log's writer when it makes the board.

        Dying before the last store leaves the commit before; dying after it leaves this one.
        """
        self._store(index, GENERATION, HEAD_SLOT, head)

    def store_synced_head(self, index: int, head: Head) -> None:
        """Says that everything below this commit is safe at the target, whatever happens to the machine."""
        self._store(index, SYNCED, SYNCED_SLOT, head)

    # --- inside

    def _store(self, index: int, generation_at: int, slot_at: int, head: Head) -> None:
        words, at = self.words, lane_at(index)
        generation = words.load(at + generation_at) + 1
        words.write(at + slot_at + (generation & 1) * LINE_BYTES, (*head, head_checksum(head)))
        words.publish(at + generation_at, generation)

    def _slot(self, index: int, generation_at: int, slot_at: int) -> Head:
        words, at = self.words, lane_at(index)
        deadline_s = 0.0
        while True:
            generation = words.observe(at + generation_at)
            values = words.read(at + slot_at + (generation & 1) * LINE_BYTES, _HEAD_WORDS + 1)
            if words.observe(at + generation_at) != generation:
                continue
            if values[-1] == head_checksum(values[:-1]):
                return Head(*values[:-1])
            # On machines that reorder stores the slot may be a moment behind the word that names it.
            deadline_s = deadline_s or time.monotonic() + _REREAD_S
            if time.monotonic() > deadline_s:
                raise DamagedData(f"{self.segment.path} is damaged at commit {generation} of its lane {index}")


def removed(path: Path) -> str:
    """What a person is told by those who have a file of a log open that is not there any more."""
    return (
        f"{path} was removed, or its disk was unmounted, while the agent runs: nothing more goes into this channel or "
        f"out of it. If its directory {path.parent} was moved away, move it back, or mount its disk, and the channel "
        f"goes on by itself; else what waited in it is lost"
    )


def lane_at(index: int) -> int:
    """Where the words of a lane begin."""
    return LANES + index * LANE_BYTES


def head_checksum(values: tuple[int, ...]) -> int:
    """The last word of a head slot."""
    return int(isal_zlib.crc32(struct.pack(f"<{len(values)}Q", *values)))
