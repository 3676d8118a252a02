"""The ledger: for every row that was ever read, what became of it; and the proof that none is missing.

Two equations, each between counts that different code keeps, hold at every moment::

    offered to a channel    =  accepted + dropped (onFull = dropNewest) + refused (by an optional channel)
    accepted by a channel   =  in it + delivered + set aside + expired + dropped (dropOldest) + lost + discarded
                               + before + vanished

where what is in a channel is what was put and not yet taken. The left sides are counted where rows are routed and where
frames are stepped over, the right sides where a frame is written and where a sink said that it has the rows. Both
stand in the words that a commit puts in force (`shared/tally.py`), so they agree after any death; a difference is a
defect or a damaged page, and it is shown.

`in_log` are rows that a file channel keeps on disk: they have not vanished when the memory is gone.

`vanished` are rows that were in a channel whose memory is gone (a power cut): a source that can replay reads them
again. `before` are rows of a time in which nobody counted.

`twice_at_most` stands in no equation: rows that had been delivered and came once more after a power cut (`twice.py`),
and `twice_unknown` after how many of them nobody knows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from shipper.errors import DamagedData
from shipper.instance import log_books
from shipper.instance.holdings import LETTERS, LaneFile, lane_files
from shipper.instance.twice import Twice
from shipper.ring.lane import Lane
from shipper.ring.layout import CommitSlot, lane_key
from shipper.ring.puts import PutPage, PutState
from shipper.ring.tally import HANDED_OVER, read_take
from shipper.shared.tally import DISCARDED, LOGGED, Intake, PutTally, TakeTally

#: So many streams of a source worker are named; the others are in its total.
STREAMS_MAX = 20

Numbers = dict[str, int]
#: What a lane says of its channel, and of each sink that took from it.
LaneNumbers = tuple[Numbers, list[tuple[int, Numbers]]]

#: Of a channel. `in_channel` is of this moment, all others only grow.
CHANNEL = (
    "offered", "refused", "dropped_new", "accepted", "accepted_bytes", "taken", "taken_bytes", "in_channel",
    "in_channel_bytes", "delivered", "delivered_bytes", "set_aside", "expired", "dropped_old", "lost", "before",
    "vanished", "handed_over", "discarded", "in_log", "in_log_bytes", "twice_at_most", "twice_unknown",
)  # fmt: skip
#: Of a source: the fields of `Intake`.
SOURCE = Intake._fields[:8]
#: Of a source and a channel.
_LINK = ("offered", "refused", "dropped_new", "accepted", "accepted_bytes")
#: Of a sink.
SINK = ("delivered", "delivered_bytes", "set_aside")


_STORED = ("channels", "sources", "sinks", "links", "letters", "streams")


@dataclass
class Ledger:
    """All counts of one agent.

    Attributes:
        channels: by name, under the names of `CHANNEL`.
        sources: by name, under the names of `SOURCE`.
        sinks: by the word that accounts know them by, in hex; under the names of `SINK`.
        links: source -> the channels that it has offered rows to.
        letters: sink, or group of sinks -> the channels that it has put dead letters into; each is `set_aside` there,
            and offered to the channel as by a source.
        streams: source -> stream -> where its reading stands; the newest.
        damaged: what can't be read, a sentence each: then numbers are missing.
    """

    channels: dict[str, Numbers] = field(default_factory=dict)
    sources: dict[str, Numbers] = field(default_factory=dict)
    sinks: dict[str, Numbers] = field(default_factory=dict)
    links: dict[str, dict[str, Numbers]] = field(default_factory=dict)
    letters: dict[str, dict[str, Numbers]] = field(default_factory=dict)
    streams: dict[str, dict[str, int]] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)

    def add(self, other: Ledger) -> None:
        """Takes in the counts of another run of the same agent, an earlier one.

        A log that had more rows when this run came to it than any run before is known to have put there: they were
        accepted behind the last look at a run whose memory is gone, and are counted here.
        """
        for name, numbers in self.channels.items():
            found, found_bytes = numbers.pop("found_in_log", 0), numbers.pop("found_in_log_bytes", 0)
            known = other.channels.get(name, {})
            rows = max(found - known.get("in_log", 0), 0)
            size_bytes = max(found_bytes - known.get("in_log_bytes", 0), 0) if rows else 0
            _add(numbers, {"offered": rows, "accepted": rows, "in_log": rows})
            _add(numbers, {"accepted_bytes": size_bytes, "in_log_bytes": size_bytes})
        for mine, theirs in ((self.channels, other.channels), (self.sources, other.sources), (self.sinks, other.sinks)):
            for name, numbers in theirs.items():
                _add(mine.setdefault(name, {}), numbers)
        for links, more in ((self.links, other.links), (self.letters, other.letters)):
            for source, channels in more.items():
                for channel, numbers in channels.items():
                    _add(links.setdefault(source, {}).setdefault(channel, {}), numbers)
        for source, streams in other.streams.items():
            self.streams[source] = newest({**streams, **self.streams.get(source, {})})
        self.damaged += other.damaged

    def gone(self) -> Ledger:
        """The same after the memory of its channels is gone: what was in them has vanished."""
        for numbers in self.channels.values():
            left = numbers.get("in_channel", 0)
            _add(numbers, {"vanished": left, "taken": left})
            numbers["in_channel"] = numbers["in_channel_bytes"] = 0
        return self

    def repeat(self, found: Mapping[str, Twice]) -> bool:
        """Adds what came twice after this; True when that was counted at all."""
        for name, twice in found.items():
            more = {"twice_at_most": twice.rows, "twice_unknown": int(not twice.known)}
            _add(self.channels.setdefault(name, dict.fromkeys(CHANNEL, 0)), more)
        return bool(found)

    def as_data(self) -> dict[str, Any]:
        """As it is stored."""
        return {name: getattr(self, name) for name in _STORED}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Ledger:
        """What `as_data` stored."""
        return cls(**{name: data.get(name, {}) for name in _STORED})


def mismatch(numbers: Numbers) -> int:
    """Rows by which a channel's equations fail; 0 when every row is accounted for."""
    return abs(put_difference(numbers)) + abs(take_difference(numbers))


def put_difference(numbers: Numbers) -> int:
    """Rows that were offered and of which nobody knows what became; less than 0: more came in than was offered."""
    get = numbers.get
    return get("offered", 0) - get("accepted", 0) - get("dropped_new", 0) - get("refused", 0)


def take_difference(numbers: Numbers) -> int:
    """Rows that left the channel and of which nobody knows what became; less than 0: more was delivered than came."""
    get = numbers.get
    known = ("delivered", "set_aside", "expired", "dropped_old", "lost", "discarded", "before", "vanished")
    return get("accepted", 0) - get("in_channel", 0) - get("in_log", 0) - sum(get(name, 0) for name in known)


def read(run_dir: Path) -> Ledger:
    """The ledger of what lies in a run directory, whoever runs it, or nobody. Nothing is changed."""
    found = Ledger()
    pages: dict[Path, list[LaneFile]] = {}
    for file in lane_files(run_dir):
        pages.setdefault(file.page, []).append(file)
    for page_path, files in pages.items():
        try:
            _read_worker(found, page_path, files)
        except (DamagedData, OSError) as problem:
            found.damaged.append(str(problem))
        source = page_path.name.rpartition(".")[0]
        if streams := _streams(page_path.with_name(f"{page_path.name}.positions")):
            known = found.streams.get(source, {})
            # One that changed hands stands in the tables of those who had it, too.
            further = {stream: max(end, known.get(stream, 0)) for stream, end in streams.items()}
            found.streams[source] = newest({**known, **further})
    for name, numbers in found.channels.items():
        _add_log(found, run_dir / "channels" / name, numbers)
    return found


def _add_log(found: Ledger, directory: Path, numbers: Numbers) -> None:
    """Adds what became of rows in a channel's log since this run began: they left it by the commits of its sinks."""
    try:
        of_log, sinks = log_books.since(directory)
    except (DamagedData, OSError) as problem:
        found.damaged.append(str(problem))
        return
    gone = of_log.pop("taken", 0)
    _add(numbers, {"found_in_log": of_log.pop("waiting", 0), "found_in_log_bytes": of_log.pop("waiting_bytes", 0)})
    _add(numbers, of_log)
    _add(numbers, {"in_log": -gone, "in_log_bytes": -of_log.pop("taken_bytes", 0)})
    for sink, done in sinks.items():
        _add(found.sinks.setdefault(sink, {}), done)
        _add(numbers, done)


def newest(streams: dict[str, int]) -> dict[str, int]:
    """The last `STREAMS_MAX` of them."""
    return dict(list(streams.items())[-STREAMS_MAX:])


def worker_numbers(page: PutPage, lanes: Sequence[tuple[Lane, int]]) -> tuple[list[LaneNumbers], Intake]:
    """What lanes of one source worker say (each with its index in the page), and what the worker has read.

    All of one put: what is offered to a channel is counted beside the first of its lanes only.

    Raises:
        DamagedData: a slot does not pass its checks.
    """
    # The take sides first: what is taken was put, so a put in between can't make a number negative.
    takes = [read_take(lane) for lane, _ in lanes]
    state, tally = page.tallied()
    found = [
        _lane_numbers(take, state, tally, index, lane.words.load(HANDED_OVER))
        for take, (lane, index) in zip(takes, lanes, strict=True)
    ]
    return found, tally.intake


def _lane_numbers(
    take: tuple[CommitSlot, TakeTally], state: PutState, put_tally: PutTally, index: int, handed_over: int
) -> LaneNumbers:
    slot, tally = take
    numbers = dict.fromkeys(CHANNEL, 0)
    if index < len(state.lanes):
        put, offers = state.lanes[index], put_tally.offers[index]
        numbers.update(
            offered=offers.rows, refused=offers.refused, dropped_new=offers.dropped, accepted=put.rows,
            accepted_bytes=put.size_bytes, in_channel=put.rows - slot.rows,
            in_channel_bytes=put.size_bytes - slot.size_bytes,
        )  # fmt: skip
    numbers.update(
        taken=slot.rows, taken_bytes=slot.size_bytes, expired=tally.expired, dropped_old=tally.dropped, lost=tally.lost,
        before=tally.before, handed_over=handed_over,
    )  # fmt: skip
    sinks = []
    for account in tally.accounts:
        if account.sink == LOGGED:
            numbers["in_log"] += account.rows
            numbers["in_log_bytes"] += account.size_bytes
            continue
        if account.sink == DISCARDED:
            numbers["discarded"] += account.aside
            continue
        done = {"delivered": account.rows, "delivered_bytes": account.size_bytes, "set_aside": account.aside}
        sinks.append((account.sink, done))
        _add(numbers, done)
    return numbers, sinks


def _read_worker(found: Ledger, page_path: Path, files: Iterable[LaneFile]) -> None:
    if not page_path.exists():
        return  # it is made before the first put: nothing has ever been in these lanes
    source = page_path.name.rpartition(".")[0]
    with contextlib.ExitStack() as stack:
        page = stack.enter_context(contextlib.closing(PutPage.ensure(page_path)))
        lanes: list[tuple[Lane, int]] = []
        known: list[LaneFile] = []
        for file in files:
            with contextlib.suppress(KeyError):
                index = page.index(lane_key(file.channel, file.path.name))
                lanes.append((stack.enter_context(contextlib.closing(Lane.open(file.path))), index))
                known.append(file)
        of_lanes, intake = worker_numbers(page, lanes)
    name = source.removesuffix(LETTERS)
    links = found.links if name == source else found.letters
    for file, (numbers, sinks) in zip(known, of_lanes, strict=True):
        _add(found.channels.setdefault(file.channel, dict.fromkeys(CHANNEL, 0)), numbers)
        link = links.setdefault(name, {}).setdefault(file.channel, {})
        _add(link, {name: numbers[name] for name in _LINK})
        for sink, done in sinks:
            _add(found.sinks.setdefault(f"{sink:016x}", {}), done)
    if name == source:
        _add(found.sources.setdefault(source, {}), dict(zip(SOURCE, intake, strict=False)))


def _streams(path: Path) -> dict[str, int]:
    """Where the reading of each stream stands, from the position table; the newest last."""
    found: dict[str, int] = {}
    # A line at a time: all of them at once are some megabytes, which the heap of a supervisor would keep.
    with contextlib.suppress(OSError), path.open("rb") as lines:
        for line in lines:
            try:
                origins = orjson.loads(line.partition(b" ")[2]).get("o", ())
            except ValueError:
                break  # the record that was being written
            for stream, _, end, *_ in origins:
                found.pop(stream, None)
                found[stream] = end
    return newest(found)


def _add(numbers: Numbers, more: Numbers) -> None:
    for name, number in more.items():
        numbers[name] = numbers.get(name, 0) + number
