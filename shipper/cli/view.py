"""What a person sees of an agent from start to stop: the problems of the file, the plan, the live lines, hold-ups.

The supervisor calls it; it writes log lines, and on a terminal the live lines under them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from shipper.cli import log
from shipper.cli.live import Live
from shipper.cli.own_log import own_log_is_tailed
from shipper.metrics.block import State
from shipper.metrics.observer import Observer

if TYPE_CHECKING:
    from shipper.config.plan import ComponentPlan, Plan
    from shipper.config.problem import Problem

#: A hold-up is worth a log line when it lasts: a channel that is full for a moment is at work.
HOLD_UP_MS = 60_000
_LEVELS = {"error": "ERROR", "dropped": "ERROR", "warning": "WARN", "note": "INFO"}


class TerminalView:
    """The view of `shipper agent`.

    Args:
        system: the system properties, for where our own log lies.
        on_running: called once, when no worker is starting any more.
    """

    def __init__(
        self, system: Mapping[str, str], background: bool = False, on_running: Callable[[], None] | None = None
    ) -> None:
        self._log_file = log.log_file(system) if "LOGFILE" in log.wanted(system, background)[1] else None
        self._live = Live(log.console())
        self._since_ms: dict[str, int] = {}
        self._said: set[str] = set()
        self._on_running = on_running

    def problems(self, problems: list[Problem]) -> None:
        """One log line for each thing that is wrong with, or doubtful in, the configuration."""
        for problem in problems:
            log.say(_LEVELS[problem.severity], "config", problem.one_line())

    def starting(self, plan: Plan) -> None:
        """A plan is about to run: says loudly when our own log would be taken in."""
        if self._log_file is not None and (warning := own_log_is_tailed(self._log_file, plan)) is not None:
            log.say("WARN", "agent", warning)

    def plan(self, plan: Plan) -> None:
        """A dry run: prints what would be run."""
        print("\n".join(plan_lines(plan)))

    def sample(self, observer: Observer) -> None:
        """Once a second: draws the live lines, and logs a hold-up that lasts, once, and its end."""
        found = observer.hold_ups()
        now_ms = observer.now.at_ms
        for hold_up in found:
            if not hold_up.held_up:
                self._since_ms.pop(hold_up.channel, None)
                if hold_up.channel in self._said:
                    self._said.discard(hold_up.channel)
                    log.say("INFO", "agent", f"{hold_up.channel} is not held up any more")
                continue
            since_ms = self._since_ms.setdefault(hold_up.channel, now_ms)
            if now_ms - since_ms >= HOLD_UP_MS and hold_up.channel not in self._said:
                self._said.add(hold_up.channel)
                log.say("WARN", "agent", hold_up.sentence)
        self._live.draw(observer.before, observer.now, found)
        if self._on_running is not None and all(w.state != State.STARTING for w in observer.now.workers):
            self._on_running()
            self._on_running = None

    def end(self) -> None:
        """The agent stops: takes the live lines away."""
        self._live.close()


def plan_lines(plan: Plan) -> list[str]:
    """A plan for a person: each component, what it is linked to, how many processes, and its properties."""
    lines = [f"agent {plan.agent} of {', '.join(plan.files)} would run:"]
    for source in plan.sources:
        lines += _component("source", source, f"-> {', '.join(source.channels)}", source.workers)
        for interceptor in source.interceptors:
            lines.append(f"    interceptor {interceptor.name} ({interceptor.type})")
        if source.selector.type != "replicating":
            lines.append(f"    selector {source.selector.type}")
    for channel in plan.channels:
        lines += _component("channel", channel, "", 0)
    for group in plan.groups:
        for sink in group.sinks:
            lines += _component("sink", sink, f"<- {sink.channel}", group.workers)
        if group.name is not None:
            names = ", ".join(sink.name for sink in group.sinks)
            lines.append(f"  sink group {group.name} ({group.processor.type}): {names}")
    workers = sum(source.workers for source in plan.sources) + sum(group.workers for group in plan.groups)
    lines.append(f"{workers} worker processes and a supervisor; nothing was started.")
    return lines


def _component(kind: str, component: ComponentPlan, link: str, workers: int) -> list[str]:
    several = f"  {workers} workers" if workers > 1 else ""
    first = f"  {kind} {component.name} ({component.type})  {link}{several}".rstrip()
    return [first, *(f"    {key} = {_shown(key, value)}" for key, value in component.properties.items())]


def _shown(key: str, value: str) -> str:
    from shipper.config.properties import HIDDEN, is_secret  # a dry run alone needs it

    return HIDDEN if is_secret(key) and value else value
