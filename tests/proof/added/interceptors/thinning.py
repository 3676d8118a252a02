"""`thinning`: an interceptor that drops every row whose body ends in `#`."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow.compute as pc

from shipper.api import EventBatch, Interceptor, Options


@dataclass(frozen=True, kw_only=True)
class ThinningOptions(Options):
    """It has none."""


class ThinningInterceptor(Interceptor[ThinningOptions]):
    """Drops rows, in the middle of whatever batch they come in."""

    Options = ThinningOptions
    aliases = ()

    def intercept(self, batch: EventBatch) -> EventBatch:
        return batch.filter(pc.invert(pc.ends_with(batch.body, b"#")))
