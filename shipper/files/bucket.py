"""Which file path each row of a batch belongs to, computed a column at a time.

The time of all rows is brought down to the few distinct times that the templates can tell apart, header columns to
their distinct values, and only the combinations that occur are made into text. A batch whose rows all go to one place
(the common case) is handed on as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shipper.batch.batch import EventBatch
from shipper.clock import Clock
from shipper.errors import Refused
from shipper.files.escapes import EARLIEST_MS, LATEST_MS, WHOLE_QUARTERS_FROM_S, Template, all_headers

TIMESTAMP = "timestamp"
_REMEMBERED = 16_384
_DECIMAL = r"^[+-]?[0-9]{1,19}$"

Codes = np.ndarray[Any, np.dtype[np.int64]]
Numbers = np.ndarray[Any, np.dtype[np.int64]]
Texts = tuple[str, ...]
Group = tuple[Texts, EventBatch, Numbers | None]


class Buckets:
    """Groups rows by what their templates say.

    Args:
        templates: a path and a file prefix, for instance.
        clock: for `use_clock`.
        use_clock: True to take the time of all rows of a batch from one look at the clock, not from their header.
        remedy: what a person can do about events without a time, for the message.
        warn: is told, for each new place, when nothing takes the place of a header's escape, as in Flume.
    """

    def __init__(
        self,
        templates: Sequence[Template],
        clock: Clock,
        *,
        use_clock: bool,
        remedy: str,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._templates = tuple(templates)
        self._clock = clock
        self._use_clock = use_clock
        self._remedy = remedy
        self._warn = warn
        self._headers = all_headers(templates)
        self._needs_time = any(t.needs_time for t in templates)
        self._resolution_s = min((t.resolution_s for t in templates if t.needs_time), default=1)
        self._rendered: dict[tuple[int, Texts], Texts | str] = {}  # or why there can't be a file
        self._origins: dict[Texts, tuple[int, Texts]] = {}

    def groups(self, batch: EventBatch) -> list[Group]:
        """The texts of the templates, the rows they are true of, and which rows of the batch these are (None = all).

        Each text comes once; rows keep their order.

        Raises:
            Refused: rows without the time that a template needs, or with a path that the store never takes.
        """
        if len(self._rendered) >= _REMEMBERED:
            self._rendered.clear()
            self._origins.clear()
        times, time_codes = self._times(batch) if self._needs_time else ([0], None)
        values, codes = [], time_codes
        size = len(times)
        for name in self._headers:
            texts, header_codes = _header(batch, name)
            values.append(texts)
            if header_codes is not None:
                if codes is not None and size * len(texts) > 1 << 62:
                    raise Refused(f"{batch.rows} events with too many distinct headers for one batch")
                codes = header_codes if codes is None else codes * len(texts) + header_codes
            size *= len(texts)
        if codes is None:
            found = [self._text(times[0], tuple(texts[0] for texts in values))]
            return [(_possible(found, np.zeros(batch.rows, np.int64))[0], batch, None)]
        present, inverse = _distinct(codes)
        found = []
        for code in present.tolist():
            chosen = []
            for texts in reversed(values):
                code, index = divmod(code, len(texts))
                chosen.append(texts[index])
            found.append(self._text(times[code], tuple(reversed(chosen))))
        return _grouped(batch, _possible(found, inverse), inverse)

    def _text(self, ms: int, headers: Texts) -> Texts | str:
        """What the templates say; as one text, why there can't be a file of it."""
        key = (ms, headers)
        said = self._rendered.get(key)
        if said is None:
            named = dict(zip(self._headers, headers, strict=True))
            if "" in headers:
                self._warn(self._without_header([name for name in self._headers if not named[name]]))
            for template in self._templates:
                if changed := template.changes(named):
                    self._warn(_with_changes(template, changed))
            texts = tuple(template.render(ms, named) for template in self._templates)
            self._origins[texts] = key
            excess = self._templates[0].rules.excess("/".join(texts))
            said = self._rendered[key] = texts if excess is None else self._with_excess(excess)
        return said

    def origin(self, texts: Texts) -> tuple[int, dict[str, str]]:
        """A time in ms and the headers that become these texts; `groups` must have said them last."""
        ms, headers = self._origins[texts]
        return ms, dict(zip(self._headers, headers, strict=True))

    def _without_header(self, names: Sequence[str]) -> str:
        needing = next(t.text for t in self._templates if set(names) & set(t.headers))
        return (
            f"{needing}: there are events with nothing in the header {' and '.join(names)}, so nothing stands in its "
            f"place, as in Flume; an interceptor of type static gives a header to every event that has none"
        )

    def _with_excess(self, excess: str) -> str:
        return (
            f"{self._templates[0].text}: their path would have {excess}: shorten the header "
            f"{' or '.join(self._headers)}"
        )

    # --- times

    def _times(self, batch: EventBatch) -> tuple[list[int], Codes | None]:
        """The distinct times in ms, and which of them each row has; no codes when there is but one."""
        if self._use_clock:
            return [self._floor(self._clock.now_ms())], None
        if TIMESTAMP in batch.constants:
            value = batch.constants[TIMESTAMP]
            if value is not None and value.isascii() and value.isdigit() and len(value) < 15:
                return [self._floor(int(value))], None
            column = pa.array([value], pa.string())
            return [self._floor(int(self._parsed(column, batch.rows)[0]))], None
        header = batch.header(TIMESTAMP)
        if header is None:
            raise Refused(self._without_time(batch.rows, batch.rows, "have no header"), tuple(range(batch.rows)))
        ms = self._parsed(header, 0)
        unit = self._unit_ms(int(ms.min()))
        floors = ms // unit if unit > 1 else ms
        first = int(floors[0])
        if (floors == first).all():
            return [first * unit], None
        present, inverse = _distinct(floors)
        return [floor * unit for floor in present.tolist()], inverse

    def _unit_ms(self, earliest_ms: int) -> int:
        if self._resolution_s and earliest_ms < WHOLE_QUARTERS_FROM_S * 1000:
            return 1000
        return self._resolution_s * 1000 or 1

    def _floor(self, ms: int) -> int:
        unit = self._unit_ms(ms)
        return ms // unit * unit

    def _parsed(self, column: pa.StringArray, spread: int) -> Codes:
        """The header as numbers; `spread` is how many rows a single value stands for, 0 when it is a column."""
        if not column.null_count:
            try:
                ms: Codes = pc.cast(column, pa.int64()).to_numpy()
                hexadecimal = pc.any(pc.match_substring_regex(column, "^0[xX]")).as_py()
                if not hexadecimal and ms.min() >= EARLIEST_MS and ms.max() <= LATEST_MS:
                    return ms
            except pa.ArrowInvalid:
                pass
        self._refuse(column, spread)
        ms = pc.cast(pc.replace_substring_regex(column, r"^\+", ""), pa.int64()).to_numpy()
        return ms

    def _refuse(self, column: pa.StringArray, spread: int) -> None:
        """Raises Refused for the rows whose time is absent, no number or out of bounds, if there are any."""
        decimal = pc.fill_null(pc.match_substring_regex(column, _DECIMAL), False)
        bare = pc.if_else(decimal, pc.replace_substring_regex(column, r"^\+", ""), pa.scalar("0"))
        # Nineteen digits may still be more than 64 bits have room for.
        wide = pc.cast(bare, pa.decimal128(20, 0))
        inside = pc.and_(
            pc.greater_equal(wide, pa.scalar(EARLIEST_MS, pa.decimal128(20, 0))),
            pc.less_equal(wide, pa.scalar(LATEST_MS, pa.decimal128(20, 0))),
        )
        bad = np.flatnonzero(~pc.and_(decimal, inside).to_numpy(zero_copy_only=False))
        if not len(bad):
            return
        missing = column.is_null().to_numpy(zero_copy_only=False)[bad]
        named = next((int(row) for row, absent in zip(bad, missing, strict=True) if not absent), None)
        what = "have no header" if named is None else f"have {_shown(column[named].as_py())} or nothing in the header"
        total = spread or len(column)
        rows = tuple(range(spread)) if spread else tuple(bad.tolist())
        raise Refused(self._without_time(len(rows), total, what), rows)

    def _without_time(self, bad: int, total: int, what: str) -> str:
        needing = next(t.text for t in self._templates if t.needs_time)
        return (
            f"{needing} needs the time of each event in ms since 1970, and {bad} of {total} events {what} "
            f'"{TIMESTAMP}": {self._remedy}'
        )


def _with_changes(template: Template, names: Sequence[str]) -> str:
    rules = template.rules
    also = f", or what {rules.place} refuses ({' '.join(rules.refused)} or a name of its own)" if rules.refused else ""
    return (
        f"{template.text}: there are events whose header {' and '.join(names)} can't stand in a path as it is: it "
        f"has a part . or .., a control character, or a part that is too long{also}. It is changed: the path stays "
        f"inside"
    )


def _shown(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:60] + "...")


def _header(batch: EventBatch, name: str) -> tuple[list[str], Codes | None]:
    """The distinct values of a header ("" where absent), and which of them each row has."""
    if name in batch.constants:
        return [batch.constants[name] or ""], None
    column = batch.header(name)
    if column is None or column.null_count == len(column):
        return [""], None
    encoded = column.dictionary_encode()
    texts: list[str] = encoded.dictionary.to_pylist()
    if not column.null_count and len(texts) == 1:
        return texts, None
    indices = encoded.indices
    if column.null_count:
        indices = indices.fill_null(len(texts))
        texts.append("")
    return texts, indices.to_numpy().astype(np.int64)


def _possible(found: Sequence[Texts | str], inverse: Codes) -> list[Texts]:
    """The texts, if files of all of them are possible. Raises Refused for the rows of which that is not true."""
    refused = {index: one for index, one in enumerate(found) if isinstance(one, str)}
    if refused:
        rows = np.flatnonzero(np.isin(inverse, list(refused)))
        raise Refused(next(iter(refused.values())), tuple(rows.tolist()))
    return [one for one in found if not isinstance(one, str)]


def _distinct(codes: Codes) -> tuple[Codes, Codes]:
    """The distinct codes in order, and for each row which of them it has."""
    low, high = int(codes.min()), int(codes.max())
    span = high - low + 1
    if span > 1 << 20:
        present, inverse = np.unique(codes, return_inverse=True)
        return present, inverse.reshape(-1)
    shifted = codes - low
    seen = np.zeros(span, np.bool_)
    seen[shifted] = True
    ranks = np.cumsum(seen, dtype=np.int64) - 1
    return np.flatnonzero(seen) + low, ranks[shifted]


def _grouped(batch: EventBatch, texts: list[Texts], inverse: Codes) -> list[Group]:
    """The rows by their texts; codes whose texts are the same come together."""
    places: dict[Texts, int] = {}
    renumber = np.array([places.setdefault(text, len(places)) for text in texts], np.int64)
    if len(places) == 1:
        return [(texts[0], batch, None)]
    groups = renumber[inverse]
    narrow = groups.astype(np.uint16) if len(places) <= 1 << 16 else groups  # 16 bits are sorted by radix
    order = np.arange(batch.rows)
    if (narrow[1:] < narrow[:-1]).any():
        order = np.argsort(narrow, kind="stable")
        batch = batch.take(pa.array(order))
        narrow = narrow[order]
    starts = np.flatnonzero(np.diff(narrow, prepend=narrow[:1] + 1)).tolist()  # the first row always differs
    ends = [*starts[1:], batch.rows]
    names = list(places)
    return [
        (names[narrow[start]], batch.slice(start, end - start), order[start:end])
        for start, end in zip(starts, ends, strict=True)
    ]
