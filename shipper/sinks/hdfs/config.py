"""The options of the `hdfs` sink: Flume's whole list, with Flume's defaults.

The file is long because Flume's list is, and an option is declared once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import tzinfo
from typing import Any

from shipper.api import (
    Options,
    at_least,
    choice,
    flag,
    integer,
    mapping,
    milliseconds,
    option,
    path,
    seconds,
    size,
    text,
)
from shipper.files import escapes
from shipper.files.columns import schema
from shipper.files.columns.format import FORMATS, ColumnsFormat
from shipper.files.compress import find_codec
from shipper.files.done_period import period_problem, whole
from shipper.files.format import serializer_doubts, serializer_problems
from shipper.files.path_rules import HDFS
from shipper.files.sequence_file import find_write_format
from shipper.files.timezones import time_zone
from shipper.sinks.hdfs.address import CLUSTERS, address_problem, dots_problem, path_of, scheme_of

_UNITS = ("second", "minute", "hour")
_TARGET_BYTES = 128 << 20
_FILE_TYPES = ("SequenceFile", "DataStream", "CompressedStream")


class FlumesDefault(int):
    """A default of Flume's that holds for files of events only: nobody wants Parquet files of ten rows."""


@dataclass(frozen=True, kw_only=True)
class HdfsOptions(Options):
    """Options of the hdfs sink."""

    path: str = option("hdfs.path", path, help="Where the files go: a URI or a path, with escapes like %Y or %{host}.")
    file_prefix: str = option("hdfs.filePrefix", text, "FlumeData",
        help="What file names begin with; with escapes.")  # fmt: skip
    file_suffix: str | None = option("hdfs.fileSuffix", text, None,
        help="What file names end in, dot and all; by default the codec's, as in .gz.")  # fmt: skip
    in_use_prefix: str = option("hdfs.inUsePrefix", text, "", help="Before the name of a file that is being written.")
    in_use_suffix: str = option(
        "hdfs.inUseSuffix", text, ".tmp", help="Behind the name of a file that is being written."
    )
    empty_in_use_suffix: bool = option("hdfs.emptyInUseSuffix", flag, False,
        help="Files have their final names from the start.")  # fmt: skip
    roll_interval_s: float = option("hdfs.rollInterval", at_least(seconds, 0), 30.0,
        help="A file ends after so many seconds; 0 = never.")  # fmt: skip
    roll_size_bytes: int = option("hdfs.rollSize", at_least(size, 0), FlumesDefault(1024),
        help="A file ends after so many bytes of event bodies, before compression; 0 = never, as in files of columns "
        "by default.")  # fmt: skip
    roll_rows: int = option("hdfs.rollCount", at_least(integer, 0), FlumesDefault(10),
        help="A file ends after so many events; 0 = never, as in files of columns by default.")  # fmt: skip
    idle_timeout_s: float = option("hdfs.idleTimeout", at_least(seconds, 0), 0.0,
        help="A file ends when nothing came for so many seconds; 0 = never.")  # fmt: skip
    batch_size: int = option("hdfs.batchSize", at_least(integer, 1), 100,
        help="Events of a full transaction in Flume's counters; a literal bound with strictBatch.")  # fmt: skip
    codec: str | None = option("hdfs.codeC", text, None,
        help="gzip, bzip2, lz4, snappy, zstd, deflate, lzo or lzop, in the form that Hadoop reads; in files of "
        "columns zstd (the default), snappy, lz4, gzip or none.")  # fmt: skip
    file_type: str = option("hdfs.fileType", choice(*_FILE_TYPES, *FORMATS), "SequenceFile",
        help="What the files are. Beyond Flume: Parquet, ORC, Arrow, whose rows have columns.")  # fmt: skip
    columns: tuple[schema.Column, ...] = option("hdfs.columns", schema.columns, (), ours=True,
        help="Headers that have a column of their own in files of columns, and its type (string when it is left out): "
        "host timestamp:timestamp_ms bytes:int64.")  # fmt: skip
    columns_body: str = option("hdfs.columns.body", choice(*schema.BODY_TYPES), "binary", ours=True,
        help="The type of the column body. With string, bodies that are not UTF-8 are set aside.")  # fmt: skip
    columns_headers: bool = option("hdfs.columns.headers", flag, True, ours=True,
        help="Headers without a column of their own stand in the column headers, a map.")  # fmt: skip
    columns_invalid: str = option("hdfs.columns.invalid", choice(schema.NULL, schema.REFUSE), schema.NULL, ours=True,
        help="What becomes of a header that is not what its column is: null, counted, its text kept in the column "
        "headers; or the event is refused and set aside.")  # fmt: skip
    target_file_bytes: int = option("hdfs.targetFileSize", at_least(size, 0), FlumesDefault(_TARGET_BYTES), ours=True,
        help="A file of columns ends when it has about so many bytes, as they are in the store; 0 = at any "
        "size.")  # fmt: skip
    row_group_bytes: int = option("hdfs.rowGroupSize", at_least(size, 1 << 10, 1 << 30), 64 << 20, ours=True,
        help="Bytes, before compression, of a Parquet row group, an ORC stripe, an Arrow record batch.")  # fmt: skip
    stage_bytes: int = option("hdfs.stageSize", at_least(size, 1 << 20), 4 << 30, ours=True,
        help="Bytes of the state directory that the rows of unfinished files of columns may take, for each worker; "
        "above half of it the largest file ends early, at all of it the sink waits.")  # fmt: skip
    write_format: str = option("hdfs.writeFormat", text, "Writable",
        help="What the values of a SequenceFile are: BytesWritable or Text.")  # fmt: skip
    serializer: str = option("serializer", text, "TEXT",
        help="How an event becomes bytes in a DataStream or CompressedStream.")  # fmt: skip
    serializer_options: Mapping[str, str] = option("serializer.*", mapping(), {}, help="Options of the serializer.")
    max_open_files: int = option("hdfs.maxOpenFiles", at_least(integer, 1), 5000,
        help="With more, the file that was written longest ago ends.")  # fmt: skip
    sync_interval_s: float = option("sync.interval", at_least(seconds, 0), 1.0, ours=True,
        help="Seconds between two syncs of what was written; 0 = never: a power cut may then lose it.")  # fmt: skip
    round: bool = option("hdfs.round", flag, False, help="Round the time in escapes down.")
    round_value: int = option("hdfs.roundValue", integer, 1, help="To a multiple of so many units.")
    round_unit: str = option("hdfs.roundUnit", text, "second", help="second, minute or hour.")
    time_zone: tzinfo | None = option("hdfs.timeZone", time_zone, None,  # noqa: RUF009
        help="Of the times in escapes: Europe/Berlin, GMT+8, PST; by default the machine's.")  # fmt: skip
    use_local_time_stamp: bool = option("hdfs.useLocalTimeStamp", flag, False,
        help="Take the time in escapes from the clock, not from the header timestamp.")  # fmt: skip
    close_tries: int = option("hdfs.closeTries", integer, 0,
        help="How often a rename is tried; 0 or less = until it works.")  # fmt: skip
    retry_interval_s: float = option("hdfs.retryInterval", seconds, 180.0,
        help="Seconds between two tries to rename; 0 or less = one try only.")  # fmt: skip
    call_timeout_s: float | None = option("hdfs.callTimeout", at_least(milliseconds, 0), None,
        help="Milliseconds that a call to a cluster may take: 30000 by default.")  # fmt: skip
    flush_interval_s: float | None = option("hdfs.syncInterval", at_least(seconds, 0), None, ours=True,
        help="Seconds that rows wait for more, so that syncs (hsync) are fewer and larger; 0 = none.")  # fmt: skip
    flush_size_bytes: int | None = option("hdfs.syncSize", at_least(size, 1), None, ours=True,
        help="Bytes of rows that are synced together at the most; by default batch.bytes.")  # fmt: skip
    bucket_done: str | None = option("hdfs.bucketDone", text, None, ours=True,
        help="Name of an empty file, as in _SUCCESS, made in each folder whose time is over and whose files are "
        "whole.")  # fmt: skip
    bucket_done_lateness_s: float = option("hdfs.bucketDoneLateness", at_least(seconds, 0), 300.0, ours=True,
        help="Seconds for which events of a time that is over are waited for; with hdfs.bucketDone.")  # fmt: skip
    threads_pool_size: int | None = option("hdfs.threadsPoolSize", at_least(integer, 1), None,
        help="Threads that compress what one transaction adds to a file, in parts of a MiB (gzip, lz4, "
        "snappy, zstd, bzip2); one a core at most, and without this key at most 4.")  # fmt: skip
    roll_timer_pool_size: int | None = option("hdfs.rollTimerPoolSize", at_least(integer, 1), None,
        help="No effect: files are rolled by time in the loop that writes them, without threads.")  # fmt: skip
    min_block_replicas: int | None = option("hdfs.minBlockReplicas", at_least(integer, 0), None,
        help="A file ends when the block that is being written is on fewer DataNodes, as the NameNode's web port has "
        "it; at most 30 in a row. With 0, 1 or without this key none does (in Flume: dfs.replication).")  # fmt: skip
    raw_local: bool | None = option("hdfs.useRawLocalFileSystem", flag, None,
        help="No effect: local files never have .crc files, and every batch reaches them.")  # fmt: skip
    append_support: bool | None = option("hdfs.append.support", flag, None,
        help="No effect: a file that a dead process left is always gone on with.")  # fmt: skip
    kerberos_principal: str | None = option("hdfs.kerberosPrincipal", text, None,
        help="Who to be on a cluster with Kerberos; _HOST stands for this machine's name.")  # fmt: skip
    kerberos_keytab: str | None = option("hdfs.kerberosKeytab", text, None,
        help="The file with the key of the principal.")  # fmt: skip
    proxy_user: str | None = option("hdfs.proxyUser", text, None,
        help="Whom to act for on a cluster. Over hdfs:// without Kerberos as HADOOP_USER_NAME, unchecked.")  # fmt: skip

    @property
    def over_http(self) -> bool:
        """True when only HTTP leads to the cluster."""
        return scheme_of(self.path) == "webhdfs"

    @property
    def ends_thin_files(self) -> bool:
        """True when files end for want of DataNodes. One is always there, or nothing can be written."""
        return (self.min_block_replicas or 0) > 1 and not self.over_http and self.columns_format is None

    @property
    def columns_format(self) -> ColumnsFormat | None:
        """The kind of files of columns; None for files of events."""
        return FORMATS.get(self.file_type)

    @property
    def columns_codec(self) -> str:
        """What compresses files of columns."""
        return FORMATS[self.file_type].codec(self.codec)

    @property
    def columns_plan(self) -> schema.Columns:
        """What the columns are."""
        return schema.Columns(self.columns, self.columns_body, self.columns_headers, self.columns_invalid)

    def roll_limit(self, name: str) -> int:
        """`roll_rows` or `roll_size_bytes` as it holds for the type of the files; 0 = off."""
        limit: int = getattr(self, name)
        return 0 if self.columns_format is not None and isinstance(limit, FlumesDefault) else limit

    @property
    def rounding(self) -> escapes.Rounding | None:
        """How times in escapes are rounded; None = not."""
        unit = self.round_unit.strip().lower()
        return escapes.Rounding(value=self.round_value, unit=unit) if self.round and unit in _UNITS else None

    @property
    def open_suffix(self) -> str:
        """What stands behind the name of a file that is being written."""
        return "" if self.empty_in_use_suffix else self.in_use_suffix

    @property
    def sequence_file_properties(self) -> dict[str, str]:
        """The options of the SequenceFile, as a person would give them."""
        return {"writeFormat": self.write_format} | ({"codeC": self.codec} if self.codec is not None else {})

    def write_format_problem(self) -> str | None:
        """Why no SequenceFile can be written. Flume starts with such a file and fails at the first event."""
        if self.file_type != "SequenceFile":
            return None
        try:
            find_write_format(self.write_format)
        except ValueError as problem:
            return f"hdfs.writeFormat = {self.write_format}: {problem}; as it is, nothing will be written"
        return None

    def problems(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        if (problem := address_problem(self.path)) is not None:
            found.append(("hdfs.path", problem))
        for key, template in (("hdfs.path", self.path), ("hdfs.filePrefix", self.file_prefix)):
            found += [(key, f"{key} = {template}: {problem}") for problem in escapes.problems(template)]
        for key, value in (
            ("hdfs.fileSuffix", self.file_suffix or ""),
            ("hdfs.inUsePrefix", self.in_use_prefix),
            ("hdfs.inUseSuffix", self.in_use_suffix),
        ):
            if "/" in value or "\0" in value:
                found.append((key, f"{key} = {value}: no / is possible in a part of a file name"))
        if scheme_of(self.path) in CLUSTERS:
            found += self.cluster_problems()
        if self.round and (unit := self.round_unit.strip().lower()) in _UNITS:
            most = 24 if unit == "hour" else 60
            if not 1 <= self.round_value <= most:
                found.append(("hdfs.roundValue", f"hdfs.roundValue = {self.round_value}: must be 1 to {most} with "
                              f"hdfs.roundUnit = {unit}"))  # fmt: skip
        if self.bucket_done is not None:
            found += self._bucket_done_problems(self.bucket_done)
        if (self.kerberos_principal is None) != (self.kerberos_keytab is None):
            there, lacks = ("Keytab", "Principal") if self.kerberos_principal is None else ("Principal", "Keytab")
            found.append((f"hdfs.kerberos{there}", f"hdfs.kerberos{there} is set without hdfs.kerberos{lacks}: "
                          "both are needed to log in"))  # fmt: skip
        if self.over_http:
            found += self._http_problems()
        found += self._format_problems()
        return found

    def cluster_problems(self) -> list[tuple[str, str]]:
        """What no cluster takes in the names of files and folders."""
        path, prefix = escapes.literal(path_of(self.path)), escapes.literal(self.file_prefix)
        texts = (
            ("hdfs.path", self.path, path),
            ("hdfs.filePrefix", self.file_prefix, f"{prefix}."),  # a name goes on behind it
            ("hdfs.fileSuffix", self.file_suffix or "", f".{self.file_suffix}"),
            ("hdfs.inUsePrefix", self.in_use_prefix, self.in_use_prefix),
            ("hdfs.inUseSuffix", self.in_use_suffix, f".{self.in_use_suffix}"),
            ("hdfs.bucketDone", self.bucket_done or "", self.bucket_done or ""),
        )
        found = [(key, f"{key} = {value}: {said}") for key, value, text in texts for said in HDFS.problems(text)]
        if (problem := dots_problem(path_of(self.path))) is not None:
            found.append(("hdfs.path", f"hdfs.path = {self.path}: {problem}"))
        if {".", ".."} & set(prefix.split("/")[:-1]):
            found.append(("hdfs.filePrefix", f"hdfs.filePrefix = {self.file_prefix}: HDFS takes no . or .. there: "
                          "write the folder into hdfs.path"))  # fmt: skip
        return found

    def _http_problems(self) -> list[tuple[str, str]]:
        found = []
        if self.kerberos_principal is not None:
            found.append(("hdfs.kerberosPrincipal", f"hdfs.path = {self.path}: over webhdfs:// nobody can log in with "
                          "Kerberos; hdfs://host:8020/... can"))  # fmt: skip
        if not self.in_use_prefix and not self.open_suffix:
            key = "hdfs.emptyInUseSuffix" if self.empty_in_use_suffix else "hdfs.inUseSuffix"
            found.append((key, "over webhdfs:// a file must have another name while it is written, so that a late "
                          "request of a process that died can't reach it: leave hdfs.inUseSuffix = .tmp, or give an "
                          "hdfs.inUsePrefix"))  # fmt: skip
        return found

    def _bucket_done_problems(self, name: str) -> list[tuple[str, str]]:
        text, shown = whole(name), f"hdfs.bucketDone = {name}"
        if text is None:
            return [("hdfs.bucketDone", f"{shown}: the name is the same for all events; of the escapes only "
                     "%[localhost], %[IP] and %[FQDN] can be in it")]  # fmt: skip
        if not text.strip() or "/" in text or "\0" in text:
            return [("hdfs.bucketDone", f"{shown}: it has to be the name of a file, as in _SUCCESS")]
        if not escapes.problems(self.path) and (problem := period_problem(escapes.Template(self.path))) is not None:
            return [("hdfs.bucketDone", f"{shown} says when a folder is done, and hdfs.path = {self.path} {problem}; "
                     "with /%Y-%m-%d/%H, for instance, each hour of each day has a folder of its own")]  # fmt: skip
        return []

    def _columns_problems(self, kind: ColumnsFormat) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        try:
            kind.codec(self.codec)
        except ValueError as problem:
            found.append(("hdfs.codeC", f"hdfs.codeC = {self.codec}: {problem}"))
        if not self.in_use_prefix and not self.open_suffix:
            key = "hdfs.emptyInUseSuffix" if self.empty_in_use_suffix else "hdfs.inUseSuffix"
            found.append((key, f"{kind.name} files can't be read before they are whole, and must have another name "
                          "until then: leave hdfs.inUseSuffix = .tmp, or give an hdfs.inUsePrefix"))  # fmt: skip
        return found

    def _format_problems(self) -> list[tuple[str, str]]:
        if (kind := self.columns_format) is not None:
            return self._columns_problems(kind)
        found: list[tuple[str, str]] = []
        if self.codec is None and self.file_type == "CompressedStream":
            found.append(("hdfs.codeC", "hdfs.fileType = CompressedStream needs hdfs.codeC, as in hdfs.codeC = gzip"))
        if self.codec is not None and self.file_type == "DataStream":
            found.append(("hdfs.codeC", f"hdfs.codeC = {self.codec} can't be used with hdfs.fileType = DataStream, "
                          "which is not compressed: set hdfs.fileType = CompressedStream"))  # fmt: skip
        elif self.codec is not None:
            try:
                if find_codec(self.codec).begin and self.file_type == "SequenceFile":
                    found.append(("hdfs.codeC", f"hdfs.codeC = {self.codec} can't be used with hdfs.fileType = "
                                  "SequenceFile, whose readers expect blocks, not a container; write lzo, or "
                                  "hdfs.fileType = CompressedStream"))  # fmt: skip
            except ValueError as problem:
                found.append(("hdfs.codeC", f"hdfs.codeC = {self.codec}: {problem}"))
        if self.file_type != "SequenceFile":
            found += serializer_problems("serializer", self.serializer, self.serializer_options)
        return found

    def doubts(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        if self.round and self.round_unit.strip().lower() not in _UNITS:
            found.append(("hdfs.roundUnit", f"hdfs.roundUnit = {self.round_unit} is none of second, minute and hour: "
                          "times are not rounded, as in Flume"))  # fmt: skip
        for key, template in (("hdfs.path", self.path), ("hdfs.filePrefix", self.file_prefix)):
            for escape in escapes.Template(template).unknown:
                found.append(
                    (key, f"{key} = {template}: {escape} means nothing and becomes an empty text, as in Flume")
                )
        if self.bucket_done and self.bucket_done[0] not in "_.":
            found.append(("hdfs.bucketDone", f"hdfs.bucketDone = {self.bucket_done}: Hadoop's readers take it for "
                          f"data; they pass over names that begin with _, as in _{self.bucket_done}"))  # fmt: skip
        found += self._without_use()
        if self.columns_format is not None:
            return found
        if self.file_type != "SequenceFile":
            found += serializer_doubts("serializer", self.serializer, self.serializer_options)
        elif (problem := self.write_format_problem()) is not None:
            found.append(("hdfs.writeFormat", problem))
        return found

    def _without_use(self) -> list[tuple[str, str]]:
        """Options that were given and belong to the other types of files."""
        columnar = self.columns_format is not None
        others = ("serializer", "serializer_options", "write_format", "min_block_replicas") if columnar else (
            "columns", "columns_body", "columns_headers", "columns_invalid", "target_file_bytes", "row_group_bytes",
            "stage_bytes",
        )  # fmt: skip
        found = []
        for name in others:
            declared = self._declared[name]
            if getattr(self, name) != declared.default:
                found.append((declared.key, f"{declared.key} has no effect with hdfs.fileType = {self.file_type}"
                              + ("" if columnar else f"; it is for {', '.join(FORMATS)}")))  # fmt: skip
        return found

    def small_files(self) -> list[str]:
        """Which of Flume's defaults end files early, and the line that would stop each: a sentence each."""
        found = []
        for name, ends in (("roll_rows", "{} events"), ("roll_size_bytes", "{} bytes"), ("roll_interval_s", "{:g} s")):
            limit, key = getattr(self, name), self._declared[name].key
            if self.columns_format is not None and isinstance(limit, FlumesDefault):
                continue
            if limit == self._declared[name].default:
                found.append(f"files end after {ends.format(limit)} because {key} is {limit:g} (Flume's default); "
                             f"{key} = 0 stops that")  # fmt: skip
        return found

    def without_effect(self, *, on_cluster: bool) -> list[str]:
        """What was set and has nothing to do here: a sentence each, for the start."""
        declared = self._declared
        found = [
            f"{declared[name].key} is set: {declared[name].help}"
            for name in ("roll_timer_pool_size", "raw_local", "append_support")
            if getattr(self, name) is not None
        ]
        if not on_cluster:
            found += [
                f"{declared[name].key} is set: no effect on a local file system"
                for name in ("call_timeout_s", "kerberos_principal", "kerberos_keytab", "proxy_user",
                             "min_block_replicas")
                if getattr(self, name) is not None
            ]  # fmt: skip
        elif self.over_http and self.min_block_replicas is not None:
            found.append("hdfs.minBlockReplicas is set: no effect over webhdfs://, where each transaction opens the "
                         "file anew")  # fmt: skip
        return found

    @property
    def _declared(self) -> dict[str, Any]:
        """The declarations, by the names of the fields."""
        return {field.name: field.metadata["option"] for field in fields(self)}
