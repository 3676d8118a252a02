"""Java's regular expressions in Python's dialect.

Only what the two write differently is changed; what Python can't say is refused with a sentence. Java's classes `\\d`,
`\\w`, `\\s` know ASCII alone, and its dot stops at five line ends, so the result does too.
"""

from __future__ import annotations

import re
import sys

_DOT = "[^\\n\\r\\x85\\u2028\\u2029]"
_POSIX = {
    "Lower": "a-z", "Upper": "A-Z", "ASCII": "\\x00-\\x7f", "Alpha": "a-zA-Z", "Digit": "0-9", "Alnum": "a-zA-Z0-9",
    "Punct": "!-/:-@\\[-`{-~", "Graph": "!-~", "Print": " -~", "Blank": " \\t", "Cntrl": "\\x00-\\x1f\\x7f",
    "XDigit": "0-9a-fA-F", "Space": " \\t\\n\\x0b\\f\\r",
}  # fmt: skip
_HORIZONTAL = " \\t\\xa0\\u1680\\u180e\\u2000-\\u200a\\u202f\\u205f\\u3000"
_VERTICAL = "\\n\\x0b\\f\\r\\x85\\u2028\\u2029"
_SAME = set("bBdDwWsSAGtnrf")


def compile_java(pattern: str) -> re.Pattern[str]:
    """The pattern, to be used with `fullmatch` or `search`.

    Raises:
        ValueError: it is no pattern, or uses what Python's expressions can't do; the message says which.
    """
    try:
        return re.compile(_Translation(pattern).run(), re.ASCII)
    except re.error as problem:
        raise ValueError(f"is no regular expression: {problem}") from None
    except OverflowError:
        raise ValueError("is no regular expression: a repetition is 2147483647 times at most") from None
    except RecursionError:
        raise ValueError("can't be used: its groups stand in each other hundreds of levels deep") from None


class _Translation:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def run(self) -> str:
        """The whole pattern, left to right."""
        out: list[str] = []
        while self._at < len(self._pattern):
            char = self._pattern[self._at]
            if char == "\\":
                out.append(self._escape(in_class=False))
            elif char == "[":
                out.append(self._class())
            elif char == ".":
                self._at += 1
                out.append(_DOT)
            elif self._pattern.startswith("(?", self._at):
                out.append(self._group(first=not out))
            else:
                self._at += 1
                out.append(char)
        return "".join(out)

    def _group(self, *, first: bool) -> str:
        rest = self._pattern[self._at :]
        if named := re.match(r"\(\?<([a-zA-Z][a-zA-Z0-9]*)>", rest):
            self._at += named.end()
            return f"(?P<{named[1]}>"
        if flags := re.match(r"\(\?([a-zA-Z]*)(-[a-zA-Z]+)?([:)])", rest):
            self._at += flags.end()
            on, off, end = flags[1], flags[2] or "", flags[3]
            if set(on + off) - set("imsx-"):
                raise ValueError(f"the flags {flags[0]} have no counterpart here")
            if end == ")" and (off or not first):
                raise ValueError(f"{flags[0]} may stand at the beginning only; elsewhere write (?{on}{off}:...)")
            if "s" in on or "x" in on:
                raise ValueError(f"the flags {flags[0]} have no counterpart here; write [\\s\\S] for any character")
            return f"(?{on}{off}{end}"
        self._at += 2
        return "(?"

    def _class(self) -> str:
        self._at += 1
        opening = "["
        if self._pattern.startswith("^", self._at):
            opening = "[^"
            self._at += 1
        members: list[str] = []
        while self._at < len(self._pattern) and self._pattern[self._at] != "]":
            char = self._pattern[self._at]
            if char == "[":
                raise ValueError("a class inside a class ([a[b]]) has no counterpart here; write one class")
            if self._pattern.startswith("&&", self._at):
                raise ValueError("the intersection of classes (&&) has no counterpart here; write one class")
            if char == "\\":
                members.append(self._escape(in_class=True))
            else:
                # What is no negation in Java must be none in Python: a caret that follows text that became nothing.
                members.append("\\^" if char == "^" else char)
                self._at += 1
        if self._at >= len(self._pattern):
            raise ValueError("is no regular expression: a class ([...]) is not closed")
        if not any(members):
            raise ValueError("is no regular expression: a class ([...]) is empty; write \\] for the bracket itself")
        self._at += 1
        return f"{opening}{''.join(members)}]"

    def _escape(self, *, in_class: bool) -> str:
        pattern = self._pattern
        if self._at + 1 >= len(pattern):
            raise ValueError("is no regular expression: it ends in a single \\")
        char = pattern[self._at + 1]
        self._at += 2
        if char == "Q":
            end = pattern.find("\\E", self._at)
            quoted = pattern[self._at :] if end < 0 else pattern[self._at : end]
            self._at = len(pattern) if end < 0 else end + 2
            return re.escape(quoted)
        if char == "E":
            return ""
        if char in "pP":
            return self._property(negative=char == "P", in_class=in_class)
        if char in "hHvV":
            members = _HORIZONTAL if char in "hH" else _VERTICAL
            if in_class and char.isupper():
                raise ValueError(f"\\{char} inside a class has no counterpart here")
            return members if in_class else f"[{'^' if char.isupper() else ''}{members}]"
        if char == "R" and not in_class:
            return f"(?:\\r\\n|[{_VERTICAL}])"
        if char == "Z" and not in_class:
            return f"(?=(?:\\r\\n|[{_VERTICAL}])?\\Z)"
        if char == "z" and not in_class:
            return "\\Z"
        if char == "k" and (name := re.match(r"<([a-zA-Z][a-zA-Z0-9]*)>", pattern[self._at :])):
            self._at += name.end()
            return f"(?P={name[1]})"
        if char == "e":
            return "\\x1b"
        if char == "a":
            return "\\x07"
        if char == "0" and (octal := re.match(r"[0-3]?[0-7]{1,2}", pattern[self._at :])):
            self._at += octal.end()
            return f"\\x{int(octal[0], 8):02x}"
        if char == "x" and (wide := re.match(r"\{([0-9a-fA-F]+)\}", pattern[self._at :])):
            self._at += wide.end()
            if (point := int(wide[1], 16)) > sys.maxunicode:
                raise ValueError(f"is no regular expression: the last character is \\x{{{sys.maxunicode:x}}}")
            return re.escape(chr(point))
        if char in "xu" or char.isdigit() or (char in _SAME and char != "G"):
            return "\\" + char
        if char.isalpha():
            raise ValueError(f"\\{char} has no counterpart here")
        return "\\" + char

    def _property(self, *, negative: bool, in_class: bool) -> str:
        found = re.match(r"\{(?:Is)?([A-Za-z_]+)\}", self._pattern[self._at :])
        members = _POSIX.get(found[1]) if found else None
        if found is None or members is None:
            raise ValueError(f"only the classes \\p{{{'|'.join(_POSIX)}}} are known here")
        self._at += found.end()
        if not in_class:
            return f"[{'^' if negative else ''}{members}]"
        if negative:
            raise ValueError("\\P{...} inside a class has no counterpart here")
        return members
