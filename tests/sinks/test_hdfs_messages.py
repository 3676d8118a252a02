"""What a cluster raises, as a sentence: the same at each try, and nothing of rows that it knows nothing about."""

from __future__ import annotations

import pytest

from shipper.files.store import trouble
from shipper.sinks.hdfs.troubles import Silent, translated


def test_a_refusal_is_the_same_fact_at_each_try() -> None:
    said = []
    for number in (1_340_456_400_001, 1_340_456_400_002):
        raised = RuntimeError(f'RPCError("org.apache.X", "Invalid path name /a/x.{number}.tmp of 10.0.0.1\\n at X")')
        said.append(trouble("write to", "/a/x", translated(raised, "/a/x")))
    assert said == ["could not write to /a/x: Invalid path name /a/x.*.tmp of 10.0.0.1"] * 2


@pytest.mark.parametrize(
    "problem",
    [RuntimeError("SafeModeException: Name node is in safe mode"), RuntimeError("anything"), Silent(3, "/a")],
)
def test_that_rows_wait_is_said_only_where_they_do(problem: Exception) -> None:
    error = problem if isinstance(problem, Silent) else translated(problem, "/a")
    assert "wait in the channel" not in trouble("rename", "/a.tmp to /a", error)
    assert trouble("write to", "/a", error, rows_wait=True).endswith("; nothing is lost, the rows wait in the channel")
