"""All that a component may import: re-exports only. Built-in components and plugins use the same door."""

from shipper.batch import columns
from shipper.batch.batch import EventBatch, Headers, Origin
from shipper.batch.java_map import java_map_order, rows_by_headers
from shipper.clock import Clock, SystemClock
from shipper.config.field import (
    REQUIRED,
    Options,
    at_least,
    choice,
    commas,
    decimal,
    flag,
    integer,
    mapping,
    milliseconds,
    option,
    path,
    seconds,
    size,
    text,
    words,
)
from shipper.digest import digest_of
from shipper.errors import ComponentFailed, ConfigurationError, DamagedData, Refused, RetryLater, ShipperError
from shipper.files.closed import Bucket, ClosedFile, ClosedListener
from shipper.interceptors.interceptor import Interceptor
from shipper.likely import likely
from shipper.metrics.counters import Counters
from shipper.processors.processor import Processor
from shipper.selectors.selector import Route, Selector
from shipper.serializers.serializer import Bytes, Serializer
from shipper.sinks.sink import Sink, SinkContext
from shipper.sources.source import Source, SourceContext, Waiter

__all__ = [
    "REQUIRED", "Bucket", "Bytes", "Clock", "ClosedFile", "ClosedListener", "ComponentFailed", "ConfigurationError",
    "Counters", "DamagedData", "EventBatch", "Headers", "Interceptor", "Options", "Origin", "Processor", "Refused",
    "RetryLater", "Route", "Selector", "Serializer", "ShipperError", "Sink", "SinkContext", "Source",
    "SourceContext", "SystemClock", "Waiter", "at_least", "choice", "columns", "commas", "decimal", "digest_of",
    "flag", "integer", "java_map_order", "likely", "mapping", "milliseconds", "option", "path", "rows_by_headers",
    "seconds", "size", "text", "words",
]  # fmt: skip
