"""`shipper health`: one line and an exit code, as Nagios, Icinga and Zabbix expect of a check.

0 OK, 1 WARNING (data waits that could flow, or events were dropped), 2 CRITICAL (not running, a component failed, the
supervisor or a worker hangs), 3 UNKNOWN (no trace of the agent).
"""

from __future__ import annotations

from pathlib import Path

from shipper.cli.live import lag_bytes, rates, short
from shipper.cli.stat import LOOK_S, AgentStat, look
from shipper.metrics.block import Kind, State
from shipper.units import format_seconds

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
_NAMES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
#: Workers look around once a second; for so long without is no pause any more.
STUCK_S = 30.0
_LOST = ("rows_dropped", "rows_set_aside", "files_lost")


def health(name: str, run_dir: Path | None = None, look_s: float = LOOK_S) -> int:
    """Prints the line for the agents of that name, worst first; its code."""
    found = look(name, run_dir, look_s)
    if not found:
        print(f"UNKNOWN - there is no trace of an agent {name} of this user")
        return UNKNOWN
    code, line = max((judged(agent) for agent in found), key=lambda pair: pair[0])
    print(line)
    return code


def judged(found: AgentStat) -> tuple[int, str]:
    """The code, and the line with its performance data."""
    troubles = _troubles(found)
    code = max((code for code, _ in troubles), default=OK)
    taken, _ = rates(found.before, found.now, Kind.SOURCE)
    given, _ = rates(found.before, found.now, Kind.SINK)
    text = "; ".join(text for _, text in sorted(troubles, key=lambda pair: -pair[0]))
    text = text or f"in {short(taken)} events/s, out {short(given)} events/s"
    waiting = sum(numbers["size"] for numbers in found.now.channels.values())
    behind = sum(lag_bytes(found.now).values())
    data = f"in={taken:.0f} out={given:.0f} waiting={waiting} lag={behind}B"
    return code, f"{_NAMES[code]} - {found.agent}: {text} | {data}"


def _troubles(found: AgentStat) -> list[tuple[int, str]]:
    if not found.running:
        return [(CRITICAL, "not running")]
    troubles: list[tuple[int, str]] = []
    if found.beat_age_s > STUCK_S:
        troubles.append((CRITICAL, f"the supervisor has not stirred for {format_seconds(found.beat_age_s)}"))
    for worker in found.now.workers:
        progress_ms = worker.counters["progress_ms"]
        stuck_s = (found.now.at_ms - progress_ms) / 1000 if progress_ms else 0.0
        if worker.state == State.FAILED:
            troubles.append((CRITICAL, f"{worker.name} failed: {worker.waits_for}".removesuffix(": ")))
        elif stuck_s > STUCK_S and not worker.stop_ms:
            troubles.append((CRITICAL, f"{worker.name} has made no step for {format_seconds(stuck_s)}"))
        lost = sum(worker.counters[key] for key in _LOST)
        if lost:
            troubles.append((WARNING, f"{worker.name} gave up or set aside {lost} events or files since the start"))
    for name, numbers in found.now.channels.items():
        if rows := numbers.get("mismatch", 0):
            troubles.append((CRITICAL, f"{rows} events of {name} are not accounted for, see shipper ledger"))
    troubles += [(WARNING, hold_up.sentence) for hold_up in found.hold_ups if hold_up.held_up]
    return troubles
