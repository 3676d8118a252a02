"""A `tail` command, understood: which files, and where to begin in them.

Only what means "follow these files for ever" is understood; everything else (a pipe, a quoted name, an option that we
do not know) is for the real program. Nothing is guessed.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass

import numpy as np

_SHELLS = ("sh", "bash", "dash", "ksh", "zsh")
_SHELL_ONLY = re.compile(r"[|&;<>()$`\\\n{}!#~]")
_QUOTED = re.compile(r"['\"]")
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class FirstPlace:
    """Where `tail` begins: `count` lines or bytes before the end, or at that one counted from the beginning."""

    count: int = 10
    lines: bool = True
    from_start: bool = False

    def __call__(self, fd: int, size: int) -> int:
        """The offset in an open file."""
        if self.from_start:
            skipped = max(0, self.count - 1)
            return _behind_lines(fd, size, skipped) if self.lines else min(size, skipped)
        return _lines_from_end(fd, size, self.count) if self.lines else max(0, size - self.count)


@dataclass(frozen=True)
class TailCommand:
    """What a `tail -F ...` asks for."""

    files: tuple[str, ...]
    first: FirstPlace


def parse_tail(command: str, shell: str | None) -> TailCommand | None:
    """The tail command in exec's `command` and `shell`, or None when it is something else."""
    if shell is not None:
        words = shell.split()
        if len(words) < 2 or os.path.basename(words[0]) not in _SHELLS or words[-1] != "-c":
            return None
        return _in_shell(command)
    words = command.split()
    if len(words) > 2 and os.path.basename(words[0]) in _SHELLS and words[1] == "-c":
        try:
            inner = shlex.split(command)
        except ValueError:
            return None
        return _in_shell(inner[2]) if len(inner) == 3 else None
    return None if _QUOTED.search(command) or _SHELL_ONLY.search(command) else _understand(words)


def _in_shell(command: str) -> TailCommand | None:
    if _SHELL_ONLY.search(command):
        return None
    if _QUOTED.search(command) and re.search(r"[*?\[]", command):
        return None  # a quoted glob is no glob
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    return _understand(words[1:] if words[:1] == ["exec"] else words)


def _understand(words: list[str]) -> TailCommand | None:
    if not words or os.path.basename(words[0]) != "tail":
        return None
    files: list[str] = []
    first = FirstPlace()
    follow = False
    rest = iter(words[1:])
    for word in rest:
        if word == "--":
            files += rest
        elif not word.startswith("-") or word == "-":
            files.append(word)
        elif word in ("-f", "-F", "--follow", "--follow=name", "--follow=descriptor"):
            follow = True
        elif word in ("-q", "--quiet", "--silent", "-v", "--verbose", "--retry"):
            pass
        elif word in ("-s", "--sleep-interval", "--max-unchanged-stats"):
            next(rest, None)
        elif word.startswith(("--sleep-interval=", "--max-unchanged-stats=")) or re.fullmatch(r"-s[\d.]+", word):
            pass
        elif obsolete := re.fullmatch(r"-(\d+)([fF]?)", word):
            first = FirstPlace(int(obsolete[1]))
            follow = follow or bool(obsolete[2])
        else:
            counted = _counted(word, rest)
            if counted is None:
                return None
            place, followed = counted
            first = first if place is None else place
            follow = follow or followed
    if not follow or not files or "-" in files:
        return None
    return TailCommand(tuple(os.path.abspath(file) for file in files), first)


def _counted(word: str, rest: object) -> tuple[FirstPlace | None, bool] | None:
    """`-n N`, `-c +N`, `--lines=N`, and clusters as in `-fn0` or `-Fqn 5`: (where to begin, whether to follow).

    A cluster without a count, as in `-qF`, says nothing of where to begin: None there.
    """
    long = re.fullmatch(r"--(lines|bytes)(?:=(.*))?", word)
    short = re.fullmatch(r"-([fFqv]*)(?:([nc])(.*))?", word)
    if long:
        letter, value, followed = long[1][0].replace("l", "n").replace("b", "c"), long[2], False
    elif short:
        followed = "f" in short[1].lower()
        letter, value = short[2], short[3] or None
        if letter is None:
            return (None, followed) if short[1] else None
    else:
        return None
    text = value if value is not None else next(rest, "")  # type: ignore[call-overload]
    number = re.fullmatch(r"([+-]?)(\d+)", text)
    if number is None:
        return None  # with a unit, as in 10k: for the real program
    return FirstPlace(int(number[2]), letter == "n", number[1] == "+"), followed


def _lines_from_end(fd: int, size: int, count: int) -> int:
    """Where the last `count` lines begin; an unfinished line counts as one."""
    if count == 0:
        return size
    end = size
    wanted = count + 1 if size and os.pread(fd, 1, size - 1) == b"\n" else count
    while end > 0:
        start = max(0, end - _CHUNK_BYTES)
        places = np.flatnonzero(np.frombuffer(os.pread(fd, end - start, start), np.uint8) == 10)
        if len(places) >= wanted:
            return start + int(places[-wanted]) + 1
        wanted -= len(places)
        end = start
    return 0


def _behind_lines(fd: int, size: int, count: int) -> int:
    """Where the line begins that has `count` lines before it."""
    start = 0
    while count > 0 and start < size:
        chunk = os.pread(fd, _CHUNK_BYTES, start)
        places = np.flatnonzero(np.frombuffer(chunk, np.uint8) == 10)
        if len(places) >= count:
            return start + int(places[count - 1]) + 1
        count -= len(places)
        start += len(chunk) or size
    return min(start, size)
