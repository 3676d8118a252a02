"""What the tests of published articles share: their files, and Flume's command."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from shipper.testing.agent import Agent

_FENCED = re.compile(r"^( *)```\w*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
FLUME_NG = "import sys; from shipper.cli.main import flume_ng; sys.exit(flume_ng())"


def block(articles: Path, number: str, mark: str) -> str:
    """The fenced block of an article that has `mark` in it."""
    [article] = articles.glob(f"{number}_*.txt")
    found = [textwrap.dedent(text) for _, text in _FENCED.findall(article.read_text(encoding="utf-8")) if mark in text]
    return found[0]


class FlumeNg(Agent):
    """An agent that is started by the command of the articles: flume-ng."""

    def command(self) -> list[str]:
        at = (words := super().command()).index("-m")
        return [*words[:at], "-c", FLUME_NG, *words[at + 2 :]]
