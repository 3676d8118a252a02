"""The numbers of an agent as other programs read them: Flume's JSON, and Prometheus text.

Flume shows one entry a component, with the attributes that its kind has, all as strings; what the component does not
fill is "0"; and components whose class counts nothing (netcat, logger, null) have no entry at all. Ours add up over the
workers of a component. Counters begin at 0 with the start of the agent, so what the rings counted before is taken off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from shipper.metrics.block import Kind, Sample, State, WorkerSample
from shipper.metrics.counters import NAMES
from shipper.metrics.holdup import fill_share

_SOURCE: Final = (
    "EventReceivedCount", "EventAcceptedCount", "AppendReceivedCount", "AppendAcceptedCount",
    "AppendBatchReceivedCount", "AppendBatchAcceptedCount", "OpenConnectionCount",
)  # fmt: skip
_SINK: Final = (
    "ConnectionCreatedCount", "ConnectionClosedCount", "ConnectionFailedCount",
    "BatchEmptyCount", "BatchUnderflowCount", "BatchCompleteCount",
    "EventDrainAttemptCount", "EventDrainSuccessCount",
)  # fmt: skip
_SOURCE_FAILURES: Final = ("EventReadFail", "ChannelWriteFail", "GenericProcessingFail")
_SINK_FAILURES: Final = ("EventWriteFail", "ChannelReadFail")
#: What may go down; everything else of Flume's only grows.
_GAUGES: Final = frozenset({"OpenConnectionCount"})

#: Of sinks that write rolling files.
_FILE_GAUGES: Final = {
    "files_closing": "Files that have ended and are being closed.",
    "files_renaming": "Files that are whole and wait for their final names.",
    "files_leased": "Files that wait until somebody else's lease on them ends.",
    "files_unmade": "Files whose rows are staged, and which could not be made at their target yet.",
    "reports_waiting": "Closed files that listeners have not taken yet.",
    "buckets_waiting": "Folders of finished buckets, and of those that will be, without their markers.",
}
_FILE_TOTALS: Final = {
    "file_retries": "Times that a file could not be made, closed or renamed, and was tried again.",
    "files_thin": "Files that ended early because their blocks were on too few DataNodes.",
    "report_retries": "Times that a listener could not take a closed file.",
    "buckets_done": "Markers of finished buckets made.",
    "rows_late": "Events that came for a bucket after its marker was made.",
}
_OUR_GAUGES: Final = {
    "lag_bytes": "Bytes known to wait behind the position of the source.",
    "open_files": "Files open now.",
    **_FILE_GAUGES,
}
_OUR_TOTALS: Final = {
    "body_bytes": "Bytes of event bodies accepted by a source or delivered by a sink.",
    "output_bytes": "Bytes written to the target, after compression.",
    "truncated_lines": "Lines that were cut because they were too long.",
    "decode_errors": "Places in the input that were no valid text.",
    "files_lost": "Files that went away before they were read to their end.",
    "rows_dropped": "Events that were given up.",
    "rows_optional_dropped": "Events that an optional channel had no room for.",
    "rows_set_aside": "Events that a target refused for good, kept aside.",
    **_FILE_TOTALS,
}
#: Since the channel was made, not since the agent started: the ledger never begins again.
_OUR_LEDGER: Final = {
    "mismatch": "Events of the channel that are not accounted for; anything but 0 is a defect, see `shipper ledger`.",
    "dropped": "Events given up because the channel was full.",
    "expired": "Events that were in the channel for longer than its maxAge.",
    "set_aside": "Events that a sink refused for good.",
    "lost": "Events in frames that did not pass their checks.",
    "twice_at_most": "Events that had been delivered and came once more after a power cut, at most.",
    "twice_unknown": "Power cuts after which it is not known how many events came twice.",
}
_LEDGER_KINDS: Final = {"mismatch": ("gauge", ""), "twice_unknown": ("counter", "_total")}
_STATES: Final = {
    State.BUSY: "busy_ns",
    State.WAITING_INPUT: "waiting_input_ns",
    State.WAITING_ROOM: "waiting_room_ns",
    State.WAITING_TARGET: "waiting_target_ns",
}


@dataclass(frozen=True)
class Component:
    """What the exporter has to know of a component of the running configuration.

    Attributes:
        counted: the Flume counters that its class fills; empty = Flume shows no entry for it (channels: not used).
        start_ms: wall ms; 0 takes the start that its workers stored.
        kafka: it has the attributes of Flume's Kafka components instead of some others.
        attributes: further ones of a channel, already strings (a file channel's Open, Closed, Unhealthy, ...).
    """

    kind: Kind
    name: str
    counted: tuple[str, ...] = ()
    start_ms: int = 0
    kafka: bool = False
    attributes: Callable[[], Mapping[str, str]] = dict


class Exporter:
    """Turns samples into text.

    Args:
        components: of the running configuration, in the order of the file.
        base: the channels' numbers at the start of the agent, before any worker ran.
    """

    def __init__(self, components: Iterable[Component], base: Mapping[str, Mapping[str, int]]) -> None:
        self._components = tuple(components)
        self._base = base

    def flume(self, sample: Sample) -> dict[str, dict[str, str]]:
        """Flume's entries: `{"SOURCE.r1": {"Type": "SOURCE", ...}}`, every value a string."""
        entries: dict[str, dict[str, str]] = {}
        for component in self._components:
            workers = _workers(sample, component)
            if component.kind == Kind.CHANNEL:
                attributes = self._channel(sample, component)
            elif component.counted:
                attributes = {name: str(_sum(workers, name)) for name in component.counted if name in NAMES}
                attributes = {name: attributes.get(name, "0") for name in _attributes(component)}
            else:
                continue
            entries[f"{component.kind.name}.{component.name}"] = {**_life(component, workers, sample), **attributes}
        return entries

    def flume_json(self, sample: Sample) -> bytes:
        """What `/metrics` answers: Flume's entries, and those it does not have: ledgers of channels, files of sinks."""
        entries = self.flume(sample)
        for component in self._components:
            if component.kind == Kind.CHANNEL:
                numbers = sample.channels.get(component.name, {})
                ledger = {f"ledger_{number}": str(numbers.get(number, 0)) for number in _OUR_LEDGER}
                entries[f"LEDGER.{component.name}"] = {"Type": "LEDGER", **ledger}
            elif "open_files" in component.counted:
                workers = _workers(sample, component)
                numbers_of = {name: str(_sum(workers, name)) for name in ("open_files", *_FILE_GAUGES, *_FILE_TOTALS)}
                entries[f"FILES.{component.name}"] = {"Type": "FILES", **numbers_of}
        return orjson.dumps(entries)

    def prometheus(self, sample: Sample) -> bytes:
        """What `/metrics/prometheus` answers: text exposition, version 0.0.4.

        Flume's counters have the names that Flume 2 gives them; ours begin with `shipper_`.
        """
        text = _Exposition()
        for key, attributes in self.flume(sample).items():
            name = key.partition(".")[2]
            for attribute, value in attributes.items():
                if attribute in ("Type", "StartTime", "StopTime"):
                    continue
                if attribute in _GAUGES or (key.startswith("CHANNEL.") and not attribute.startswith("Event")):
                    shown = {"true": "1", "false": "0"}.get(value, value.replace("E", "e"))
                    text.add("gauge", f"Flume_{attribute}", f"Flume's {attribute}.", {"component": name}, shown)
                else:
                    text.add("counter", f"Flume_{attribute}_total", f"Flume's {attribute}.", {"component": name}, value)
        for component in self._components:
            if component.kind == Kind.CHANNEL:
                self._our_channel(text, sample.channels.get(component.name, {}), component.name)
            else:
                self._our_workers(text, _workers(sample, component), component)
        started = f"{sample.start_ms / 1000:.3f}"
        text.add("gauge", "shipper_start_time_seconds", "Start of the agent.", {"agent": sample.agent}, started)
        return text.text()

    def _our_channel(self, text: _Exposition, numbers: Mapping[str, int], name: str) -> None:
        labels = {"component": name, "kind": "channel"}
        used, fill = str(numbers.get("bytes", 0)), f"{fill_share(numbers):.6g}"
        text.add("gauge", "shipper_channel_bytes", "Bytes of frames in the channel.", labels, used)
        text.add("gauge", "shipper_channel_fill", "How full the channel is, 0 to 1.", labels, fill)
        for number, sentence in _OUR_LEDGER.items():
            kind, metric = _LEDGER_KINDS.get(number, ("counter", "_rows_total"))
            text.add(kind, f"shipper_ledger_{number}{metric}", sentence, labels, str(numbers.get(number, 0)))

    def _our_workers(self, text: _Exposition, workers: list[WorkerSample], component: Component) -> None:
        labels = {"component": component.name, "kind": component.kind.name.lower()}
        for counter, sentence in _OUR_TOTALS.items():
            text.add("counter", f"shipper_{counter}_total", sentence, labels, str(_sum(workers, counter)))
        for counter, sentence in _OUR_GAUGES.items():
            text.add("gauge", f"shipper_{counter}", sentence, labels, str(_sum(workers, counter)))
        for state, counter in _STATES.items():
            spent, spent_labels = f"{_sum(workers, counter) / 1e9:.9g}", {**labels, "state": state.name.lower()}
            text.add("counter", "shipper_worker_seconds_total", "Time of the workers.", spent_labels, spent)
        restarts = str(sum(worker.restarts for worker in workers))
        text.add("counter", "shipper_worker_restarts_total", "Workers started again.", labels, restarts)

    def _channel(self, sample: Sample, component: Component) -> dict[str, str]:
        numbers = sample.channels.get(component.name, {})
        base = self._base.get(component.name, {})
        puts = max(0, numbers.get("puts", 0) - base.get("puts", 0))
        takes = max(0, numbers.get("takes", 0) - base.get("takes", 0))
        capacity = numbers.get("capacity", 0)
        if not capacity and numbers.get("capacity_bytes"):
            fill = java_double(100.0 * fill_share(numbers))
        else:
            fill = java_double(100.0 * numbers.get("size", 0) / capacity if capacity else 1.7976931348623157e308)
        attributes = {
            "ChannelCapacity": str(capacity or _rows_that_fit(numbers)),
            "ChannelSize": str(numbers.get("size", 0)),
            "ChannelFillPercentage": fill,
            "EventPutAttemptCount": str(puts + self._not_put(sample, component.name)),
            "EventPutSuccessCount": str(puts),
            "EventTakeAttemptCount": str(takes + self._not_taken(sample, component.name)),
            "EventTakeSuccessCount": str(takes),
        }
        return {**attributes, **component.attributes()}

    def _not_put(self, sample: Sample, channel: str) -> int:
        """Events that sources offered to a channel and that it had no room for, as far as sources count them."""
        sources = [w for w in sample.workers if w.kind == Kind.SOURCE and channel in w.channels]
        return sum(_refused(worker) for worker in sources)

    def _not_taken(self, sample: Sample, channel: str) -> int:
        """Takes that brought nothing: the empty batches of the channel's sinks, and what was taken and rolled back."""
        sinks = [w for w in sample.workers if w.kind == Kind.SINK and channel in w.channels]
        return sum(
            w.counters["BatchEmptyCount"]
            + max(0, w.counters["EventDrainAttemptCount"] - w.counters["EventDrainSuccessCount"])
            for w in sinks
        )


def java_double(value: float) -> str:
    """A double as Java writes it: `100.0`, `1.0E-5`, `1.7976931348623157E308`."""
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    # The fewest digits that mean the same number: as `repr`, but always with an exponent.
    shortest = next(text for digits in range(17) if float(text := f"{value:.{digits}e}") == value)
    mantissa, _, exponent = shortest.partition("e")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}E{int(exponent)}"


def _attributes(component: Component) -> tuple[str, ...]:
    """The attributes that Flume's bean of this kind has, in Flume's order."""
    if component.kind == Kind.SOURCE:
        return (
            (*_SOURCE, "KafkaEventGetTimer", "KafkaCommitTimer", "KafkaEmptyCount")
            if component.kafka
            else (*_SOURCE, *_SOURCE_FAILURES)
        )
    return (*_SINK, "KafkaEventSendTimer", "RollbackCount") if component.kafka else (*_SINK, *_SINK_FAILURES)


def _workers(sample: Sample, component: Component) -> list[WorkerSample]:
    return [w for w in sample.workers if w.kind == component.kind and w.name == component.name]


def _sum(workers: Iterable[WorkerSample], name: str) -> int:
    return sum(worker.counters.get(name, 0) for worker in workers)


def _life(component: Component, workers: list[WorkerSample], sample: Sample) -> dict[str, str]:
    starts = [worker.start_ms for worker in workers if worker.start_ms]
    stopped = bool(workers) and all(worker.stop_ms for worker in workers)
    return {
        "Type": component.kind.name,
        "StartTime": str(component.start_ms or min(starts, default=sample.start_ms)),
        "StopTime": str(max(worker.stop_ms for worker in workers) if stopped else 0),
    }


def _refused(worker: WorkerSample) -> int:
    return max(0, worker.counters["EventReceivedCount"] - worker.counters["EventAcceptedCount"])


def _rows_that_fit(numbers: Mapping[str, int]) -> int:
    """A capacity in events for a channel that is bounded by bytes: from the mean size of those in it now."""
    size, used, most = numbers.get("size", 0), numbers.get("bytes", 0), numbers.get("capacity_bytes", 0)
    return size * most // used if size and used and most else 0


class _Exposition:
    """Prometheus text: the lines of one metric stand together under its HELP and TYPE."""

    def __init__(self) -> None:
        self._metrics: dict[str, list[str]] = {}

    def add(self, kind: str, metric: str, sentence: str, labels: Mapping[str, str], value: str) -> None:
        lines = self._metrics.setdefault(metric, [f"# HELP {metric} {sentence}", f"# TYPE {metric} {kind}"])
        shown = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        lines.append(f"{metric}{{{shown}}} {value}")

    def text(self) -> bytes:
        return ("\n".join(line for lines in self._metrics.values() for line in lines) + "\n").encode()


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
