"""RC5: the supervisor is killed and another is started in the same moment: it adopts all that there is, at once."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from tests.crash.conftest import Make, Writer, agent_of, file_roll, taildir, texts

LINES_A_SECOND = 20_000


def spans_s(log: str) -> list[float]:
    """For each start, the seconds from having the instance to all workers running, by the agent's own log."""
    spans, claimed = [], None
    for line in log.splitlines():
        at = line[:23]
        if "channels lie in" in line:
            claimed = datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f")
        if "a1 is running" in line and claimed is not None:
            spans.append((datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f") - claimed).total_seconds())
    return spans


@pytest.mark.parametrize(
    ("rounds", "most_s"),
    [(3, 10.0), pytest.param(100, 1.0, marks=[pytest.mark.nightly, pytest.mark.timeout(1800)])],
    ids=["C", "N"],
)
def test_the_next_supervisor_goes_on_at_once_and_no_line_is_lost(
    agent: Make, tmp_path: Path, rounds: int, most_s: float
) -> None:
    """Every other time the sink stands still before, so that the rings are full and its workers die as they stand."""
    writer = Writer(tmp_path / "in" / "a.log", LINES_A_SECOND)
    writer.start()
    one = agent(
        agent_of(taildir("r1", "c1", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "out"),
                 more="a1.channels.c1.ring.bytes = 128k\n")
    ).start()  # fmt: skip
    for number in range(rounds):
        if number % 2:
            one.freeze("k1")
            one.until(lambda: in_ring(one.instance_dir()) > 0.4, "the ring is full")
        one.kill()
        one.start()
    lines = writer.end()
    one.until(lambda: texts(tmp_path / "out").count(b"\n") >= lines, "all lines")
    assert one.stop() == 0, one.log()
    assert texts(tmp_path / "out") == b"".join(b"%d\n" % i for i in range(lines))
    spans = spans_s(one.log())
    assert len(spans) == rounds + 1
    print(f"{rounds} adoptions, longest {max(spans[1:]):.2f} s, mean {sum(spans[1:]) / rounds:.2f} s")
    assert max(spans[1:]) <= most_s


def in_ring(home: Path) -> float:
    """How full the channel is, as the supervisor last saw it."""
    from shipper.metrics.block import MetricsBlock
    from shipper.metrics.holdup import fill_share

    return fill_share(MetricsBlock.view(home / "metrics").sample().channels["c1"])
