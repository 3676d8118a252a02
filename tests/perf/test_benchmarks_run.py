"""Each benchmark runs on a small input and prints its ratio: nothing about the figures, which mean nothing here."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from perf.__main__ import names

_PROJECT = Path(__file__).resolve().parents[2]


#: A NameNode and a DataNode are started for it.
_AT_NIGHT = "perf.topology.tail_to_hdfs"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.nightly) if name == _AT_NIGHT else name for name in names()]
)
def test_a_benchmark_runs_and_prints_its_ratio_and_its_goal(name: str, tmp_path: Path, rivals_path: str) -> None:
    command = [sys.executable, "-m", name, "--size", "1MB", "--short", "--no-record"]
    command += ["--fast", str(tmp_path), "--disk", str(tmp_path)]
    environment = {**os.environ, "PATH": rivals_path}
    done = subprocess.run(
        command, cwd=_PROJECT, capture_output=True, text=True, timeout=280, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    printed = done.stdout.splitlines()
    assert any(line.startswith("  ratio: ") for line in printed), done.stdout
    assert any(line.startswith("  goal: ") for line in printed), done.stdout


@pytest.mark.parametrize("name", names())
def test_a_topology_is_drawn_and_a_goal_is_named(name: str) -> None:
    """A benchmark says in its docstring what it measures, between which parts, and what is good enough."""
    text = importlib.import_module(name).__doc__ or ""
    assert "-->" in text and "Goal: " in text and "ratio" in text


def test_a_result_is_kept_and_the_next_one_is_compared_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from perf.harness.results import Result, report

    report(Result("thing", "case", {"speed_MB": 100.0}, ratio=(2.0, "x a copy")), tmp_path)
    report(Result("thing", "case", {"speed_MB": 103.0}, ratio=(2.2, "x a copy")), tmp_path)
    printed = capsys.readouterr().out
    assert "(+3 %)" in printed and "(+10 %)" in printed


def test_results_of_another_machine_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import orjson

    from perf.harness.results import Result, report

    report(Result("thing", "case", {"speed_MB": 100.0}), tmp_path)
    kept = orjson.loads((tmp_path / "thing.json").read_bytes())
    kept[0]["machine"]["cores"] = 1000
    (tmp_path / "thing.json").write_bytes(orjson.dumps(kept))
    report(Result("thing", "case", {"speed_MB": 103.0}), tmp_path)
    assert "%" not in capsys.readouterr().out


def test_an_output_that_is_not_the_input_is_an_error(tmp_path: Path) -> None:
    from perf.harness.lines import write_input
    from perf.harness.transfer import check_output, text_of

    source = write_input(tmp_path / "input", 100_000, 100)
    out = tmp_path / "out"
    out.mkdir()
    data = source.path.read_bytes()
    (out / "whole").write_bytes(data)
    check_output(text_of, source, out, ordered=True)
    (out / "whole").write_bytes(data[:-1])
    with pytest.raises(AssertionError):
        check_output(text_of, source, out, ordered=True)
    (out / "whole").write_bytes(data[:50] + b"#" + data[51:])
    with pytest.raises(AssertionError):
        check_output(text_of, source, out, ordered=True)
    with pytest.raises(AssertionError):
        check_output(text_of, source, out, ordered=False)


def test_a_warmed_machine_is_left_as_it_was_and_says_its_price(tmp_path: Path) -> None:
    from perf.harness.floor import Writing, warmed
    from perf.harness.lines import write_input

    source = write_input(tmp_path / "input", 100_000, 100)
    floor = warmed(Writing(tmp_path, 4 << 20, 1 << 20), source.path, short=True)
    assert [path.name for path in tmp_path.iterdir()] == ["input"]
    assert floor.write_s > 0 and floor.read_s > 0
    assert floor.cpu_s(10**9, 2 * 10**9) == pytest.approx(floor.read_s + 2 * floor.write_s)


def test_all_goals_stand_in_one_table() -> None:
    from perf.harness.results import Goal, Result, table

    goals = (Goal("speed_MB", 90, "MB/s"), Goal("wall_s", 1, "s", most=True), Goal("absent", 2, "x"))
    rows = table([Result("thing", "100 B", {"speed_MB": 100.0, "wall_s": 1.5}, goals)]).splitlines()
    assert rows[2:] == [
        "| thing | 100 B | at least 90 MB/s | 100 | met |",
        "| thing | 100 B | at most 1 s | 1.5 | **missed** |",
        "| thing | 100 B | at least 2 x |  | not measured |",
    ]
