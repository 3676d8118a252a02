"""Rows of events as rows of a file: header texts become values of their columns, the other headers a map.

No loop over rows. Where Arrow can't convert a whole column, a regular expression finds the texts that are values: it
knows how large a number may be, and how long a month is. A body that is not UTF-8 is found by halving.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shipper.batch.batch import EventBatch
from shipper.errors import Refused
from shipper.files.columns.bodies import delimited
from shipper.files.columns.schema import BODY, NULL, Column, Columns
from shipper.sinks.sink import SinkContext

Mask = np.ndarray[Any, np.dtype[np.bool_]]
_Entry = tuple[str, "str | pa.StringArray | None", "Mask | None"]


def _up_to(limit: int) -> str:
    """Matches numbers without a sign: 0 to `limit`."""
    digits = str(limit)
    same_length = [
        f"{digits[:place]}[0-{int(digit) - 1}][0-9]{{{len(digits) - place - 1}}}"
        for place, digit in enumerate(digits) if digit != "0"
    ]  # fmt: skip
    return f"0*([0-9]{{1,{len(digits) - 1}}}|{'|'.join(same_length)}|{digits})"


def _between(least: int, most: int) -> str:
    return f"^([+]?{_up_to(most)}|-{_up_to(-least)})$"


def _instants(units_a_second: int) -> str:
    """Readers that count nanoseconds know 1677 to 2262, and no other year."""
    most = ((1 << 63) - 1) * units_a_second // 10**9
    return _between(-most, most)


_LEAP_YEAR = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
_MONTH_AND_DAY = (
    "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
)
#: What the text of a value looks like; Arrow converts each text that matches.
_VALUES = {
    "int32": _between(-(1 << 31), (1 << 31) - 1),
    "int64": _between(-(1 << 63), (1 << 63) - 1),
    "double": r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?(?i:nan|inf|infinity)$",
    "boolean": "^(?i:true|false|0|1)$",
    "date": f"^([0-9]{{4}}-{_MONTH_AND_DAY}|{_LEAP_YEAR}-02-29)$",
    "timestamp_s": _instants(1),
    "timestamp_ms": _instants(10**3),
    "timestamp_us": _instants(10**6),
}
_NO_TEXT = pa.scalar(None, pa.string())
_SHOWN = 40


class Unreadable:
    """Counts values that were made null, and says so once for each column.

    Args:
        context: the sink's.
    """

    def __init__(self, context: SinkContext) -> None:
        self._context = context
        self._said: set[str] = set()

    def __call__(self, column: str, count: int, sentence: str) -> None:
        self._context.counters.add("decode_errors", count)
        if column not in self._said:  # the next one has another text in it, and says no more than this one
            self._said.add(column)
            self._context.say("warning", sentence)


class Rows:
    """Makes rows of a file.

    Args:
        columns: what they are.
        unreadable: told the column, the number of values that were made null, and the sentence for a person.
    """

    def __init__(self, columns: Columns, unreadable: Callable[[str, int, str], None] = lambda *_: None) -> None:
        self._columns = columns
        self._unreadable = unreadable
        self.schema = columns.schema
        self._own = {column.name for column in columns.own}

    def of(self, batch: EventBatch, trim: int = 0) -> pa.RecordBatch:
        """The rows of a batch, with the columns of `schema`.

        Args:
            trim: bytes of delimiter that each body has at its end.

        Raises:
            Refused: some can't be rows of such a file.
        """
        plan = self._columns
        reasons: list[str] = []
        refused = np.zeros(batch.rows, np.bool_)
        body = delimited(batch, trim)
        arrays: list[pa.Array] = [_text(body, refused, reasons) if plan.body == "string" else body]
        left: list[_Entry] = []
        for column in plan.own:
            values, bad, example = _values(batch, column)
            if bad is not None:
                self._judge(column, bad, example, refused, reasons)
                texts = batch.header(column.name)
                left.append((column.name, pc.if_else(pa.array(bad), texts, _NO_TEXT), None))
            arrays.append(values)
        if reasons:
            raise Refused("; ".join(reasons), tuple(np.flatnonzero(refused).tolist()))
        if plan.headers:
            names = [name for name in batch.header_names if name not in self._own]
            arrays.append(_map([_entry(batch, name) for name in names] + left, batch.rows))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _judge(self, column: Column, bad: Mask, example: str, refused: Mask, reasons: list[str]) -> None:
        count = int(bad.sum())
        what = f"{count} of {len(bad)} events have a header {column.name} that is not {column.type_name}: {example!r}"
        if self._columns.invalid == NULL:
            kept = "; the text stays in the column headers" if self._columns.headers else ""
            self._unreadable(column.name, count, f"column {column.name}: {what}; it is null there{kept}")
            return
        np.logical_or(refused, bad, out=refused)
        reasons.append(f"column {column.name}: {what}")


# --- the body


def _text(body: pa.BinaryArray, refused: Mask, reasons: list[str]) -> pa.Array:
    """The bodies as text, or the rows whose bodies are none among the refused."""
    try:
        return pc.cast(body, pa.string())
    except pa.ArrowInvalid:
        before = int(refused.sum())
        _mark_no_text(body, 0, refused)
        count = int(refused.sum()) - before
        reasons.append(f"column {BODY}: {count} of {len(body)} events have a body that is not UTF-8; "
                       "hdfs.columns.body = binary takes any")  # fmt: skip
        return body


def _mark_no_text(body: pa.BinaryArray, start: int, refused: Mask) -> None:
    try:
        pc.cast(body, pa.string())
    except pa.ArrowInvalid:
        if len(body) == 1:
            refused[start] = True
            return
        half = len(body) // 2
        _mark_no_text(body.slice(0, half), start, refused)
        _mark_no_text(body.slice(half), start + half, refused)


# --- a header with a column of its own


def _values(batch: EventBatch, column: Column) -> tuple[pa.Array, Mask | None, str]:
    """The values of a column; which rows have a text that is none (None = no row), and one of these texts."""
    if column.name in batch.constants:
        text = batch.constants[column.name]
        values, bad = _converted(pa.array([text], pa.string()), column.type_name)
        return (
            pa.repeat(values[0], batch.rows),
            np.ones(batch.rows, np.bool_) if bad is not None else None,
            (text or "")[:_SHOWN],
        )
    texts = batch.header(column.name)
    if texts is None:
        return pa.nulls(batch.rows, _arrow_type(column.type_name)), None, ""
    values, bad = _converted(texts, column.type_name)
    example = "" if bad is None else texts[int(np.argmax(bad))].as_py()[:_SHOWN]
    return values, bad, example


def _converted(texts: pa.StringArray, type_name: str) -> tuple[pa.Array, Mask | None]:
    """Values, null where a text is none; and where that is so, None when nowhere."""
    if type_name == "string":
        return texts, None
    try:
        if not _DOUBTED[type_name](texts):
            return _cast(texts, type_name), None
    except pa.ArrowInvalid:
        pass
    right = pc.fill_null(pc.match_substring_regex(texts, _VALUES[type_name]), False)
    # Arrow's numbers have no plus sign.
    values = _cast(pc.if_else(right, pc.replace_substring_regex(texts, r"^\+", ""), _NO_TEXT), type_name)
    bad: Mask = pc.and_(values.is_null(), texts.is_valid()).to_numpy(zero_copy_only=False)
    return values, bad if bad.any() else None


def _cast(texts: pa.StringArray, type_name: str) -> pa.Array:
    """Raises ArrowInvalid when a text is no value."""
    wanted = _arrow_type(type_name)
    if not type_name.startswith("timestamp"):
        return pc.cast(texts, wanted)
    unit = pa.timestamp(type_name.removeprefix("timestamp_"), "UTC")
    instants = pc.cast(pc.cast(texts, pa.int64()), unit)
    pc.cast(instants, pa.timestamp("ns", "UTC"))  # see `_instants`
    return pc.cast(instants, wanted)


def _hexadecimal(texts: pa.StringArray) -> bool:
    """Arrow takes 0x10 for a number, and blanks around one for nothing."""
    return bool(pc.any(pc.match_substring_regex(texts, r"[xX\s]")).as_py())


def _blank(texts: pa.StringArray) -> bool:
    return bool(pc.any(pc.match_substring_regex(texts, r"\s")).as_py())


_DOUBTED: dict[str, Callable[[pa.StringArray], bool]] = dict.fromkeys(_VALUES, _hexadecimal)
_DOUBTED |= {"double": _blank, "boolean": _blank, "date": _blank}


def _arrow_type(type_name: str) -> pa.DataType:
    return Columns((Column("x", type_name),)).schema.field("x").type


# --- the other headers


def _entry(batch: EventBatch, name: str) -> _Entry:
    if name in batch.constants:
        return name, batch.constants[name], None
    mask = batch.null_header(name)
    return name, batch.header(name), None if mask is None else mask.to_numpy(zero_copy_only=False)


def _map(entries: Sequence[_Entry], rows: int) -> pa.MapArray:
    """A map a row. A text stands for all rows, None for a null value in all rows; a column has the rows where it is
    not null, and those where its mask says that the null is the value."""
    if not entries:
        return pa.MapArray.from_arrays(pa.array(np.zeros(rows + 1, np.int32)), _NO_TEXTS, _NO_TEXTS)
    present = np.ones((rows, len(entries)), np.bool_)
    strides = np.zeros(len(entries), np.int64)
    bases = np.zeros(len(entries), np.int64)
    pool: list[pa.StringArray] = []
    size = 0
    for place, (_, values, nulls) in enumerate(entries):
        column = values if isinstance(values, pa.Array) else pa.array([values], pa.string())
        if isinstance(values, pa.Array):
            strides[place] = 1
            there = column.is_valid().to_numpy(zero_copy_only=False)
            present[:, place] = there if nulls is None else there | nulls
        bases[place] = size
        pool.append(column)
        size += len(column)
    row, which = np.nonzero(present)
    offsets = np.zeros(rows + 1, np.int32)
    np.cumsum(present.sum(axis=1), out=offsets[1:])
    keys = pa.array([name for name, _, _ in entries], pa.string()).take(pa.array(which))
    items = pa.concat_arrays(pool).take(pa.array(bases[which] + strides[which] * row))
    return pa.MapArray.from_arrays(pa.array(offsets), keys, items)


_NO_TEXTS = pa.array([], pa.string())
