"""The HDFS file of a published article on a real cluster, with nothing changed but paths, host and port."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest
from flume_ng import FlumeNg, block
from hdfs.cluster import Cluster

from shipper.testing.agent import Agent

_FOLDER = "/user/flume/data/"


def article(reference: Path, cluster: Cluster, logs: Path) -> str:
    """The second file of article 000, which has all of an agent but the lines that link its channel."""
    found = block(reference.parent / "articles", "000", "a1.sinks.k1.hdfs.path")
    assert f"hdfs://namenode:9000{_FOLDER}" in found
    return found.replace("/path/to/logs", str(logs)).replace("hdfs://namenode:9000", cluster.uri)


@pytest.fixture(scope="session")
def loghub(reference: Path) -> dict[str, bytes]:
    """Eight logs of real programs, 2,000 lines each; their lines end in CRLF. The last one of most gets its
    end here, for which `tail -F` would wait."""
    folder = reference.parent / "data" / "loghub"
    if not folder.is_dir():
        pytest.skip("the logs are not here")
    return {path.name: path.read_bytes().rstrip(b"\r\n") + b"\r\n" for path in sorted(folder.glob("*.log"))}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("lines", [30, pytest.param(0, marks=pytest.mark.nightly)])
def test_the_articles_file_on_a_cluster(
    hdfs: Cluster, reference: Path, loghub: dict[str, bytes], tmp_path: Path, lines: int
) -> None:
    """As it stands, where files end after ten events, and with `rollSize = 1024` and no time: what `hadoop fs -text`
    prints is the input, and each log is in order."""
    for number, more in enumerate(("", "a1.sinks.k1.hdfs.rollSize = 1024\na1.sinks.k1.hdfs.rollInterval = 0\n")):
        logs = tmp_path / str(number) / "logs"
        logs.mkdir(parents=True)
        whole = {name: data.splitlines(keepends=True) for name, data in loghub.items()}
        wanted = {name: rows[: lines or len(rows)] for name, rows in whole.items()}
        for name in wanted:
            (logs / name).touch()
        # Nobody else in this test run writes there; what an earlier part of this test has left is in the way.
        hdfs.rest("DELETE", _FOLDER.rstrip("/"), "DELETE", recursive="true")
        properties = article(reference, hdfs, logs) + more
        with FlumeNg(logs.parent, properties, arguments=("-c", str(hdfs.conf_dir))) as agent:
            agent.start()
            for name, rows in wanted.items():
                with (logs / name).open("ab") as opened:
                    opened.write(b"".join(rows))
            total = sum(map(len, wanted.values()))
            agent.until(lambda total=total: read_by(agent) == total, "all lines are taken in", 1500)  # type: ignore[misc]
            assert agent.stop(signal.SIGINT, everybody=True) == 0, agent.log()
        files = hdfs.files(_FOLDER.rstrip("/"))
        assert [path for path in files if not path.endswith(".txt")] == []
        assert hdfs.open_files(_FOLDER) == [] and hdfs.healthy(_FOLDER)
        shown = hdfs.text(files)
        assert max(text.count(b"\n") for text in shown.values()) <= 10
        said = [line for path in sorted(shown, key=counter) for line in shown[path].split(b"\n")[:-1]]
        plain = {name: [line.rstrip(b"\r\n") for line in rows] for name, rows in wanted.items()}
        assert Counter(said) == Counter(line for rows in plain.values() for line in rows)
        once = {line for line, times in Counter(said).items() if times == 1}
        for rows in plain.values():
            mine = [line for line in rows if line in once]
            place = {line: at for at, line in enumerate(said)}
            assert [place[line] for line in mine] == sorted(place[line] for line in mine)


def counter(path: str) -> int:
    """The number in the name of a file."""
    return int(path.rpartition("/")[2].split(".")[1])


def read_by(agent: Agent) -> int:
    """How many events the sink has delivered."""
    from shipper.metrics.block import MetricsBlock

    sample = MetricsBlock.view(agent.instance_dir() / "metrics").sample()
    return sum(worker.counters["EventDrainSuccessCount"] for worker in sample.workers)
