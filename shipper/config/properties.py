"""A properties file: Java's dialect of keys and values, to the letter, each key with its file and line.

What Java's `Properties.load` does with bytes, this file does, and three things more:

- Bytes are ISO-8859-1, as Flume has read them since 1.10. A line that is really UTF-8 is read as Flume reads it
  (`é` becomes `Ã©`), because the folders and headers of a running Flume already have that spelling; a warning shows
  the `\\uXXXX` form that gives what the person sees in the editor.
- A UTF-8 byte order mark in front of the first key is skipped with a warning. Java makes it a part of the key.
- A `\\u` without four hexadecimal digits stops Java's whole load. Here it is an error with its line, and the other
  lines are still read, so that all problems are told at once.

Nothing is imported that a small process does not have anyway: the supervisor reads files with this.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shipper.config.problem import Problem

#: No configuration is longer; a log file given by mistake is.
FILE_BYTES_MAX = 16 << 20

_BLANKS = " \t\f"
_LINE_END = re.compile(r"\r\n|\r|\n")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_HALF = re.compile("[\ud800-\udfff]")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\f": "\\f"}
_SPECIAL_IN_KEY = re.compile(r"[ =:]|\A[#!]")
_WIDE_SIGNS = "＝：﹦﹕"
_PLAIN = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}

#: What a message shows in the place of a password.
HIDDEN = "(hidden)"
_SECRET = re.compile(r"(?i)(password|passwd|secret|token|credential)(?!file)[^.]*\Z")

#: What `java.lang.String.trim` takes off; Python's own `strip` takes other characters.
JAVA_BLANKS = "".join(map(chr, range(0x21)))


def is_secret(key: str) -> bool:
    """True for the key of a value that nobody is shown, and that is written nowhere."""
    return _SECRET.search(key) is not None


@dataclass(frozen=True, slots=True)
class Property:
    """One key with its value.

    Attributes:
        key, value: after the escapes of the dialect; neither is trimmed at the end.
        file, line: where the value that counts stands; the first line of a continued one.
        overridden: (file, line) of the earlier places of the same key, oldest first.
        secret: True when the value came out of a config filter, so that no message may show it.
    """

    key: str
    value: str
    file: str
    line: int
    overridden: tuple[tuple[str, int], ...] = field(default=())
    secret: bool = False

    @property
    def shown(self) -> str:
        """The value as messages may show it."""
        return HIDDEN if self.secret or is_secret(self.key) else self.value

    def problem(self, severity: str, message: str, **more: object) -> Problem:
        """A problem with this line."""
        fields: dict[str, object] = {"file": self.file, "line": self.line, "key": self.key, "value": self.shown}
        return Problem(severity, message, **{**fields, **more})  # type: ignore[arg-type]


def read_files(paths: Iterable[str | Path]) -> tuple[dict[str, Property], list[Problem]]:
    """The keys of several files merged one by one: a later file wins, and so does a later line of a file."""
    merged: dict[str, Property] = {}
    problems: list[Problem] = []
    for path in paths:
        data = _read(Path(path), problems)
        if data is not None:
            found, wrong = parse(data, os.fsencode(path).decode("utf-8", "replace"))
            problems += wrong
            problems += _repeated(found)
            merge(merged, found)
    return merged, problems


def merge(into: dict[str, Property], found: Sequence[Property]) -> None:
    """Lays `found` over what is there, remembering the places that lost."""
    for new in found:
        old = into.get(new.key)
        before = () if old is None else (*old.overridden, (old.file, old.line))
        into[new.key] = Property(new.key, new.value, new.file, new.line, before)


def parse(data: bytes, file: str) -> tuple[list[Property], list[Problem]]:
    """All keys of one file in order, repeated ones included."""
    problems: list[Problem] = []
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        message = "The file is UTF-16. Save it as plain ASCII text; other letters are written \\uXXXX."
        return [], [Problem("error", message, file, 1)]
    if data[:3] == b"\xef\xbb\xbf":
        data = data[3:]
        message = "The file begins with a byte order mark, which Flume would take for a part of the first key."
        problems.append(Problem("warning", message + " It is skipped; save the file without it.", file, 1))
    found: list[Property] = []
    for line, text in _logical_lines(data.decode("latin-1")):
        raw_key, raw_value = _split(text)
        try:
            found.append(Property(_unescaped(raw_key), _unescaped(raw_value), file, line))
        except ValueError as wrong:
            problems.append(Problem("error", f"{wrong} Java reads no file with it.", file, line, raw_key, raw_value))
            continue
        if not text.isascii():
            problems += _mojibake(raw_key, raw_value, file, line)
    return found, problems


def written(key: str, value: str, ascii_only: bool = True) -> str:
    """A line that `parse` reads as this key and value.

    Args:
        ascii_only: False leaves letters that can be printed as they are, for showing instead of copying.
    """
    text = _SPECIAL_IN_KEY.sub(r"\\\g<0>", _escaped(key, ascii_only))
    return f"{text} = {_escaped(value, ascii_only)}" if value else text


def _escaped(text: str, ascii_only: bool) -> str:
    shown: list[str] = []
    for char in text:
        if char in _ESCAPES:
            shown.append(_ESCAPES[char])
        elif char.isprintable() and (char.isascii() or not ascii_only):
            shown.append(char)
        else:
            units = char.encode("utf-16-be", "surrogatepass").hex()
            shown += [f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4)]
    return "".join(shown)


def java_trim(text: str) -> str:
    """`String.trim()` of Java: takes off everything up to and including the blank."""
    return text.strip(JAVA_BLANKS)


def _read(path: Path, problems: list[Problem]) -> bytes | None:
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            problems.append(Problem("error", "This is a directory; name a properties file in it.", str(path)))
            return None
        with path.open("rb") as opened:
            data = opened.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        message = f"There is no such file (looked for {os.path.abspath(path)})."
        problems.append(Problem("error", message, str(path)))
        return None
    except (OSError, ValueError) as wrong:
        reason = getattr(wrong, "strerror", None) or str(wrong)
        problems.append(Problem("error", f"The file can't be read: {reason}.", str(path)))
        return None
    if not data and stat.S_ISFIFO(mode):
        message = (
            "This is a pipe with nothing left in it. Name a file; or one agent with -n, then it is read only once."
        )
        problems.append(Problem("error", message, str(path)))
        return None
    if len(data) > FILE_BYTES_MAX:
        message = f"The file is longer than {FILE_BYTES_MAX >> 20} MiB, so it is no configuration."
        problems.append(Problem("error", message, str(path)))
        return None
    return data


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number of the first natural line, text) with continuations joined; blank lines and comments left out."""
    natural = _LINE_END.split(text)
    at = 0
    while at < len(natural):
        first = at + 1
        line = natural[at].lstrip(_BLANKS)
        at += 1
        if not line or line[0] in "#!":
            continue
        while _continues(line):
            line = line[:-1]
            if at == len(natural):
                break
            line += natural[at].lstrip(_BLANKS)
            at += 1
        if line:
            yield first, line


def _continues(line: str) -> bool:
    """True when the last backslash is not itself escaped."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _split(line: str) -> tuple[str, str]:
    """Key and value, both with their escapes."""
    end = 0
    while end < len(line) and line[end] not in "=:" + _BLANKS:
        end += 2 if line[end] == "\\" else 1
    rest = line[end:].lstrip(_BLANKS)
    if rest[:1] in ("=", ":"):
        rest = rest[1:].lstrip(_BLANKS)
    return line[:end], rest


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text

    def plain(match: re.Match[str]) -> str:
        if match[1] is not None:
            return chr(int(match[1], 16))
        if match[2] == "u":
            shown = text[match.start() : match.start() + 6]
            raise ValueError(f"{shown} is no character: \\u takes four hexadecimal digits (a backslash is \\\\).")
        return _PLAIN.get(match[2], match[2])

    result = _ESCAPE.sub(plain, text)
    if _HALF.search(result):
        # Java strings are UTF-16: two escapes may be one character; half a one becomes `?` in every encoding.
        result = _HALF.sub(
            "?", _PAIR.sub(lambda match: match[0].encode("utf-16", "surrogatepass").decode("utf-16"), result)
        )
    return result


def _mojibake(key: str, value: str, file: str, line: int) -> list[Problem]:
    try:
        meant_key, meant = key.encode("latin-1").decode("utf-8"), value.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return []  # not UTF-8, so it is what Java takes it for
    shown, read = (meant_key, key) if value.isascii() else (meant, value)
    message = (
        f"The line is UTF-8, but properties files are ISO-8859-1: what an editor shows as {_cut(shown)!r} is read as "
        f"{_cut(read)!r}, as in Flume."
    )
    wide = re.match(f"[{_WIDE_SIGNS}]", meant)
    if wide is not None:
        message = f"What stands behind {_cut(meant_key)} is the wide sign {wide[0]}, which separates nothing; write = ."
        meant = meant[1:].lstrip(_BLANKS + "\u3000")
    fix = written(meant_key, meant)
    return [Problem("warning", message, file, line, key, value, fix=(fix,))]


def _cut(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}..."


def _repeated(found: Sequence[Property]) -> Iterator[Problem]:
    """A key that one file sets twice to different values: the last one counts, which few people know."""
    last: Mapping[str, Property] = {p.key: p for p in found}
    for earlier in found:
        winner = last[earlier.key]
        if winner is not earlier and winner.value != earlier.value:
            message = f"{earlier.key} is set again in line {winner.line}, and the last line counts."
            yield earlier.problem("warning", message)
