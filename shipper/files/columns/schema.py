"""The columns of a file: the body, headers that a person gave a column and a type, and a map of the other headers.

================  ============================================  ================================================
type              the header says                               the column is
================  ============================================  ================================================
`string`          anything                                      text
`int32` `int64`   a decimal number                              a number of that width
`double`          a number, also 1e3, nan, inf                  a number
`boolean`         true, false, 1, 0                             a truth value
`date`            2026-11-21                                    a day
`timestamp_s`     seconds since 1970                            an instant, in ms (files know no coarser ones)
`timestamp_ms`    milliseconds since 1970, as Flume has them    an instant
`timestamp_us`    microseconds since 1970                       an instant; all three from 1677 to 2262
================  ============================================  ================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from shipper.config.field import Kind
from shipper.likely import likely

BODY, HEADERS = "body", "headers"
BODY_TYPES = {"binary": pa.binary(), "string": pa.string()}
TYPES = {
    "string": pa.string(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp_s": pa.timestamp("ms", "UTC"),
    "timestamp_ms": pa.timestamp("ms", "UTC"),
    "timestamp_us": pa.timestamp("us", "UTC"),
}
#: What becomes of a value that is not what its column is.
NULL, REFUSE = "null", "refuse"

_HEADERS_TYPE = pa.map_(pa.string(), pa.string())


class Column(NamedTuple):
    """A header that has a column of its own.

    Attributes:
        type_name: one of `TYPES`.
    """

    name: str
    type_name: str


@dataclass(frozen=True)
class Columns:
    """What a sink's files have for columns.

    Attributes:
        own: headers with a column of their own, in order.
        body: one of `BODY_TYPES`.
        headers: True when all other headers stand in a map column.
        invalid: `NULL` or `REFUSE`.
    """

    own: tuple[Column, ...] = ()
    body: str = "binary"
    headers: bool = True
    invalid: str = NULL

    @property
    def schema(self) -> pa.Schema:
        """The columns as Arrow names them."""
        fields = [pa.field(BODY, BODY_TYPES[self.body], nullable=False)]
        fields += [pa.field(column.name, TYPES[column.type_name]) for column in self.own]
        if self.headers:
            fields.append(pa.field(HEADERS, _HEADERS_TYPE, nullable=False))
        return pa.schema(fields)


def parse(value: str) -> tuple[Column, ...]:
    """`host level timestamp:timestamp_ms` as columns; a header without a type is a string.

    Raises:
        ValueError: a sentence that says what would be right.
    """
    found: dict[str, Column] = {}
    for word in re.split(r"[\s,]+", value.strip()):
        if not word:
            continue
        name, colon, type_name = word.rpartition(":")
        if not colon:
            name, type_name = type_name, "string"
        type_name = type_name.lower()
        if type_name not in TYPES:
            near = likely(type_name, TYPES, 1, 0.5)
            raise ValueError(
                f"{word}: the type of a column is one of {', '.join(TYPES)}"
                + (f"; did you mean {name}:{near[0]}?" if near else "")
            )
        if not name:
            raise ValueError(f"{word}: a column is a header and its type, as in timestamp:timestamp_ms")
        if name.lower() in (BODY, HEADERS):
            raise ValueError(f"{word}: the column {name.lower()} is there already, for the {_TAKEN[name.lower()]}")
        if (other := found.get(name.lower())) is not None:
            # Hive and Spark do not tell Host from host.
            raise ValueError(f"{word}: there is a column {other.name} already, and many readers ignore case")
        found[name.lower()] = Column(name, type_name)
    return tuple(found.values())


_TAKEN = {BODY: "event's body", HEADERS: "headers without a column of their own"}

columns = Kind("headers and their types, as in host timestamp:timestamp_ms", parse)
