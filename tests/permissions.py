"""Permissions that count for root as well, so that what a user may not do can be tested by root.

A test with the mark `permissions_count` runs without the two capabilities by which root reads and writes what file
modes forbid. They are only put aside, for the thread of the test: the owner's bits of its own files decide then.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator

import pytest
from fetched import missing

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_GET_SECUREBITS, _PR_SET_SECUREBITS = 27, 28
_NO_SETUID_FIXUP = 1 << 2  # else access(2) asks as if root had put nothing aside
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1 << 1, 1 << 2


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@pytest.fixture(autouse=True)
def _permissions_count(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("permissions_count") is None or os.geteuid():
        yield
        return
    bits = _LIBC.prctl(_PR_GET_SECUREBITS, 0, 0, 0, 0)
    if _LIBC.prctl(_PR_SET_SECUREBITS, bits | _NO_SETUID_FIXUP, 0, 0, 0):
        missing("needs the capability SETPCAP, or to run as another user than root")
    sets = _capabilities("capget", (_Sets * 2)())
    before = sets[0].effective
    sets[0].effective = before & ~(_DAC_OVERRIDE | _DAC_READ_SEARCH)
    _capabilities("capset", sets)
    try:
        yield
    finally:
        sets[0].effective = before
        _capabilities("capset", sets)
        _LIBC.prctl(_PR_SET_SECUREBITS, bits, 0, 0, 0)


def _capabilities(call: str, sets: ctypes.Array[_Sets]) -> ctypes.Array[_Sets]:
    header = _Header(0x20080522, 0)  # version 3; of this thread
    if getattr(_LIBC, call)(ctypes.byref(header), sets):
        raise OSError(ctypes.get_errno(), f"{call}: {os.strerror(ctypes.get_errno())}")
    return sets
