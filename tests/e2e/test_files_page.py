"""docs/files.md: its configuration runs, and does what the page says."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from shipper.cli.main import main
from shipper.metrics.counters import NAMES
from shipper.metrics.export import Component, Exporter
from shipper.testing.agent import Agent

PAGE = (Path(__file__).parents[2] / "docs" / "files.md").read_text()


def properties(tmp_path: Path, **other: str) -> str:
    """The configuration of the page with directories of the test, and other values for some keys."""
    found = re.search(r"^```properties\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    text = found[1].replace("/var/log/app", f"{tmp_path}/in").replace("file:///data", f"file://{tmp_path}")
    for key, value in other.items():
        text, times = re.subn(rf"(\.{key} = ).*", rf"\g<1>{value}", text)
        assert times == 1, key
    return text


@pytest.mark.parametrize("workers", [1, 2])
def test_a_folder_that_is_over_gets_its_marker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    """With folders of a second in place of hours, and two seconds of lateness."""
    (tmp_path / "in").mkdir()
    log = tmp_path / "in" / "a.log"
    log.write_bytes(b"first\n")
    text = (
        properties(tmp_path, bucketDoneLateness="2").replace("/%H\n", "/%H/%M/%S\n")
        + f"a1.sinks.k1.workers = {workers}\n"
    )

    def folders() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for path in (tmp_path / "app").rglob("*"):
            if path.is_file():
                found.setdefault(str(path.parent), set()).add("".join(path.suffixes) or path.name)
        return found

    with Agent(tmp_path, text) as agent:
        agent.start()
        agent.until(lambda: folders(), "something is written")
        agent.until(lambda: all("_SUCCESS" in names for names in folders().values()), "the first folder is done")
        with log.open("ab") as opened:
            opened.write(b"second\n")
        agent.until(lambda: len(folders()) == 2, "the second folder is there")
        agent.until(lambda: all("_SUCCESS" in names for names in folders().values()), "the second folder is done")
        assert main(["files", "a1", "--json", "--run-dir", str(agent.run_dir)]) == 0
        pages = json.loads(capsys.readouterr().out)[0]["sinks"]
        assert [page["where"].partition("/app/")[2] for page in pages] == ["%Y-%m-%d/%H/%M/%S"] * workers
        assert agent.stop() == 0
    files = sorted((tmp_path / "app").rglob("*.gz"))
    assert b"".join(gzip.decompress(file.read_bytes()) for file in files) == b"first\nsecond\n"
    assert not list((tmp_path / "app").rglob("*.tmp"))


def test_the_metrics_that_it_names_are_there() -> None:
    """Every `shipper_...` of the page is what Prometheus gets."""
    from shipper.metrics.block import Kind, Sample, State, WorkerSample
    from shipper.sinks.hdfs.sink import HdfsSink

    worker = WorkerSample(
        Kind.SINK, "k1", 0, "hdfs", 1, 1, 0, 0, State.BUSY, 0, "", False, ("c1",), dict.fromkeys(NAMES, 0)
    )
    exporter = Exporter([Component(Kind.SINK, "k1", HdfsSink.counted)], {})
    shown = exporter.prometheus(Sample(0, 0, "a1", 0, (worker,))).decode()
    named = set(re.findall(r"`(shipper_\w+)`", PAGE))
    assert len(named) >= 8
    assert [name for name in sorted(named) if f"\n{name}{{" not in shown] == []


def test_a_marker_that_was_due_when_the_agent_was_killed_is_made_after_its_next_start(tmp_path: Path) -> None:
    """Killed with its workers, before the lateness is over; the file is cut to what counts, ended, and named."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.log").write_bytes(b"first\n")
    text = properties(tmp_path, bucketDoneLateness="5").replace("/%H\n", "/%H/%M/%S\n")

    def names() -> set[str]:
        return {path.suffix or path.name for path in (tmp_path / "app").rglob("*") if path.is_file()}

    with Agent(tmp_path, text) as agent:
        agent.start()
        agent.until(lambda: names() == {".tmp"}, "something is written")
        agent.kill()
        assert names() == {".tmp"}
        agent.start()
        agent.until(lambda: names() == {".gz", "_SUCCESS"}, "the folder is done")
        assert agent.stop() == 0
    (file,) = (tmp_path / "app").rglob("*.gz")
    assert gzip.decompress(file.read_bytes()) == b"first\n"
