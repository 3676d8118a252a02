"""Places in a sink's state directory: the stages, and the journals that belong to them.

::

    stage/                  there when the sink that ran last wrote files of columns
    stage/00000001.open     a stage that takes rows
    stage/00000002.whole    one that takes no more: its file is being made
    stage/files.journal     how much of the stages counts, as for any rolling file
    stage/made.journal      which file each of them becomes; there while there are any
"""

from __future__ import annotations

import os

FOLDER = "stage"
ASSIGNMENTS, JOURNAL = "made.journal", "files.journal"
#: What stands behind the name of a stage that grows, and of one that is whole.
OPEN_SUFFIX, WHOLE_SUFFIX = ".open", ".whole"


def stage_is_there(path: str) -> bool:
    """True when the stage `path` (without its suffix) has one of its names; it may go from the first to the second."""
    return os.path.exists(path + OPEN_SUFFIX) or os.path.exists(path + WHOLE_SUFFIX)
