"""The heap of a process: what its start took and does not need any more goes back to the system."""

from __future__ import annotations

import contextlib
import ctypes
import gc


def tidy() -> None:
    """To be called once, when everything is imported and open."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # not every C library can do that: musl's can't
        ctypes.CDLL(None).malloc_trim(0)
