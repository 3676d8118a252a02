"""A departed sink worker: one that kept a journal, and that `workers = N` does not start any more.

If it ended in order, its files have their names. If it was killed, they are under their in-use names, perhaps with
rows behind what was committed; those rows wait in the lanes that other workers take over. So the first worker of the
same sink, or where that is gone of the same channel (`orphans.py`), settles them, through the verbs by which the
departed one would have done it itself: `open` cuts the files to what counts, `close` ends and renames them.

The journal stays, and says that all of it is settled: should the worker come back, it goes on from there. Dying
anywhere in here, the next start does the rest.
"""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Callable, Iterator
from pathlib import Path

from shipper.clock import SystemClock
from shipper.config.bind import component
from shipper.errors import ShipperError
from shipper.instance.handover import committed_before
from shipper.metrics.counters import Counters
from shipper.ring.lane import Lane
from shipper.sinks.sink import Sink, SinkContext
from shipper.workers import logs
from shipper.workers.grid import sink_worker_id
from shipper.workers.orphans import Orphan, kept_a_journal, orphan
from shipper.workers.spec import ComponentSpec, WorkerSpec


def settle(spec: WorkerSpec, say: Callable[[str, str], None]) -> None:
    """Settles the files of the workers that departed: from this one's sinks (only the first does), and orphans."""
    departed = [
        Orphan(place, spec.name, index, spec.channel, found, ()) for found in spec.sinks if not spec.index
        for index, place in _departed(spec, found)
    ]  # fmt: skip
    orphans = [found for place in spec.orphans if (found := orphan(Path(place))) is not None]
    for one in (*departed, *orphans):
        try:
            _settle_one(spec, one, say)
        except (ShipperError, OSError) as problem:
            say(
                "error", f"files of worker {one.place.name}, which this configuration does not start any more, keep "
                f"their in-use names: {problem}; the next start tries again",
            )  # fmt: skip
        else:
            if (left := orphan(one.place)) is not None:  # why, the sink has said
                say("error", f"{len(left.files)} files of sink {one.place.name}, which is gone, are not settled yet; "
                    "the next start tries again")  # fmt: skip
            elif one.files:
                say("info", f"{len(one.files)} files of sink {one.place.name}, which is gone, are settled")


def _departed(spec: WorkerSpec, found: ComponentSpec) -> Iterator[tuple[int, Path]]:
    """(index, state directory) of the workers of a sink that are not started any more and kept a journal."""
    first = Path(spec.common.state_dir) / "sinks" / f"{found.name}.0"
    prefix = first.name.removesuffix("0")
    for place in sorted(first.parent.glob(f"{glob.escape(prefix)}*")):
        index = place.name.removeprefix(prefix)
        if index.isdigit() and int(index) >= spec.count and kept_a_journal(place):
            yield int(index), place


def _settle_one(spec: WorkerSpec, one: Orphan, say: Callable[[str, str], None]) -> None:
    found = one.sink
    assert found is not None, "nobody settles what is not described"
    kind, options = component("sink", found.type, found.properties)
    sink: Sink[object] = kind(options)  # type: ignore[type-var]
    context = SinkContext(
        name=found.name, clock=SystemClock(), counters=Counters.private(), state_dir=one.place, say=say,
        worker=one.index, workers=one.index + 1, committed_sequence=_committed(spec, one), run_id=logs.run_id(spec),
        boot_id=spec.common.boot_id,
    )  # fmt: skip
    try:
        sink.open(context)
    finally:
        sink.close()


def _committed(spec: WorkerSpec, one: Orphan) -> int:
    """The largest sequence that the departed worker committed."""
    departed = sink_worker_id(one.title, one.index)
    sequence = committed_before(logs.note(spec, departed))
    if spec.log is not None:
        sequence = max(sequence, logs.sequence(spec, departed))
    for route in spec.takes:
        with contextlib.closing(Lane.open(Path(route.path))) as lane:
            slot = lane.committed()
            if slot.sink == departed:
                sequence = max(sequence, slot.sequence)
    return sequence
