"""Hadoop's own reader for tests: its client by Maven, fetched once, and the shell that prints what a file says.

Hadoop reads zstd only with its native library, which its client has not; Trino's build of Hadoop on Maven has one. LZO
is not Hadoop's own: lzo-hadoop has the classes under the names that files carry.

Where Java, Maven or the network is missing, tests that need it are skipped, but in CI they fail; in CI, as root, Java
and Maven are installed by apt-get.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import tempfile
import uuid
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from fetched import Trouble, folder, install, locked, missing, run

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
    <dependency><groupId>org.anarres.lzo</groupId><artifactId>lzo-core</artifactId><version>1.0.6</version>
      <exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>
    <dependency><groupId>org.anarres.lzo</groupId><artifactId>lzo-hadoop</artifactId><version>1.0.6</version>
      <exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>
  </dependencies>
</project>
"""
#: Java 17 or newer, and Maven.
_PACKAGES = ("default-jre-headless", "maven")
_NATIVE = "io.trino.hadoop:hadoop-apache:3.2.0-18"
#: The buffer is what hadoop-lzo has by default; lzo-hadoop's own is smaller.
_SITE = """\
<configuration>
  <property><name>io.compression.codecs</name>
    <value>com.hadoop.compression.lzo.LzoCodec,com.hadoop.compression.lzo.LzopCodec</value></property>
  <property><name>io.compression.codec.lzo.buffersize</name><value>262144</value></property>
</configuration>
"""
_LOG = """\
log4j.rootLogger=WARN,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%p %c: %m%n
"""
_SHELL_S = 100


@dataclass(frozen=True)
class Hadoop:
    """Hadoop's client libraries.

    Attributes:
        libraries: the directory with the jars; `hadoop-client-minicluster` has servers in it as well.
        configuration: the directory with `core-site.xml`, without which nothing starts.
        native: the directory with Hadoop's native library.
    """

    libraries: Path
    configuration: Path
    native: Path

    def java(
        self, *arguments: str, check: bool = True, native: bool = False, before: str = ""
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs a class in one JVM of its own, with Hadoop's native library or in pure Java.

        Args:
            before: the class path of others, who come before Hadoop's.
        """
        options = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true"]
        options += ["-XX:+UnlockDiagnosticVMOptions", "-XX:-BytecodeVerificationRemote"]
        options += [f"-Djava.library.path={self.native}"] if native else []
        command = ("java", *options, "-cp", f"{self.configuration}:{before}:{self.libraries}/*", *arguments)
        done = subprocess.run(command, capture_output=True, timeout=_SHELL_S, check=False)
        assert done.returncode == 0 or not check, done.stderr.decode(errors="replace")[:4000]  # then how to use it
        return done

    def text(self, files: Sequence[Path], native: bool = False) -> dict[str, bytes]:
        """What `hadoop fs -text` prints of each file, by the file's name. All files cost one JVM."""
        printed = self.text_of([file.as_uri() for file in files], native)
        return dict(zip((file.name for file in files), printed.values(), strict=True))

    def text_of(self, addresses: Sequence[str], native: bool = False) -> dict[str, bytes]:
        """The same of files anywhere, by their addresses."""
        # A plain file with a line that no other has stands between them, since the shell prints them in one run.
        line = f"--- {uuid.uuid4().hex} ---\n".encode()
        with tempfile.NamedTemporaryFile() as border:
            border.write(line)
            border.flush()
            names = [name for address in addresses for name in (address, f"file://{border.name}")]
            done = self.java("org.apache.hadoop.fs.FsShell", "-text", *names, native=native)
        return dict(zip(addresses, done.stdout.split(line)[:-1], strict=True))


@pytest.fixture(scope="session")
def hadoop() -> Hadoop:
    """Hadoop's client, fetched if it is not there yet."""
    recipe = hashlib.sha256("\0".join((_POM, _NATIVE, _SITE, _LOG)).encode()).hexdigest()[:8]
    place = folder(f"hadoop-{VERSION}-{recipe}", _fetch)
    need_java()
    return Hadoop(place / "lib", place / "conf", place / "native")


def need_java() -> None:
    """Installs Java if it is not there yet."""
    with locked("java"):
        if shutil.which("java") is None:
            try:
                install(*_PACKAGES)
            except Trouble as trouble:
                missing(str(trouble))


def _fetch(place: Path) -> None:
    if shutil.which("mvn") is None:
        install(*_PACKAGES)
    (place / "pom.xml").write_text(_POM)
    maven = ("mvn", "-B", "-q", "-f", place / "pom.xml")
    run(*maven, "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={place / 'lib'}")
    run(*maven, "dependency:copy", f"-Dartifact={_NATIVE}", f"-DoutputDirectory={place / 'jar'}")
    machine = {"x86_64": "amd64"}.get(platform.machine(), platform.machine())
    native = place / "native"
    native.mkdir()
    with zipfile.ZipFile(next((place / "jar").glob("*.jar"))) as jar:
        for name in jar.namelist():
            if name.startswith(f"nativelib/Linux-{machine}/") and name.endswith(".so"):
                (native / Path(name).name).write_bytes(jar.read(name))
    shutil.rmtree(place / "jar")
    (native / "libzstd.so.1").symlink_to("libzstd.so")
    configuration = place / "conf"
    configuration.mkdir()
    (configuration / "core-site.xml").write_text(_SITE)
    (configuration / "log4j.properties").write_text(_LOG)
