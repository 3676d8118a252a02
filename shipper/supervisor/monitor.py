"""The monitor: what an agent shows of itself over HTTP, as `-Dflume.monitoring.*` asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from shipper import log
from shipper.config.plan import Plan
from shipper.likely import likely
from shipper.metrics.block import Kind
from shipper.metrics.export import Component, Exporter
from shipper.metrics.health import Level, findings, read_notices, unready
from shipper.metrics.observer import Observer
from shipper.metrics.server import HOST, PORT, Answers, MetricsServer

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
            near = likely(kind, _TYPES, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            log.say(
                "ERROR", "agent", f"flume.monitoring.type = {kind} is not in this build: write http or prometheus{hint}"
            )
            return None
        if (port := _port(system.get("flume.monitoring.port", str(PORT)))) is None:
            return None
        answers = Answers(
            flume_json=lambda: self._exporter.flume_json(self._observer.look()),
            prometheus=lambda: self._exporter.prometheus(self._observer.look()),
            ready=self._ready,
            health=self._health,
            prometheus_first=kind == "prometheus",
        )
        server = MetricsServer(answers, system.get("flume.monitoring.host", HOST), port)
        log.say("INFO", "agent", f"metrics are served on http://{server.host}:{server.port}/metrics")
        return server

    def _ready(self) -> tuple[bool, str]:
        started = self._all_ready()
        lines = unready(self._observer.block.sample(), started)
        if not lines and not started:
            lines.append("not every component has started")
        return not lines, "\n".join(lines)

    def _health(self) -> tuple[bool, str]:
        block = self._observer.block
        found = findings(block.sample(), read_notices(block.path.parent))
        alive = all(finding.level != Level.DEAD for finding in found)
        words = {Level.DEAD: "not alive", Level.FAILED: "failed", Level.DEGRADED: "degraded"}
        return alive, "\n".join(f"{words[finding.level]}: {finding.sentence}" for finding in found)


def _port(text: str) -> int | None:
    """The port that a person wrote; None when it is none: then nothing listens, as in Flume, and the agent runs.

    Another port than theirs would be no use to them, and may be another agent's.
    """
    try:
        port = int(text)
    except ValueError:
        port = -1
    if 0 <= port <= 65535:
        return port
    log.say(
        "ERROR", "agent", f"-Dflume.monitoring.port={text} is no port: a number from 0 to 65535, 0 takes any. "
        f"No metrics are served, and the agent runs without. Start it again with -Dflume.monitoring.port={PORT}, here "
        "or where JAVA_OPTS is set",
    )  # fmt: skip
    return None
