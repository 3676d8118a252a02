"""An outlet of files of this machine in which no new file is begun."""

from __future__ import annotations

from pathlib import Path

from shipper.files.local import LocalStore
from shipper.files.open_file import Recipe
from shipper.files.outlet import Outlet, RollingPlan
from shipper.files.roll import RollLimits
from shipper.serializers.text import TextOptions, TextSerializer
from shipper.testing.fakes import sink_context


class NoNames:
    """No file is begun."""

    def next(self, key: str, taken: int = 0) -> tuple[str, str]:
        raise AssertionError(f"a file of {key} is begun")

    def retired(self, key: str) -> None: ...


def local_outlet(tmp_path: Path) -> Outlet:
    """Text, without limits."""
    plan = RollingPlan(
        limits=RollLimits(), recipe=Recipe("text", lambda clock, state: TextSerializer(TextOptions(), clock))
    )
    return Outlet(LocalStore(), plan, NoNames(), sink_context(tmp_path))
