"""Hadoop's own reader for tests: its client by Maven, fetched once, and the shell that prints what a file says.

The client lies in `$SHIPPER_TEST_CACHE` or `~/.cache/shipper-tests`, outside the project, and is shared by all test
processes: the first one fetches it under a file lock. Where Java, Maven or the network is missing, tests that need it
are skipped, but in CI they fail; in CI, as root, Java and Maven are installed by apt-get.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

VERSION = "3.5.0"
_POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>shipper.tests</groupId><artifactId>hadoop</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.hadoop</groupId><artifactId>hadoop-client-minicluster</artifactId>
      <version>{VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-reload4j</artifactId><version>1.7.36</version></dependency>
    <dependency><groupId>org.lz4</groupId><artifactId>lz4-java</artifactId><version>1.8.0</version></dependency>
  </dependencies>
</project>
"""
_LOG = """\
log4j.rootLogger=WARN,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%p %c: %m%n
"""
_FETCH_S, _SHELL_S = 900, 100


@dataclass(frozen=True)
class Hadoop:
    """Hadoop's client libraries.

    Attributes:
        libraries: the directory with the jars; `hadoop-client-minicluster` has servers in it as well.
        configuration: the directory with `core-site.xml`, without which nothing starts.
    """

    libraries: Path
    configuration: Path

    def java(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Runs a class of Hadoop's in one JVM of its own."""
        options = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true")
        command = ("java", *options, "-cp", f"{self.configuration}:{self.libraries}/*", *arguments)
        done = subprocess.run(command, capture_output=True, timeout=_SHELL_S, check=False)
        assert done.returncode == 0 or not check, done.stderr.decode(errors="replace")[-4000:]
        return done

    def text(self, files: Sequence[Path]) -> dict[str, bytes]:
        """What `hadoop fs -text` prints of each file, by the file's name. All files cost one JVM."""
        # A plain file with a line that no other has stands between them, since the shell prints them in one run.
        line = f"--- {uuid.uuid4().hex} ---\n".encode()
        border = files[0].parent / f"border-{uuid.uuid4().hex}"
        border.write_bytes(line)
        names = [name for file in files for name in (file.as_uri(), border.as_uri())]
        done = self.java("org.apache.hadoop.fs.FsShell", "-text", *names)
        printed = done.stdout.split(line)[:-1]
        return dict(zip((file.name for file in files), printed, strict=True))


@pytest.fixture(scope="session")
def hadoop() -> Hadoop:
    """Hadoop's client, fetched if it is not there yet."""
    cache = Path(os.environ.get("SHIPPER_TEST_CACHE") or Path.home() / ".cache" / "shipper-tests") / f"hadoop-{VERSION}"
    libraries, configuration, complete = cache / "lib", cache / "conf", cache / "complete"
    configuration.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # given back when it is closed
        if not complete.exists() and (trouble := _fetch(cache, libraries)):
            _missing(trouble)
        (configuration / "core-site.xml").write_text("<configuration/>")
        (configuration / "log4j.properties").write_text(_LOG)
        complete.touch()
        if shutil.which("java") is None and (trouble := _install()):
            _missing(trouble)
    return Hadoop(libraries, configuration)


def _fetch(cache: Path, libraries: Path) -> str | None:
    if shutil.which("mvn") is None and (trouble := _install()):
        return trouble
    (cache / "pom.xml").write_text(_POM)
    goal = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={libraries}")
    done = subprocess.run(
        ("mvn", "-B", "-q", "-f", cache / "pom.xml", *goal),
        capture_output=True,
        text=True,
        timeout=_FETCH_S,
        check=False,
    )
    return f"Maven could not fetch Hadoop: {done.stdout[-2000:]}" if done.returncode else None


def _install() -> str | None:
    packages = ("default-jre-headless", "maven")
    if "CI" not in os.environ or os.geteuid() or shutil.which("apt-get") is None:
        return f"needs Java 17 and Maven: apt-get install {' '.join(packages)}"
    for command in (("update",), ("install", "-y", "--no-install-recommends", *packages)):
        done = subprocess.run(
            ("apt-get", "-qq", *command), capture_output=True, text=True, timeout=_FETCH_S, check=False
        )
        if done.returncode:
            return f"apt-get {' '.join(command)}: {done.stderr[-2000:]}"
    return None


def _missing(trouble: str) -> None:
    if "CI" in os.environ:
        pytest.fail(trouble)
    pytest.skip(trouble)
