"""A worker process, from its fork to its exit: who its parent is, what it runs, how it ends.

It is forked by the template and belongs to the supervisor as soon as the template has exited. It ignores the signals
that a terminal or a service manager sends to everybody: it stops at the supervisor's word. It dies with the
supervisor, at whatever instruction it is: a killed worker leaves nothing to repair.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from shipper import log
from shipper.errors import ShipperError
from shipper.metrics.block import Entry, MetricsBlock, State
from shipper.metrics.counters import Counters
from shipper.metrics.writer_entry import WriterEntry
from shipper.ring.wait import BUSY_SLEEP_S
from shipper.workers import assemble, heap, logs, shared_worker, sink_worker, source_worker
from shipper.workers.control import Control, Phase
from shipper.workers.departed import settle as settle_departed
from shipper.workers.duty import Duty
from shipper.workers.kin import FINISHED, GAVE_UP, STOPPED, be_deaf, call_oneself
from shipper.workers.orphans import remember
from shipper.workers.spec import WorkerSpec


def main(spec: WorkerSpec) -> int:
    """Runs the worker; its exit code. Errors of the world are one log line, ours have a traceback in the log."""
    be_deaf()
    call_oneself(f"shipper {spec.label}")
    run_dir = Path(spec.common.run_dir)
    try:
        control = Control.open(run_dir / "control")
        block = MetricsBlock.open(run_dir / "metrics")
    except FileNotFoundError:
        log.say("ERROR", spec.label, f"{run_dir} was removed while the agent was running, and the channels with it: "
                "stop the agent and start it again")  # fmt: skip
        log.flush()
        return GAVE_UP
    components = [component for member in spec.members for component in (*member.sinks, member.source) if component]
    entries = {c.name: block.entries[c.metrics] for c in components}
    alone: Entry | WriterEntry | _Nobody
    if spec.kind == "channel":
        alone = WriterEntry(block, spec.channel)
    else:
        alone = next(iter(entries.values())) if entries and not spec.shares else _Nobody()
    duty = Duty(control, spec.line, alone, Path(spec.bell))
    try:
        if not _logs_open(spec, duty):
            code = STOPPED
        elif spec.kind == "channel":
            code = _run_writer(spec, duty)
        elif spec.kind == "sink":
            code = _run_sink(spec, entries, duty)
        else:
            code = (_run_shared if spec.shares else _run_source)(spec, entries, duty)
    except ShipperError as problem:
        log.say("ERROR", spec.label, str(problem))
        code = _failed(duty, entries, str(problem))
    except Exception as problem:
        log.defect(spec.label, problem)
        code = _failed(duty, entries, f"{type(problem).__name__}: {problem}")
    log.flush()
    return code


def _run_source(spec: WorkerSpec, entries: dict[str, Entry], duty: Duty) -> int:
    entry = next(iter(entries.values()))
    parts = assemble.source_parts(spec, entry, duty, _sayer(spec))
    _listen_to_libraries(spec)
    with contextlib.closing(parts):
        parts.source.open(parts.context)
        heap.tidy()
        finished = source_worker.run(parts.source, parts.ingest, parts.positions, duty)
    entry.state(State.STOPPING)
    duty.phase(Phase.FINISHED if finished else Phase.ENDED)
    duty.close()
    return FINISHED if finished else STOPPED


def _run_shared(spec: WorkerSpec, entries: dict[str, Entry], duty: Duty) -> int:
    _listen_to_libraries(spec)
    members = [shared_worker.Member(share, entries[share.name], duty) for share in spec.shares]
    with _closing(*members):
        finished = shared_worker.run(members, duty)
    duty.phase(Phase.FINISHED if finished else Phase.ENDED)
    duty.close()
    return FINISHED if finished else STOPPED


class _Nobody:
    """The entry of a worker whose sources have entries of their own: its time accounts go nowhere."""

    def __init__(self) -> None:
        self.counters = Counters.private()

    def waits_for(self, text: str) -> None:
        """Nobody asks."""

    def trouble(self, text: str) -> None:
        """Nobody asks."""


def _run_sink(spec: WorkerSpec, entries: dict[str, Entry], duty: Duty) -> int:
    parts = assemble.sink_parts(spec, entries, _sayer(spec))
    _listen_to_libraries(spec)
    settle_departed(spec, _sayer(spec))
    # Dying before this: no journal of this configuration is there yet, and what was there is settled.
    remember(spec)
    # The lanes that the dead worker held stay closed to others until every sink has settled its target.
    sinks = parts.sinks.values()
    with _closing(*sinks, parts):
        for name, sink in parts.sinks.items():
            sink.open(parts.contexts[name])
        parts.side.settle()
        delivery, head = assemble.delivery(parts, spec, entries, duty, _sayer(spec))
        heap.tidy()
        sink_worker.run(delivery, parts.side, head, duty)
        for sink in sinks:
            sink.releasing()
            sink.close()
        head.end(duty.at_once)
        parts.side.let_go(lambda: None)
    for entry in entries.values():
        entry.state(State.STOPPING)
    duty.phase(Phase.ENDED)
    duty.close()
    return STOPPED


def _run_writer(spec: WorkerSpec, duty: Duty) -> int:
    from shipper.workers import channel_writer  # the template has it already when an agent has such a worker

    channel_writer.run(spec, duty, _sayer(spec))
    duty.phase(Phase.ENDED)
    duty.close()
    return STOPPED


def _logs_open(spec: WorkerSpec, duty: Duty) -> bool:
    """Waits until the logs that a worker needs were opened by their writers; False when the agent stops before that.

    Sources that share a worker wait each for its own, by turns.
    """
    while not spec.shares and not logs.are_open(spec):
        if duty.stopping():
            duty.phase(Phase.ENDED)
            return False
        duty.wait(BUSY_SLEEP_S)
    return True


def _failed(duty: Duty, entries: dict[str, Entry], problem: str) -> int:
    for entry in entries.values():
        entry.state(State.FAILED, problem)
    duty.waits_for(problem)
    duty.phase(Phase.FAILED)
    return GAVE_UP


def _sayer(spec: WorkerSpec) -> assemble.Say:
    def say(level: str, line: str) -> None:
        log.say(level, spec.label, line)

    return say


def _listen_to_libraries(spec: WorkerSpec) -> None:
    if "logging" in sys.modules:  # else nobody here could say anything with it
        from shipper.workers.library_log import listen

        listen(spec.label)


@contextlib.contextmanager
def _closing(*parts: object) -> Iterator[None]:
    """Closes everything at the end, in order, each even when the one before failed; the first error is raised."""
    with contextlib.ExitStack() as stack:
        for part in reversed(parts):
            stack.callback(part.close)  # type: ignore[attr-defined]
        yield
