"""The person: what somebody asked for when the agent was started, and what they get to see of it.

Both are made by `shipper.cli`, which nobody imports; the supervisor knows these two faces of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from shipper.config.plan import Plan
from shipper.config.problem import Problem
from shipper.metrics.observer import Observer


class Command(Protocol):
    """What a person asked for; see `cli/arguments.py`."""

    @property
    def files(self) -> tuple[Path, ...]: ...

    @property
    def agent(self) -> str: ...

    @property
    def system(self) -> Mapping[str, str]: ...

    @property
    def reload(self) -> bool: ...

    @property
    def poll_interval_s(self) -> float: ...

    @property
    def stop_deadline_s(self) -> float: ...

    @property
    def strict(self) -> bool: ...

    @property
    def dry_run(self) -> bool: ...

    @property
    def run_dir(self) -> Path | None: ...

    @property
    def state_dir(self) -> Path | None: ...


class View(Protocol):
    """What shows a person the numbers while the agent runs."""

    def problems(self, problems: list[Problem]) -> None:
        """What is wrong with, or doubtful in, the configuration."""

    def plan(self, plan: Plan) -> None:
        """What a dry run would run."""

    def starting(self, plan: Plan) -> None:
        """A plan is about to run."""

    def sample(self, observer: Observer) -> None:
        """Once a second."""

    def end(self) -> None:
        """The agent stops: clear the live lines."""
