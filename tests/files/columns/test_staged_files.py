"""A sink that writes files of columns: what is in them, when they end, and what becomes of trouble."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import orc

from shipper.api import EventBatch, RetryLater
from shipper.config.field import read_options
from shipper.files.closed import ClosedFile
from shipper.files.columns import places
from shipper.files.local import LocalFile
from shipper.sinks.hdfs.config import HdfsOptions
from shipper.sinks.hdfs.sink import HdfsSink
from shipper.testing.fakes import sink_context
from tests.files.columns.life import Hanging, Inline, Life, rows_of

NAME = "FlumeData.1340459193235"
CODECS = [
    ("Parquet", "zstd", "ZSTD"), ("parquet", "snappy", "SNAPPY"), ("Parquet", "lz4", "LZ4"),
    ("Parquet", "gzip", "GZIP"), ("Parquet", "none", "UNCOMPRESSED"),
    ("Parquet", "org.apache.hadoop.io.compress.ZStandardCodec", "ZSTD"),
    ("ORC", "zstd", "ZSTD"), ("orc", "snappy", "SNAPPY"), ("ORC", "lz4", "LZ4"), ("ORC", "zlib", "ZLIB"),
    ("ORC", "gzip", "ZLIB"), ("ORC", "none", "UNCOMPRESSED"),
    ("Arrow", "zstd", ""), ("ARROW", "lz4", ""), ("Arrow", "none", "as it is"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "codec", "shown"), CODECS)
def test_each_type_and_codec_is_read_back(kind: str, codec: str, shown: str, tmp_path: Path) -> None:
    life = Life(tmp_path, fileType=kind, codeC=codec, columns="host n:int64")
    bodies = [b"the same line again and again, %04d" % n for n in range(2000)]
    life.deliver(*bodies[:1500], host="web", n="5", x="y")
    life.deliver(*bodies[1500:], host="web", n="5", x="y")
    life.sink.close()
    (path,) = life.out.iterdir()
    assert path.name == f"{NAME}.{kind.lower()}"
    assert rows_of(path) == bodies
    size = path.stat().st_size
    if path.suffix == ".parquet":
        assert pq.read_metadata(path).row_group(0).column(0).compression == shown
        table = pq.read_table(path, partitioning=None)
    elif path.suffix == ".orc":
        assert orc.ORCFile(path).compression == shown
        table = orc.read_table(path)
    else:
        table = pa.ipc.open_file(path).read_all()
    assert table.select(["host", "n", "headers"])[1999:].to_pylist() == [
        {"host": "web", "n": 5, "headers": [("x", "y")]}
    ]
    assert (size < 60_000) == (shown not in ("UNCOMPRESSED", "as it is")), size


def test_the_default_codec_is_zstd(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.deliver(b"a")
    life.sink.close()
    assert pq.read_metadata(life.out / f"{NAME}.parquet").row_group(0).column(0).compression == "ZSTD"


def test_groups_of_rows_are_written_while_the_stage_grows(tmp_path: Path) -> None:
    """A file is not held in memory: what is enough for a group of rows is in it, and nobody sees it yet."""
    life = Life(tmp_path, rowGroupSize="10000", codeC="none", columns="level")
    for number in range(10):
        life.deliver(b"%d" % number * 4000, level="info")
    assert life.names() == [f"{NAME}.parquet.tmp"]
    assert (life.out / f"{NAME}.parquet.tmp").stat().st_size > 24_000
    life.sink.close()
    found = pq.read_metadata(life.out / f"{NAME}.parquet")
    assert found.num_rows == 10
    assert 3 <= found.num_row_groups <= 5
    level = found.row_group(0).column(1)
    assert (level.statistics.min, level.statistics.max) == ("info", "info")
    assert "RLE_DICTIONARY" in level.encodings
    assert not found.row_group(0).column(0).is_stats_set
    assert "RLE_DICTIONARY" not in found.row_group(0).column(0).encodings


def test_a_file_ends_when_it_is_large_enough(tmp_path: Path) -> None:
    life = Life(tmp_path, targetFileSize="50000", rowGroupSize="10000", codeC="none")
    for number in range(40):
        life.deliver(b"%02d" % number * 2000)
        life.sync()
    life.sink.close()
    sizes = [path.stat().st_size for path in sorted(life.out.iterdir())]
    assert len(sizes) == 4
    assert all(50_000 <= size < 60_000 for size in sizes[:-1]), sizes
    assert life.rows() == [b"%02d" % number * 2000 for number in range(40)]


def test_the_size_that_is_aimed_at_is_that_of_what_is_packed(tmp_path: Path) -> None:
    life = Life(tmp_path, targetFileSize="20000", rowGroupSize="10000")
    line = os.urandom(500).hex().encode() * 4  # to an eighth, about
    for number in range(200):
        life.deliver(b"%03d" % number + line[number:] + os.urandom(400))
        life.sync()
    life.sink.close()
    sizes = [path.stat().st_size for path in sorted(life.out.iterdir())]
    assert len(sizes) > 2
    assert all(18_000 <= size < 26_000 for size in sizes[:-1]), sizes


def test_a_file_that_is_large_enough_ends_when_nothing_comes_any_more(tmp_path: Path) -> None:
    life = Life(tmp_path, targetFileSize="10000", rowGroupSize="5000", codeC="none")
    life.deliver(b"x" * 20_000)
    assert not life.sink.tick()
    life.sync()
    assert life.names() == [f"{NAME}.parquet"]


def test_flumes_small_defaults_do_not_hold_and_what_is_given_does(tmp_path: Path) -> None:
    first = Life(tmp_path / "1")
    first.deliver(*[b"x" * 1000] * 25)
    first.sink.close()
    assert len(first.names()) == 1
    for number, properties in ((2, {"rollCount": "10"}), (3, {"rollSize": "10000"})):
        life = Life(tmp_path / str(number), **properties)
        life.deliver(*[b"x" * 1000] * 25)
        life.sink.close()
        assert [len(rows_of(path)) for path in sorted(life.out.iterdir())] == [10, 10, 5]


def test_a_file_has_its_final_name_only_when_its_stage_would_survive_the_machine(tmp_path: Path) -> None:
    life = Life(tmp_path, rollCount="1")
    life.deliver(b"a")
    life.deliver(b"b")
    assert life.names() == [f"{NAME}.parquet.tmp"]
    assert sorted(path.name for path in life.stage.glob("0*")) == ["00000001.whole", "00000002.open"]
    life.sync()
    assert life.names() == [f"{NAME}.parquet"]
    assert [path.name for path in life.stage.glob("0*")] == ["00000002.open"]


def test_without_syncs_nothing_waits_for_one(tmp_path: Path) -> None:
    options, _ = read_options(HdfsOptions, {"hdfs.path": f"file://{tmp_path}/out", "hdfs.fileType": "Parquet",
                                            "hdfs.rollCount": "1", "sync.interval": "0"})  # fmt: skip
    assert options is not None
    sink = HdfsSink(options)
    sink.open(sink_context(tmp_path / "state"))
    sink.deliver(EventBatch.of([b"a"]))
    sink.flush()
    sink.committed()
    sink.deliver(EventBatch.of([b"b"]))
    sink.flush()
    sink.committed()
    assert os.listdir(tmp_path / "out") == [f"{NAME}.parquet"]
    sink.close()


def test_many_files_that_fail_for_one_reason_are_one_fact(tmp_path: Path) -> None:
    """The log says a fact that stays the same once in 30 s; each file, and when it is tried again, is shown apart."""
    (tmp_path / "out").write_text("not a directory")
    life = Life(tmp_path, path=f"file://{tmp_path}/out/%{{b}}", rollCount="1")
    for bucket in range(12):
        life.deliver(b"a", b"b", b=str(bucket))  # the second row ends the file of the first
    for _ in range(4):
        life.sync()
        while life.sink.files._workshop.pace(1):
            pass
        life.clock.advance(100)
        life.sink.tick()
    said = [line for level, line in life.lines if level == "error"]
    assert len(said) >= 24 and len(set(said)) == 1
    (tmp_path / "out").unlink()
    life.clock.advance(100)
    life.sink.close()
    assert len(list((tmp_path / "out").rglob("*.parquet"))) == 24


def test_a_place_that_can_not_be_written_to_keeps_the_rows_in_the_stage(tmp_path: Path) -> None:
    """It is said what and why; when it can be written to again, the file is made from the start."""
    (tmp_path / "out").write_text("not a directory")
    life = Life(tmp_path, rollCount="2", stageSize="1MiB")
    life.deliver(b"a", b"b", b"c")
    life.sync()
    assert any(level == "error" and "could not make" in line and "rows are safe in" in line
               for level, line in life.lines), life.lines  # fmt: skip
    for _ in range(11):
        life.deliver(os.urandom(100_000))
    with pytest.raises(RetryLater, match=r"hdfs.stageSize = 1048576: .* could not make files in .*/out: "):
        life.deliver(b"no room")
    life.sink.rolled_back()
    (tmp_path / "out").unlink()
    life.clock.advance(300)
    life.sink.tick()
    life.sync()
    life.deliver(b"last")
    life.sink.close()
    assert [row for row in life.rows() if len(row) < 10] == [b"a", b"b", b"c", b"last"]
    assert not [name for name in life.names() if name.endswith(".tmp")]


def test_files_that_can_not_be_made_are_a_trouble_until_they_are(tmp_path: Path) -> None:
    """Also while one of them is tried again; and what keeps all of a folder from being made is one sentence."""
    (tmp_path / "out").write_text("not a directory")
    life = Life(tmp_path, rollCount="2")
    assert life.sink.trouble() == ""
    life.deliver(b"a", b"b", b"c", b"d", b"e")
    life.sync()
    why = f"could not make files in {life.out}: Not a directory; "
    assert life.sink.trouble().startswith("2 files wait for the target, ")
    assert why in life.sink.trouble()
    life.clock.advance(300)
    bench = life.sink.files._workshop._bench
    bench._start = Hanging
    life.sink.tick()
    assert why in life.sink.trouble()
    bench._job, bench._start = None, Inline
    assert len({line for level, line in life.lines if level == "error"}) == 1, life.lines
    life.sink.close()
    assert life.lines[-1] == (
        "warning",
        f"5 events are not at the target, but staged in {life.stage}: 3 files could not be made before the end, and "
        "the next start goes on",
    )
    (tmp_path / "out").unlink()
    second = Life(tmp_path, sequence=1)
    assert (second.sink.trouble(), second.rows()) == ("", [b"a", b"b", b"c", b"d", b"e"])
    second.sink.close()


def test_a_write_that_fails_midway_is_made_again_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(tmp_path, fileType="ORC", rowGroupSize="5000", codeC="none")
    life.deliver(b"x" * 8000)
    full = []

    def write(file: LocalFile, data: bytes) -> None:
        full.append(len(data))
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patch:
        patch.setattr(LocalFile, "write", write)
        life.sink.close()  # ORC's writer writes here, and would end the process if it heard of the error then
    assert full
    assert any("No space left on device" in line and "free some space" in line for _, line in life.lines)
    assert any("1 event is not at the target" in line and "could not be made before the end" in line
               for _, line in life.lines)  # fmt: skip
    second = Life(tmp_path, sequence=1)
    second.sink.close()
    assert second.names() == [f"{NAME}.orc"]
    assert second.rows() == [b"x" * 8000]


def test_a_full_state_directory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life = Life(tmp_path)
    life.deliver(b"a")

    def write(file: LocalFile, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patch:
        patch.setattr(LocalFile, "write", write)
        with pytest.raises(RetryLater, match=r"could not stage rows in .*/state/stage: No space left"):
            life.deliver(b"b")
        life.sink.rolled_back()
    life.deliver(b"b")
    life.sink.close()
    assert life.rows() == [b"a", b"b"]


def test_the_largest_file_ends_early_when_the_stages_have_half_of_their_room(tmp_path: Path) -> None:
    life = Life(tmp_path, stageSize="1MiB", path=f"file://{tmp_path}/out/%{{h}}")
    life.deliver(b"small", h="a")
    for _ in range(4):
        life.deliver(os.urandom(300_000), h="b")
        life.sync()
    assert len(list((life.out / "b").glob("*.parquet"))) >= 1
    assert not (life.out / "a").exists()
    assert any("the largest ends early" in line for _, line in life.lines)
    life.sink.close()


def test_names_that_somebody_else_has_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / f"{NAME}.parquet").write_text("theirs")
    (tmp_path / "out" / "FlumeData.1340459193236.parquet.tmp").write_text("theirs too")
    life = Life(tmp_path)
    life.deliver(b"a")
    life.sink.close()
    assert rows_of(life.out / "FlumeData.1340459193237.parquet") == [b"a"]
    assert (life.out / f"{NAME}.parquet").read_text() == "theirs"
    assert (life.out / "FlumeData.1340459193236.parquet.tmp").read_text() == "theirs too"


def test_a_stage_with_other_columns_becomes_a_file_as_it_was_begun(tmp_path: Path) -> None:
    first = Life(tmp_path, columns="a")
    sequence = first.deliver(b"one", a="1", b="2")
    second = Life(tmp_path, sequence, columns="b", fileType="ORC")
    second.clock.advance(5)
    second.deliver(b"two", a="1", b="2")
    second.sink.close()
    old, new = sorted(second.out.iterdir(), key=lambda path: path.suffix, reverse=True)
    assert pq.read_table(old, partitioning=None).to_pylist() == [{"body": b"one", "a": "1", "headers": [("b", "2")]}]
    assert orc.read_table(new).to_pylist() == [{"body": b"two", "b": "2", "headers": [("a", "1")]}]


def test_the_type_of_files_may_change_there_and_back_over_kills(tmp_path: Path) -> None:
    sequence = 0
    for number, kind in enumerate(("DataStream", "Parquet", "DataStream", "Arrow", "Arrow")):
        life = Life(tmp_path, sequence, fileType=kind, rollCount="0")
        life.clock.advance(10 * number)
        sequence = life.deliver(b"%d" % number)
        life.sink.deliver(EventBatch.of([b"never committed"]))  # and then it is killed
    last = Life(tmp_path, sequence, fileType="DataStream", rollCount="0")
    last.sink.close()
    assert sorted(line for line in last.lines if "rows that come once more" in line[1]) == []
    plain = [path for path in last.out.iterdir() if path.suffix not in (".parquet", ".arrow")]
    found = [row for path in last.out.iterdir() if path not in plain for row in rows_of(path)]
    found += [row for path in plain for row in path.read_bytes().split()]
    assert sorted(found) == [b"0", b"1", b"2", b"3", b"4"]
    assert not (tmp_path / "state" / places.FOLDER).exists()


def test_listeners_hear_of_the_files_that_people_see(tmp_path: Path) -> None:
    heard: list[ClosedFile] = []

    class Listener:
        def closed(self, file: ClosedFile) -> None:
            heard.append(file)

    class Listening(HdfsSink):
        def listeners(self) -> Any:
            return (Listener(),)

    life = Life(tmp_path, sink=Listening)
    life.deliver(b"a", b"b")
    life.sink.close()
    (path,) = life.out.iterdir()
    assert [(file.final, file.rows, file.size_bytes) for file in heard] == [(str(path), 2, path.stat().st_size)]


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"fileType": "Parket"}, "did you mean Parquet?"),
        ({"fileType": "ORC", "codeC": "bzip2"}, "ORC files are compressed with zstd, snappy, lz4, zlib or none"),
        ({"fileType": "Parquet", "codeC": "gzpi"}, "did you mean gzip?"),
        ({"fileType": "Arrow", "codeC": "snappy"}, "Arrow files are compressed with zstd, lz4 or none"),
        ({"columns": "n:number"}, "the type of a column is one of string, int32"),
        ({"columns.body": "text"}, "must be one of binary, string"),
        ({"columns.invalid": "drop"}, "must be one of null, refuse"),
        ({"rowGroupSize": "100"}, "must be at least 1024"),
        ({"stageSize": "1"}, "must be at least"),
        ({"emptyInUseSuffix": "true"}, "must have another name until then"),
    ],
)
def test_a_wrong_option_is_an_error_with_what_would_be_right(properties: dict[str, str], said: str) -> None:
    given = {"path": "file:///d", "fileType": "Parquet", **properties}
    options, findings = read_options(HdfsOptions, {f"hdfs.{key}": value for key, value in given.items()})
    assert options is None
    assert said in findings[0].message


def test_options_of_the_other_kind_of_file_are_doubted() -> None:
    given = {"hdfs.path": "file:///d", "hdfs.fileType": "DataStream", "hdfs.columns": "a", "hdfs.stageSize": "1GiB"}
    _, findings = read_options(HdfsOptions, given)
    assert [finding.message for finding in findings] == [
        f"hdfs.{key} has no effect with hdfs.fileType = DataStream; it is for Parquet, ORC, Arrow"
        for key in ("columns", "stageSize")
    ]
    _, findings = read_options(HdfsOptions, {"hdfs.path": "/d", "hdfs.fileType": "ORC", "serializer": "avro_event"})
    assert [finding.message for finding in findings] == ["serializer has no effect with hdfs.fileType = ORC"]
