"""Files of columns on a cluster, and under SIGKILL of real processes: whole, each row in one of them, nothing left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from hdfs.cluster import Cluster
from hdfs.kills import Load

from shipper.cli.main import main
from shipper.testing.agent import Agent

FIRST_SEED = int(os.environ.get("SHIPPER_SEED", "1"))
SUFFIXES = {"Parquet": ".parquet", "ORC": ".orc", "Arrow": ".arrow"}

#: Reads files in a process of its own: one body a line, the path before those of each file.
READER = """
import sys
import pyarrow as pa, pyarrow.parquet as pq
from pyarrow import orc
read = {"parquet": lambda p: pq.read_table(p, partitioning=None), "orc": orc.read_table,
        "arrow": lambda p: pa.ipc.open_file(p).read_all()}
for path in sys.argv[1:]:
    for body in read[path.rpartition(".")[2]](path)["body"].to_pylist():
        sys.stdout.buffer.write(body + b"\\n")
"""


def bodies(paths: list[Path]) -> list[bytes]:
    """What is in these files, read by another process."""
    done = subprocess.run([sys.executable, "-c", READER, *map(str, paths)], capture_output=True, check=True)
    return done.stdout.splitlines()


def configuration(home: Path, where: str, **sink: str) -> str:
    options = {"path": where, "columns": "host timestamp:timestamp_ms", **sink}
    return "\n".join([
        "a1.sources = r1", "a1.channels = c1", "a1.sinks = k1", "a1.sources.r1.type = TAILDIR",
        "a1.sources.r1.channels = c1", "a1.sources.r1.filegroups = f", f"a1.sources.r1.filegroups.f = {home}/input",
        f"a1.sources.r1.positionFile = {home}/positions.json", "a1.sources.r1.interceptors = i",
        "a1.sources.r1.interceptors.i.type = timestamp", "a1.channels.c1.type = memory",
        "a1.sinks.k1.type = hdfs", "a1.sinks.k1.channel = c1",
        *(f"a1.sinks.k1.hdfs.{key} = {value}" for key, value in options.items()), "",
    ])  # fmt: skip


def killed(
    home: Path,
    where: str,
    seed: int,
    deaths: int,
    *,
    arguments: tuple[str, ...] = (),
    lines_s: int = 20_000,
    **sink: str,
) -> int:
    """An agent that is killed so often while it ships a growing file: the lines of that file, once all are there."""
    chance = random.Random(seed)
    load = Load(home / "input", lines_s)
    with Agent(home / "agent", configuration(home, where, **sink), arguments=arguments) as agent:
        agent.start()
        for _ in range(deaths):
            threading.Event().wait(chance.uniform(0.05, 2.5))
            role = chance.choice(("k1", "k1", "r1", "group"))
            if role == "group":
                agent.send(signal.SIGKILL, everybody=True)
                agent.ended()
                agent.start(wait=chance.random() < 0.5)
            else:
                agent.until(lambda: {"k1", "r1"} <= agent.workers().keys(), "all workers run")
                agent.kill(role)
        load.end()
        wanted = (home / "input").stat().st_size
        agent.until(lambda: f'"pos":{wanted}' in (home / "positions.json").read_text().replace(" ", ""), "all is read")
        assert agent.stop() == 0
        assert "Traceback" not in agent.log()
    return load.lines


WAYS = {
    "rolls each second": {"fileType": "Parquet", "rollInterval": "1"},
    "groups of rows": {"fileType": "Parquet", "rollInterval": "0", "rowGroupSize": "300KB", "targetFileSize": "1MB"},
    "ORC": {"fileType": "ORC", "rollInterval": "2", "rowGroupSize": "300KB"},
}


def check(paths: list[Path], lines: int) -> None:
    assert not [path.name for path in paths if path.suffix not in SUFFIXES.values()]
    found = Counter(line[:14] for line in bodies(paths))
    wanted = Counter(b"line %09d" % number for number in range(lines))
    assert not wanted - found, f"{(wanted - found).total()} lines are lost"
    assert not found - wanted, f"{(found - wanted).total()} lines came twice"


@pytest.mark.parametrize("way", WAYS)
def test_no_line_is_lost_or_comes_twice_over_kills(way: str, tmp_path: Path) -> None:
    lines = killed(tmp_path, f"file://{tmp_path}/out", FIRST_SEED, 4, **WAYS[way])
    check(sorted((tmp_path / "out").iterdir()), lines)


def test_a_file_that_ends_by_time_gets_its_name_though_nothing_comes_any_more(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"line 1\nline 2\n")
    text = configuration(tmp_path, f"file://{tmp_path}/out", fileType="Parquet", rollInterval="1")
    with Agent(tmp_path / "agent", text) as agent:
        agent.start()
        agent.until(lambda: [*(tmp_path / "out").glob("*.parquet")] != [], "the file has its name")
    assert bodies([*(tmp_path / "out").glob("*.parquet")]) == [b"line 1", b"line 2"]


def test_files_that_can_not_be_made_on_a_cluster_are_a_warning_and_made_later(
    hdfs: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their events stay staged over a stop, which says so, and ends as it was told to."""
    folder = hdfs.folder()
    hdfs.rest("PUT", folder, "MKDIRS", permission="755")
    (tmp_path / "input").write_bytes(b"".join(b"line %09d\n" % number for number in range(100)))
    text = configuration(tmp_path, f"{hdfs.uri}{folder}", fileType="Parquet", rollInterval="1")
    how = {"arguments": ("-c", str(hdfs.conf_dir)), "environment": {"HADOOP_USER_NAME": "alice"}}
    with Agent(tmp_path / "agent", text, **how) as agent:  # type: ignore[arg-type]

        def health() -> tuple[int, str]:
            return main(["health", "-n", "a1", "--run-dir", str(agent.run_dir)]), capsys.readouterr().out

        agent.start()
        agent.until(lambda: health()[0] == 1, "it says that something is wrong")
        said = health()[1]
        assert "k1: 1 file waits for the target, " in said and "could not make files in " in said
        assert "Permission denied: user=alice, access=WRITE" in said
        assert agent.stop() == 0
        assert "100 events are not at the target, but staged in " in agent.log()
        hdfs.rest("PUT", folder, "SETOWNER", owner="alice")
        agent.start()
        agent.until(lambda: hdfs.files(folder) and not hdfs.files(folder)[0].endswith(".tmp"), "the file is there")
        assert health()[0] == 0
        assert agent.stop() == 0
    [path] = hdfs.files(folder)
    (tmp_path / "made.parquet").write_bytes(hdfs.read(path))
    check([tmp_path / "made.parquet"], 100)


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("way", WAYS)
def test_no_line_is_lost_or_comes_twice_over_many_kills(way: str, tmp_path: Path) -> None:
    for seed in range(FIRST_SEED, FIRST_SEED + int(os.environ.get("SHIPPER_KILLS", "200")) // 10):
        home = tmp_path / str(seed)
        home.mkdir()
        lines = killed(home, f"file://{home}/out", seed, 10, **WAYS[way])
        check(sorted((home / "out").iterdir()), lines)


@pytest.mark.parametrize("kind", SUFFIXES)
def test_no_line_is_lost_or_comes_twice_on_a_cluster(kind: str, hdfs: Cluster, tmp_path: Path) -> None:
    folder = hdfs.folder()
    lines = killed(
        tmp_path, f"{hdfs.uri}{folder}", FIRST_SEED, 2 if kind == "Parquet" else 0,
        arguments=("-c", str(hdfs.conf_dir)),
        lines_s=5000, fileType=kind, rollInterval="2", rowGroupSize="100KB",
    )  # fmt: skip
    paths = hdfs.files(folder)
    assert not hdfs.open_files(folder)
    (tmp_path / "out").mkdir()
    for path in paths:
        (tmp_path / "out" / path.rpartition("/")[2]).write_bytes(hdfs.read(path))
    check(sorted((tmp_path / "out").iterdir()), lines)
