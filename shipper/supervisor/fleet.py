"""The fleet: all worker processes of a grid, their births, deaths, and restarts with back-off.

It only keeps the books and gives orders; the supervisor's loop tells it what happened. The file is long because
everything that can become of a worker is booked in one place.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shipper import log
from shipper.errors import ComponentFailed
from shipper.instance.handover import hand_over, hand_over_log, note_of
from shipper.instance.letters import settle_letters
from shipper.metrics.block import Entry, State
from shipper.metrics.writer_entry import WriterEntry
from shipper.ring.wait import Bell
from shipper.supervisor.launch import OtherBuild, Template
from shipper.workers.control import Control, Order, Phase
from shipper.workers.kin import FINISHED, GAVE_UP, STOPPED
from shipper.workers.spec import WorkerSpec

_BACKOFF_MOST_S = 30.0
_STEADY_S = 60.0
_SETTLES_MOST = 3
#: Between two templates, when the first could not give birth.
TEMPLATE_RETRY_S = 3.0
#: How long a worker that is to end at once may take to close its files.
PATIENCE_S = 10.0


@dataclass(eq=False)
class Worker:
    """One line of the books.

    Attributes:
        pid: 0 while no process runs.
        failures: deaths in a row; forgotten after a minute of life.
        due_s: when it is to be started again (monotonic), 0 when it runs or shall not.
        over: True when it is not started again.
        gave_up: True when its last process ended because it could not go on.
        in_order: True when its last process ended as it should: what it read and wrote needs no segment any more.
        leaving: True when it was told to end while the agent goes on.
        patience_s: of one that leaves, when it gets the next word (monotonic); 0 when somebody else waits for it.
        writes: what the writer of a channel says, None for all others.
    """

    spec: WorkerSpec
    entries: tuple[Entry, ...]
    bell: Bell
    pid: int = 0
    born_s: float = 0.0
    failures: int = 0
    due_s: float = 0.0
    over: bool = False
    gave_up: bool = False
    in_order: bool = False
    leaving: bool = False
    patience_s: float = 0.0
    writes: WriterEntry | None = None


class Fleet:
    """The workers of one grid.

    Args:
        workers: books, one a worker.
        control: the page through which orders go.
        log_fd: where workers write their log lines.

    Attributes:
        outdated: True when a worker could not be started because its program is another build than this process.
    """

    def __init__(self, workers: Sequence[Worker], control: Control, log_fd: int) -> None:
        self.workers = tuple(workers)
        self._all_in_order = True  # of those that have left
        self._control = control
        self._log_fd = log_fd
        self._launches: dict[Template, list[Worker]] = {}
        self._strangers: dict[int, int] = {}
        self.stopping = False
        self.outdated = False

    def launch(self, workers: Sequence[Worker], template: Template | None = None) -> Template:
        """Asks a template for workers; `arrived` takes its answer when its descriptor is readable."""
        template = template or Template(self._log_fd)
        for worker in workers:
            worker.due_s = 0.0
            self._control.set_phase(worker.spec.line, Phase.STARTING)
        template.ask_for([worker.spec for worker in workers])
        self._launches[template] = list(workers)
        return template

    def postpone(self, workers: Sequence[Worker], problem: ComponentFailed) -> None:
        """Plans another try for workers that no template could give birth to."""
        log.say("ERROR", "agent", f"{problem}; it is tried again in {TEMPLATE_RETRY_S:.0f} s")
        for worker in workers:
            worker.due_s = 0.0 if worker.leaving else time.monotonic() + TEMPLATE_RETRY_S

    def arrived(self, template: Template) -> None:
        """Books the processes that a template has forked."""
        workers = self._launches.pop(template)
        now_s, now_ms = time.monotonic(), time.time_ns() // 1_000_000
        try:
            pids = template.pids()
        except OtherBuild as problem:
            template.close()
            log.say("WARN", "agent", str(problem))
            self.outdated = True
            return
        except ComponentFailed as problem:
            template.close()
            self.postpone(workers, problem)
            return
        for worker, pid in zip(workers, pids, strict=True):
            again = worker.born_s > 0
            worker.pid, worker.born_s, worker.over, worker.in_order = pid, now_s, worker.leaving, False
            for entry in worker.entries:
                entry.runs(pid, now_ms, again)
        template.close()
        for worker in workers:
            if worker.pid in self._strangers:  # dead before this process knew of it
                self._died(worker, self._strangers[worker.pid])
        self._strangers.clear()

    def reap(self) -> None:
        """Books the deaths since the last call, and plans restarts. Children of dead workers are reaped too."""
        by_pid = {worker.pid: worker for worker in self.workers if worker.pid}
        launching = {template.pid for template in self._launches}
        while True:
            # Look first: a template's own status belongs to the object that started it.
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None or found.si_pid in launching:
                return
            with contextlib.suppress(ChildProcessError):
                _, status = os.waitpid(found.si_pid, os.WNOHANG)
                code = os.waitstatus_to_exitcode(status)
                if (worker := by_pid.get(found.si_pid)) is not None:
                    self._died(worker, code)
                elif launching:  # whose it is, the template's answer will say, if there is one
                    self._strangers[found.si_pid] = code

    def due(self) -> list[Worker]:
        """Workers whose restart is due."""
        now_s = time.monotonic()
        return [w for w in self.workers if w.due_s and w.due_s <= now_s]

    def killed(self) -> list[Worker]:
        """Workers that were killed and wait for their restart: not those that could not go on."""
        return [w for w in self.workers if w.due_s and not w.gave_up]

    def next_due_s(self) -> float | None:
        """When the next restart is due (monotonic); None when none is planned."""
        return min((w.due_s for w in self.workers if w.due_s), default=None)

    def give_order(self, order: Order, kind: str | None = None, workers: Iterable[Worker] | None = None) -> None:
        """Tells all workers (of a kind, or of these) what to do, and wakes them."""
        if order != Order.RUN:
            self.stopping = True
        for worker in self.workers if workers is None else workers:
            if kind in (None, worker.spec.kind):
                self._control.give_order(worker.spec.line, order)
                worker.bell.ring()

    def dismiss(self, workers: Sequence[Worker], order: Order, patience_s: float = 0.0) -> None:
        """Tells some workers to end while the agent goes on: they are not started again.

        Args:
            patience_s: after so long `press` tells them again, or kills them; 0 = that is the caller's business.
        """
        for worker in workers:
            worker.leaving, worker.due_s, worker.over = True, 0.0, True
            worker.patience_s = time.monotonic() + patience_s if patience_s else 0.0
            self._control.give_order(worker.spec.line, order)
            worker.bell.ring()

    def press(self) -> None:
        """Shortens the stay of those whose patience is over: first they are to end at once, then they are killed."""
        now_s = time.monotonic()
        for worker in self.workers:
            if not (worker.leaving and worker.pid and worker.patience_s and worker.patience_s <= now_s):
                continue
            if self._control.order(worker.spec.line) == Order.STOP:
                log.say("WARN", worker.spec.label, "its channel is not empty yet; what is left stays in it")
                self.dismiss([worker], Order.NOW, PATIENCE_S)
            else:
                log.say("ERROR", worker.spec.label, "did not end in time and is killed; nothing in a channel is lost")
                self.kill([worker])

    def part(self, workers: Sequence[Worker], successors: Sequence[Worker] = ()) -> None:
        """Closes the books of workers that have left, and opens those of others that are about to be launched."""
        bells = {worker.spec.bell for worker in successors}
        for worker in workers:
            worker.bell.close()
            # What a killed worker had committed must be found by its next one, and there may never be one.
            alone = worker.spec.bell not in bells
            self._all_in_order = self._all_in_order and (worker.in_order or not worker.born_s or not alone)
        for worker in successors:
            self._control.give_order(worker.spec.line, Order.RUN)
        self.workers = tuple(worker for worker in self.workers if worker not in workers) + tuple(successors)

    def alive(self, kind: str | None = None) -> list[Worker]:
        """Workers that have a process, or are about to get one."""
        born = [worker for workers in self._launches.values() for worker in workers]
        return [w for w in self.workers if kind in (None, w.spec.kind) and (w.pid or w in born)]

    def writing(self) -> list[Worker]:
        """Writers of logs that have not emptied their lanes yet."""
        return [w for w in self.alive("channel") if self._control.phase(w.spec.line) in (Phase.STARTING, Phase.READY)]

    def failing(self) -> list[str]:
        """Names of workers that died and wait for their restart, and of sources that wait for it inside a worker."""
        alive = self.alive()
        dead = [w.spec.label for w in self.workers if w not in alive and not w.over and w.failures]
        shared = [entry.sample() for w in self.workers if w.pid and w.spec.shares for entry in w.entries]
        return dead + [sample.name for sample in shared if sample.state == State.FAILED]

    def gave_up(self) -> list[str]:
        """Names of workers whose last process could not go on."""
        return [worker.spec.label for worker in self.workers if worker.gave_up and not worker.pid]

    def in_order(self) -> bool:
        """True when every worker has ended as it should."""
        return self._all_in_order and all(worker.in_order for worker in self.workers)

    def ready(self) -> bool:
        """True when every worker has opened what it needs."""
        lines = (self._control.phase(w.spec.line) for w in self.workers)
        return all(phase not in (Phase.STARTING, Phase.FAILED) for phase in lines)

    def has_tried(self) -> bool:
        """True when every worker has opened what it needs, or has failed to and will try again."""
        trying = [worker for worker in self.workers if not (worker.failures or worker.over)]
        return all(self._control.phase(w.spec.line) not in (Phase.STARTING, Phase.FAILED) for w in trying)

    def kill(self, workers: Sequence[Worker] | None = None) -> None:
        """Ends what still lives (of some), at once. Rings and journals are made for that."""
        for worker in self.workers if workers is None else workers:
            if worker.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGKILL)

    def close(self) -> None:
        """Lets go of bells and templates."""
        for template in self._launches:
            template.close()
        for worker in self.workers:
            worker.bell.close()

    def _died(self, worker: Worker, code: int) -> None:
        spec, lived_s = worker.spec, time.monotonic() - worker.born_s
        worker.pid, worker.gave_up = 0, code == GAVE_UP
        now_ms = time.time_ns() // 1_000_000
        stopping = self.stopping or worker.leaving
        if code == FINISHED or (code == STOPPED and stopping):
            worker.over = worker.in_order = True
            if code == FINISHED and not spec.shares:
                log.say("INFO", spec.label, "the source has reached its end and stops; the agent goes on")
            for entry in worker.entries:
                entry.stopped(now_ms)
            return
        worker.failures = 1 if lived_s > _STEADY_S else worker.failures + 1
        back_off_s = min(2.0 ** (worker.failures - 1), _BACKOFF_MOST_S)
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        if self._control.phase(spec.line) == Phase.FAILED:
            how = "could not go on"
        for entry in worker.entries:
            left = entry.sample()  # a worker that gave up has said why; one that was killed could not
            why = left.waits_for if left.told and left.state == State.FAILED else ""
            entry.stopped(now_ms, State.FAILED, why or how)
        if worker.writes is not None and self._control.phase(spec.line) != Phase.FAILED:
            worker.writes.waits_for(how)
        if stopping:
            worker.over = True
            log.say("WARN", spec.label, f"the worker {how} while it was to stop")
            return
        worker.due_s = time.monotonic() + back_off_s
        whose = f" of {', '.join(share.label for share in spec.shares)}" if spec.shares else ""
        log.say("WARN", spec.label, f"the worker{whose} {how}; it is started again in {back_off_s:.0f} s")
        if worker.failures >= _SETTLES_MOST and spec.kind == "sink":
            _hand_over(spec)


def _hand_over(spec: WorkerSpec) -> None:
    """Lets other sinks of the channel have the lanes of one that could not be settled."""
    settle_letters(Path(spec.common.run_dir), spec.sink_id)
    if spec.log is not None:
        place = spec.common.run_dir if spec.log.spills else spec.common.state_dir
        note = note_of(Path(place), spec.sink_id)
        freed = len(spec.log.sinks) > 1 and hand_over_log(Path(spec.log.board), spec.sink_id, note)
        if freed:
            log.say(
                "WARN", spec.label, f"could not be settled; what waits for it in {spec.channel} is open to other "
                f"sinks, and what it delivered there without a commit comes twice",
            )  # fmt: skip
        if not spec.log.spills:
            return
    if all(lane.home for lane in spec.takes):
        return
    run_dir = Path(spec.common.run_dir)
    for path in hand_over([Path(route.path) for route in spec.takes], spec.sink_id, note_of(run_dir, spec.sink_id)):
        log.say(
            "WARN",
            spec.label,
            f"could not be settled; {path} is open to other sinks of the channel, "
            f"and what it delivered there without a commit comes twice",
        )
