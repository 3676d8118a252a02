"""The metrics block: one mapped file that holds the numbers of all components of a running agent.

The supervisor makes it, with a fixed number of entries; each worker writes its own entry; the supervisor's `/metrics`
and `shipper stat` read all of them, at any moment, without asking anybody, also while a worker hangs.

::

    file     header (1024 bytes), then `count` entries of 1472 bytes

    header   0    magic "SHPMETR1"           32   wall ms of the agent's start
             8    version of this layout     40   process id of the supervisor
             16   number of entries          48   start time of that process (clock ticks since boot)
             24   bytes of an entry          56   monotonic ms of the supervisor's last `beat`
             64   boot id    128  agent name    384  configuration file          (texts, see below)

    entry    0    kind: 0 free, 1 source, 2 sink, 3 channel      32  wall ms of its stop, 0 while it runs
             8    worker index                                   40  monotonic ms since which it is in its state
             16   process id                                     48  times it was restarted
             24   wall ms of its start                           56  its place in the configuration, among its kind
             64   name   192  type   288  channels it is linked to, a space between      (texts)
             544  what it waits for; of a channel, why its writer can't run (text)
             768  52 words: `Counters` of a source or sink, `CHANNEL_NAMES` of a channel
             1184 what it would read and can't now; of a channel, why its writer takes nothing (text)
             1408 8 words that tie counters to commits (`tied.py`)

A text is one word, (CRC-32 of the bytes) << 32 | length, and the bytes behind it. The word is stored last, so a
reader that comes in between sees a checksum that does not fit, and looks again. Words have one writer each and are
stored whole, never with struct.pack_into.

The file is long because layout, writer and reader of one format stand together.
"""

from __future__ import annotations

import mmap
import os
import time
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from shipper.errors import DamagedData
from shipper.metrics.counters import NAMES, Counters
from shipper.metrics.sample import CHANNEL_NAMES, Kind, Sample, State, WorkerSample, monotonic_ms
from shipper.metrics.tied import TIED_WORDS
from shipper.shared.segment import Segment

__all__ = [
    "CHANNEL_NAMES", "Entry", "Kind", "MetricsBlock", "Sample", "State", "WorkerSample", "monotonic_ms",
    "process_start", "this_boot",
]  # fmt: skip

MAGIC: Final = int.from_bytes(b"SHPMETR1", "little")
VERSION: Final = 2
HEADER_BYTES: Final = 1024
ENTRY_BYTES: Final = 1472
_COUNTERS_AT: Final = 768
_TROUBLE_AT: Final = 1184
_TIED_AT: Final = 1408
_WORDS_MAX: Final = (_TROUBLE_AT - _COUNTERS_AT) // 8
assert len(NAMES) <= _WORDS_MAX
assert _TIED_AT + 8 * TIED_WORDS == ENTRY_BYTES


class Entry:
    """One row of the block: what a component's worker is, does, and has counted."""

    def __init__(self, page: memoryview) -> None:
        self._page = page
        self._words = page.cast("Q")
        self.counters = Counters(self._words[_COUNTERS_AT // 8 :])
        self.tied_words = self._words[_TIED_AT // 8 :]

    @property
    def kind(self) -> Kind:
        value = self._words[0]
        return Kind(value) if value in Kind._value2member_map_ else Kind.FREE

    def describe(
        self,
        kind: Kind,
        name: str,
        type_name: str,
        worker: int = 0,
        channels: Iterable[str] = (),
        start_ms: int = 0,
    ) -> None:
        """Says whose entry this is; the supervisor's, before the worker starts. Counters begin at 0."""
        for index in range(len(self._words)):
            self._words[index] = 0
        _write_text(self._page, 64, 128, name)
        _write_text(self._page, 192, 96, type_name)
        _write_text(self._page, 288, 256, " ".join(channels))
        self._words[1] = worker
        self._words[3] = start_ms
        self._words[5] = monotonic_ms()
        self._words[0] = kind

    def relink(self, channels: Iterable[str]) -> None:
        """Says which channels it is linked to now; counters go on. The supervisor's, while no worker writes it."""
        _write_text(self._page, 288, 256, " ".join(channels))
        self.waits_for("")

    def place(self, number: int) -> None:
        """Says where it stands in the configuration: samples list components in that order. The supervisor's."""
        self._words[7] = number

    @property
    def standing(self) -> int:
        """The place that it was given."""
        return self._words[7]

    def free(self) -> None:
        """Says that the entry is nobody's; the supervisor's, once the worker is gone for good."""
        self._words[0] = Kind.FREE

    def runs(self, pid: int, start_ms: int, again: bool = False) -> None:
        """Says which process writes the entry now; the supervisor's. Counters go on: they belong to the agent's run."""
        self._words[2] = pid
        self._words[3] = start_ms
        self._words[4] = 0
        if again:
            self._words[6] += 1
        self.counters.set("progress_ms", 0)
        self.trouble("")
        self.state(State.STARTING)

    def stopped(self, stop_ms: int, state: State = State.STOPPED, waits_for: str = "") -> None:
        """Says that no process writes the entry now; the supervisor's, once the worker is gone."""
        self._words[4] = stop_ms
        self.trouble("")
        self.state(state, waits_for)

    def waits_for(self, text: str) -> None:
        """Says what the worker waits for, "" when it works: its own, at each change.

        Args:
            text: what a person should know, as in "the close of hdfs://...": cut to 216 bytes.
        """
        if _write_text(self._page, 544, 224, text):
            self._words[5] = monotonic_ms()

    def trouble(self, text: str) -> None:
        """Says what a source would read, or a sink bring on, and can't now; "" = nothing: cut to 216 bytes."""
        _write_text(self._page, _TROUBLE_AT, _TIED_AT - _TROUBLE_AT, text)

    def state(self, state: State, waits_for: str = "") -> None:
        """Says what the worker does now, and what it waits for. Costs a microsecond when nothing changed."""
        self.waits_for(waits_for)
        if self.counters.get("state") != state:
            self._words[5] = monotonic_ms()
            self.counters.set("state", state)

    def channel(self, numbers: Mapping[str, int]) -> None:
        """Stores numbers of a channel; those that are not given stay. The supervisor's."""
        for index, name in enumerate(CHANNEL_NAMES):
            if name in numbers:
                self._words[_COUNTERS_AT // 8 + index] = max(0, numbers[name])

    def name(self) -> str:
        """The component's name."""
        return _read_text(self._page, 64, 128)

    def sample(self) -> WorkerSample:
        """A copy of all that the entry says."""
        words = self._words
        told, text = self.counters.get("state"), _read_text(self._page, 544, 224)
        state = State(told) if told in State._value2member_map_ else State.STARTING
        if state == State.STARTING and self.counters.get("progress_ms"):
            waiting = State.WAITING_ROOM if self.kind == Kind.SOURCE else State.WAITING_TARGET
            state = waiting if text else State.BUSY
        return WorkerSample(
            kind=self.kind, name=self.name(), worker=words[1], type=_read_text(self._page, 192, 96), pid=words[2],
            start_ms=words[3], stop_ms=words[4], restarts=words[6],
            state=state, state_since_ms=words[5], waits_for=text, told=told != State.STARTING,
            trouble=_read_text(self._page, _TROUBLE_AT, _TIED_AT - _TROUBLE_AT),
            channels=tuple(_read_text(self._page, 288, 256).split()),
            counters={name: self.counters.get(name) for name in NAMES},
        )  # fmt: skip

    def channel_texts(self) -> tuple[str, str]:
        """Of a channel: why its writer can't run, and why it takes nothing; "" when nothing is the matter."""
        return _read_text(self._page, 544, 224), _read_text(self._page, _TROUBLE_AT, _TIED_AT - _TROUBLE_AT)

    def channel_sample(self) -> dict[str, int]:
        """A copy of the numbers of a channel's entry."""
        return {name: self._words[_COUNTERS_AT // 8 + index] for index, name in enumerate(CHANNEL_NAMES)}


class MetricsBlock:
    """The mapped file. Made by `create` in the supervisor, by `open` in a worker, by `view` in any reader."""

    def __init__(self, memory: memoryview, path: Path, owner: Segment | mmap.mmap) -> None:
        self.path = path
        self._memory = memory
        self._owner = owner  # keeps the mapping alive
        if len(memory) < HEADER_BYTES or (header := memory[:HEADER_BYTES].cast("Q"))[0] != MAGIC:
            raise DamagedData(f"{path} holds no numbers of an agent")
        if header[1] != VERSION or header[3] != ENTRY_BYTES:
            raise DamagedData(f"{path} is of another version of shipper (layout {header[1]}, this one reads {VERSION})")
        self._header = header
        count = min(header[2], (len(memory) - HEADER_BYTES) // ENTRY_BYTES)
        self.entries = tuple(
            Entry(memory[HEADER_BYTES + i * ENTRY_BYTES : HEADER_BYTES + (i + 1) * ENTRY_BYTES]) for i in range(count)
        )

    @classmethod
    def create(
        cls, path: Path, entries: int, agent: str = "", file: str = "", start_ms: int = 0, boot_id: str | None = None
    ) -> MetricsBlock:
        """Makes the file anew, all bytes allocated; one that lay there is unlinked, who has it mapped keeps it.

        Raises:
            ComponentFailed: the run directory has no room or can't be written.
        """

        def fill(memory: memoryview) -> None:
            words = memory[:HEADER_BYTES].cast("Q")
            words[1], words[2], words[3], words[4] = VERSION, entries, ENTRY_BYTES, start_ms
            words[5], words[6], words[7] = os.getpid(), process_start(os.getpid()), monotonic_ms()
            _write_text(memory, 64, 64, this_boot() if boot_id is None else boot_id)
            _write_text(memory, 128, 256, agent)
            _write_text(memory, 384, 640, file)
            words[0] = MAGIC

        path.unlink(missing_ok=True)
        segment = Segment.create(path, HEADER_BYTES + entries * ENTRY_BYTES, fill)
        return cls(segment.memory, path, segment)

    @classmethod
    def open(cls, path: Path) -> MetricsBlock:
        """Maps it to write one's own entry.

        Raises:
            FileNotFoundError: there is none.
            DamagedData: it is none of ours, or of another version.
        """
        segment = Segment.open(path)
        return cls(segment.memory, path, segment)

    @classmethod
    def view(cls, path: Path) -> MetricsBlock:
        """Maps it to read; nothing in it can be changed by accident. Raises as `open`, and PermissionError."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            mapping = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
        except ValueError as problem:
            raise DamagedData(f"{path} holds no numbers of an agent ({problem})") from problem
        finally:
            os.close(descriptor)
        return cls(memoryview(mapping), path, mapping)

    @property
    def agent(self) -> str:
        """Name of the agent."""
        return _read_text(self._memory, 128, 256)

    @property
    def file(self) -> str:
        """The configuration file that it runs."""
        return _read_text(self._memory, 384, 640)

    @property
    def start_ms(self) -> int:
        """Wall ms of the agent's start."""
        return self._header[4]

    @property
    def supervisor_pid(self) -> int:
        """Process id of the supervisor that made the block."""
        return self._header[5]

    def beat(self) -> None:
        """The supervisor's loop went round: stored about once a second."""
        self._header[7] = monotonic_ms()

    def beat_age_s(self) -> float:
        """Seconds since the supervisor's last `beat`."""
        return max(0, monotonic_ms() - self._header[7]) / 1000

    def is_running(self) -> bool:
        """True when the supervisor that made the block still lives: same boot, same process, not another of its id."""
        if _read_text(self._memory, 64, 64) != this_boot():
            return False
        return self._header[6] != 0 and process_start(self.supervisor_pid) == self._header[6]

    def sample(self) -> Sample:
        """A copy of everything."""
        taken = sorted((e for e in self.entries if e.kind != Kind.FREE), key=lambda entry: entry.standing)
        texts = {entry.name(): entry.channel_texts() for entry in taken if entry.kind == Kind.CHANNEL}
        return Sample(
            at_ms=monotonic_ms(),
            wall_ms=time.time_ns() // 1_000_000,
            agent=self.agent,
            start_ms=self.start_ms,
            workers=tuple(entry.sample() for entry in taken if entry.kind != Kind.CHANNEL),
            channels={entry.name(): entry.channel_sample() for entry in taken if entry.kind == Kind.CHANNEL},
            failures={name: failure for name, (failure, _) in texts.items() if failure},
            refusals={name: refusal for name, (_, refusal) in texts.items() if refusal},
        )


def this_boot() -> str:
    """The id of this run of the machine's kernel."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def process_start(pid: int) -> int:
    """When a process started, in clock ticks since boot: tells it from a later one with the same id. 0 = it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    fields = stat[stat.rindex(b")") + 2 :].split()  # the name before may hold spaces and brackets
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def _write_text(page: memoryview, offset: int, size_bytes: int, text: str) -> bool:
    """Stores a text; False when it stood there already."""
    data = text.encode("utf-8", "replace")[: size_bytes - 8]
    word = zlib.crc32(data) << 32 | len(data)
    cell = page[offset : offset + 8].cast("Q")
    if cell[0] == word:
        return False
    page[offset + 8 : offset + 8 + len(data)] = data
    cell[0] = word
    return True


def _read_text(page: memoryview, offset: int, size_bytes: int) -> str:
    """The text, or "" when it was being written at each of several looks."""
    cell = page[offset : offset + 8].cast("Q")
    for _ in range(8):
        word = cell[0]
        length = word & 0xFFFF_FFFF
        if length <= size_bytes - 8:
            data = bytes(page[offset + 8 : offset + 8 + length])
            if zlib.crc32(data) == word >> 32:
                return data.decode("utf-8", "ignore")
    return ""
