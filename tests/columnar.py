"""The readers of Hive and Spark for tests: parquet-mr's and ORC's own command lines, by Maven, fetched once.

They run beside Hadoop's client (`hadoop.py`), which has the file systems.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fetched import folder, run
from hadoop import Hadoop

_POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>shipper.tests</groupId><artifactId>columnar</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.parquet</groupId><artifactId>parquet-cli</artifactId>
      <version>1.15.2</version></dependency>
    <dependency><groupId>com.google.guava</groupId><artifactId>guava</artifactId>
      <version>33.4.8-jre</version></dependency>
  </dependencies>
</project>
"""
_ORC = "org.apache.orc:orc-tools:2.1.2:jar:uber"


@dataclass(frozen=True)
class Columnar:
    """Java's readers of files of columns. Each call costs one JVM.

    Attributes:
        place: the directories `parquet` and `orc` with their jars.
    """

    hadoop: Hadoop
    place: Path

    def parquet(self, command: str, files: Sequence[Path]) -> str:
        """What `parquet COMMAND FILES` prints."""
        return self._run("parquet", "org.apache.parquet.cli.Main", command, *map(str, files))

    def orc(self, command: str, files: Sequence[Path]) -> str:
        """What `orc-tools COMMAND FILES` prints."""
        return self._run("orc", "org.apache.orc.tools.Driver", *command.split(), *map(str, files))

    def _run(self, libraries: str, *arguments: str) -> str:
        done = self.hadoop.java("-Duser.timezone=UTC", *arguments, before=f"{self.place / libraries}/*")
        return done.stdout.decode()


def rows(printed: str) -> list[dict[str, Any]]:
    """The rows among what was printed: a JSON object a line."""
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


@pytest.fixture(scope="session")
def columnar(hadoop: Hadoop) -> Columnar:
    """The readers, fetched if they are not there yet."""
    recipe = hashlib.sha256(f"{_POM}{_ORC}".encode()).hexdigest()[:8]
    return Columnar(hadoop, folder(f"columnar-{recipe}", _fetch))


def _fetch(place: Path) -> None:
    (place / "pom.xml").write_text(_POM)
    maven = ("mvn", "-B", "-q", "-f", place / "pom.xml")
    run(*maven, "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={place / 'parquet'}")
    run(*maven, "dependency:copy", f"-Dartifact={_ORC}", f"-DoutputDirectory={place / 'orc'}")
