"""Every file type, codec and write format on a real cluster: read in full by Hadoop's own shell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hadoop_files import READERS, TIMESTAMP, in_three, lines, sequence_file_text
from hdfs.cluster import Cluster

from shipper.api import EventBatch
from shipper.config.field import read_options
from shipper.files.compress import find_codec
from shipper.sinks.hdfs.config import HdfsOptions
from shipper.sinks.hdfs.sink import HdfsSink
from shipper.testing.fakes import sink_context

#: Small enough to be quick, long enough for two files, and in the first for several blocks of every codec.
ROWS = 7_000
ROLL_ROWS = 6_500
CODECS = (*READERS["native"], "lzo", "lzop")


def opened(cluster: Cluster, folder: str, state: Path, properties: Mapping[str, str]) -> HdfsSink:
    """An open sink that writes to a folder of the cluster and rolls when it is told to."""
    given = {"path": f"{cluster.uri}{folder}", "rollSize": "0", "rollInterval": "0", "rollCount": "0"}
    keys = {key if key == "serializer" else f"hdfs.{key}": value for key, value in (given | properties).items()}
    options, findings = read_options(HdfsOptions, keys)
    assert options is not None, findings
    sink = HdfsSink(options)
    sink.open(sink_context(state))
    return sink


def written(sink: HdfsSink, batches: list[EventBatch]) -> None:
    """A transaction a batch, then the end."""
    for batch in batches:
        sink.deliver(batch)
        sink.flush()
        sink.committed()
    sink.close()


def matrix() -> dict[str, dict[str, str]]:
    """Every combination that is not refused, by a name for its folder."""
    found = {
        f"text-{name}": {"fileType": "CompressedStream", "codeC": name} for name in CODECS
    } | {
        f"plain-{name}": {"fileType": "DataStream", "serializer": name}
        for name in ("TEXT", "HEADER_AND_TEXT", "AVRO_EVENT", "JSON_LINES")
    }  # fmt: skip
    block_codecs = [name for name in CODECS if not find_codec(name).begin]  # no container within a SequenceFile
    for write_format in ("Writable", "Text"):
        for name in (None, *block_codecs):
            codec = {"codeC": name} if name else {}
            key = f"records-{write_format}-{name or 'none'}"
            found[key] = {"fileType": "SequenceFile", "writeFormat": write_format, **codec}
    return found


def printed(properties: Mapping[str, str], bodies: list[bytes]) -> Any:
    """What the shell says of files of these rows: text, or the rows of a container."""
    if properties["fileType"] == "SequenceFile":
        return sequence_file_text(properties["writeFormat"], bodies)
    headers = {"timestamp": TIMESTAMP}
    match properties.get("serializer", "TEXT"):
        case "HEADER_AND_TEXT":
            return b"".join(b"{timestamp=%s} %s\n" % (TIMESTAMP.encode(), body) for body in bodies)
        case "AVRO_EVENT" | "JSON_LINES":
            return [{"headers": headers, "body": body.decode()} for body in bodies]
    return b"".join(body + b"\n" for body in bodies)


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("liblzo2")
@pytest.mark.parametrize("reader", [pytest.param("pure java", marks=pytest.mark.nightly), "native"])
def test_hadoop_reads_every_combination_in_full(
    hdfs: Cluster, hadoop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    """Two files of each: one JVM for all of them. In pure Java there is no zstd, and it takes as long once more."""
    monkeypatch.setenv("HADOOP_CONF_DIR", str(hdfs.conf_dir))
    folder = hdfs.folder()
    cases = matrix()
    bodies = lines(ROWS)
    batches = in_three(bodies)

    def write(name: str) -> None:
        properties = {**cases[name], "rollCount": str(ROLL_ROWS)}
        written(opened(hdfs, f"{folder}/{name}", tmp_path / name, properties), batches)

    with ThreadPoolExecutor(6) as several:  # a close takes half a second on a cluster of one
        for begun in [several.submit(write, name) for name in cases]:
            begun.result()

    paths = {name: hdfs.files(f"{folder}/{name}") for name in cases}
    assert {name: len(found) for name, found in paths.items()} == dict.fromkeys(cases, 2)
    assert hdfs.open_files(folder) == [] and hdfs.healthy(folder)
    readable = [name for name in cases if cases[name].get("codeC") in (*READERS[reader], "lzo", "lzop", None)]
    said = hadoop.text_of([f"{hdfs.uri}{path}" for name in readable for path in paths[name]], reader == "native")
    different = []
    for name in readable:
        text = b"".join(said[f"{hdfs.uri}{path}"] for path in paths[name])
        wanted = printed(cases[name], bodies)
        got = text if isinstance(wanted, bytes) else [json.loads(line) for line in text.splitlines()]
        if got != wanted:
            different.append(f"{name}: {text[:100]!r}")
    assert different == []


@pytest.mark.parametrize(
    ("name", "properties"),
    [
        ("seq-writable.seq", {"writeFormat": "Writable"}), ("seq-writable-2.seq", {"writeFormat": "Writable"}),
        ("seq-text.seq", {"writeFormat": "Text"}), ("seq-text-2.seq", {"writeFormat": "Text"}),
        ("seq-snappy.seq", {"writeFormat": "Writable", "codeC": "snappy"}),
    ],
)  # fmt: skip
def test_a_sequence_file_on_the_cluster_has_the_bytes_of_flumes(
    hdfs: Cluster, tmp_path: Path, reference: Path, monkeypatch: pytest.MonkeyPatch, name: str,
    properties: dict[str, str],
) -> None:  # fmt: skip
    """Header and records, but for the sync marker, which is drawn. In -2 files the third event came by itself."""
    monkeypatch.setenv("HADOOP_CONF_DIR", str(hdfs.conf_dir))
    recorded = (reference / "flume-files" / name).read_bytes()
    bodies = [b"first event", "zweites Ereignis äöü €".encode(), b"third\twith tab"]
    events = EventBatch.of(bodies, [{"timestamp": f"134045919323{digit}"} for digit in (4, 5, 6)])
    folder = hdfs.folder()
    sink = opened(hdfs, folder, tmp_path / "state", {"fileType": "SequenceFile", **properties})
    written(sink, [events.slice(0, 2), events.slice(2)] if "-2." in name else [events])
    (path,) = hdfs.files(folder)
    assert without_sync(hdfs.read(path)) == without_sync(recorded)


def without_sync(data: bytes) -> bytes:
    """The file with its sync marker blanked out."""
    place = data.index(b"\xff\xff\xff\xff") + 4
    return data.replace(data[place : place + 16], b"-" * 16)
