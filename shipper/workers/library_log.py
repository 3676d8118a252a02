"""What components and libraries say with the standard `logging`: it goes into the worker's log, every line of it.

Unlike our own facts, these lines are not counted when they repeat: two equal events in the `logger` sink are two lines.
As our own facts, they are dropped when nobody reads the log, so that data go on; but for those that are said with
`extra={"delivers": True}`. They are the delivery of a sink, and wait.

Imported only where something has imported `logging` already, so that no other process pays for it.
"""

from __future__ import annotations

import logging

from shipper import log

_LEVELS = {logging.WARNING: "WARN", logging.CRITICAL: "FATAL"}


class _ToLog(logging.Handler):
    """Passes records on to the log of this process."""

    def __init__(self, component: str) -> None:
        super().__init__()
        self._component = component

    def emit(self, record: logging.LogRecord) -> None:
        level = _LEVELS.get(record.levelno, record.levelname)
        level = level if level in log.LEVELS else "INFO"
        log.pass_on(level, self._component, record.getMessage(), waits=getattr(record, "delivers", False))


def listen(component: str) -> None:
    """From here on, what `logging` is told goes to our log: of ours from INFO on, of libraries from WARNING on."""
    root = logging.getLogger()
    root.handlers = [_ToLog(component)]
    root.setLevel(logging.WARNING)
    logging.getLogger("shipper").setLevel(logging.INFO)
