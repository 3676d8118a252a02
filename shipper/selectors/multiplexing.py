"""`multiplexing`: the value of one header says which channels a row goes to.

Works on the header's column: its values are looked up in the mapped ones all at once, which gives each row a small
number, its *case*; a table says for each case which channels it goes to; each channel then takes its rows by one
filter. A header that is the same in all rows is one case, and no row is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shipper.api import EventBatch, Options, Route, Selector, mapping, option, text, words
from shipper.selectors._names import repeated, unknown_channels

Cases = np.ndarray[Any, np.dtype[np.int32]]


@dataclass(frozen=True, kw_only=True)
class MultiplexingOptions(Options):
    """Options of the multiplexing selector. The lists hold channel names separated by blanks."""

    header: str = option("header", text, "flume.selector.header", help="The header whose value decides.")
    mapped: Mapping[str, tuple[str, ...]] = option(
        "mapping.*", mapping(words), {}, help="Channels for one exact value of the header."
    )
    default: tuple[str, ...] = option(
        "default", words, (), help="Channels for every other value, and for events without the header."
    )
    optional: Mapping[str, tuple[str, ...]] = option(
        "optional.*", mapping(words), {}, help="More channels for one value, which may miss rows when they are full."
    )

    def problems(self) -> list[tuple[str, str]]:
        return [
            (f"mapping.{value}", f"no channel is named for the value {value}; name one, or leave the line out")
            for value, names in self.mapped.items()
            if not names
        ]

    def doubts(self) -> list[tuple[str, str]]:
        found = repeated("default", self.default)
        for value, names in self.mapped.items():
            found += repeated(f"mapping.{value}", names)
        for value, names in self.optional.items():
            found += repeated(f"optional.{value}", names)
        if not self.default:
            found.append(
                (
                    "default",
                    f"no default: an event whose {self.header} has no mapping is accepted and goes to no required"
                    " channel, as in Flume; name a default channel to keep it",
                )
            )
        return found


class MultiplexingSelector(Selector[MultiplexingOptions]):
    """Routes by the value of a header."""

    Options = MultiplexingOptions
    aliases = ("multiplexing", "org.apache.flume.channel.multiplexingchannelselector")

    def __init__(self, options: MultiplexingOptions, channels: Sequence[str]) -> None:
        super().__init__(options, channels)
        # The case of a row: the index of its value in `values`, or `other` for a value that no line of the file names.
        values = tuple(dict.fromkeys((*options.mapped, *options.optional)))
        self._case_of: dict[str | None, int] = {value: case for case, value in enumerate(values)}
        self._other = len(values)
        self._lookup = pc.SetLookupOptions(value_set=pa.array(values, pa.string()), skip_nulls=True)
        required = [_required(options, value) for value in (*values, None)]
        optional = [
            tuple(name for name in options.optional.get(value, ()) if name not in needed)
            for value, needed in zip((*values, ""), required, strict=True)
        ]
        self._required = _tables(required, self.channels)
        self._optional = _tables(optional, self.channels)

    @classmethod
    def wiring_problems(cls, options: MultiplexingOptions, channels: Sequence[str]) -> list[tuple[str, str]]:
        problems = unknown_channels("default", options.default, channels)
        for value, names in options.mapped.items():
            problems += unknown_channels(f"mapping.{value}", names, channels)
        for value, names in options.optional.items():
            problems += unknown_channels(f"optional.{value}", names, channels)
        return problems

    @property
    def required_channels(self) -> Sequence[str]:
        return tuple(self._required)

    def route(self, batch: EventBatch) -> list[Route]:
        header = self.options.header
        if header in batch.constants or not batch.has_header(header):
            case = self._case_of.get(batch.constants.get(header), self._other)
            return [
                Route(name, batch, required)
                for tables, required in ((self._required, True), (self._optional, False))
                for name, goes in tables.items()
                if goes[case]
            ]
        cases = self._cases(batch.header(header))
        return _routes(batch, cases, self._required, True) + _routes(batch, cases, self._optional, False)

    def _cases(self, values: pa.StringArray) -> Cases:
        found: Cases = pc.fill_null(pc.index_in(values, options=self._lookup), self._other).to_numpy()
        return found


def _required(options: MultiplexingOptions, value: str | None) -> tuple[str, ...]:
    """The required channels of a value. A blank value counts as none, even where the file maps it."""
    if value is None or not value.strip():
        return options.default
    return options.mapped.get(value, options.default)


def _tables(channels_of_case: Sequence[Sequence[str]], channels: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
    """For each channel that gets anything, in the order of the source's channels: does a row of this case go there?"""
    tables = {name: np.array([name in names for names in channels_of_case]) for name in channels}
    return {name: goes for name, goes in tables.items() if goes.any()}


def _routes(batch: EventBatch, cases: Cases, tables: Mapping[str, np.ndarray[Any, Any]], required: bool) -> list[Route]:
    routes = []
    for name, goes in tables.items():
        wanted = goes[cases]
        if wanted.all():
            routes.append(Route(name, batch, required))
        elif wanted.any():
            routes.append(Route(name, batch.filter(pa.array(wanted)), required))
    return routes
