"""`TAILDIR`: the lines of growing files, in groups by regular expression, with positions that outlive rotation.

Where Flume reads a renamed file again, or loses the end of one that was renamed out of its group, or the beginning of
one that was written anew, this source follows the file itself: see `_tail`. The option names, the position file, and
which bytes are a line are Flume's.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shipper.api import (
    ComponentFailed,
    EventBatch,
    Options,
    Origin,
    Source,
    SourceContext,
    at_least,
    digest_of,
    flag,
    integer,
    mapping,
    milliseconds,
    option,
    path,
    seconds,
    size,
    text,
    words,
)
from shipper.sources._tail.claim import Claim, Owner
from shipper.sources._tail.group import RegexGroup
from shipper.sources._tail.java_regex import compile_java
from shipper.sources._tail.lines import NewlineRule
from shipper.sources._tail.settings import TailSettings
from shipper.sources._tail.tail import Tail


@dataclass(frozen=True, kw_only=True)
class TaildirOptions(Options):
    """Options of TAILDIR."""

    filegroups: tuple[str, ...] = option("filegroups", words, help="Names of the file groups, separated by blanks.")
    patterns: Mapping[str, str] = option(
        "filegroups.*", mapping(), help="Files of a group: a directory, then a Java regular expression for the name."
    )
    position_file: str = option(
        "positionFile", path, "~/.flume/taildir_position.json", help="Where positions are kept, in Flume's own format."
    )
    headers: Mapping[str, str] = option("headers.*", mapping(), {}, help="`headers.GROUP.NAME`: a header of all lines.")
    byte_offset_header: bool = option(
        "byteOffsetHeader", flag, False, help="Add header `byteoffset`: where in its file a line begins."
    )
    skip_to_end: bool = option(
        "skipToEnd", flag, False, help="Begin at the end of files that are there at start and have no position."
    )
    idle_timeout_s: float = option(
        "idleTimeout", at_least(milliseconds, 0), 120.0, help="ms without growth after which a file is closed."
    )
    save_interval_s: float = option(
        "writePosInterval", at_least(milliseconds, 0), 3.0, help="ms between two writes of the position file."
    )
    batch_size: int = option(
        "batchSize",
        at_least(integer, 1),
        100,
        help="Lines of one batch where `strictBatch` is set; else see maxBatchCount.",
    )
    batch_count_max: int | None = option(
        "maxBatchCount", at_least(integer, 1), None,
        help="Batches of batchSize lines that one file may hand out while others wait. Unset, files take turns of "
        "batch.bytes, so that none waits for another; Flume's order, each file to its end, oldest first: "
        "maxBatchCount = 9223372036854775807.",
    )  # fmt: skip
    backoff_step_s: float = option(
        "backoffSleepIncrement", at_least(milliseconds, 0), 1.0, help="ms by which the pause after an idle look grows."
    )
    backoff_max_s: float = option("maxBackoffSleep", at_least(milliseconds, 0), 5.0, help="The longest such pause, ms.")
    cache_listing: bool = option(
        "cachePatternMatching", flag, True, help="List a directory again only when its modification time changed."
    )
    file_header: bool = option("fileHeader", flag, False, help="Add a header with the file's absolute path.")
    file_header_key: str = option("fileHeaderKey", text, "file", help="The name of that header.")
    rotate_wait_s: float = option(
        "rotateWait", at_least(seconds, 0), 5.0, aliases=("rotate_wait",), ours=True,
        help="Seconds of silence after which a renamed or deleted file's last words are taken as a line.",
    )  # fmt: skip
    line_bytes_max: int = option(
        "maxLineBytes", at_least(size, 1024, 1 << 30), 16 << 20, ours=True,
        help="A longer line is cut there, its rest dropped, and `truncated_lines` counts it.",
    )  # fmt: skip
    inotify: bool = option(
        "inotify", flag, True, ours=True, help="Let the kernel tell of changes; false: look at the files now and then."
    )

    def problems(self) -> list[tuple[str, str]]:
        found = []
        for name in self.filegroups:
            pattern = self.patterns.get(name)
            if pattern is None:
                found.append((f"filegroups.{name}", f"filegroups names {name}, but filegroups.{name} is missing"))
                continue
            directory, expression = os.path.split(pattern)
            if not directory.startswith("/"):
                found.append((f"filegroups.{name}", f"filegroups.{name} = {pattern}: must be an absolute path"))
            try:
                compile_java(expression)
            except ValueError as problem:
                found.append((f"filegroups.{name}", f"filegroups.{name} = {pattern}: {expression} {problem}"))
        if not self.filegroups:
            found.append(("filegroups", "filegroups names no group"))
        return found

    def doubts(self) -> list[tuple[str, str]]:
        found = [
            (f"filegroups.{name}", f"filegroups does not name {name}: its files are not read")
            for name in self.patterns if name not in self.filegroups
        ]  # fmt: skip
        for key in self.headers:
            if key.partition(".")[0] not in self.filegroups:
                found.append((f"headers.{key}", f"no group is called {key.partition('.')[0]}: the header is never set"))
        for name in self.filegroups:
            directory = os.path.dirname(self.patterns.get(name, ""))
            if "*" in directory:
                found.append((f"filegroups.{name}", f"{directory} is taken literally: only the file name is a pattern"))
        return found


class TaildirSource(Source[TaildirOptions]):
    """Follows the files of its groups; a restart neither loses nor repeats lines."""

    Options = TaildirOptions
    aliases = ("taildir", "org.apache.flume.source.taildir.taildirsource")
    replayable = True
    awaits_durable = False
    counted = (
        "EventReceivedCount", "EventAcceptedCount", "AppendBatchReceivedCount", "AppendBatchAcceptedCount",
        "ChannelWriteFail", "EventReadFail", "GenericProcessingFail",
    )  # fmt: skip

    def open(self, context: SourceContext) -> None:
        options = self.options
        groups = [self._group(name) for name in options.filegroups]
        for group in groups:
            if not os.path.isdir(group.directory):
                raise ComponentFailed(
                    f"reading file group {group.name} = {options.patterns[group.name]}: there is no directory "
                    f"{group.directory} (only the last element of the path is a pattern); create it, or correct "
                    f"filegroups.{group.name}"
                )
        position_file = os.path.abspath(os.path.expanduser(options.position_file))
        try:
            os.makedirs(os.path.dirname(position_file), exist_ok=True)
        except OSError as problem:
            raise self._unusable(problem) from None
        self._claim = Claim(position_file, Owner.of(context))
        ours = position_file
        if (owner := self._claim.other) is not None:
            ours = os.path.join(context.state_dir, os.path.basename(position_file))
            if context.worker == 0:  # once, not by each of its workers
                context.say(
                    "warning", f"positionFile = {options.position_file} holds the places of {owner}; {context.name} "
                    f"keeps its own in {ours}; a positionFile of its own says where else",
                )  # fmt: skip
        turns = options.batch_count_max
        settings = TailSettings(
            name=positions_name(position_file),
            rule=NewlineRule(),
            position_file=ours,
            apart=owner is not None,
            batch_rows=options.batch_size if context.strict else None,
            turn_rows=None if turns is None else options.batch_size * turns,
            skip_to_end=options.skip_to_end,
            idle_timeout_s=options.idle_timeout_s,
            rotate_wait_s=options.rotate_wait_s,
            save_interval_s=options.save_interval_s,
            sweep_step_s=options.backoff_step_s,
            sweep_max_s=options.backoff_max_s,
            line_bytes_max=options.line_bytes_max,
            byte_offset_header="byteoffset" if options.byte_offset_header else None,
            path_header=options.file_header_key if options.file_header else None,
            cache_listing=options.cache_listing,
            inotify=options.inotify,
        )
        try:
            self._tail = Tail(groups, settings, context)
            self._tail.open()
        except OSError as problem:
            raise self._unusable(problem) from None

    def poll(self, wait_s: float) -> EventBatch | None:
        return self._tail.poll(wait_s)

    def position(self, origins: Sequence[Origin]) -> None:
        self._tail.position(origins)

    def committed(self, batch: EventBatch) -> None:
        self._tail.committed(batch)

    def durable(self, origins: Sequence[Origin]) -> bool:
        return self._tail.durable(origins)

    def lag_bytes(self) -> int:
        return self._tail.lag_bytes()

    def trouble(self) -> str:
        return self._tail.trouble()

    def close(self) -> None:
        if (tail := getattr(self, "_tail", None)) is not None:
            tail.close()
        if (claim := getattr(self, "_claim", None)) is not None:
            claim.close()

    def _unusable(self, problem: OSError) -> ComponentFailed:
        if problem.errno in (errno.EMFILE, errno.ENFILE):
            return ComponentFailed(
                f"opening {problem.filename}: {problem.strerror}; give the agent more of them (ulimit -n, LimitNOFILE)"
            )
        return ComponentFailed(
            f"reading positions in {problem.filename}: {problem.strerror}; let the agent's user read and write "
            f"there, or set positionFile = {self.options.position_file} to another path"
        )

    def _group(self, name: str) -> RegexGroup:
        directory, expression = os.path.split(self.options.patterns[name])
        prefix = f"{name}."
        headers = {k.removeprefix(prefix): v for k, v in self.options.headers.items() if k.startswith(prefix)}
        return RegexGroup(name, directory, compile_java(expression), headers)


def positions_name(position_file: str) -> str:
    """What positions belong to: the real path of the position file, as a short name."""
    return digest_of(os.fsencode(os.path.realpath(position_file)))
