"""Whether a source of ours would take in our own log: each line about a line makes one more line, for ever."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shipper.config.plan import Plan


def own_log_is_tailed(log_file: Path, plan: Plan) -> str | None:
    """A warning for the person, or None when no source of the plan reads `log_file` or what it is rotated to."""
    path = os.path.join(os.path.realpath(log_file.parent), log_file.name)
    # The rotated file counts as well: a pattern that takes flume.log.1 takes our log in a little later.
    for source in plan.sources:
        for written, pattern in _patterns(source.type, source.properties):
            if any(pattern(candidate) for candidate in (path, f"{path}.1")):
                return (
                    f"{source.name} reads {written}, and that takes in shipper's own log {path}: each line shipped "
                    f"would make new lines. Move the log (-Dflume.log.dir=DIR) or narrow the pattern of {source.name}."
                )
    return None


def _patterns(kind: str, properties: Mapping[str, str]) -> Iterator[tuple[str, _Matcher]]:
    """What a source reads: (as the person wrote it, a predicate on absolute paths)."""
    if kind == "taildir":
        for group in properties.get("filegroups", "").split():
            if written := properties.get(f"filegroups.{group}", "").strip():
                yield written, _Matcher(os.path.dirname(written), _regex(os.path.basename(written)))
    elif kind == "exec":
        for written in _tailed_files(properties.get("command", "")):
            name = re.compile(fnmatch.translate(os.path.basename(written)))
            yield written, _Matcher(os.path.dirname(written), name)
    elif kind == "spooldir" and (written := properties.get("spoolDir", "").strip()):
        yield written, _Matcher(written, _regex(properties.get("includePattern") or ".*"))


class _Matcher:
    """True for paths in a folder (itself perhaps a glob) whose name matches in full."""

    def __init__(self, folder: str, name: re.Pattern[str] | None) -> None:
        self._folder = os.path.realpath(folder or ".")
        self._name = name

    def __call__(self, path: str) -> bool:
        folder, name = os.path.split(path)
        if self._name is None or self._name.fullmatch(name) is None:
            return False
        return folder == self._folder or fnmatch.fnmatchcase(folder, self._folder)


def _regex(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:
        return None  # the configuration's own check speaks about it


def _tailed_files(command: str) -> list[str]:
    """The files of the first `tail` in a command, also inside `bash -c "..."`."""
    try:
        words = shlex.split(command, comments=False)
    except ValueError:
        words = command.replace("'", " ").replace('"', " ").split()
    nested = next((word for word in words if " " in word and re.search(r"\btail\s", word)), None)
    if nested is not None:
        return _tailed_files(nested)
    start = next((i for i, word in enumerate(words) if os.path.basename(word) == "tail"), None)
    if start is None:
        return []
    files: list[str] = []
    takes_value = False
    for word in words[start + 1 :]:
        if word in ("|", ";", "&&", "||", ">"):
            break
        if takes_value:
            takes_value = False
        elif word.startswith("-") and len(word) > 1:
            takes_value = word in ("-n", "-c", "-s", "--lines", "--bytes", "--pid", "--sleep-interval")
        else:
            files.append(word)
    return files
