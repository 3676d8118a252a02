"""The live lines of a terminal, rendered from two samples."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from shipper.cli.live import Live, fitted, live_lines, rates, short
from shipper.cli.log import Console
from shipper.metrics.block import Kind, Sample
from shipper.metrics.holdup import HoldUp


def two_samples(agent: Any) -> tuple[Sample, Sample]:
    """A second in which r1 took 1,250,000 events of 181 MB, k1 gave 12,500, and c1 got to 34 %."""
    before = agent.block.sample()
    agent.source.counters.add("EventAcceptedCount", 1_250_000)
    agent.source.counters.add("body_bytes", 181_000_000)
    agent.source.counters.set("lag_bytes", 1_288_490_189)
    agent.sink.counters.add("EventDrainSuccessCount", 12_500)
    agent.channel.channel({"size": 34, "capacity": 100})
    now = agent.block.sample()
    start_ms = now.start_ms
    return (
        dataclasses.replace(before, at_ms=5_000),
        dataclasses.replace(now, at_ms=6_000, wall_ms=start_ms + 133_000),
    )


def test_one_line_says_what_goes_in_and_out_and_what_waits(agent: Any) -> None:
    assert live_lines(*two_samples(agent), [], 200) == [
        "a1 0:02:13  in 1.25 M events/s 181 MB/s  out 12.5 k events/s  c1 34%  r1 1.2 GiB behind"
    ]


def test_a_hold_up_is_a_line_of_its_own_and_what_flows_is_not(agent: Any) -> None:
    held_up = [HoldUp("c1", True, "c1 full for 4 min: k1 waits"), HoldUp("c2", False, "c2 flows")]
    assert live_lines(*two_samples(agent), held_up, 200)[1:] == ["c1 full for 4 min: k1 waits"]


def test_what_a_sink_can_not_bring_on_is_a_line_too(agent: Any) -> None:
    agent.sink.trouble("3 files wait for the target")
    agent.sink.counters.set("files_unmade", 3)
    first, *rest = live_lines(*two_samples(agent), [], 200)
    assert first.endswith("k1 3 files wait to be whole")
    assert rest == ["k1: 3 files wait for the target"]


@pytest.mark.parametrize("width", [1, 2, 10, 40, 79])
def test_no_line_is_wider_than_the_terminal(agent: Any, width: int) -> None:
    """A line that wraps could not be erased."""
    lines = live_lines(*two_samples(agent), [HoldUp("c1", True, "x" * 300)], width)
    assert all(len(line) <= width for line in lines)


def test_wide_characters_count_twice() -> None:
    assert fitted("日本語ログ", 10) == "日本語ログ"
    assert fitted("日本語ログ", 9) == "日本語ロ…"
    assert fitted("日本語ログ", 8) == "日本語…"
    assert fitted("abc", 0) == ""


def test_rates_survive_a_worker_that_is_new(agent: Any) -> None:
    """A worker that the earlier sample lacks has counted everything since; none is negative."""
    before, now = two_samples(agent)
    assert rates(before, now, Kind.SOURCE) == (1_250_000, 181_000_000)
    assert rates(dataclasses.replace(before, workers=()), now, Kind.SOURCE)[0] == 1_250_000
    assert rates(now, dataclasses.replace(before, at_ms=7_000), Kind.SOURCE) == (0, 0)


@pytest.mark.parametrize(("number", "text"), [
    (0, "0"), (7, "7"), (999, "999"), (1000, "1.00 k"), (12_500, "12.5 k"), (999_900, "1.00 M"),
    (1_250_000, "1.25 M"), (181e6, "181 M"), (3.2e9, "3.20 G"),
])  # fmt: skip
def test_numbers_have_three_digits(number: float, text: str) -> None:
    assert short(number) == text


def test_a_number_with_a_unit() -> None:
    assert (short(181e6, "B/s"), short(12, "B/s")) == ("181 MB/s", "12 B/s")


def test_nothing_is_drawn_on_a_pipe_or_without_a_console(agent: Any, capfd: pytest.CaptureFixture[str]) -> None:
    for console in (None, Console(2, terminal=False)):
        live = Live(console)
        live.draw(*two_samples(agent), [])
        live.close()
    assert capfd.readouterr().err == ""


def test_the_lines_are_taken_away_at_the_end(agent: Any, capfd: pytest.CaptureFixture[str]) -> None:
    live = Live(Console(2, terminal=True))
    live.draw(*two_samples(agent), [])
    live.close()
    written = capfd.readouterr().err
    assert written.startswith("a1 0:02:13  in ")
    assert written.endswith("\r\x1b[J")
