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
import shlex
import time
from collections.abc import Callable, Sequence

from shipper import log
from shipper.errors import ComponentFailed, ConfigurationError
from shipper.instance import instance as instances
from shipper.instance import machine, moved, owners, parking
from shipper.instance.holdings import holdings
from shipper.instance.notices import Notices
from shipper.metrics.health import Level, findings
from shipper.supervisor.ending import Waiting, end_all, end_some
from shipper.supervisor.fleet import TEMPLATE_RETRY_S, Fleet, Worker
from shipper.supervisor.hearing import Hearing
from shipper.supervisor.launch import Killed, Loaded, OtherBuild, Template
from shipper.supervisor.person import Command, View
from shipper.supervisor.reload import difference, restart_needed
from shipper.supervisor.running import Running, is_poisoned
from shipper.supervisor.service import Service
from shipper.supervisor.signals import Signals
from shipper.supervisor.watched import WatchedFiles
from shipper.units import format_size
from shipper.workers import heap, kin
from shipper.workers.grid import build

CLEAN, CONFIGURATION, GAVE_UP = 0, 1, 3
#: No exit code: the agent has ended in order, to be started again with the program that lies on the disk now.
_AGAIN = -1
_TICK_S = 1.0
_READY_LOOK_S = 0.1
_STATUS_EVERY_S = 10.0
#: At a start: if so many templates are killed one after the other, it is not for a moment.
_FIRST_TEMPLATES_MOST = 5


def run(command: Command, view: View) -> int:
    """Runs an agent until it is stopped; the exit code.

    Raises:
        ConfigurationError: it can't be run; the message says why.
        ComponentFailed: no room, or another process is in the way.
    """
    machine.set_limits()
    kin.adopt_orphans()
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    os.set_inheritable(write_fd, True)
    template, first = _loaded_at_start(command, view, read_fd, write_fd)
    loaded: Loaded | None = first
    try:
        if first.plan is None:
            template.close()
            return CONFIGURATION
        if command.dry_run:
            template.close()
            view.plan(first.plan)
            return CLEAN
        instance = instances.find(
            command.agent, command.files[0], run_dir=command.run_dir, state_dir=command.state_dir, system=command.system
        )
        moved.follow(instance, command.files[0])
        owners.refuse_anothers(instance, command.files[0])
        instance.claim()
        survived = holdings(instance.run_dir) if (instance.run_dir / "channels").is_dir() else ()
        if parking.take_back(instance) is None:
            parking.say_survived(survived)
        parking.take_adopted(instance)
        moved.say_left(instance, command.files[0], _places_given(command))
    except BaseException:
        template.close()
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


def _loaded_at_start(command: Command, view: View, log_read_fd: int, log_write_fd: int) -> tuple[Template, Loaded]:
    """A template, and what it read. Where one is killed, as the kernel does when memory is short, another one tries.

    Raises:
        ConfigurationError, ComponentFailed: no template could read the files; one that ends by itself has its reasons,
            and would have them again.
    """
    killed = 0
    while True:
        template = Template(log_write_fd)
        try:
            return template, _load(command, template, view)
        except BaseException as problem:
            template.close()
            Hearing(log_read_fd).hear_out()  # it may have said why
            killed += 1
            if not isinstance(problem, Killed) or killed == _FIRST_TEMPLATES_MOST:
                raise
            log.say("ERROR", "agent", f"{problem}; it is tried again in {TEMPLATE_RETRY_S:.0f} s")
        time.sleep(TEMPLATE_RETRY_S)


def _load(command: Command, template: Template, view: View) -> Loaded:
    """Reads the files; without a plan when they can't be run. The person is told why."""
    loaded = template.load([str(file) for file in command.files], command.agent, command.system, command.strict)
    view.problems(loaded.problems)
    return loaded


def _places_given(command: Command) -> str:
    """The options that say where the agent's directories lie, for commands that a person is to run."""
    given = {"--run-dir": command.run_dir, "--state-dir": command.state_dir}
    return "".join(f" {option} {shlex.quote(str(path))}" for option, path in given.items() if path is not None)


class _ToldToStop(Exception):
    """All of the agent is to stop, while some of it was about to end."""


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
        self._hearing = Hearing(log_read_fd)
        self._selector.register(log_read_fd, selectors.EVENT_READ, self._hearing.hear)
        self._stop_asked = 0
        self._outdated = self._hanging = False
        self._signals = Signals()
        self._selector.register(self._signals.fileno, selectors.EVENT_READ, self._signalled)
        self._files = WatchedFiles(command.files, command.poll_interval_s, command.reload)
        self._service = Service()
        self._notices = Notices(instance.run_dir, instance.state_dir)
        self._ticked_s = self._status_s = 0.0

    def run(self, loaded: Loaded, template: Template | None) -> tuple[int, Loaded | None]:
        """Runs one configuration to its end: (exit code, the next configuration or None)."""
        running = Running(loaded, self._instance, self._command.files[0], self._command.system, self._log_write_fd)
        fleet, server = running.fleet, running.monitor.server
        self._say_places(running)
        self._view.starting(running.plan)
        if server is not None:
            self._selector.register(server.fileno(), selectors.EVENT_READ, server.serve)
        try:
            self._launch(fleet, fleet.workers, template)
            following = self._loop(running)
            if killed := fleet.killed():  # what waits for them, or in them, is to leave with the rest
                self._launch(fleet, killed)
            failing = fleet.failing()
            self._service.stopping()
            log.pass_on("INFO", "agent", "stopping: sources read no more, sinks empty the channels")
            as_told = end_all(fleet, self._waiting(running, max(self._stop_asked, 1)), self._command.stop_deadline_s)
            in_logs = running.meters.in_logs()
        finally:
            self._view.end()
            if server is not None:
                self._selector.unregister(server.fileno())
            running.close()
            self._hearing.hear_out()
        running.books.close()
        # One that was being started again when the stop came has had its try since.
        failing = list(dict.fromkeys((*failing, *fleet.gave_up())))
        for name in failing:
            log.say("ERROR", name, "was not running when the agent stopped; see the lines above")
        if self._outdated and not self._stop_asked:
            return _AGAIN, None
        if following is not None:
            parking.remove_if_empty(self._instance, fleet.in_order())  # what waits, waits where it is
            return CLEAN, following
        self._notices.remove()
        for name, events in in_logs.items():
            if events:
                log.say("INFO", name, f"{events} events wait in its log on disk; the next start goes on with them")
        put_away = parking.put_away(self._instance, self._command.files[0], fleet.in_order())
        log.pass_on("INFO", "agent", f"{self._command.agent} has stopped")
        return (GAVE_UP if failing or not as_told or not put_away else CLEAN), None

    # --- the loop

    def _loop(self, running: Running) -> Loaded | None:
        """Until somebody wants it to stop; the next configuration when all of the agent has to start again for it."""
        fleet = running.fleet
        announced = told = False
        while not (self._stop_asked or self._outdated):
            self._step(running, min(_TICK_S if announced else _READY_LOOK_S, self._until_due(fleet)))
            # Not in each step: a reload takes steps too, and those that have ended there may be about to start again.
            running.sweep()
            if fleet.outdated:
                self._say_outdated()
            if not announced and fleet.ready():
                announced = True
                heap.tidy()
                log.pass_on("INFO", "agent", f"{self._command.agent} is running")
            if not told and (announced or fleet.has_tried()):
                told = True
                self._service.ready()
            if self._files.wanted() and (following := self._reload(running)):
                return following
        return None

    def _step(self, running: Running, timeout_s: float) -> None:
        fleet = running.fleet
        for key, _ in self._selector.select(max(timeout_s, 0)):
            key.data()
        fleet.reap()
        if due := [] if fleet.stopping else fleet.due():
            self._launch(fleet, due)
        if time.monotonic() - self._ticked_s >= _TICK_S:
            self._ticked_s = time.monotonic()
            self._tick(running)

    def _launch(self, fleet: Fleet, workers: Sequence[Worker], template: Template | None = None) -> None:
        try:
            started = fleet.launch(workers, template)
        except ComponentFailed as problem:
            fleet.postpone(workers, problem)
        else:
            self._selector.register(started.fileno, selectors.EVENT_READ, lambda: self._arrived(fleet, started))

    def _arrived(self, fleet: Fleet, template: Template) -> None:
        self._selector.unregister(template.fileno)
        fleet.arrived(template)

    def _tick(self, running: Running) -> None:
        running.fleet.press()
        running.observer.tick()
        emptying = any(worker.leaving for worker in running.fleet.workers)
        self._notices.look(running.grid.channels, None if emptying else running.grid.checkpoints())
        self._tell_service(running)
        running.books.tick()
        if (server := running.monitor.server) is not None:
            server.serve()  # for its time-outs
        self._view.sample(running.observer)
        self._look_at_places(running)
        log.tick()

    def _look_at_places(self, running: Running) -> None:
        run_dir, state_dir = self._instance.run_dir, self._instance.state_dir
        if not run_dir.exists():
            log.say(
                "ERROR", "agent", f"{run_dir} was removed while the agent runs: the workers go on with what they have "
                f"open, but none can be started again; stop the agent and start it anew",
            )  # fmt: skip
        wrong = [f"the ledger can't be read: {sentence}" for sentence in running.books.damaged]
        if not (state_dir / "lock").exists():
            gone = (
                f"{state_dir} was removed while the agent runs: positions, journals and the ledger are not kept any "
                f"more, and the next start may deliver again what was delivered. If it was moved away, stop the agent, "
                f"move it back and start it; else let the channels run empty, stop the agent and start it anew"
            )
            log.say("ERROR", "agent", gone)
            wrong.append(gone)
        self._notices.state(wrong)

    @staticmethod
    def _until_due(fleet: Fleet) -> float:
        due_s = fleet.next_due_s()
        return _TICK_S if due_s is None else due_s - time.monotonic()

    def _tell_service(self, running: Running) -> None:
        """A sign of life when nothing hangs, and now and then a line for `systemctl status`."""
        now = running.observer.now
        if self._service.sign_is_due:
            hanging = [finding.sentence for finding in findings(now) if finding.level == Level.DEAD]
            if not hanging:
                self._service.alive()
            elif not self._hanging:
                log.say("ERROR", "agent", f"{hanging[0]}: until it goes on, the service manager gets no sign of life")
            self._hanging = bool(hanging)
        if time.monotonic() - self._status_s >= _STATUS_EVERY_S:
            self._status_s = time.monotonic()
            wrong = [finding.sentence for finding in findings(now)]
            held = ", ".join(f"{name} holds {numbers['size']} events" for name, numbers in now.channels.items())
            self._service.status("; ".join(wrong) or f"running; {held}")

    def _waiting(self, running: Running, signals: int, told: type[Exception] | None = None) -> Waiting:
        """A way to wait while the loop goes on, until somebody signals more often than that.

        Args:
            told: raised then.
        """

        def wait(alive: Callable[[], object], seconds: float, *, patiently: bool = False) -> bool:
            most = max(self._stop_asked, signals) if patiently else signals
            deadline_s = time.monotonic() + seconds
            while alive():
                left_s = deadline_s - time.monotonic()
                if self._stop_asked > most and told is not None:
                    raise told
                if left_s <= 0 or self._stop_asked > most:
                    return False
                self._step(running, min(left_s, 0.1))
            return True

        return wait

    # --- another configuration

    def _reload(self, running: Running) -> Loaded | None:
        """Reads the files and changes what they want changed; the configuration when that can't be done live."""
        loaded = self._read_again()
        if loaded is None or loaded.plan is None:
            return None
        reason = restart_needed(running.plan, loaded.plan)
        if not reason:
            try:
                grid = build(loaded.plan, self._instance, poison=is_poisoned(), live=True)
            except (ConfigurationError, ComponentFailed, OSError) as problem:
                log.say("ERROR", "config", str(problem))
                self._refuse([str(problem)])
                return None
            change = difference(running.fleet.workers, running.plan, grid, loaded.plan)
            if not running.has_room_for(grid, change):
                reason = "it has so many more components"
        if reason:
            log.pass_on(
                "INFO", "agent", f"the configuration has changed: restarting with the new one, because {reason}"
            )
            return loaded
        self._notices.taken()
        if change.is_nothing:
            log.pass_on("INFO", "agent", "the files were read again: nothing changes, all workers go on")
            return None
        log.pass_on("INFO", "agent", f"the configuration has changed: {change}")
        self._service.reloading()
        wait = self._waiting(running, 0, _ToldToStop)
        try:
            end_some(running.fleet, change, wait, self._command.stop_deadline_s)
        except _ToldToStop:
            return None
        begins = running.follow(loaded, grid, change)
        self._notices.changed()  # looks in the wait before were at the configuration that ended
        if begins:
            self._launch(running.fleet, begins)
        self._view.starting(loaded.plan)
        self._service.ready()
        log.pass_on("INFO", "agent", f"{self._command.agent} runs the new configuration")
        return None

    def _read_again(self) -> Loaded | None:
        """What the files say now; None when it can't be run, or is not whole yet. The person is told why."""
        try:
            with contextlib.closing(Template(self._log_write_fd)) as template:
                loaded = _load(self._command, template, self._view)
        except OtherBuild as problem:
            log.say("WARN", "agent", str(problem))
            self._say_outdated()
            return None
        except ComponentFailed as problem:
            log.say("ERROR", "agent", f"the changed configuration can't be read now: {problem}")
            self._files.again()
            return None
        if self._files.changed_meanwhile():
            return None
        if loaded.plan is None:
            self._refuse([problem.one_line() for problem in loaded.problems if problem.severity == "error"])
            return None
        return loaded

    def _refuse(self, why: Sequence[str]) -> None:
        self._files.refused()
        self._notices.refused(why)
        log.say("ERROR", "agent", "the changed configuration can't be run; the agent goes on with the one before")

    # --- what happens to it

    def _signalled(self) -> None:
        stops, reload = self._signals.read()
        self._stop_asked += stops
        if reload:
            self._files.ask()

    def _say_outdated(self) -> None:
        self._outdated = True
        log.pass_on("WARN", "agent", "this process is of an older build than its workers would be: restarting in order")

    def _say_places(self, running: Running) -> None:
        run, state = self._instance.run_place, self._instance.state_place
        log.say(
            "INFO", "agent", f"channels lie in {self._instance.run_dir} ({run.reason}); removed by {run.removed_by}"
        )
        log.say("INFO", "agent", f"state lies in {self._instance.state_dir} ({state.reason})")
        if not machine.is_memory(self._instance.run_dir):
            log.say("WARN", "agent", f"{run.path} is not in memory (tmpfs): rings on a disk are slow; see --run-dir")
        records = running.grid.lanes
        ring_bytes = sum(record.path.stat().st_size for record in records)
        lanes = "1 lane" if len(records) == 1 else f"{len(records)} lanes"
        log.say("INFO", "agent", f"{lanes}, {format_size(ring_bytes)} of shared memory")
