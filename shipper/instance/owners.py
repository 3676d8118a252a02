"""The same agent as another user: its state has another name, so a new user would begin with nothing, unsaid.

An instance is known by its user as well. Whoever starts an agent that root has started before, from the same file, has
no positions, no channels and no ledger: a tail would read everything again, and what root's stop has parked would wait
for good. So such a start is refused once, with one command that hands all of it over, and one that begins anew.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from shipper.errors import ConfigurationError
from shipper.instance.instance import Instance, name_of, run_places, state_places


def refuse_anothers(instance: Instance, file: Path) -> None:
    """Before an instance is claimed that is new here.

    Args:
        file: the first configuration file.

    Raises:
        ConfigurationError: another user has run this agent from this file, and has left its state.
    """
    if os.path.lexists(instance.state_dir):
        return
    runs = dict(_of_others(instance, file, [instance.run_place.path, *run_places()]))
    for user, state_dir in _of_others(instance, file, [instance.state_place.path, *state_places()]):
        places, moves = [instance.state_place.path, instance.run_place.path], [(state_dir, instance.state_dir)]
        if user in runs:
            moves.append((runs[user], instance.run_dir))
        ours = f"{os.getuid()}:{os.getgid()}"
        steps = [
            ["mkdir", "-p", *places], *(["mv", "-T", theirs, mine] for theirs, mine in moves),
            ["chown", ours, *places], ["chown", "-R", ours, *(mine for _, mine in moves)],
        ]  # fmt: skip
        command = " && ".join(shlex.join(map(str, step)) for step in steps)
        begin = shlex.join(["mkdir", "-p", str(instance.state_dir)])
        raise ConfigurationError(
            f"agent {instance.agent} of this file ran as user {user} before, and this is user {os.getuid()}, who would "
            f"begin with nothing and read everything again. What it has read, what waits in its channels and its "
            f"ledger are safe in {state_dir}. To go on with them, stop it if it runs. As root: {command}\n"
            f"or begin anew, beside it: {begin}"
        )


def _of_others(instance: Instance, file: Path, places: list[Path]) -> Iterator[tuple[int, Path]]:
    """Directories of this agent and this file that belong to other users, with those."""
    begins = instance.name.rpartition("-")[0] + "-"
    for place in dict.fromkeys(places):
        try:
            found = [entry for entry in os.scandir(place) if entry.name.startswith(begins)]
        except OSError:
            continue  # it is not there, or nobody may look
        for entry in found:
            user = entry.stat(follow_symlinks=False).st_uid
            if user != os.getuid() and entry.name == name_of(user, instance.agent, file):
                yield user, Path(entry.path)
