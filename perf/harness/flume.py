"""Flume: a real Apache Flume agent as a rival, tuned, and measured when its JVM is warm.

Its jars come from Maven Central, once, into `$SHIPPER_PERF_CACHE` or `~/.cache/shipper-perf`, outside the project.
Where Java or Maven is missing, what is compared with it says so.

The start of the JVM is not counted: the agent first moves one whole input, by which its code is compiled, and only what
it moves after that is measured, as CPU seconds of the process from the file's appearance (the first byte sent) to the
last byte in its output file. Tuned means: batches of 10,000 instead of 100, a channel that never fills, no answers to
lines, a heap of fixed size and the collector with the highest throughput.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from perf.harness import usage
from perf.harness.command import Settings
from perf.harness.lines import Input, write_input
from perf.harness.results import Goal, Result, progress
from perf.harness.senders import TcpFeed
from perf.harness.transfer import settle
from shipper.testing.mortal import dies_with_us
from shipper.testing.ports import free_port

VERSION = "1.11.0"
_POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>shipper.perf</groupId><artifactId>flume</artifactId><version>1</version><packaging>pom</packaging>
  <dependencyManagement><dependencies>
    <dependency><groupId>io.netty</groupId><artifactId>netty-bom</artifactId><version>4.1.72.Final</version>
      <type>pom</type><scope>import</scope></dependency>
    <dependency><groupId>com.fasterxml.jackson</groupId><artifactId>jackson-bom</artifactId><version>2.13.2</version>
      <type>pom</type><scope>import</scope></dependency>
  </dependencies></dependencyManagement>
  <dependencies>
    <dependency><groupId>org.apache.flume</groupId><artifactId>flume-ng-node</artifactId>
      <version>{VERSION}</version></dependency>
    <dependency><groupId>org.apache.flume.flume-ng-sources</groupId><artifactId>flume-taildir-source</artifactId>
      <version>{VERSION}</version></dependency>
    <dependency><groupId>org.apache.hadoop</groupId><artifactId>hadoop-client-api</artifactId>
      <version>3.5.0</version></dependency>
    <dependency><groupId>org.apache.hadoop</groupId><artifactId>hadoop-client-runtime</artifactId>
      <version>3.5.0</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId>
      <version>2.18.0</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId>
      <version>2.18.0</version></dependency>
  </dependencies>
</project>
"""
_JVM = ("-Xms1g", "-Xmx1g", "-XX:+UseParallelGC", "-Djava.net.preferIPv4Stack=true")
_BATCH = 10_000
_USUAL_BYTES = 200 * 10**6
_FETCH_S, _MOVE_S, _STOP_S = 900, 60, 30
#: Flume's netcat source was seen to lose 25 of 97,000 lines; so little is no reason not to measure it
_LOST_MAX, _QUIET_S = 0.01, 1.0


class NoFlume(Exception):
    """Flume can't be had here; the message says why."""


class Flume:
    """One agent `a1`: a source `r1`, a memory channel, a sink `k1` that writes one file, by default a file_roll sink.

    Args:
        source: keys of `r1`.
        directory: for everything it has; made empty.
        sink: keys of `k1` instead.
    """

    def __init__(self, source: Mapping[str, object], directory: Path, sink: Mapping[str, object] | None = None) -> None:
        self._directory = directory
        self._source = source
        self._sink = sink or {
            "type": "file_roll",
            "sink.directory": directory / "flume-out",
            "sink.rollInterval": 0,
            "sink.batchSize": _BATCH,
        }
        self._port = free_port() if sink else 0  # of its counters
        self._process: subprocess.Popen[bytes] | None = None
        self._moved = 0

    def __enter__(self) -> Flume:
        jars, directory = libraries(), self._directory
        (directory / "flume-out").mkdir(parents=True)
        keys = {
            "sources": "r1",
            "channels": "c1",
            "sinks": "k1",
            **{f"sources.r1.{key}": value for key, value in self._source.items()},
            "sources.r1.channels": "c1",
            "channels.c1.type": "memory",
            "channels.c1.capacity": 20 * _BATCH,
            "channels.c1.transactionCapacity": _BATCH,
            "channels.c1.keep-alive": 2 if self._port else 60,  # so long the hdfs sink waits for a whole batch
            "sinks.k1.channel": "c1",
            **{f"sinks.k1.{key}": value for key, value in self._sink.items()},
        }
        file = directory / "flume.properties"
        file.write_text("".join(f"a1.{key} = {value}\n" for key, value in keys.items()))
        command = ["java", *_JVM, "-cp", f"{jars}/*", "org.apache.flume.node.Application"]
        command += ["-n", "a1", "-f", str(file), "--no-reload-conf"]
        if self._port:
            command[1:1] = ["-Dflume.monitoring.type=http", f"-Dflume.monitoring.port={self._port}"]
        with (directory / "flume.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=dies_with_us()
            )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def moved_cpu_s(self, source: Input, go: Callable[[], None]) -> float:
        """CPU seconds that it spends from `go` until `source` stands in its output: by its bytes, or where another sink
        packs them by the events that it says it has delivered.

        Raises:
            NoFlume: it ended, or does not get it done.
        """
        assert self._process is not None
        began_s, deadline_s = usage.cpu_s(self._process.pid), time.monotonic() + _MOVE_S
        look, size, pause_s = self._written_bytes, source.size_bytes, 0.005
        if self._port:
            look, size, pause_s = self._delivered, source.lines, 0.1
        wanted = self._moved + size
        grew_s, seen = time.monotonic(), self._moved
        go()
        while seen < wanted:
            time.sleep(pause_s)
            if (now := look()) != seen:
                grew_s, seen = time.monotonic(), now
            lost = (wanted - seen) / size
            if lost <= _LOST_MAX and time.monotonic() > grew_s + _QUIET_S:
                break
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                log = (self._directory / "flume.log").read_text(errors="replace")[-1000:]
                raise NoFlume(f"{wanted - seen} of {size} did not come out; its log:\n{log}")
        self._moved = seen
        return max(usage.cpu_s(self._process.pid) - began_s, usage.TICK_S)

    def _written_bytes(self) -> int:
        return sum(entry.stat().st_size for entry in os.scandir(self._directory / "flume-out"))

    def _delivered(self) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as answer:
                return int(json.load(answer)["SINK.k1"]["EventDrainSuccessCount"])
        except (OSError, ValueError, KeyError):  # it has only just started
            return self._moved


@dataclass(frozen=True)
class FlumeFigure:
    """What Flume does.

    Attributes:
        figure: which of ours it is compared with.
        value: None when it could not be measured.
        why: then the reason.
    """

    figure: str
    value: float | None
    why: str = ""

    def beside(self, result: Result, times: float) -> None:
        """Shows it in a result of ours, with the goal to do so many times as much."""
        goal = Goal(
            "times_flume",
            round(times, 2),
            f"x the {self.figure.replace('_per_core_s', '/s per core')} of Flume {VERSION}",
        )
        if self.value is not None:
            result.figures[f"flume_{self.figure}"] = self.value
            result.figures["times_flume"] = result.figures[self.figure] / self.value
        else:
            result.notes.append(f"no ratio to Flume: {self.why}")
        result.goals = (*result.goals, goal)


def tail_figure(settings: Settings, line_bytes: int) -> FlumeFigure:
    """MB/s per core with a TAILDIR source, for lines of that length."""

    return _figure(
        settings, line_bytes, "MB_per_core_s", lambda directory, source: _tailed(settings, directory, source)
    )


def hdfs_figure(settings: Settings, line_bytes: int, codec: str = "") -> FlumeFigure:
    """MB/s per core with a TAILDIR source and the hdfs sink on a directory of this machine, as text or packed."""

    def measure(directory: Path, source: Input) -> float:
        sink = {
            "type": "hdfs",
            "hdfs.path": f"file://{directory}/flume-out",
            "hdfs.fileType": "CompressedStream" if codec else "DataStream",
            **({"hdfs.codeC": codec} if codec else {}),
            **dict.fromkeys(("hdfs.rollInterval", "hdfs.rollCount", "hdfs.rollSize"), 0),
            "hdfs.batchSize": _BATCH,
            "hdfs.callTimeout": 60_000,
        }
        return _tailed(settings, directory, source, sink)

    return _figure(settings, line_bytes, "MB_per_core_s", measure)


def _tailed(settings: Settings, directory: Path, source: Input, sink: Mapping[str, object] | None = None) -> float:
    """MB/s per core with a TAILDIR source."""
    incoming = directory / "flume-in"
    incoming.mkdir()
    keys = {
        "type": "TAILDIR",
        "filegroups": "g",
        "filegroups.g": f"{incoming}/.*\\\\.log",
        "positionFile": directory / "positions.json",
        "batchSize": _BATCH,
    }
    with Flume(keys, directory, sink) as flume:
        cpu_s = _median_cpu_s(settings, flume, source, lambda number: _appearing(source, incoming, number))
    return source.size_bytes / 1e6 / cpu_s


def netcat_figure(settings: Settings, line_bytes: int) -> FlumeFigure:
    """Events/s per core with a netcat source and four connections."""

    def measure(directory: Path, source: Input) -> float:
        port = free_port()
        keys = {
            "type": "netcat",
            "bind": "127.0.0.1",
            "port": port,
            "ack-every-event": "false",
            "max-line-length": 4096,
        }
        feeds: list[TcpFeed] = []

        def go_of(_: int) -> Callable[[], None]:
            feeds.append(TcpFeed(source, port))
            return feeds[-1].go

        with Flume(keys, directory) as flume:
            cpu_s = _median_cpu_s(settings, flume, source, go_of)
        for feed in feeds:
            feed.end()
        return source.lines / cpu_s

    return _figure(settings, line_bytes, "events_per_core_s", measure)


def _appearing(source: Input, incoming: Path, number: int) -> Callable[[], None]:
    """A copy of the input that gets its name at once; Flume would take another link for the same file, renamed."""
    hidden = incoming / ".appearing"
    shutil.copyfile(source.path, hidden)
    return lambda: os.rename(hidden, incoming / f"{number}.log")


def _median_cpu_s(settings: Settings, flume: Flume, source: Input, go_of: Callable[[int], Callable[[], None]]) -> float:
    """The median of the rounds behind a first one, which is not counted."""
    spent_s = []
    for number in range(settings.rounds + 1):
        progress(f"Flume: round {number} of {settings.rounds}")
        go = go_of(number)
        settle(settings, settings.fast, source)
        spent_s.append(flume.moved_cpu_s(source, go))
    progress("")
    return statistics.median(spent_s[1:])


def _figure(settings: Settings, line_bytes: int, figure: str, measure: Callable[[Path, Input], float]) -> FlumeFigure:
    if settings.short:
        return FlumeFigure(figure, None, "a short run starts no JVM")
    directory = settings.fast / "flume"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    try:
        libraries()
        source = write_input(directory / "input", min(settings.size(_USUAL_BYTES), _USUAL_BYTES), line_bytes)
        return FlumeFigure(figure, measure(directory, source))
    except NoFlume as problem:
        return FlumeFigure(figure, None, str(problem))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def libraries() -> Path:
    """The directory with Flume's jars, filled by the first one who asks.

    Raises:
        NoFlume: they can't be fetched, or there is no Java to run them.
    """
    if missing := [name for name in ("java", "mvn") if shutil.which(name) is None]:
        raise NoFlume(f"{' and '.join(missing)} not here (apt-get install default-jre-headless maven)")
    base = Path(os.environ.get("SHIPPER_PERF_CACHE") or Path.home() / ".cache" / "shipper-perf")
    place = base / f"flume-{VERSION}-hadoop"  # the name says what is in it
    place.mkdir(parents=True, exist_ok=True)
    jars, complete = place / "lib", place / "complete"
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # given back when it is closed
        if not complete.exists():
            (place / "pom.xml").write_text(_POM)
            goal = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={jars}")
            command = ("mvn", "-B", "-q", "-f", str(place / "pom.xml"), *goal)
            done = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_S, check=False)
            if done.returncode:
                raise NoFlume(f"Maven could not fetch it: {done.stdout[-500:]}")
            complete.touch()
    return jars
