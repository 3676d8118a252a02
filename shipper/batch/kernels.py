"""Kernels: Arrow's compute functions, which are loaded when the first of them is asked for.

`pyarrow.compute` takes 4 MB and 0.1 s to import, and lines that go from a file to a file as they are never need it.
Modules that need it for every batch import it themselves: they are loaded before the workers are forked, which then
share its memory.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    import pyarrow.compute

    found = globals()[name] = getattr(pyarrow.compute, name)
    return found
