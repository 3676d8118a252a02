"""A wall clock that jumps: an agent whose Python asks for the time hears it shifted by what a file says.

The machine's clock belongs to everybody, so only the answers of `time.time` and `time.time_ns` are shifted, which is
where the product reads the wall clock (`clock.py`). Monotonic time goes on, as it does when a real clock jumps.
"""

from __future__ import annotations

from pathlib import Path

_AT_START = """
import os, time
_path, _time, _time_ns = {path!r}, time.time, time.time_ns
def _shift_s():
    try:
        with open(_path) as file:
            return int(file.read() or 0)
    except (OSError, ValueError):
        return 0
time.time = lambda: _time() + _shift_s()
time.time_ns = lambda: _time_ns() + _shift_s() * 1_000_000_000
"""


class WallClock:
    """The wall clock of one agent.

    Attributes:
        environment: for the agent: where its Python finds what shifts the time.
    """

    def __init__(self, home: Path, root: Path) -> None:
        self._path = home / "shift"
        folder = home / "shifted"
        folder.mkdir(parents=True)
        (folder / "sitecustomize.py").write_text(_AT_START.format(path=str(self._path)))
        self.environment = {"PYTHONPATH": f"{root}:{folder}"}
        self.jump_to(0)

    def jump_to(self, shift_s: int) -> None:
        """From now on it is so many seconds later than it is."""
        fresh = self._path.with_suffix(".new")
        fresh.write_text(str(shift_s))
        fresh.rename(self._path)
