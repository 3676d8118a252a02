"""`describe`: every component and option of this build, from the declarations themselves."""

from __future__ import annotations

import shutil
import sys
from typing import TextIO

from shipper.config import describe as pages
from shipper.config.flume_types import flume_name
from shipper.likely import likely


def describe(wanted: str | None = None, template: bool = False, agent: str = "a1", out: TextIO | None = None) -> int:
    """Prints what `describe [TYPE] [--template]` asks for; the exit code.

    Args:
        wanted: a type, a family, or both (`hdfs`, `sinks`, `sink hdfs`); None for all.
        template: lines to start a file from, instead of pages.
        agent: the agent's name in those lines.
    """
    page = sys.stdout if out is None else out
    width = max(40, min(shutil.get_terminal_size((100, 24)).columns, 120)) if page.isatty() else 100
    if not wanted or not wanted.strip():
        page.write((pages.starter(agent) if template else pages.overview()) + "\n")
        return 0
    found = pages.find(wanted)
    if not found:
        page.write(_unknown(wanted) + "\n")
        return 2
    if template:
        texts = [pages.template(one, width).replace("a1.", f"{agent}.") for one in found]
    else:
        texts = [pages.page(one, width) for one in found]
    page.write("\n\n".join(text.rstrip() for text in texts) + "\n")
    return 0


def _unknown(wanted: str) -> str:
    name = wanted.split()[-1]
    families = [family for family in pages.PLACES if flume_name(family, name) is not None]
    if families:
        return f"Flume has the {families[0]} {name}, but it is not in this build. 'describe' lists what is."
    names = [one.name for family in pages.PLACES for one in pages.described(family)]
    near = likely(name.lower(), names, 1, 0.5)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"There is no component {wanted}.{hint} 'describe' lists them all."
