"""The options of spooldir."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from shipper.api import Options, at_least, choice, flag, integer, mapping, milliseconds, option, path, text
from shipper.sources._charset import charset
from shipper.sources._tail.java_regex import compile_java
from shipper.sources.deserializers._find import deserializer_doubts, deserializer_problems


def _pattern(value: str) -> str:
    compile_java(value)
    return value


_regex = dataclasses.replace(text, name="Java regular expression", parse=_pattern)


@dataclass(frozen=True, kw_only=True)
class SpooldirOptions(Options):
    """Options of the spooldir source."""

    directory: str = option("spoolDir", path, help="The directory; a file in it must be complete when it appears.")
    suffix: str = option("fileSuffix", text, ".COMPLETED", help="Added to the name of a file that has been read.")
    delete_policy: str = option(
        "deletePolicy", choice("never", "immediate"), "never", help="immediate: delete a file that has been read."
    )
    tracking_policy: str = option(
        "trackingPolicy", choice("rename", "tracker_dir"), "rename",
        help="tracker_dir: leave files as they are, and mark them as done in trackerDir.",
    )  # fmt: skip
    tracker_directory: str = option(
        "trackerDir", path, ".flumespool", help="For marks and progress; relative to spoolDir, or absolute."
    )
    file_header: bool = option("fileHeader", flag, False, help="Add a header with the file's absolute path.")
    file_header_key: str = option("fileHeaderKey", text, "file", help="The name of that header.")
    basename_header: bool = option("basenameHeader", flag, False, help="Add a header with the file's name.")
    basename_header_key: str = option("basenameHeaderKey", text, "basename", help="The name of that header.")
    include: str = option("includePattern", _regex, "^.*$", help="Names of files to read: must match as a whole.")
    ignore: str = option("ignorePattern", _regex, "^$", help="Names to leave alone, whatever includePattern says.")
    order: str = option(
        "consumeOrder", choice("oldest", "youngest", "random"), "oldest", help="By time of change; ties by name."
    )
    poll_delay_s: float = option("pollDelay", at_least(milliseconds, 0), 0.5, help="ms between two looks for files.")
    recursive: bool = option("recursiveDirectorySearch", flag, False, help="Read files of subdirectories too.")
    backoff_max_s: float = option(
        "maxBackoff",
        at_least(milliseconds, 0),
        4.0,
        help="ms of the longest pause before a full channel is tried again.",
    )
    batch_size: int = option(
        "batchSize", at_least(integer, 1), 100, help="Events of a transaction, where a channel's strictBatch is true."
    )
    charset: str = option("inputCharset", charset, "utf-8", help="Character set of the files.")
    decode_errors: str = option(
        "decodeErrorPolicy", choice("FAIL", "REPLACE", "IGNORE"), "FAIL",
        help="Bytes that are no character: stop reading the file there, put U+FFFD, or leave them out.",
    )  # fmt: skip
    buffer_lines_max: int | None = option("bufferMaxLines", integer, None, help="Obsolete: has no effect.")
    buffer_line_chars_max: int | None = option(
        "bufferMaxLineLength", at_least(integer, 1), None, help="Obsolete: deserializer.maxLineLength of LINE."
    )
    deserializer: str = option("deserializer", text, "LINE", help="How a file becomes events: LINE, AVRO, BLOB.")
    deserializer_options: Mapping[str, str] = option(
        "deserializer.*", mapping(), {}, help="Options of the deserializer."
    )
    gunzip: bool = option("gunzip", flag, True, ours=True, help="Read what is in a file that ends in .gz.")

    def problems(self) -> list[tuple[str, str]]:
        found = deserializer_problems("deserializer", self.deserializer, self.all_deserializer_options())
        if not self.suffix or "/" in self.suffix:
            found.append(("fileSuffix", "must be something that can stand at the end of a file name"))
        if self.charset in ("utf-7", "hz"):
            found.append(("inputCharset", f"the lines of {self.charset} can't be found before they are decoded"))
        return found

    def doubts(self) -> list[tuple[str, str]]:
        found = deserializer_doubts("deserializer", self.deserializer, self.all_deserializer_options())
        if self.buffer_lines_max is not None:
            found.append(("bufferMaxLines", "is obsolete and has no effect, as in Flume"))
        if self.buffer_line_chars_max is not None:
            found.append(("bufferMaxLineLength", "is obsolete; write deserializer.maxLineLength"))
        return found

    def all_deserializer_options(self) -> dict[str, str]:
        """With what the obsolete key says."""
        given = dict(self.deserializer_options)
        if self.buffer_line_chars_max is not None and self.deserializer.upper() == "LINE":
            given["maxLineLength"] = str(self.buffer_line_chars_max)
        return given
