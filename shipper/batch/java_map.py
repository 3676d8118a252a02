"""The order in which Java prints a map: what Flume's texts and Avro records show of an event's headers.

Headers are a `java.util.HashMap` there. Its table has a power of two of buckets; a name lies in the bucket of the low
bits of its hash, and names of one bucket in the order in which they came. How many buckets depends on how the map was
made, and that is not known here: the answer is that of a map copied from another one, as Flume's sources copy the
headers that they are given. A map that grew name by name (an event without headers, to which interceptors add) has at
least 16 buckets in Flume, so up to five names may stand in another order there. No consumer may depend on it.

Which order is asked once for a set of names, and the rows of a batch are grouped by the names that they have.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from shipper.batch.batch import EventBatch

Indices = np.ndarray[Any, np.dtype[np.int64]]


def java_map_order(names: Sequence[str]) -> tuple[str, ...]:
    """The names as a HashMap copied from them would print them."""
    return _order(tuple(names))


def rows_by_headers(batch: EventBatch) -> Iterator[tuple[tuple[str, ...], EventBatch, Indices | None]]:
    """The rows of a batch, those that have the same headers together.

    Yields:
        The names in Java's order, the rows, and which rows of `batch` they are; None when they are all of them.
    """
    certain: list[str] = []
    doubtful: list[str] = []
    masks = []
    for name in batch.header_names:
        if (has := _presence(batch, name)) is None:
            certain.append(name)
        else:
            doubtful.append(name)
            masks.append(has)
    if not masks:
        yield java_map_order(certain), batch, None
        return
    present, number = _patterns(np.stack(masks, axis=1))
    order = np.argsort(number, kind="stable")
    ends = np.cumsum(np.bincount(number, minlength=len(present)))
    positions = {name: place for place, name in enumerate(batch.header_names)}
    for has_names, begin, end in zip(present, np.concatenate(([0], ends[:-1])), ends, strict=True):
        names = certain + [name for name, has in zip(doubtful, has_names, strict=True) if has]
        names.sort(key=positions.__getitem__)
        if len(present) == 1:
            yield java_map_order(names), batch, None
        else:
            indices = order[begin:end]
            yield java_map_order(names), batch.take(pa.array(indices)), indices


def _patterns(has: Any) -> tuple[Any, Any]:
    """The distinct rows of a boolean matrix, and for each row the number of its own."""
    packed = np.packbits(has, axis=1)
    number: Any = packed[:, 0]
    for column in packed.T[1:]:
        number = np.unique(number, return_inverse=True)[1] * 256 + column
    _, first, number = np.unique(number, return_index=True, return_inverse=True)
    # Sixteen bits are sorted by their digits, ten times as fast as larger numbers.
    return has[first], number.astype(np.uint16 if len(first) <= 1 << 16 else np.int64)


def _presence(batch: EventBatch, name: str) -> Any:
    """In which rows the header is there; None when in all."""
    if name in batch.constants:
        return None
    column = batch.header(name)
    assert column is not None
    if not column.null_count:
        return None
    has = column.is_valid().to_numpy(zero_copy_only=False)
    if (null := batch.null_header(name)) is not None:
        has = has | null.to_numpy(zero_copy_only=False)
    return has


@functools.lru_cache(4096)
def _order(names: tuple[str, ...]) -> tuple[str, ...]:
    least = int(len(names) / 0.75 + 1)
    buckets = 1 << (least - 1).bit_length()
    while len(names) > 0.75 * buckets:
        buckets *= 2
    return tuple(sorted(names, key=lambda name: _hash(name) & (buckets - 1)))


def _hash(name: str) -> int:
    units = np.frombuffer(name.encode("utf-16-le", "surrogatepass"), np.uint16)
    value = 0
    for unit in units.tolist():
        value = (31 * value + unit) & 0xFFFFFFFF
    return value ^ (value >> 16)
