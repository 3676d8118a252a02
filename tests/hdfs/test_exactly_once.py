"""SIGKILL of the sink worker and of the whole agent while it writes to a cluster: 0 lost, 0 twice, nothing left open.

Each campaign draws its kills from one seed; `SHIPPER_SEED=N` begins with another one. At the full size there are 200
kills in each of two ways of rolling: `python -m pytest -m nightly -n 0 -s tests/hdfs/test_exactly_once.py`;
`SHIPPER_KILLS=N` makes it another number, `SHIPPER_LINES_S=N` another load.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hdfs.cluster import Cluster
from hdfs.kills import campaign

FIRST_SEED = int(os.environ.get("SHIPPER_SEED", "1"))
LINES_S = int(os.environ.get("SHIPPER_LINES_S", "0"))
KILLS = int(os.environ.get("SHIPPER_KILLS", "200"))
EACH_SECOND = {"rollInterval": "1", "fileType": "DataStream"}
#: What users' files pair: a small channel, and files that stay open for long.
STAYS_OPEN = {"rollInterval": "600", "rollSize": str(128 << 20), "fileType": "DataStream", "capacity": "1000"}
WAYS = {
    "rolls each second": EACH_SECOND,
    "stays open": STAYS_OPEN,
    "gzip": {"rollInterval": "1", "fileType": "CompressedStream", "codeC": "gzip"},
    "sequence file": {"rollInterval": "600", "fileType": "SequenceFile"},
}


@pytest.mark.parametrize(("number", "way"), [(0, "rolls each second"), (1, "stays open")])
def test_no_line_is_lost_or_comes_twice(number: int, way: str, hdfs: Cluster, tmp_path: Path) -> None:
    """Three deaths each. Without a web port a DataNode may have to be started again, which others here work with."""
    outcome = campaign(hdfs, tmp_path, FIRST_SEED + number, ["sink", "sink", "group"], conf=hdfs.conf_dir, **WAYS[way])
    print(outcome)
    assert not outcome.faults, "\n".join(outcome.faults)
    if way == "stays open":
        assert len(outcome.files) == 1  # it was gone on with, each time


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("way", ["rolls each second", "stays open"])
def test_no_line_is_lost_or_comes_twice_at_the_full_size(way: str, hdfs_to_break: Cluster, tmp_path: Path) -> None:
    """Every other campaign has no web port: files are cut by copying what counts."""
    left, seed = KILLS, FIRST_SEED + 100
    lines_s, line_bytes = (5000, 95) if way == "rolls each second" else (40_000, 500)  # 20 MB/s
    while left:
        roles = ["sink", "group", "sink", "source", "group"][: min(left, 5)]
        conf = hdfs_to_break.conf_dir if seed % 2 else hdfs_to_break.conf_dir_without_web
        outcome = campaign(
            hdfs_to_break,
            tmp_path / str(seed),
            seed,
            roles,
            conf=conf,
            lines_s=LINES_S or lines_s,
            line_bytes=line_bytes,
            tended=not seed % 2,
            **WAYS[way],
        )
        print(f"seed {seed}: {outcome}", flush=True)
        assert not outcome.faults, "\n".join([f"seed {seed}, see {tmp_path}", *outcome.faults])
        left, seed = left - len(roles), seed + 1
