"""Numbers of one component that other processes read while it runs.

A `Counters` is a row of 8-byte words in shared memory, one word a name, one writer. Names are Flume's where Flume
has one (`flume.md` 8.1); ours are snake_case with their unit. The order of `NAMES` is the layout: append, never move.
"""

from __future__ import annotations

from typing import Final

#: Every counter there is. A component fills those that make sense for it; the others stay 0.
NAMES: Final = (
    # Flume's, of sources
    "EventReceivedCount", "EventAcceptedCount", "AppendReceivedCount", "AppendAcceptedCount",
    "AppendBatchReceivedCount", "AppendBatchAcceptedCount", "OpenConnectionCount",
    "EventReadFail", "ChannelWriteFail", "GenericProcessingFail",
    # Flume's, of sinks
    "ConnectionCreatedCount", "ConnectionClosedCount", "ConnectionFailedCount",
    "BatchEmptyCount", "BatchUnderflowCount", "BatchCompleteCount",
    "EventDrainAttemptCount", "EventDrainSuccessCount", "EventWriteFail", "ChannelReadFail",
    # ours
    "body_bytes",             # bytes of bodies accepted (source) or delivered (sink)
    "output_bytes",           # bytes written to the target, after compression
    "busy_ns",                # time spent working
    "waiting_input_ns",       # time spent waiting for something to do
    "waiting_room_ns",        # time a source waited for room in a channel
    "waiting_target_ns",      # time a sink waited for its target after a failure
    "lag_bytes",              # bytes known to wait behind the source's position
    "open_files",             # files open now
    "truncated_lines", "decode_errors", "files_lost", "rows_dropped", "rows_optional_dropped",
    "rows_set_aside",         # rows in the quarantine file
    "progress_ms",            # monotonic ms of the last step that moved data or found nothing to do
    "state",                  # see State in metrics/block.py
    "rows_expired",           # rows older than the channel's maxAge
    "rows_late",              # rows that came for a bucket after its marker was made
    "buckets_done",           # markers of buckets made
    "buckets_waiting",        # buckets that have no marker yet
    "reports_waiting",        # closed files that listeners have not taken yet
    "report_retries",         # times a listener could not take one
    "files_renaming",         # files that are whole and wait for their final names
    "files_closing",          # files that have ended and are being closed
    "files_leased",           # files that wait until somebody else's lease on them is recovered
    "file_retries",           # times a file could not be made, closed or renamed, and was tried again
    "files_thin",             # files that ended early because their blocks were on too few DataNodes
    "files_unmade",           # files whose rows are staged, and which could not be made at their target yet
)  # fmt: skip

INDEX: Final = {name: index for index, name in enumerate(NAMES)}


class Counters:
    """The words of one component, written by one process.

    Args:
        words: at least `len(NAMES)` 64-bit words; shared memory in a worker, any `array('Q')` in a test.
    """

    __slots__ = ("_words",)

    def __init__(self, words: memoryview) -> None:
        self._words = words

    def add(self, name: str, amount: int = 1) -> None:
        """Adds to a counter. Only the component's own process may."""
        self._words[INDEX[name]] += amount

    def set(self, name: str, value: int) -> None:
        """Stores a gauge. Only the component's own process may."""
        self._words[INDEX[name]] = value

    def get(self, name: str) -> int:
        """The value now. Any process may."""
        return int(self._words[INDEX[name]])

    @classmethod
    def private(cls) -> Counters:
        """Counters that nobody else sees: for tests and for tools."""
        return cls(memoryview(bytearray(8 * len(NAMES))).cast("Q"))
