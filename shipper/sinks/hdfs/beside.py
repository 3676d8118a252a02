"""The thread beside the loop in which calls to a cluster run: an event loop of its own, many calls at once.

The sink's loop hands it coroutines and waits for their results, each with a deadline that this side keeps; or does not
wait, and asks later. It moves no rows but those that are on their way to a DataNode. A process that dies takes it
along, and nothing is lost: what was not flushed does not count.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections import deque
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Beside:
    """The thread of one store."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        # What becomes of a call is in its result; nobody needs to hear twice of one that was given up.
        self._loop.set_exception_handler(lambda loop, context: None)
        self._queue: deque[tuple[Coroutine[Any, Any, Any], concurrent.futures.Future[Any]]] = deque()
        self._woken = False
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself holds them weakly
        self._thread = threading.Thread(target=self._loop.run_forever, name="hdfs", daemon=True)
        self._thread.start()

    def begin(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Begins some work; its result comes with the future."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def start(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Begins some work that nobody will give up. A hundred of them wake the thread once.

        Waking it costs a system call, at which this thread may lose the interpreter for five milliseconds.
        """
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._queue.append((work, future))
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._start_all)
        return future

    def _start_all(self) -> None:
        self._woken = False  # before the queue is emptied: what comes from here on wakes again
        while self._queue:
            work, future = self._queue.popleft()
            task = self._loop.create_task(_told(work, future))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

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


async def _told(work: Coroutine[Any, Any, T], future: concurrent.futures.Future[T]) -> None:
    """Does some work and puts what became of it into the future."""
    try:
        future.set_result(await work)
    except asyncio.CancelledError:
        future.cancel()
        future.set_running_or_notify_cancel()  # tells those who wait
        raise
    except BaseException as problem:
        future.set_exception(problem)
