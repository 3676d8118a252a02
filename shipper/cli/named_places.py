"""Directories that a person names on a command line: whether anything can be found in them at all."""

from __future__ import annotations

import os
from pathlib import Path


def cant_look(run_dir: Path | None = None, state_dir: Path | None = None) -> str:
    """Why nothing can be found in a directory that was named, a sentence; "" when all can be looked into."""
    for option, path in (("--run-dir", run_dir), ("--state-dir", state_dir)):
        try:
            if path is not None:
                os.scandir(path).close()
        except OSError as problem:
            return f"can't look into {option} {path}: {problem.strerror}"
    return ""


def no_sign(command: str, name: str | None, running: list[str], looked: list[Path], run_dir: Path | None) -> str:
    """What is said when no agent was found.

    Args:
        command: which one says it.
        running: names of agents that run there.
        looked: where it was looked for.
        run_dir: the directory that was named.
    """
    wanted = f"agent {name}" if name else "an agent"
    where = ", ".join(str(place) for place in looked) or "the usual places"
    reason = cant_look(run_dir)
    others = f"; what runs there is {', '.join(running)}" if running else ""
    line = f"shipper {command}: {reason or f'no sign of {wanted} of this user in {where}{others}'}."
    hint = f"An agent with a place of its own is found by: shipper {command} --run-dir DIR"
    return line if run_dir is not None else f"{line}\n{hint}"
