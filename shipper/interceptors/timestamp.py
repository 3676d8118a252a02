"""`timestamp`: puts the agent's clock, in ms since 1970, into a header. One clock read a batch."""

from __future__ import annotations

from dataclasses import dataclass

from shipper.api import EventBatch, Interceptor, Options, flag, option, text
from shipper.interceptors._fill import fill_header


@dataclass(frozen=True, kw_only=True)
class TimestampOptions(Options):
    """Options of the timestamp interceptor."""

    header_name: str = option("headerName", text, "timestamp", aliases=("header",), help="The header to set.")
    preserve_existing: bool = option("preserveExisting", flag, False, help="Keep the value of an event that has one.")


class TimestampInterceptor(Interceptor[TimestampOptions]):
    """Sets the header to now."""

    Options = TimestampOptions
    aliases = (
        "timestamp",
        "org.apache.flume.interceptor.timestampinterceptor",
        "org.apache.flume.interceptor.timestampinterceptor$builder",
    )

    def intercept(self, batch: EventBatch) -> EventBatch:
        now = str(self.clock.now_ms())
        return fill_header(batch, self.options.header_name, now, preserve=self.options.preserve_existing)
