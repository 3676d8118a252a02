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


class Monitor:
    """The metrics server that the system properties ask for; nothing listens when they ask for none.

    Args:
        all_ready: True when every worker has opened what it needs.

    Raises:
        ComponentFailed: the port can't be had.
    """

    def __init__(self, system: Mapping[str, str], observer: Observer, all_ready: Callable[[], bool]) -> None:
        self._observer = observer
        self._all_ready = all_ready
        self._exporter = Exporter((), {})
        self.server = self._server(system)

    def show(self, plan: Plan, counted: Mapping[str, Sequence[str]], base: Mapping[str, Mapping[str, int]]) -> None:
        """Shows the numbers of this plan from now on.

        Args:
            counted: Flume counters that each source and sink fills, by name.
            base: numbers of the channels at the start.
        """
        parts = [Component(Kind.SOURCE, s.name, tuple(counted.get(s.name, ()))) for s in plan.sources]
        parts += [Component(Kind.CHANNEL, c.name) for c in plan.channels]
        parts += [Component(Kind.SINK, s.name, tuple(counted.get(s.name, ()))) for g in plan.groups for s in g.sinks]
        self._exporter = Exporter(parts, base)

    def close(self) -> None:
        """Gives the port back."""
        if self.server is not None:
            self.server.close()

    def _server(self, system: Mapping[str, str]) -> MetricsServer | None:
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
        answers = Answers(
            flume_json=lambda: self._exporter.flume_json(self._observer.look()),
            prometheus=lambda: self._exporter.prometheus(self._observer.look()),
            ready=self._ready,
            prometheus_first=kind == "prometheus",
        )
        server = MetricsServer(answers, system.get("flume.monitoring.host", HOST), int(text))
        log.say("INFO", "agent", f"metrics are served on http://{server.host}:{server.port}/metrics")
        return server

    def _ready(self) -> tuple[bool, str]:
        now = self._observer.block.sample()
        lines = [line for worker in now.workers if (line := _unready(worker, now.at_ms))]
        if not self._all_ready():
            lines.append("not every component has started")
        return not lines, "\n".join(lines)


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
