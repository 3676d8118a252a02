"""docs/columns.md: its configuration runs, and the rows have the columns that the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from shipper.testing.agent import Agent

PAGE = (Path(__file__).parents[2] / "docs" / "columns.md").read_text()


def test_the_configuration_of_the_page_does_what_the_page_says(tmp_path: Path) -> None:
    found = re.search(r"^```properties\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    text = found[1].replace("/var/log/app", f"{tmp_path}/in").replace("file:///data", f"file://{tmp_path}")
    log = tmp_path / "in" / "a.log"
    log.parent.mkdir()
    log.write_text("".join(f"gr\u00fc\u00df {number}\n" for number in range(1000)))
    with Agent(tmp_path / "agent", text) as agent:
        agent.start()
        agent.until(lambda: list((tmp_path / "agent").rglob("stage/*.open")), "rows are staged")
        assert agent.stop() == 0
    (path,) = (tmp_path / "app").rglob("*.*.*")
    table = pq.read_table(path, partitioning=None)
    assert table["body"].to_pylist() == [f"gr\u00fc\u00df {number}" for number in range(1000)]
    assert table.column_names == re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert table.schema.field("timestamp").type == pa.timestamp("ms", "UTC")
    assert set(table["headers"].to_pylist()[5]) == {("file", str(log))}
    assert table["host"].null_count == table["timestamp"].null_count == 0
