"""Words: the 8-byte cells of a mapped file through which processes tell each other positions.

Rules of this file, the only one that depends on the memory order of the machine:

- A word is stored with `view[i] = v` on a `memoryview.cast("Q")` at an address divisible by 8: one `mov`, never torn.
  `struct.pack_into` is never used on shared memory: it zeroes its target first.
- Each word has one writer role, and words of different writers stand on lines of their own (128 bytes: two cache
  lines, because the hardware fetches in pairs).
- `publish` is a store that comes after all earlier stores, and `observe` a load before all later loads. On x86-64 the
  hardware keeps both orders, so they are a plain store and a plain load. Elsewhere a fence from libatomic stands before
  and behind them where the library is there; where it is not, readers are safe because frames certify themselves
  by position, length and checksum, and a reader that sees too little looks again.
- A store followed by a load of another word ("I sleep" - "is there more?") is kept in order by no machine: that needs
  `full_fence` between the two, on both sides of the conversation.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

LINE_BYTES = 128


def _no_fence() -> None:
    return None


def _find_fence() -> Callable[[], None]:
    if os.uname().machine == "x86_64":
        return _no_fence
    import ctypes.util  # half a megabyte that only other machines need

    try:
        library = ctypes.PyDLL(ctypes.util.find_library("atomic") or "libatomic.so.1")
        thread_fence = library.atomic_thread_fence
    except (OSError, AttributeError):
        return _no_fence
    sequentially_consistent = 5

    def fence() -> None:
        thread_fence(sequentially_consistent)

    return fence


fence = _find_fence()
_gate = threading.Lock()


def full_fence() -> None:
    """Orders everything before against everything after, a store against a later load included.

    Taking and giving back an uncontended lock executes a locked instruction, which is a full barrier on x86-64; on
    other machines the fences around it make it one.
    """
    fence()
    _gate.acquire()
    _gate.release()
    fence()


class Words:
    """The words of one page, addressed by byte offset so that a drawing of the page can be read beside the code.

    Args:
        page: a writable view that starts at an address divisible by 128 (a mapping does).
    """

    __slots__ = ("_cells",)

    def __init__(self, page: memoryview) -> None:
        self._cells = page.cast("B").cast("Q")

    def load(self, offset: int) -> int:
        """The word at byte `offset`."""
        return self._cells[offset >> 3]

    def store(self, offset: int, value: int) -> None:
        """Stores a word whose order against others does not matter."""
        self._cells[offset >> 3] = value

    if fence is _no_fence:  # asked ten times a put, so nothing is called that does nothing
        observe, publish = load, store
    else:

        def observe(self, offset: int) -> int:
            """As `load`; what was published before that word is visible afterwards."""
            value = self._cells[offset >> 3]
            fence()
            return value

        def publish(self, offset: int, value: int) -> None:
            """Stores a word after everything stored before. Only the word's one writer role may."""
            fence()
            self._cells[offset >> 3] = value

    def read(self, offset: int, count: int) -> tuple[int, ...]:
        """`count` words from byte `offset`. Not atomic together: the caller checks."""
        start = offset >> 3
        return tuple(self._cells[start : start + count])

    def write(self, offset: int, values: tuple[int, ...]) -> None:
        """Stores words one by one. Not atomic together: the caller publishes afterwards."""
        cells, start = self._cells, offset >> 3
        for index, value in enumerate(values):
            cells[start + index] = value

    def close(self) -> None:
        """Lets go of the mapping."""
        self._cells.release()
