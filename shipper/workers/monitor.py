"""The monitor: what an agent shows of itself over HTTP, as `-Dflume.monitoring.*` asks for it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence

from shipper import log
from shipper.config.plan import Plan
from shipper.metrics.block import Kind, State, WorkerSample
from shipper.metrics.export import Component, Exporter
from shipper.metrics.observer import Observer
from shipper.metrics.server import HOST, PORT, Answers, MetricsServer
from shipper.units import format_seconds

#: Nothing has moved and nothing was looked at for so long: the worker hangs.
_STUCK_MS = 30_000
_TYPES = ("http", "prometheus")


def serve(
    system: Mapping[str, str],
    plan: Plan,
    counted: Mapping[str, Sequence[str]],
    observer: Observer,
    base: Mapping[str, Mapping[str, int]],
    all_ready: Callable[[], bool],
) -> MetricsServer | None:
    """The metrics server that the system properties ask for; None when they ask for none.

    Args:
        counted: Flume counters that each source and sink fills, by name.
        base: numbers of the channels at the start.
        all_ready: True when every worker has opened what it needs.

    Raises:
        ComponentFailed: the port can't be had.
    """
    kind = system.get("flume.monitoring.type", "").strip().lower()
    if not kind:
        return None
    if kind not in _TYPES:
        near = difflib.get_close_matches(kind, _TYPES, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        log.say(
            "ERROR", "agent", f"flume.monitoring.type = {kind} is not in this build: write http or prometheus{hint}"
        )
        return None
    text = system.get("flume.monitoring.port", str(PORT))
    if not text.isdigit() or int(text) > 65535:
        log.say("ERROR", "agent", f"flume.monitoring.port = {text} is no port; {PORT} is used")
        text = str(PORT)
    components = [Component(Kind.SOURCE, s.name, tuple(counted.get(s.name, ()))) for s in plan.sources]
    components += [Component(Kind.CHANNEL, c.name) for c in plan.channels]
    components += [Component(Kind.SINK, s.name, tuple(counted.get(s.name, ()))) for g in plan.groups for s in g.sinks]
    exporter = Exporter(components, base)

    def ready() -> tuple[bool, str]:
        now = observer.block.sample()
        lines = [line for worker in now.workers if (line := _unready(worker, now.at_ms))]
        if not all_ready():
            lines.append("not every component has started")
        return not lines, "\n".join(lines)

    answers = Answers(
        flume_json=lambda: exporter.flume_json(observer.look()),
        prometheus=lambda: exporter.prometheus(observer.look()),
        ready=ready,
        prometheus_first=kind == "prometheus",
    )
    server = MetricsServer(answers, system.get("flume.monitoring.host", HOST), int(text))
    log.say("INFO", "agent", f"metrics are served on http://{server.host}:{server.port}/metrics")
    return server


def _unready(worker: WorkerSample, now_ms: int) -> str:
    """Why a worker can't be called healthy, "" when it can: liveness means progress."""
    who = f"{worker.name} (worker {worker.worker})"
    if worker.state in (State.STARTING, State.FAILED, State.STOPPED, State.STOPPING):
        return f"{who} is {worker.state.name.lower()}: {worker.waits_for}".removesuffix(": ")
    step_ms = worker.counters["progress_ms"]
    if step_ms and now_ms - step_ms >= _STUCK_MS:
        return f"{who} has made no step for {format_seconds((now_ms - step_ms) / 1000)}"
    if worker.state == State.WAITING_TARGET and now_ms - worker.state_since_ms >= _STUCK_MS:
        return f"{who} can't deliver for {format_seconds((now_ms - worker.state_since_ms) / 1000)}: {worker.waits_for}"
    return ""
