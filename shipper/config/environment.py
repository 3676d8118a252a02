"""`flume-env.sh`: the `-D` flags that it would give to Java, read from its text. The script is never run."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

#: The variables whose words reach Java, in the order in which Flume's script joins them.
JAVA_VARIABLES = ("JAVA_OPTS", "FLUME_JAVA_OPTS")

_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\+?)=(.*)\Z", re.DOTALL)
_REFERENCE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")
_OPENING = re.compile(r"(if|for|while|until|case)\b|.*\(\)\s*\{?\s*\Z")
_CLOSING = re.compile(r"(fi|done|esac)\b|\}\s*\Z")
FILE_BYTES_MAX = 1 << 20


def system_properties(conf_dir: Path, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The `-Dkey=value` flags of the directory's `flume-env.sh`; empty when there is no such file."""
    return read_environment(conf_dir, environment)[0]


def read_environment(conf_dir: Path, environment: Mapping[str, str] | None = None) -> tuple[dict[str, str], list[str]]:
    """The flags, and a sentence for each flag that would have to be run to be known.

    Counted are plain assignments (`JAVA_OPTS="-Dx=y $JAVA_OPTS"`, with or without `export`) outside of conditions,
    loops and functions. `$NAME` is known when the script assigns it before, or the environment has it. What the
    environment's own `JAVA_OPTS` holds is the caller's business, and left out here.
    """
    script = conf_dir / "flume-env.sh"
    try:
        with script.open("rb") as opened:
            text = opened.read(FILE_BYTES_MAX).decode("utf-8", "replace")
    except FileNotFoundError:
        return {}, []
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        return {}, [f"{script} can't be read ({reason}): its -D flags do not count."]
    known = dict(os.environ if environment is None else environment)
    for name in JAVA_VARIABLES:
        known[name] = ""
    notes: list[str] = []
    for line, assignment, inside in _assignments(text):
        name, more, value = assignment
        if inside:
            if name in JAVA_VARIABLES and "-D" in value:
                notes.append(f"{script}:{line}: {name} is set inside a condition or a function, so it does not count.")
            continue
        expanded = _expanded(value, known)
        if name in JAVA_VARIABLES:
            words = [_expanded(word, known) or word for word in value.split()] if expanded is None else [expanded]
            lost = [word for text in words for word in text.split() if "$" in word or "`" in word]
            notes += [f"{script}:{line}: {word} would have to be run to be known; it does not count." for word in lost]
            kept = " ".join(word for text in words for word in text.split() if word not in lost)
            known[name] = f"{known[name]} {kept}" if more else kept
        elif expanded is not None:
            known[name] = expanded
        else:
            known.pop(name, None)
    found: dict[str, str] = {}
    for name in JAVA_VARIABLES:
        for word in known[name].split():
            if word.startswith("-D") and len(word) > 2:
                key, _, value = word[2:].partition("=")
                found[key] = value
    return found, notes


def _assignments(text: str) -> Iterator[tuple[int, tuple[str, str, str], bool]]:
    """(line, (name, `+` or nothing, value without its quotes), inside a block) of every assignment."""
    depth = 0
    for number, line in _joined(text):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if _CLOSING.match(stripped):
            depth = max(0, depth - 1)
            continue
        opens = _OPENING.match(stripped) is not None and re.search(r"\b(fi|done|esac)\b\s*\Z", stripped) is None
        one_line = _OPENING.match(stripped) is not None and not opens
        try:
            words = shlex.split(stripped, comments=True)
        except ValueError:
            words = []
        if words[:1] in (["export"], ["readonly"], ["declare"], ["typeset"]):
            words = [word for word in words[1:] if not word.startswith("-")]
        for word in words:
            match = _ASSIGNMENT.match(word)
            if match is None:
                if depth == 0 and not opens and not one_line:
                    break  # the words of a command
                continue
            yield number, (match[1], match[2], match[3]), depth > 0 or opens or one_line
        depth += opens


def _joined(text: str) -> Iterator[tuple[int, str]]:
    """Lines joined where a backslash or an open quote makes the next one a part of them; a number for each."""
    lines = text.replace("\r\n", "\n").split("\n")
    at = 0
    while at < len(lines):
        first, line = at + 1, lines[at]
        at += 1
        while at < len(lines) and not line.lstrip().startswith("#"):
            if line.endswith("\\") and not line.endswith("\\\\"):
                line = line[:-1] + lines[at]
            elif _quote_is_open(line) and at - first < 50:
                line = f"{line}\n{lines[at]}"
            else:
                break
            at += 1
        yield first, line


def _quote_is_open(line: str) -> bool:
    try:
        shlex.split(line, comments=True)
    except ValueError as wrong:
        return "closing quotation" in str(wrong)
    return False


def _expanded(value: str, known: Mapping[str, str]) -> str | None:
    """The value with its variables, None when something in it is not known without running the script."""
    missing = False

    def put(match: re.Match[str]) -> str:
        nonlocal missing
        found = known.get(match[1] or match[2])
        if found is None:
            missing = (match[1] or match[2]) not in JAVA_VARIABLES
            return ""
        return found

    result = _REFERENCE.sub(put, value)
    return None if missing or "$" in result or "`" in result else result
