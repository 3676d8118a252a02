"""Lines from four TCP connections into one file, and what rsyslog needs for the same.

::

    4 senders --> [netcat r1] --> (memory c1) --> [file_roll k1] --> one file

Goal: at least 3.5 M events/s per core for lines of 205 bytes, all processes of the agent counted and the senders not.
The ratio is of events per CPU second to those of rsyslog (imptcp to omfile), fed by the same senders. It is measured in
memory and on a disk; a third case has Flume's default, an `OK` for each line.
"""

from __future__ import annotations

import time

from perf.harness import usage
from perf.harness.command import Settings, run
from perf.harness.flume import netcat_figure
from perf.harness.lines import write_input
from perf.harness.results import Goal
from perf.harness.rivals import Rsyslog
from perf.harness.senders import TcpFeed
from perf.harness.transfer import Transfer, rounds_of, text_of
from perf.topology._files import file_roll, listening
from shipper.testing.ports import free_port

LINE_BYTES = 205
GOAL = Goal("events_per_core_s", 3_500_000, "events/s per core")
#: what Flume made, per core, on the machine where the goal was said
_FLUME_EVENTS_S = 570_000
_RIVAL_BYTES = 100_000_000


def benchmark(settings: Settings) -> None:
    """Measures without and with answers."""
    rival_events_s = _rsyslog_events_per_core_s(settings)
    for answered, on_disk in ((False, False), (False, True), (True, False)):
        transfer = _transfer(free_port(), answered, on_disk)
        result = rounds_of(settings, transfer, 10**9)
        if rival_events_s is not None:
            result.figures["rsyslog_events_per_core_s"] = rival_events_s
            result.ratio = (result.figures["events_per_core_s"] / rival_events_s, "x the events/s per core of rsyslog")
        else:
            result.notes.append("rsyslog is not here (apt-get install rsyslog): no ratio")
        if not (answered or on_disk):
            netcat_figure(settings, LINE_BYTES).beside(result, GOAL.value / _FLUME_EVENTS_S)
        settings.report(result)


def _transfer(port: int, answered: bool, on_disk: bool) -> Transfer:
    return Transfer(
        name="netcat_to_file_roll",
        case=f"{LINE_BYTES} B lines, 4 connections, " + ("an OK for each line" if answered else "no answers"),
        properties=lambda places: {
            **listening(port, **{"ack-every-event": str(answered).lower()}),
            **file_roll(places),
        },
        line_bytes=LINE_BYTES,
        feed=lambda source, places: TcpFeed(source, port, answered=answered),
        read_back=text_of,
        ordered=False,
        goals=() if answered else (GOAL,),
        on_disk=on_disk,
    )


def _rsyslog_events_per_core_s(settings: Settings) -> float | None:
    """What rsyslog does with a tenth of the lines; None when it is not installed."""
    port = free_port()
    rival = Rsyslog(settings.fast, port)
    if not rival.there:
        return None
    source = write_input(settings.fast / "rival-input", min(_RIVAL_BYTES, settings.size(10**9)), LINE_BYTES)
    rival.start()
    try:
        feed = TcpFeed(source, port)
        with usage.Meter(lambda: usage.cpu_s(rival.process.pid)) as meter:
            feed.go()
            deadline_s = time.monotonic() + 120
            while not rival.target.exists() or rival.target.stat().st_size < source.size_bytes:
                assert time.monotonic() < deadline_s, f"rsyslog wrote only {rival.target.stat().st_size} bytes"
                time.sleep(0.005)
        feed.end()
    finally:
        rival.stop()
    written = rival.target.stat().st_size
    source.path.unlink()
    rival.target.unlink()
    assert written >= source.size_bytes, f"rsyslog wrote {written} bytes of {source.size_bytes}"
    return source.lines / max(meter.cost.cpu_s, 0.01)


if __name__ == "__main__":
    run(benchmark)
