"""An instruction counter: how many Python instructions of ours a piece of work executes.

It is how "no work per event" is checked: the count for a batch of 1,000 rows and for one of 10,000 must be the same.
Only code of the package `shipper` counts, `shipper.testing` left out. What happens inside a call of a C library is
not seen; but a call that makes a Python object a row shows in `objects`, the most Python objects that were alive
between two of our instructions, less those before.

On Python 3.11 the counter is a trace function, from 3.12 on `sys.monitoring`. Both are slow and exact.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

_OURS = str(Path(__file__).resolve().parents[1]) + "/"
_NOT_COUNTED = _OURS + "testing/"
_TOOL = 4


@dataclass
class Work:
    """What was executed.

    Attributes:
        instructions: of our code.
        objects: Python objects (blocks of Python's allocator) alive at most, beyond those at the start.
    """

    instructions: int = 0
    objects: int = 0


def work_of(action: Callable[[], object]) -> Work:
    """Runs `action` and counts what it executes in this thread. The garbage collector rests meanwhile."""
    gc.collect()
    collected = gc.isenabled()
    gc.disable()
    try:
        counted = _monitored(action) if sys.version_info >= (3, 12) else _traced(action)
    finally:
        if collected:
            gc.enable()
    return counted


def _ours(code: CodeType) -> bool:
    return code.co_filename.startswith(_OURS) and not code.co_filename.startswith(_NOT_COUNTED)


def _traced(action: Callable[[], object]) -> Work:
    work = Work()
    blocks = sys.getallocatedblocks
    before = blocks()

    def each(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode":
            work.instructions += 1
            alive = blocks() - before
            if alive > work.objects:
                work.objects = alive
        return each

    def called(frame: FrameType, event: str, argument: Any) -> Any:
        if not _ours(frame.f_code):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return each

    with _restored_trace():
        sys.settrace(called)
        action()
    return work


@contextlib.contextmanager
def _restored_trace() -> Iterator[None]:
    """Somebody else may be tracing: a debugger, a coverage tool."""
    found = sys.gettrace()
    try:
        yield
    finally:
        sys.settrace(found)


def _monitored(action: Callable[[], object]) -> Work:
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
    work = Work()
    blocks = sys.getallocatedblocks
    before = blocks()

    def each(code: CodeType, offset: int) -> Any:
        if not _ours(code):
            return monitoring.DISABLE
        work.instructions += 1
        alive = blocks() - before
        if alive > work.objects:
            work.objects = alive
        return None

    event = monitoring.events.INSTRUCTION
    monitoring.use_tool_id(_TOOL, "shipper.testing")
    try:
        monitoring.register_callback(_TOOL, event, each)
        monitoring.set_events(_TOOL, event)
        action()
    finally:
        monitoring.set_events(_TOOL, 0)
        monitoring.register_callback(_TOOL, event, None)
        monitoring.free_tool_id(_TOOL)
        monitoring.restart_events()
    return work
