"""`shipper health`: one line and an exit code, as Nagios, Icinga and Zabbix expect of a check.

0 OK, 1 WARNING (data waits that could flow, events were given up, a new configuration was refused, a channel holds
events that nobody will deliver), 2 CRITICAL (not running, a component failed, something hangs, the ledger does not add
up), 3 UNKNOWN (no trace of the agent).
"""

from __future__ import annotations

from pathlib import Path

from shipper.cli.live import lag_bytes, rates, short
from shipper.cli.named_places import cant_look
from shipper.cli.stat import LOOK_S, AgentStat, ended, look, running_names
from shipper.metrics.block import Kind
from shipper.metrics.health import Level, findings, read_notices
from shipper.units import format_seconds

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
_NAMES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_CODES = {Level.DEGRADED: WARNING, Level.FAILED: CRITICAL, Level.DEAD: CRITICAL}
#: The supervisor looks around once a second; for so long without is no pause any more.
STUCK_S = 30.0


def health(name: str | None = None, run_dir: Path | None = None, look_s: float = LOOK_S) -> int:
    """Prints the line of the agent of that name, or of the one that is worst off among all that run; its code."""
    found = look(name, run_dir, look_s)
    if not found and (sentences := ended(name, run_dir)):
        print(f"CRITICAL - {'; '.join(sentences).replace('|', '/')}")
        return CRITICAL
    if not found:
        nobody = f"there is no trace of {f'an agent {name}' if name else 'a running agent'} of this user"
        if others := running_names(run_dir):
            nobody += f"; what runs is {', '.join(others)}"
        print(f"UNKNOWN - {(cant_look(run_dir) or nobody).replace('|', '/')}")
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
    text = "; ".join(dict.fromkeys(text for _, text in sorted(troubles, key=lambda pair: -pair[0])))
    text = text or f"in {short(taken)} events/s, out {short(given)} events/s"
    waiting = sum(numbers["size"] for numbers in found.now.channels.values())
    behind = sum(lag_bytes(found.now).values())
    data = f"in={taken:.0f} out={given:.0f} waiting={waiting} lag={behind}B"
    # What stands behind a bar is for programs.
    return code, f"{_NAMES[code]} - {found.agent}: {text.replace('|', '/')} | {data}"


def _troubles(found: AgentStat) -> list[tuple[int, str]]:
    if not found.running:
        return [(CRITICAL, "not running")]
    troubles: list[tuple[int, str]] = []
    if found.beat_age_s > STUCK_S:
        troubles.append((CRITICAL, f"the supervisor has not stirred for {format_seconds(found.beat_age_s)}"))
    notices = read_notices(Path(found.run_dir))
    troubles += [(_CODES[finding.level], finding.sentence) for finding in findings(found.now, notices)]
    if not troubles:  # else the reason stands there already
        troubles += [(WARNING, hold_up.sentence) for hold_up in found.hold_ups if hold_up.held_up]
    return troubles
