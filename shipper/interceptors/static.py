"""`static`: puts one header with one fixed value into every event."""

from __future__ import annotations

from dataclasses import dataclass

from shipper.api import EventBatch, Interceptor, Options, flag, option, text
from shipper.interceptors._fill import fill_header


@dataclass(frozen=True, kw_only=True)
class StaticOptions(Options):
    """Options of the static interceptor."""

    key: str = option("key", text, "key", help="The header to set.")
    value: str = option("value", text, "value", help="Its value.")
    preserve_existing: bool = option("preserveExisting", flag, True, help="Keep the value of an event that has one.")


class StaticInterceptor(Interceptor[StaticOptions]):
    """Sets the header to the value of the file."""

    Options = StaticOptions
    aliases = (
        "static",
        "org.apache.flume.interceptor.staticinterceptor",
        "org.apache.flume.interceptor.staticinterceptor$builder",
    )

    def intercept(self, batch: EventBatch) -> EventBatch:
        options = self.options
        return fill_header(batch, options.key, options.value, preserve=options.preserve_existing)
