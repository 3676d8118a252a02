"""The other workers of a sink: how far each has caught up, and which folders it is still busy with.

Each worker keeps one small file for the others in its state directory, replaced as a whole. A word that is old is still
true: who has caught up to a moment has caught up to it for ever, and a folder that it is ready with gets no more rows
but late ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from shipper import whole_file
from shipper.sinks.sink import SinkContext

_WORD = "done.json"


@dataclass(frozen=True)
class Words:
    """What the others have said: how far each has caught up (wall ms), and with which folders it is busy."""

    said: tuple[tuple[int, frozenset[str]], ...]

    def ready(self, folder: str, due_ms: int) -> bool:
        """True when all of them have delivered what was put before that moment, and have no files in that folder."""
        return all(before_ms >= due_ms and folder not in busy for before_ms, busy in self.said)


class Others:
    """The other workers of the sink of this context."""

    def __init__(self, context: SinkContext) -> None:
        self._mine = context.state_dir / _WORD
        others = (index for index in range(context.workers) if index != context.worker)
        self._paths = [context.state_dir.with_name(f"{context.name}.{index}") / _WORD for index in others]

    def tell(self, before_ms: int, busy: Sequence[str]) -> None:
        """Says how far this worker has caught up, and with which folders it is busy.

        Raises:
            OSError: the others see what was said before.
        """
        whole_file.write(self._mine, [orjson.dumps({"before_ms": before_ms, "busy": busy})])

    def look(self) -> Words:
        """What they say now. Who has not said a word yet has not caught up to anything."""
        said = []
        for path in self._paths:
            try:
                word = orjson.loads(path.read_bytes())
                said.append((int(word["before_ms"]), frozenset(word["busy"])))
            except (OSError, ValueError, KeyError):
                said.append((0, frozenset[str]()))
        return Words(tuple(said))
