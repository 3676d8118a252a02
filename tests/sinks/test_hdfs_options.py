"""The options of the hdfs sink: what is refused, what is doubted, and what is said of those with nothing to do here."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.api import ComponentFailed, EventBatch
from shipper.config.field import Finding, declarations, read_options
from shipper.registry import find
from shipper.sinks.hdfs.address import place_of
from shipper.sinks.hdfs.config import HdfsOptions
from shipper.sinks.hdfs.hadoop_settings import HadoopSettings
from shipper.sinks.hdfs.sink import HdfsSink
from shipper.testing.fakes import sink_context
from tests.vectors import vector


def read(**properties: str) -> tuple[HdfsOptions | None, list[Finding]]:
    given = {"hdfs.path": "file:///d", "hdfs.fileType": "DataStream"}
    return read_options(HdfsOptions, given | {f"hdfs.{key}": value for key, value in properties.items()})


def test_the_sink_has_flumes_names() -> None:
    assert find("sink", "hdfs") is HdfsSink
    assert find("sink", "org.apache.flume.sink.hdfs.HDFSEventSink") is HdfsSink


def test_flumes_whole_list_is_declared() -> None:
    keys = {declared.key for declared in declarations(HdfsOptions).values()}
    flumes = (
        "path filePrefix fileSuffix inUsePrefix inUseSuffix emptyInUseSuffix rollInterval rollSize rollCount "
        "idleTimeout batchSize codeC fileType writeFormat maxOpenFiles minBlockReplicas threadsPoolSize "
        "rollTimerPoolSize kerberosPrincipal kerberosKeytab proxyUser round roundValue roundUnit timeZone "
        "useLocalTimeStamp closeTries retryInterval callTimeout useRawLocalFileSystem append.support"
    )
    ours = {
        "sync.interval", "hdfs.bucketDone", "hdfs.bucketDoneLateness", "hdfs.syncInterval", "hdfs.syncSize"
    }  # fmt: skip
    ours |= {"hdfs.columns", "hdfs.columns.body", "hdfs.columns.headers", "hdfs.columns.invalid", "hdfs.rowGroupSize",
             "hdfs.targetFileSize", "hdfs.stageSize"}  # fmt: skip
    assert {f"hdfs.{key}" for key in flumes.split()} | {"serializer", "serializer.*"} | ours == keys


def test_the_defaults_are_flumes() -> None:
    options = HdfsOptions(path="file:///d")
    assert (options.roll_interval_s, options.roll_size_bytes, options.roll_rows) == (30, 1024, 10)
    assert (options.file_prefix, options.in_use_suffix, options.file_type) == ("FlumeData", ".tmp", "SequenceFile")
    assert (options.max_open_files, options.retry_interval_s, options.close_tries) == (5000, 180, 0)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("path", "swebhdfs://nn:9871/x", "without TLS only"),
        ("path", "hdfs://%{host}/x", "not in the name of a cluster"),
        ("path", "s3a://bucket/x", "s3a:// is not known; hdfs://... and file:///... work"),
        ("path", " ", "hdfs.path is empty"),
        ("path", "file:///x/%[host]", "%[host] is not known"),
        ("filePrefix", "%[host]", "%[host] is not known"),
        ("path", "file:///x\0y", "can't have a NUL"),
        ("fileSuffix", "/x", "no / is possible"),
        ("inUsePrefix", "a/", "no / is possible"),
        ("inUseSuffix", "../x", "no / is possible"),
        ("path", "hdfs://nn:8020/a:b/%Y", "hdfs.path = hdfs://nn:8020/a:b/%Y: HDFS takes no : in a name"),
        ("path", "webhdfs://nn:9870/a/%{h:i}", "HDFS takes no : in a name"),
        ("path", "viewfs://v/logs/.snapshot/x", "HDFS keeps .snapshot for itself"),
        ("path", "hdfs://nn/.reserved/x", "HDFS keeps /.reserved for itself"),
        ("path", "hdfs://nn/a/%D/../b", "%D may become several folders"),
        ("path", "hdfs://nn/a/../../b", "its .. leads to a folder above all others"),
        ("rollCount", "-1", "must be at least 0"),
        ("rollInterval", "a while", "a duration is a number"),
        ("maxOpenFiles", "0", "must be at least 1"),
        ("fileType", "SequenceFiles", "did you mean SequenceFile?"),
        ("codeC", "gzip", "can't be used with hdfs.fileType = DataStream"),
        ("timeZone", "UTC+8", "did you mean GMT+8?"),
        ("kerberosPrincipal", "flume/_HOST@R", "is set without hdfs.kerberosKeytab"),
        ("kerberosKeytab", "/k", "is set without hdfs.kerberosPrincipal"),
    ],
)
def test_a_wrong_value_is_refused_with_what_would_be_right(key: str, value: str, said: str) -> None:
    options, findings = read(**{key: value})
    assert options is None
    assert [(finding.severity, finding.key) for finding in findings] == [("error", f"hdfs.{key}")]
    assert said in findings[0].message


@pytest.mark.parametrize(
    ("key", "value"),
    [("filePrefix", "a:b"), ("filePrefix", "../x"), ("fileSuffix", ".a:b"), ("inUsePrefix", "a:"),
     ("inUseSuffix", ":tmp"), ("bucketDone", "_a:b")],
)  # fmt: skip
def test_a_name_that_a_cluster_refuses_is_refused_for_a_cluster_only(key: str, value: str) -> None:
    for place, refused in (("hdfs://nn/%Y/%m/%d", True), ("file:///%Y/%m/%d", False)):
        options, findings = read(path=place, **{key: value})
        assert (options is None) == refused
        assert [finding.key for finding in findings if finding.severity == "error"] == [f"hdfs.{key}"] * refused


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("hdfs://nn/dots/a/../b", "/dots/b"),
        ("hdfs://nn/./a/%Y/./b/", "/a/%Y/b"),
        ("hdfs://nn/a/..", "/"),
        ("hdfs://nn/a..b/.c/...", "/a..b/.c/..."),
        ("hdfs://nn/a//b/", "/a//b/"),
        ("../x", "/user/x"),
        ("file:///a/../b", "/a/../b"),
    ],
)
def test_dots_in_the_path_of_a_cluster_are_taken_out_as_by_hadoop(address: str, path: str) -> None:
    assert place_of(address, "hdfs://nn").path == path


@pytest.mark.parametrize(
    ("unit", "value", "good"),
    [("second", 60, True), ("second", 61, False), ("minute", 0, False), ("Hour", 24, True), ("hour", 25, False)],
)
def test_a_round_value_must_fit_its_unit(unit: str, value: int, good: bool) -> None:
    options, findings = read(round="true", roundUnit=unit, roundValue=str(value))
    assert (options is not None) == good
    assert good or "hdfs.roundValue" in findings[0].message
    assert read(round="false", roundUnit=unit, roundValue=str(value))[0] is not None


def test_a_round_unit_is_taken_in_any_case() -> None:
    row = vector("hdfs_files", "round_unit_case")
    options, findings = read(**{key.removeprefix("hdfs."): str(value).lower() if value is True else str(value)
                                for key, value in row["config"].items()})  # fmt: skip
    assert row["out"] == "accepted"
    assert not findings
    assert options is not None
    assert options.rounding is not None


def test_an_unknown_round_unit_turns_rounding_off_with_a_warning() -> None:
    options, findings = read(round="true", roundUnit="day")
    assert options is not None
    assert options.rounding is None
    assert [finding.severity for finding in findings] == ["warning"]
    assert "times are not rounded, as in Flume" in findings[0].message


def test_a_batch_size_of_zero_is_an_error() -> None:
    row = vector("hdfs_files", "batch_size_zero")
    assert row["out"] == "configuration error"
    options, findings = read(batchSize=str(row["config"]["hdfs.batchSize"]))
    assert options is None
    assert findings[0].key == "hdfs.batchSize"


def test_a_missing_path_is_an_error() -> None:
    assert vector("hdfs_files", "no_path")["out"] == "configuration error"
    options, findings = read_options(HdfsOptions, {})
    assert options is None
    assert "hdfs.path is required" in findings[0].message


def test_a_compressed_stream_needs_a_codec() -> None:
    options, findings = read(fileType="CompressedStream")
    assert options is None
    assert "needs hdfs.codeC, as in hdfs.codeC = gzip" in findings[0].message


@pytest.mark.usefixtures("liblzo2")
def test_a_sequence_file_takes_no_container() -> None:
    """No reader of SequenceFiles could open it."""
    options, findings = read(fileType="SequenceFile", codeC="lzop")
    assert options is None
    assert "can't be used with hdfs.fileType = SequenceFile" in findings[0].message
    assert "write lzo" in findings[0].message


@pytest.mark.parametrize("codec", ["gzipp", "zip"])
def test_an_unknown_codec_is_an_error_with_the_known_ones(codec: str) -> None:
    options, findings = read(fileType="CompressedStream", codeC=codec)
    assert options is None
    assert f"hdfs.codeC = {codec}: " in findings[0].message
    assert "gzip" in findings[0].message or "lz4" in findings[0].message


def test_an_unknown_serializer_is_an_error_with_the_nearest() -> None:
    given = {"hdfs.path": "file:///d", "hdfs.fileType": "DataStream", "serializer": "avro_events"}
    options, findings = read_options(HdfsOptions, given)
    assert options is None
    assert "did you mean avro_event?" in findings[0].message
    assert read_options(HdfsOptions, given | {"hdfs.fileType": "SequenceFile"})[0] is not None  # not used there


def test_an_escape_without_a_meaning_is_doubted() -> None:
    options, findings = read(path="file:///d/a%20b")
    assert options is not None
    assert ["%2 means nothing and becomes an empty text" in finding.message for finding in findings] == [True]


def test_all_problems_are_shown_at_once() -> None:
    _, findings = read(path="s3a://x/", fileSuffix="/", fileType="CompressedStream")
    assert {finding.key for finding in findings} == {"hdfs.path", "hdfs.fileSuffix", "hdfs.codeC"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("callTimeout", "10000"), ("rollTimerPoolSize", "2"), ("minBlockReplicas", "1"),
        ("useRawLocalFileSystem", "true"), ("append.support", "false"), ("proxyUser", "x"),
    ],
)  # fmt: skip
def test_an_option_with_nothing_to_do_here_says_so_at_start(key: str, value: str, tmp_path: Path) -> None:
    options, findings = read(
        path=f"file://{tmp_path}/out", rollCount="0", rollSize="0", rollInterval="0", **{key: value}
    )
    assert options is not None
    assert not findings
    said: list[tuple[str, str]] = []
    sink = HdfsSink(options)
    sink.open(sink_context(tmp_path / "state", said=said))
    sink.deliver(EventBatch.of([b"a"]))
    assert len(said) == 1
    level, line = said[0]
    assert level == "info"
    assert line.startswith(f"hdfs.{key} is set: ")
    assert "o effect" in line


def test_mount_points_lead_to_addresses() -> None:
    """The longest one that fits; without any, the fallback."""
    links = {"link./logs": "hdfs://one/data/", "link./logs/web": "hdfs://two", "linkFallback": "hdfs://rest/all"}
    settings = HadoopSettings("", {f"fs.viewfs.mounttable.t.{key}": value for key, value in links.items()})
    assert settings.mounted("t", "/logs/%Y") == "hdfs://one/data/%Y"
    assert settings.mounted("t", "/logs/web/a") == "hdfs://two/a"
    assert settings.mounted("t", "/logs") == "hdfs://one/data"
    assert settings.mounted("t", "/logsx") == "hdfs://rest/all/logsx"
    assert settings.mounted("other", "/logs") == ""


def test_a_name_that_the_default_cluster_refuses_is_said_when_the_sink_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file of Hadoop's is read before the start."""
    (tmp_path / "core-site.xml").write_text(
        "<configuration><property><name>fs.defaultFS</name><value>hdfs://nn:8020</value></property></configuration>"
    )
    monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
    options, findings = read(path="/a:b")
    assert options is not None, findings
    with pytest.raises(ComponentFailed, match=r"hdfs\.path = /a:b: HDFS takes no : in a name"):
        HdfsSink(options).open(sink_context(tmp_path / "state"))
