"""Setting one header to one value, with or without respect for what is there: shared by the simple interceptors."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from shipper.api import EventBatch


def fill_header(batch: EventBatch, name: str, value: str, *, preserve: bool) -> EventBatch:
    """The batch with header `name` = `value` in all rows, or only in those that lack it when `preserve`.

    A header that is present with a null value counts as present, as in Flume's map.
    """
    if not preserve or not batch.has_header(name):
        return batch.with_header(name, value)
    if name in batch.constants:
        return batch
    values = batch.header(name)
    nulls = batch.null_header(name)
    filled = pc.fill_null(values, value)
    if nulls is None:
        return batch.with_header(name, filled)
    kept = pc.if_else(nulls, pa.scalar(None, pa.string()), filled)
    return batch.with_header(name, kept).with_null_header(name, nulls)
