"""examples/hdfs: its one command starts an HDFS, ships to it, and finds every line there once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hadoop import Hadoop
from hdfs.fixtures import jars

ROOT = Path(__file__).parents[2]


def test_a_person_can_try_it(hadoop: Hadoop, tmp_path: Path) -> None:
    """With the jars and the interpreter of the tests, in place of those that it would fetch."""
    environment = {
        **os.environ, "PYTHON_WITH_SHIPPER": sys.executable, "HADOOP_LIBRARIES": str(jars(hadoop)),
        "RUNTIME_DIRECTORY": str(tmp_path), "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    command = ["bash", str(ROOT / "examples" / "hdfs" / "try.sh"), str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "lines out, each once" in done.stdout and "access.log." in done.stdout, said
    assert "ERROR" not in said and ".tmp" not in done.stdout, said
