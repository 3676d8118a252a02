"""Programs to compare with, run on the same input in the same run.

A rival that is not installed is named with the package that has it, and the ratio is left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from perf.harness import usage


@dataclass(frozen=True)
class Rival:
    """A filter: standard input to standard output.

    Attributes:
        package: Debian's, that has it.
    """

    name: str
    command: tuple[str, ...]
    package: str

    @property
    def there(self) -> bool:
        return shutil.which(self.command[0]) is not None

    def run(self, source: Path, target: Path) -> RivalRun:
        """Runs it from one file into another one, which is removed before it returns."""
        with source.open("rb") as read, target.open("wb") as write:
            began_s, busy_s = time.perf_counter(), usage.busy_s()
            process = subprocess.Popen(self.command, stdin=read, stdout=write)
            _, status, spent = os.wait4(process.pid, 0)
            wall_s, busy_s = time.perf_counter() - began_s, usage.busy_s() - busy_s
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{' '.join(self.command)} ended with {process.returncode}")
        output_bytes = target.stat().st_size
        target.unlink()
        cpu_s = spent.ru_utime + spent.ru_stime
        return RivalRun(wall_s, cpu_s, output_bytes, max(busy_s - cpu_s, 0) / wall_s)


@dataclass(frozen=True)
class RivalRun:
    """What a rival took. `others`: cores that processes outside of it used meanwhile."""

    wall_s: float
    cpu_s: float
    output_bytes: int
    others: float


CAT = Rival("cat", ("cat",), "coreutils")
LZ4 = Rival("lz4 -1", ("lz4", "-1", "-q", "-c"), "lz4")
GZIP = Rival("gzip -1", ("gzip", "-1", "-c"), "gzip")
IGZIP = Rival("igzip -1", ("igzip", "-1", "-c"), "isal")
ZSTD = Rival("zstd -1", ("zstd", "-1", "-q", "-c", "--single-thread"), "zstd")


class Rsyslog:
    """rsyslogd with a configuration of its own, which listens on a TCP port and writes lines to one file."""

    name = "rsyslog"
    package = "rsyslog"

    def __init__(self, directory: Path, port: int) -> None:
        self.target = directory / "rsyslog.out"
        self._directory = directory
        self._port = port

    @property
    def there(self) -> bool:
        return self._program is not None

    @property
    def _program(self) -> str | None:
        return shutil.which("rsyslogd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")

    def start(self, line_bytes_max: int = 8192) -> None:
        """Starts it and waits for its port."""
        assert self._program is not None
        directory = self._directory
        file = directory / "rsyslog.conf"
        file.write_text(
            f"""
global(workDirectory="{directory}" maxMessageSize="{line_bytes_max}")
module(load="imptcp" threads="2")
template(name="raw" type="string" string="%rawmsg%\\n")
main_queue(queue.size="200000" queue.dequeueBatchSize="4096" queue.workerThreads="1")
ruleset(name="all" queue.type="FixedArray" queue.size="200000" queue.dequeueBatchSize="4096") {{
  action(type="omfile" file="{self.target}" template="raw" ioBufferSize="1m" flushOnTXEnd="on" asyncWriting="off")
}}
input(type="imptcp" port="{self._port}" address="127.0.0.1" ruleset="all" supportOctetCountedFraming="off")
"""
        )
        command: Sequence[str] = (self._program, "-n", "-f", str(file), "-i", str(directory / "rsyslog.pid"))
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        """Ends it; what it still holds in its buffers reaches the file."""
        self.process.terminate()
        self.process.wait(30)
