"""Orphans: files that a sink had open when it was killed, where the configuration does not have that sink any more.

What a sink worker is, it writes beside its journal before it opens anything. So when its name is gone, the first worker
that takes from the same channel can settle its files as it would have done itself (`departed.py`): cut to what counts,
ended, renamed. Where nobody takes from that channel any more, they are named at each start and in `shipper channel
list`, with what to do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from shipper import log, whole_file
from shipper.errors import ComponentFailed
from shipper.files.columns import places
from shipper.files.journal_record import open_files
from shipper.workers.spec import ComponentSpec, WorkerSpec

JOURNAL = "files.journal"
#: Rolling files have one; files of columns one for what is staged, which another names the files for.
_JOURNALS = (JOURNAL, f"{places.FOLDER}/{places.ASSIGNMENTS}")
_DESCRIPTION = "sink.json"
_UNCLAIMED = "unclaimed-files.json"


@dataclass(frozen=True)
class Orphan:
    """A sink worker whose files nobody ends.

    Attributes:
        place: its state directory.
        title, index: of the worker that it ran in.
        channel: that it took from; "" when an older build wrote its journal, and said nothing else.
        sink: as it was configured.
        files: that it had open.
    """

    place: Path
    title: str
    index: int
    channel: str
    sink: ComponentSpec | None
    files: tuple[str, ...]


def remember(spec: WorkerSpec) -> None:
    """Writes down what the sinks of a worker are, for the case that the next configuration does not have them.

    Raises:
        ComponentFailed: the state directory can't be written.
    """
    from shipper.config.properties import is_secret  # not for the supervisor, which imports this module too

    for sink in spec.sinks:
        place = state_of(spec, sink)
        kept = {key: value for key, value in sink.properties.items() if not is_secret(key)}
        described = {"title": spec.name, "channel": spec.channel, "type": sink.type, "properties": kept}
        before = _described(place)
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            if before != described and not (before.get("type", sink.type) != sink.type and orphan(place)):
                whole_file.write(place / _DESCRIPTION, [orjson.dumps(described)])
        except OSError as problem:
            raise ComponentFailed(
                f"can't write {place / _DESCRIPTION}: {problem.strerror}; it says what the sink is, for who ends its "
                f"files when it is gone"
            ) from problem


def state_of(spec: WorkerSpec, sink: ComponentSpec) -> Path:
    """The state directory of a sink of a worker."""
    return Path(spec.common.state_dir) / "sinks" / f"{sink.name}.{spec.index}"


def orphan(place: Path) -> Orphan | None:
    """The orphan in a state directory; None when all that it had open is settled."""
    files: list[str] = []
    for journal in _JOURNALS:
        with contextlib.suppress(OSError):
            files += open_files(place / journal)
    if not files:
        return None
    name, _, index = place.name.rpartition(".")
    found = _described(place)
    sink = ComponentSpec(name, found["type"], found["properties"]) if found else None
    return Orphan(place, found.get("title", name), int(index), found.get("channel", ""), sink, tuple(files))


def kept_a_journal(place: Path) -> bool:
    """True when a sink with this state directory has written files."""
    return any((place / journal).exists() for journal in _JOURNALS)


def share_out(specs: Sequence[WorkerSpec], state_dir: Path) -> list[WorkerSpec]:
    """Gives each orphan to the worker that settles it, and says which have nobody. Before any worker runs."""
    specs = list(specs)
    unclaimed = []
    for found in _orphans(specs, state_dir):
        for number, spec in enumerate(specs):
            if _settles(spec, found):
                specs[number] = dataclasses.replace(spec, orphans=(*spec.orphans, str(found.place)))
                break
        else:
            unclaimed.append({"place": str(found.place), "sentence": _sentence(found)})
            log.say("WARN", found.place.name, _sentence(found))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(state_dir / _UNCLAIMED)
    if unclaimed:
        whole_file.write(state_dir / _UNCLAIMED, [orjson.dumps(unclaimed)])
    return specs


def unclaimed(state_dir: Path) -> list[tuple[str, str]]:
    """(sink worker, sentence) of the orphans that nobody settled at the last start, and that are there still."""
    try:
        found = orjson.loads((state_dir / _UNCLAIMED).read_bytes())
    except (OSError, ValueError):
        return []
    return [(Path(one["place"]).name, one["sentence"]) for one in found if orphan(Path(one["place"])) is not None]


def _orphans(specs: Sequence[WorkerSpec], state_dir: Path) -> Iterator[Orphan]:
    sinks = [(spec, sink) for spec in specs if spec.kind == "sink" for sink in spec.sinks]
    names = {sink.name for _, sink in sinks}
    alive = {state_of(spec, sink): sink.type for spec, sink in sinks}
    for place in sorted((state_dir / "sinks").glob("*.*")):
        name, _, index = place.name.rpartition(".")
        if not index.isdigit() or (place not in alive and name in names):
            continue  # fewer workers of a sink that is there: `departed.py` sees to them
        described = _described(place)
        if (place not in alive or described.get("type", alive[place]) != alive[place]) and (found := orphan(place)):
            yield found


def _settles(spec: WorkerSpec, found: Orphan) -> bool:
    if spec.kind != "sink" or found.sink is None:
        return False
    if any(state_of(spec, sink) == found.place for sink in spec.sinks):
        return True  # the sink of that name is of another type now: it comes first, whoever takes from the channel
    return spec.index == 0 and spec.channel == found.channel


def _sentence(found: Orphan) -> str:
    files = f"{', '.join(found.files[:3])}{' and others' if len(found.files) > 3 else ''}"
    why = f"no sink takes from its channel {found.channel} any more" if found.channel else "an older build wrote them"
    return (
        f"this sink is not in the configuration, was killed, and had {len(found.files)} files open that nobody can end,"
        f" because {why}: {files}. Write the sink in again for one start, or end them by hand (what was written last "
        f"may come once more) and remove {found.place}"
    )


def _described(place: Path) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = orjson.loads((place / _DESCRIPTION).read_bytes())
    except (OSError, ValueError):
        return {}
    return found
