"""The thread beside the loop in which calls to a cluster run: an event loop of its own, many calls at once.

The sink's loop hands it coroutines and waits for their results, each with a deadline that this side keeps; or does not
wait, and asks later. It moves no rows but those that are on their way to a DataNode. A process that dies takes it
along, and nothing is lost: what was not flushed does not count.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Beside:
    """The thread of one store."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        # What becomes of a call is in its result; nobody needs to hear twice of one that was given up.
        self._loop.set_exception_handler(lambda loop, context: None)
        self._thread = threading.Thread(target=self._loop.run_forever, name="hdfs", daemon=True)
        self._thread.start()

    def begin(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Begins some work; its result comes with the future."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Does some work and waits for it: all that it waits for has a deadline of its own."""
        return self.begin(work).result()

    def close(self) -> None:
        """Gives up what is under way and ends the thread."""
        if self._loop.is_closed():
            return
        self.begin(self._cancel()).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        if not self._thread.is_alive():
            self._loop.close()

    async def _cancel(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.wait(others, timeout=2) if others else None
