"""The supervisor: starts the workers of an agent, keeps them alive, stops them in order. It touches no data.

::

    load and check the files -> claim the instance -> make the segments -> fork the workers
    loop: signals, log lines of workers, deaths and restarts, requests for numbers, changes of the files
    stop: sources read no more -> sinks empty the lanes (until the deadline) -> files are closed -> the rest is parked

It is one thread around one selector, and it imports nothing of Arrow.

The file is long because everything that can happen to an agent meets here, and one page shows the order of it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from shipper import log
from shipper.config.plan import Plan
from shipper.config.problem import Problem
from shipper.errors import ComponentFailed
from shipper.metrics.block import Entry, Kind, MetricsBlock
from shipper.metrics.observer import Observer
from shipper.ring.wait import Bell
from shipper.units import format_size
from shipper.workers import instance as instances
from shipper.workers import kin, parking
from shipper.workers.control import Control, Order
from shipper.workers.fleet import Fleet, Worker
from shipper.workers.grid import Grid, build
from shipper.workers.ledger_book import Bookkeeper
from shipper.workers.launch import Loaded, OtherBuild, Template
from shipper.workers.meters import Meters
from shipper.workers.monitor import serve
from shipper.workers.spec import ComponentSpec, WorkerSpec

CLEAN, CONFIGURATION, GAVE_UP = 0, 1, 3
#: No exit code: the agent has ended in order, to be started again with the program that lies on the disk now.
_AGAIN = -1
DRAIN_DEADLINE_S = 30.0
_CLOSE_DEADLINE_S = 10.0
_TICK_S = 1.0
_READY_LOOK_S = 0.1


class Command(Protocol):
    """What a person asked for; see `cli/arguments.py`."""

    @property
    def files(self) -> tuple[Path, ...]: ...

    @property
    def agent(self) -> str: ...

    @property
    def system(self) -> Mapping[str, str]: ...

    @property
    def reload(self) -> bool: ...

    @property
    def poll_interval_s(self) -> float: ...

    @property
    def strict(self) -> bool: ...

    @property
    def dry_run(self) -> bool: ...

    @property
    def run_dir(self) -> Path | None: ...

    @property
    def state_dir(self) -> Path | None: ...


class View(Protocol):
    """What shows a person the numbers while the agent runs."""

    def problems(self, problems: list[Problem]) -> None:
        """What is wrong with, or doubtful in, the configuration."""

    def plan(self, plan: Plan) -> None:
        """What a dry run would run."""

    def starting(self, plan: Plan) -> None:
        """A plan is about to run."""

    def sample(self, observer: Observer) -> None:
        """Once a second."""

    def end(self) -> None:
        """The agent stops: clear the live lines."""


def run(command: Command, view: View) -> int:
    """Runs an agent until it is stopped; the exit code.

    Raises:
        ConfigurationError: it can't be run; the message says why.
        ComponentFailed: no room, or another process is in the way.
    """
    instances.raise_descriptor_limit()
    kin.adopt_orphans()
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    os.set_inheritable(write_fd, True)
    template = Template(write_fd)
    try:
        loaded: Loaded | None = _load(command, template, view)
        if loaded is None or loaded.plan is None:
            template.close()
            return CONFIGURATION
        if command.dry_run:
            template.close()
            view.plan(loaded.plan)
            return CLEAN
        instance = instances.find(command.agent, command.files[0], run_dir=command.run_dir, state_dir=command.state_dir)
        instance.claim()
        parking.take_back(instance)
        parking.take_adopted(instance)
    except BaseException:
        template.close()
        _hear_last_words(read_fd)
        raise
    with contextlib.closing(instance):
        supervisor = Supervisor(command, view, instance, read_fd, write_fd)
        used: Template | None = template
        code = CLEAN
        while loaded is not None:
            code, loaded = supervisor.run(loaded, used)
            used = None
    if code == _AGAIN:
        kin.start_again((read_fd, write_fd))
    return code


def _load(command: Command, template: Template, view: View) -> Loaded | None:
    """Reads the files; None when they can't be run. The person is told why."""
    loaded = template.load([str(file) for file in command.files], command.agent, command.system, command.strict)
    view.problems(loaded.problems)
    return loaded if loaded.plan is not None else None


def _hear_last_words(read_fd: int) -> None:
    """Says what a template that died has left in the log pipe: why it died."""
    os.set_blocking(read_fd, False)
    lines = log.WorkerLines("worker")
    with contextlib.suppress(BlockingIOError):
        for level, component, text in lines.feed(os.read(read_fd, 1 << 20)):
            log.say(level, component, text)


class Supervisor:
    """One agent, through as many configurations as its files come to have."""

    def __init__(
        self, command: Command, view: View, instance: instances.Instance, log_read_fd: int, log_write_fd: int
    ) -> None:
        self._command = command
        self._view = view
        self._instance = instance
        self._log_write_fd = log_write_fd
        self._selector = selectors.DefaultSelector()
        self._workers_log = log.WorkerLines("worker")
        os.set_blocking(log_read_fd, False)
        self._selector.register(log_read_fd, selectors.EVENT_READ, lambda: self._hear(log_read_fd))
        self._stop_asked = 0
        self._reload_asked = False
        self._outdated = False
        self._had_terminal = _has_terminal()
        self._signals = _Signals()
        self._selector.register(self._signals.fileno, selectors.EVENT_READ, self._signalled)
        self._file_times = self._times()
        self._next_look_s = time.monotonic() + command.poll_interval_s

    def run(self, loaded: Loaded, template: Template | None) -> tuple[int, Loaded | None]:
        """Runs one configuration to its end: (exit code, the next configuration or None)."""
        plan = loaded.plan
        assert plan is not None
        started_ms = time.time_ns() // 1_000_000
        grid = build(plan, self._instance, poison=bool(os.environ.get("SHIPPER_POISON")))
        self._say_places(grid)
        sinks = [sink.name for group in plan.groups for sink in group.sinks]
        self._books = Bookkeeper(self._instance, self._command.files[0], sinks)
        self._view.starting(plan)
        control = Control.create(self._instance.run_dir / "control")
        members = [member for spec in grid.workers for member in spec.members]
        components = [(spec, found) for spec in members for found in (*spec.sinks, spec.source) if found]
        block = MetricsBlock.create(
            self._instance.run_dir / "metrics", len(components) + len(grid.channels),
            agent=self._command.agent, file=str(self._command.files[0].absolute()), start_ms=started_ms,
        )  # fmt: skip
        fleet = Fleet(self._book(grid, components, block, started_ms), control, self._log_write_fd)
        meters = Meters(grid)
        observer = Observer(block, meters.channels)
        server = serve(self._command.system, plan, loaded.counted, observer, meters.base(), fleet.ready)
        if server is not None:
            self._selector.register(server.fileno(), selectors.EVENT_READ, server.serve)
        try:
            started = fleet.launch(fleet.workers, template)
            self._selector.register(started.fileno, selectors.EVENT_READ, lambda: self._arrived(fleet, started))
            following = self._loop(fleet, observer)
            failing = fleet.failing()
            self._stop(fleet, observer)
        finally:
            fleet.kill()
            self._view.end()
            if server is not None:
                self._selector.unregister(server.fileno())
                server.close()
            meters.close()
            fleet.close()
        self._books.close()
        for name in failing:
            log.say("ERROR", name, "was not running when the agent stopped; see the lines above")
        if self._outdated and not self._stop_asked:
            return _AGAIN, None
        if following is not None:
            parking.remove_if_empty(self._instance, fleet.in_order())  # what waits, waits where it is
            return CLEAN, following
        put_away = parking.put_away(self._instance, self._command.files[0], fleet.in_order())
        log.pass_on("INFO", "agent", f"{self._command.agent} has stopped")
        return (GAVE_UP if failing or not put_away else CLEAN), None

    # --- the loop

    def _loop(self, fleet: Fleet, observer: Observer) -> Loaded | None:
        """Until somebody wants it to stop; the next configuration when that is why."""
        ticked_s = time.monotonic()
        announced = False
        while not (self._stop_asked or self._outdated):
            self._step(fleet, min(_TICK_S if announced else _READY_LOOK_S, self._until_due(fleet)))
            if fleet.outdated:
                self._say_outdated()
            if not announced and fleet.ready():
                announced = True
                log.pass_on("INFO", "agent", f"{self._command.agent} is running")
            now_s = time.monotonic()
            if now_s - ticked_s >= _TICK_S:
                ticked_s = now_s
                self._tick(observer)
            if (self._reload_asked or (self._command.reload and now_s >= self._next_look_s)) and (
                following := self._look_at_files()
            ):
                return following
        return None

    def _step(self, fleet: Fleet, timeout_s: float) -> None:
        for key, _ in self._selector.select(max(timeout_s, 0)):
            key.data()
        fleet.reap()
        if due := [] if fleet.stopping else fleet.due():
            try:
                template = fleet.launch(due)
            except ComponentFailed as problem:
                fleet.postpone(due, problem)
            else:
                self._selector.register(template.fileno, selectors.EVENT_READ, lambda: self._arrived(fleet, template))

    def _arrived(self, fleet: Fleet, template: Template) -> None:
        self._selector.unregister(template.fileno)
        fleet.arrived(template)

    def _tick(self, observer: Observer) -> None:
        observer.tick()
        self._books.tick()
        self._view.sample(observer)
        if not self._instance.run_dir.exists():
            log.say(
                "ERROR",
                "agent",
                f"{self._instance.run_dir} was removed while the agent runs: the workers go on with what they have "
                f"open, but none can be started again; stop the agent and start it anew",
            )
        log.tick()

    @staticmethod
    def _until_due(fleet: Fleet) -> float:
        due_s = fleet.next_due_s()
        return _TICK_S if due_s is None else due_s - time.monotonic()

    # --- the stop

    def _stop(self, fleet: Fleet, observer: Observer) -> None:
        """Sources stop, sinks drain until the deadline, files are closed; a second signal shortens all of it."""
        asked = self._stop_asked
        began_s = time.monotonic()
        log.pass_on("INFO", "agent", "stopping: sources read no more, sinks empty the channels")
        fleet.give_order(Order.STOP, "source")

        def wait_for(kind: str | None, deadline_s: float) -> bool:
            ticked_s = time.monotonic()
            while fleet.alive(kind):
                now_s = time.monotonic()
                if now_s >= deadline_s or self._stop_asked > max(asked, 1):
                    return False
                self._step(fleet, min(deadline_s - now_s, 0.1))
                if now_s - ticked_s >= _TICK_S:
                    ticked_s = now_s
                    self._tick(observer)
            return True

        deadline_s = began_s + DRAIN_DEADLINE_S
        if not wait_for("source", deadline_s):
            fleet.give_order(Order.NOW, "source")
        fleet.give_order(Order.STOP, "sink")
        if not wait_for(None, deadline_s):
            log.say("WARN", "agent", "the channels are not empty yet; ending all the same, what is left stays in them")
            fleet.give_order(Order.NOW)
            asked = self._stop_asked
            if not wait_for(None, time.monotonic() + _CLOSE_DEADLINE_S):
                names = ", ".join(worker.spec.label for worker in fleet.alive())
                log.say("ERROR", "agent", f"{names} did not end in time and is killed; nothing in a channel is lost")
                fleet.kill()
                wait_for(None, time.monotonic() + _CLOSE_DEADLINE_S)

    # --- what happens to it

    def _signalled(self) -> None:
        for number in self._signals.read():
            if number in (signal.SIGINT, signal.SIGTERM) or (number == signal.SIGHUP and self._lost_terminal()):
                self._stop_asked += 1
            elif number == signal.SIGHUP:
                self._reload_asked = True

    def _lost_terminal(self) -> bool:
        """True when the terminal that the agent was started from is gone: its last word means stop, not reload."""
        return self._had_terminal and not _has_terminal()

    def _hear(self, fd: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(fd, 65536):
                for level, component, text in self._workers_log.feed(data):
                    log.say(level, component, text)

    def _times(self) -> dict[Path, int]:
        found = {}
        for file in self._command.files:
            with contextlib.suppress(OSError):
                found[file] = file.stat().st_mtime_ns
        return found

    def _look_at_files(self) -> Loaded | None:
        """The new configuration when the files changed and hold a good one. The whole agent restarts with it."""
        self._next_look_s = time.monotonic() + self._command.poll_interval_s
        asked, self._reload_asked = self._reload_asked, False
        times = self._times()
        if times == self._file_times and not asked:
            return None
        self._file_times = times
        template = Template(self._log_write_fd)
        try:
            loaded = _load(self._command, template, self._view)
        except OtherBuild as problem:
            log.say("WARN", "agent", str(problem))
            self._say_outdated()
            return None
        finally:
            template.close()
        if loaded is None:
            log.say("ERROR", "agent", "the changed configuration can't be run; the agent goes on with the one before")
            return None
        log.pass_on("INFO", "agent", "the configuration has changed: restarting with the new one")
        return loaded

    def _say_outdated(self) -> None:
        self._outdated = True
        log.pass_on("WARN", "agent", "this process is of an older build than its workers would be: restarting in order")

    # --- what it says

    def _say_places(self, grid: Grid) -> None:
        run, state = self._instance.run_place, self._instance.state_place
        log.say(
            "INFO", "agent", f"channels lie in {self._instance.run_dir} ({run.reason}); removed by {run.removed_by}"
        )
        log.say("INFO", "agent", f"state lies in {self._instance.state_dir} ({state.reason})")
        if not instances.is_memory(self._instance.run_dir):
            log.say("WARN", "agent", f"{run.path} is not in memory (tmpfs): rings on a disk are slow; see run.dir")
        ring_bytes = sum(record.path.stat().st_size for record in grid.lanes)
        lanes = "1 lane" if len(grid.lanes) == 1 else f"{len(grid.lanes)} lanes"
        log.say("INFO", "agent", f"{lanes}, {format_size(ring_bytes)} of shared memory")

    def _book(
        self, grid: Grid, components: list[tuple[WorkerSpec, ComponentSpec]], block: MetricsBlock, started_ms: int
    ) -> list[Worker]:
        """Describes every entry of the metrics block, and opens the books of every worker."""
        entries = iter(block.entries)
        books: dict[int, list[Entry]] = {spec.line: [] for spec in grid.workers}
        indices: dict[int, list[int]] = {spec.line: [] for spec in grid.workers}
        for index, (spec, found) in enumerate(components):
            entry = next(entries)
            kind = Kind.SINK if spec.kind == "sink" else Kind.SOURCE
            linked = [spec.channel] if spec.kind == "sink" else [channel.name for channel in spec.channels]
            entry.describe(kind, found.name, found.type, spec.index, linked, started_ms)
            books[spec.line].append(entry)
            indices[spec.line].append(index)
        for name in grid.channels:
            next(entries).describe(Kind.CHANNEL, name, "memory", start_ms=started_ms)
        return [
            Worker(spec.with_metrics(indices[spec.line]), tuple(books[spec.line]), Bell(Path(spec.bell)))
            for spec in grid.workers
        ]


class _Signals:
    """Signals as bytes in a pipe, so that one selector hears everything."""

    def __init__(self) -> None:
        self.fileno, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # ignored: nohup said so
                signal.signal(number, lambda *_: None)

    def read(self) -> bytes:
        """Numbers of the signals since the last call."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self.fileno, 4096)
        return b""


def _has_terminal() -> bool:
    """True when this process has a terminal. One that was closed can't be opened any more."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
