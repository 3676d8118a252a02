"""A problem: one thing to tell a person about a configuration, with its place, its value and what would be right."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

#: What a severity means for the agent, worst first.
SEVERITIES = {
    "error": "nothing starts",
    "dropped": "a component is left out and the rest runs, as Flume does",
    "warning": "it runs, but probably not as meant",
    "note": "about another agent of the same file",
}

#: A message with a value in it that is longer than any sentence is cut.
MESSAGE_MOST = 600

#: A word that is longer than any path is cut by itself, so that what stands behind it is read: why, and what to do.
_LONG_WORD = re.compile(r"(\S{80})\S{200,}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to tell.

    Attributes:
        severity: a key of `SEVERITIES`.
        message: what is wrong and what to do, in sentences; the place is not repeated in it.
        file, line: where; line 0 when no single line is to blame.
        key, value: as the person wrote them; the value is hidden where it may be a password.
        nearest: the valid spelling that was probably meant.
        fix: lines ready to be copied into the file.
        consequence: what happens because of it ("sink k1 is left out").
        agent: whose problem it is; empty when the line belongs to none.
        flume: what Flume's own validation says about it, as in "ERROR CONFIG_ERROR component=a1 key=k2".
    """

    severity: str
    message: str
    file: str = ""
    line: int = 0
    key: str = ""
    value: str = ""
    nearest: str | None = None
    fix: tuple[str, ...] = ()
    consequence: str = ""
    agent: str = ""
    flume: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """`a1.properties:12`, or what of it is known."""
        return f"{self.file}:{self.line}" if self.line else self.file

    @property
    def text(self) -> str:
        """The message and its consequence as sentences."""
        shown = printable(_LONG_WORD.sub(r"\1...", self.message))
        ended = shown if shown[-1:] in ".:!?" else f"{shown}."
        then = self.consequence[:1].upper() + self.consequence[1:]
        return f"{ended} {printable(then)}." if then else ended

    def one_line(self) -> str:
        """All of it on one line, for a log."""
        about = (
            f"{printable(self.key)}: " if self.key and self.key not in self.message and self.key not in self.fix else ""
        )
        parts = [f"{self.place}: " if self.place else "", about, self.text]
        if self.nearest:
            parts.append(f" Did you mean {printable(self.nearest)}?")
        if self.fix:
            parts.append(printable(" Write: " + " | ".join(self.fix)))
        return "".join(parts)


def printable(text: str, most: int = MESSAGE_MOST) -> str:
    """`text` in one line, without characters that a terminal would obey, cut where nobody reads on.

    Such characters become the `\\uXXXX` that a properties file has for them.
    """
    shown = text if text.isprintable() else "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
    return shown if len(shown) <= most else f"{shown[:most]}..."


def strictly(problems: list[Problem]) -> list[Problem]:
    """The problems as `--strict` sees them: all but notes are errors."""
    return [p if p.severity == "note" else replace(p, severity="error") for p in problems]


def in_order(problems: list[Problem]) -> list[Problem]:
    """Each problem once, in the order of the files' lines; those without a line last."""
    unique = list(dict.fromkeys(problems))
    files = {file: number for number, file in enumerate(dict.fromkeys(p.file for p in unique))}
    return sorted(unique, key=lambda p: (p.severity == "note", p.line == 0, files[p.file], p.line))
