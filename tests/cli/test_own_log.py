"""Our own log is never taken in by our own source without a loud word."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.cli.own_log import own_log_is_tailed
from shipper.config.plan import ComponentPlan, Plan, SourcePlan


def plan(kind: str, **properties: str) -> Plan:
    """One source r1 with these properties; `_` in a key is a dot."""
    source = SourcePlan(
        name="r1", type=kind, channels=("c1",), selector=ComponentPlan(type="replicating"),
        properties={key.replace("_", "."): value for key, value in properties.items()},
    )  # fmt: skip
    return Plan(agent="a1", files=(), sources=(source,), channels=(), groups=())


@pytest.mark.parametrize(("kind", "properties"), [
    ("taildir", {"filegroups": "f1 f2", "filegroups_f1": "/other/x", "filegroups_f2": r"DIR/.*\.log"}),
    ("taildir", {"filegroups": "f1", "filegroups_f1": "DIR/flume.log"}),
    ("taildir", {"filegroups": "f1", "filegroups_f1": r"DIR/flume\.log\.\d"}),
    ("exec", {"command": "tail -F DIR/*.log"}),
    ("exec", {"command": "tail -n 100 -f /x DIR/flume.log"}),
    ("exec", {"command": "bash -c 'tail -n +0 -F DIR/flume.*'"}),
    ("exec", {"command": "/usr/bin/tail -F DIR/flume.log | grep x"}),
    ("exec", {"command": "tail -F 'DIR/flume.log"}),
    ("spooldir", {"spoolDir": "DIR"}),
    ("spooldir", {"spoolDir": "DIR/", "includePattern": r"^.*\.log$"}),
])  # fmt: skip
def test_a_source_that_reads_our_log_is_named(tmp_path: Path, kind: str, properties: dict[str, str]) -> None:
    properties = {key: value.replace("DIR", str(tmp_path)) for key, value in properties.items()}
    warning = own_log_is_tailed(tmp_path / "flume.log", plan(kind, **properties))
    assert warning is not None
    assert warning.startswith("r1 reads ")
    assert f"shipper's own log {tmp_path}/flume.log" in warning
    assert "-Dflume.log.dir=DIR" in warning


@pytest.mark.parametrize(("kind", "properties"), [
    ("taildir", {"filegroups": "f1", "filegroups_f1": r"DIR/access.*\.log"}),
    ("taildir", {"filegroups": "f1", "filegroups_f1": r"DIR/sub/.*\.log"}),
    ("taildir", {"filegroups": "f1", "filegroups_f1": "DIR/(unclosed"}),
    ("taildir", {}),
    ("exec", {"command": "tail -F DIR/access.log"}),
    ("exec", {"command": "cat DIR/flume.log"}),
    ("exec", {"command": "tail -n 5"}),
    ("spooldir", {"spoolDir": "DIR", "includePattern": r".*\.csv"}),
    ("netcat", {"bind": "0.0.0.0"}),
])  # fmt: skip
def test_a_source_that_reads_something_else_is_not(tmp_path: Path, kind: str, properties: dict[str, str]) -> None:
    properties = {key: value.replace("DIR", str(tmp_path)) for key, value in properties.items()}
    assert own_log_is_tailed(tmp_path / "flume.log", plan(kind, **properties)) is None


def test_links_do_not_hide_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    found = own_log_is_tailed(tmp_path / "real" / "flume.log", plan("exec", command=f"tail -F {tmp_path}/link/*.log"))
    assert found is not None
