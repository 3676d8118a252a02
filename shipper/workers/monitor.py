"""The monitor: what an agent shows of itself over HTTP, as `-Dflume.monitoring.*` asks for it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence

from shipper import log
from shipper.config.plan import Plan
from shipper.metrics.block import Kind
from shipper.metrics.export import Component, Exporter
from shipper.metrics.observer import Observer
from shipper.metrics.server import HOST, PORT, Answers, MetricsServer

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
        fine, sentence = observer.ready()
        return (fine, sentence) if all_ready() or not fine else (False, "not every component has started")

    answers = Answers(
        flume_json=lambda: exporter.flume_json(observer.look()),
        prometheus=lambda: exporter.prometheus(observer.look()),
        ready=ready,
        prometheus_first=kind == "prometheus",
    )
    server = MetricsServer(answers, system.get("flume.monitoring.host", HOST), int(text))
    log.say("INFO", "agent", f"metrics are served on http://{server.host}:{server.port}/metrics")
    return server
