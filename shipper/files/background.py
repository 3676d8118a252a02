"""A background job: one call that waits for a disk, beside the worker's loop.

The only thread that the sinks have. It moves no rows: it asks the kernel to write what it has and waits for the answer,
which takes from a millisecond to seconds; the loop goes on meanwhile. A process that dies takes it along, and nothing
is lost: what a job makes durable is claimed only after it was seen to be done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """A call that runs beside the loop, from now on.

    Attributes:
        error: what it raised, None while it runs.
    """

    def __init__(self, job: Callable[[], None]) -> None:
        self.error: OSError | None = None
        self._job = job
        self._thread = threading.Thread(target=self._run, name="sync", daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """True when it has ended. Asking costs nothing."""
        return not self._thread.is_alive()

    def wait(self, most_s: float | None = None) -> None:
        """Until it has ended, or for so long."""
        self._thread.join(most_s)

    def _run(self) -> None:
        try:
            self._job()
        except OSError as problem:
            self.error = problem
