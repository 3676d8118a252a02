"""Meters: how many rows and bytes are in each channel, read from the lanes themselves.

Everything is a difference of cumulative counts that a put or a take commit stored, so no crash makes it drift. The
supervisor asks once a second; it maps the lanes but touches only their first pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipper.channels.memory.channel import is_second
from shipper.instance.ledger import CHANNEL, mismatch, worker_numbers
from shipper.ring.lane import Lane
from shipper.ring.layout import lane_key, pad_length
from shipper.ring.puts import PutPage
from shipper.workers.grid import Grid

if TYPE_CHECKING:
    from shipper.instance.log_meter import LogMeter


class Meters:
    """The meters of all channels of a grid.

    Args:
        twice: numbers of channels that no lane has: what came twice before this run.
    """

    def __init__(self, grid: Grid, twice: Mapping[str, Mapping[str, int]]) -> None:
        self._twice = twice
        self._base: dict[str, dict[str, int]] = {}
        self._logs: dict[str, LogMeter] = {}
        self._lanes: dict[str, list[tuple[Lane, PutPage, int]]] = {}
        self.follow(grid)

    def follow(self, grid: Grid) -> None:
        """Meters the lanes of another grid from now on. Channels that are in both count on."""
        self.close()
        self._capacities = {
            name: getattr(channel.options, "total_capacity", getattr(channel.options, "capacity", None)) or 0
            for name, channel in grid.channels.items()
        }
        self._logs = {name: _log_meter(channel.options) for name, channel in grid.channels.items() if channel.logged}
        self._spilling = {name for name, channel in grid.channels.items() if channel.spills}
        self._lanes = {name: [] for name in grid.channels}
        self._pages: dict[str, dict[Path, tuple[PutPage, list[tuple[Lane, int]]]]] = {n: {} for n in grid.channels}
        for record in grid.lanes:
            lane, page = Lane.open(record.path), PutPage.ensure(record.page)
            index = page.index(lane_key(record.channel, record.path.name))
            self._lanes[record.channel].append((lane, page, index))
            self._pages[record.channel].setdefault(record.page, (page, []))[1].append((lane, index))
        self._base = {**self.channels(), **{name: base for name, base in self._base.items() if name in grid.channels}}

    def channels(self) -> dict[str, dict[str, int]]:
        """Per channel: size, capacity, bytes, capacity_bytes, puts, takes (see `CHANNEL_NAMES`)."""
        found = {}
        for name, lanes in self._lanes.items():
            puts = takes = moved = in_bytes = capacity_bytes = 0
            books: dict[str, int] = dict.fromkeys(CHANNEL, 0)
            for lane, page, index in lanes:
                # The take side first: what is taken was put, so a put in between can't make the size negative.
                taken, put = lane.committed(), page.lane(index)
                if name in self._logs and (name not in self._spilling or is_second(lane.segment.path)):
                    moved += taken.rows  # into the log
                    puts += put.rows
                else:
                    puts, takes = puts + put.rows, takes + taken.rows
                if put.tail > taken.position:
                    # What stands at the head may be the rest of the ring, left out so that the memory stays warm.
                    offset = taken.position % lane.capacity_bytes
                    pad_bytes = pad_length(lane.ring, offset, taken.position)
                    in_bytes += max(put.tail - taken.position - pad_bytes, 0)
                capacity_bytes += lane.capacity_bytes
            for page, of_page in self._pages[name].values():
                for numbers, _ in worker_numbers(page, of_page)[0]:
                    for key, number in numbers.items():
                        books[key] += number
            difference = mismatch(books)
            if name in self._logs:
                # What has left the lanes is in the log. What is on its way there may be counted twice, never left out.
                logged = self._logs[name].counts()
                puts, takes = max(puts - moved, 0) + logged.rows_in, takes + logged.rows_out
                in_bytes, capacity_bytes = in_bytes + max(logged.bytes_in - logged.bytes_out, 0), 0
                books["expired"] += logged.expired
                books["dropped_old"] += logged.dropped
                books["lost"] += logged.lost
            found[name] = {
                "size": max(puts - takes, 0), "capacity": self._capacities[name], "bytes": in_bytes,
                "capacity_bytes": capacity_bytes, "puts": puts, "takes": takes, "mismatch": difference,
                "dropped": books["dropped_new"] + books["dropped_old"] + books["refused"],
                "expired": books["expired"], "set_aside": books["set_aside"], "lost": books["lost"],
                "lost_before": self._base.get(name, {}).get("lost", 0),
                **self._twice.get(name, {}),
            }  # fmt: skip
        return found

    def base(self) -> Mapping[str, Mapping[str, int]]:
        """What the meters showed when the agent started: Flume's counters begin at 0 there."""
        return self._base

    def rows(self) -> dict[str, int]:
        """Rows in each channel now."""
        return {name: numbers["size"] for name, numbers in self.channels().items()}

    def in_logs(self) -> dict[str, int]:
        """Rows that wait in the log of each channel that has one: they outlive the run directory."""
        counted = {name: log.counts() for name, log in self._logs.items()}
        return {name: max(counts.rows_in - counts.rows_out, 0) for name, counts in counted.items()}

    def close(self) -> None:
        """Lets go of the lanes."""
        for log in self._logs.values():
            log.close()
        for lanes in self._lanes.values():
            for lane, page, _ in lanes:
                lane.close()
                page.close()


def _log_meter(options: Any) -> LogMeter:
    from shipper.instance.log_meter import LogMeter  # an agent that has no log does without all of this

    return LogMeter(options.log_settings())
