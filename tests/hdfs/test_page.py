"""docs/hdfs.md: its settings are understood. What it says of faults is in test_faults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shipper.cli.main import main

PAGE = (Path(__file__).parents[2] / "docs" / "hdfs.md").read_text()
AGENT = """\
a1.sources = r1
a1.channels = c1
a1.sinks = k1
a1.sources.r1.type = seq
a1.sources.r1.channels = c1
a1.channels.c1.type = memory
"""


def test_nothing_is_doubtful_in_the_settings_of_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All blocks together are one sink."""
    blocks = re.findall(r"^```properties\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    file = tmp_path / "a1.properties"
    file.write_text(AGENT + "".join(blocks))
    assert main(["check", "--strict", str(file)]) == 0, capsys.readouterr().out
