"""A moved agent: one whose first configuration file has another path now, and says what it said there.

An instance is known by that path, so at the new one it would begin with nothing: its rows would wait in segments that
no agent takes, and its sinks' open files would stay unfinished. If the old file is gone and the new one is the same to
the byte, under the same agent's name, it is the same agent, and its directories get the new instance's name. Anything
less is not certain (two agents may well be called `a1`), and is said, with the command that delivers what waits.
"""

from __future__ import annotations

import contextlib
import os
from _blake2 import blake2b  # as instance.py
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from shipper import log, whole_file
from shipper.errors import ConfigurationError
from shipper.instance.instance import Instance

#: In the state directory: what the instance is made from.
_NOTE = "made-from.json"


@dataclass(frozen=True)
class _MadeFrom:
    agent: str
    file: str
    digest: str

    @classmethod
    def of(cls, agent: str, file: Path) -> _MadeFrom:
        return cls(agent, os.path.realpath(file), blake2b(file.read_bytes(), digest_size=16).hexdigest())

    def is_gone(self) -> bool:
        return not os.path.lexists(self.file)


def remember(instance: Instance, file: Path) -> None:
    """Notes which file the instance runs, and what it says. Dying in here: the note before, or none."""
    path = instance.state_dir / _NOTE
    with contextlib.suppress(OSError):  # a full disk: a file that is moved later is then only said to have been
        made_from = _MadeFrom.of(instance.agent, file)
        if _read(path) != made_from:
            whole_file.write(path, [orjson.dumps(made_from)])


def follow(instance: Instance, file: Path) -> None:
    """Gives an instance that is new here the directories of the one whose file was moved. Before it is claimed.

    Dying between the two steps: the run directory has its new name already, and the next start does the second.
    """
    if instance.state_dir.exists():
        return
    now = _MadeFrom.of(instance.agent, file)
    moved = [
        path.parent.name for path, then in _notes(instance)
        if then.is_gone() and (then.agent, then.digest) == (now.agent, now.digest)
    ]  # fmt: skip
    if len(moved) != 1:
        return
    from shipper.instance import leftovers  # only for those that were moved

    run_dir, state_dir = instance.run_place.path / moved[0], instance.state_place.path / moved[0]
    with contextlib.suppress(ConfigurationError), leftovers.claimed(state_dir, moved[0]):
        try:
            if run_dir.exists():
                os.rename(run_dir, instance.run_dir)
            os.rename(state_dir, instance.state_dir)
        except OSError as problem:
            log.say("WARN", "agent", f"{file} was moved, and {problem.filename} can't be renamed: {problem.strerror}")
            return
        log.say("INFO", "agent", f"{file} was moved: going on with what agent {now.agent} had at its old place")


def say_left(instance: Instance, file: Path, options: str) -> None:
    """Says what agents of this name left whose files are gone, and what a person can do about it.

    Args:
        options: of the command line that say where this agent's directories are, for the commands.
    """
    places = (instance.run_place.path, instance.state_place.path)
    prefix = instance.name.rpartition("-")[0]
    others = {path.name for place in places for path in place.glob(f"{prefix}-*") if path.name != instance.name}
    if not others:
        return
    from shipper.instance import leftovers  # only for those that have namesakes

    for found in leftovers.find(places[:1], places[1:]):
        gone = bool(found.file) and not os.path.lexists(found.file)
        if found.agent != instance.agent or found.name == instance.name or found.running or not gone:
            continue
        for held in found.channels:
            log.say(
                "WARN", "agent", f"{held.events} events wait in channel {held.channel} of an agent {found.agent} whose "
                f"file {found.file} is gone. If it was this one: stop it, run shipper channel adopt {found.name} -n "
                f"{instance.agent} -f {file}{options}, and start it again; what a tail or spooldir had put there it "
                f"reads once more by itself. If not: shipper channel discard {found.name}{options}",
            )  # fmt: skip


def _notes(instance: Instance) -> Iterator[tuple[Path, _MadeFrom]]:
    for path in instance.state_place.path.glob(f"*/{_NOTE}"):
        if path.parent != instance.state_dir and (found := _read(path)) is not None:
            yield path, found


def _read(path: Path) -> _MadeFrom | None:
    try:
        return _MadeFrom(**orjson.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
