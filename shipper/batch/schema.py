"""Names inside a batch: which column is what, and which keys its metadata has.

====================  =========================================================================
column                meaning
====================  =========================================================================
`body`                binary, never null; may still end in its delimiter (`trim` bytes of it)
`h:NAME`              utf8 header; null = the event does not have it
`n:NAME`              bool, rare: true where header NAME is present with a null value
`f:NAME`              typed field beside the headers (int64, timestamp, ...)
====================  =========================================================================

Headers that are the same in all rows are *constants*: they stand once per batch, outside the columns.
"""

from __future__ import annotations

import pyarrow as pa

BODY = "body"
HEADER = "h:"
NULL_HEADER = "n:"

BODY_ONLY = pa.schema([pa.field(BODY, pa.binary(), nullable=False)])
