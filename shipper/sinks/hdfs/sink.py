"""`hdfs`: events into files of a cluster or a local directory, by path escapes, rolled, compressed, renamed when whole.

While a file is written it is `<path>/<inUsePrefix><prefix>.<counter><suffix><inUseSuffix>`, and then
`<path>/<prefix>.<counter><suffix>`. The counter of a path and prefix begins at the clock's milliseconds and goes up
by one a file. A name that is taken, by a file that somebody has open, too, is stepped over, further the more of them
there are, and nothing is ever overwritten.

After a death the sink goes on with the files it had open, cut to what was delivered, and finishes the renames that
were due: nothing is lost, nothing comes twice, and no file keeps its in-use name. A compressed file has one complete
member a transaction, so it can be read up to the last one at any time.

On a cluster every transaction is synced (hsync) on its DataNodes before it is committed. `hdfs.syncInterval` and
`hdfs.syncSize` make transactions larger, and so syncs rarer: rows wait in the channel meanwhile, nothing is risked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from shipper.api import Clock, ComponentFailed, EventBatch, RetryLater, SinkContext
from shipper.files.bucket import Buckets, Group
from shipper.files.closed import Bucket, ClosedListener
from shipper.files.closed_files import ClosedFiles
from shipper.files.columns.room import Room
from shipper.files.columns.rows import Unreadable
from shipper.files.columns.stage import stage_recipe
from shipper.files.columns.staged_plan import StagedPlan
from shipper.files.compress import find_codec
from shipper.files.done import DoneMarkers
from shipper.files.done_period import Periods, whole
from shipper.files.elsewhere import Elsewhere
from shipper.files.escapes import Template
from shipper.files.format import recipe_of, serializer_recipe
from shipper.files.open_file import Recipe
from shipper.files.outlet import Outlet, RollingPlan, step
from shipper.files.packers import Packers
from shipper.files.roll import RollLimits
from shipper.files.rolling_sink import RollingSink
from shipper.files.sequence_file import SequenceFileSerializer
from shipper.files.store import Store, trouble
from shipper.files.timezones import local_zone
from shipper.sinks.hdfs.config import HdfsOptions
from shipper.sinks.hdfs.opening import open_store, reopen_store
from shipper.sinks.hdfs.store import HdfsStore
from shipper.sinks.hdfs.thin_files import ThinFiles

#: Compressed files get better and fewer members when rows are gathered for a moment; over HTTP each flush costs one.
_LINGER_S = 1.0
_HTTP_BYTES = 16 << 20
_REMEDY = "add a timestamp interceptor to the source, or set hdfs.useLocalTimeStamp = true"
_SLASHES = re.compile(r"/{2,}")


class HdfsSink(RollingSink[HdfsOptions]):
    """Writes events to files whose paths depend on the events."""

    Options = HdfsOptions
    _is_closed = False
    aliases = ("hdfs", "org.apache.flume.sink.hdfs.hdfseventsink")
    counted = (
        "ConnectionCreatedCount", "ConnectionClosedCount", "ConnectionFailedCount",
        "BatchEmptyCount", "BatchUnderflowCount", "BatchCompleteCount",
        "EventDrainAttemptCount", "EventDrainSuccessCount", "EventWriteFail", "ChannelReadFail", "open_files",
    )  # fmt: skip

    @classmethod
    def needs_timestamp(cls, options: HdfsOptions) -> tuple[str, str] | None:
        if options.use_local_time_stamp:
            return None
        timed = {"hdfs.path": options.path, "hdfs.filePrefix": options.file_prefix}
        return next(((key, _REMEDY) for key, text in timed.items() if Template(text).needs_time), None)

    @property
    def linger_s(self) -> float:
        if self.options.flush_interval_s is not None:
            return self.options.flush_interval_s
        options = self.options
        gathers = options.codec is not None or options.columns_format is not None or options.over_http
        return _LINGER_S if gathers else 0.0

    @property
    def batch_bytes(self) -> int | None:
        return self.options.flush_size_bytes or (_HTTP_BYTES if self.options.over_http else None)

    def open(self, context: SinkContext) -> None:
        options = self.options
        if (problem := options.write_format_problem()) is not None:
            raise ComponentFailed(problem)
        zone = options.time_zone or local_zone()
        store, here, root = open_store(options, context.say)
        self._store: Store = store
        self._elsewhere = Elsewhere(here, lambda name: reopen_store(options, name, context.say))
        for sentence in options.small_files():
            context.say("warning", sentence)
        templates = [
            Template(root, zone, options.rounding, store.rules),
            Template(options.file_prefix, zone, options.rounding, store.rules),
        ]
        self._keys: dict[tuple[str, ...], str] = {}
        self._buckets = Buckets(
            templates,
            context.clock,
            use_clock=options.use_local_time_stamp,
            remedy=_REMEDY,
            warn=lambda line: context.say("warning", line),
        )
        staged = _staged(options)
        recipe, extension = _recipe(options, context, staged)
        self._packers = Packers(options.threads_pool_size)
        plan = RollingPlan(
            limits=RollLimits(
                rows=options.roll_limit("roll_rows"),
                size_bytes=options.roll_limit("roll_size_bytes"),
                interval_s=options.roll_interval_s,
                idle_s=options.idle_timeout_s,
            ),
            recipe=replace(recipe, packers=self._packers),
            open_files_max=options.max_open_files,
            rename_tries=options.close_tries,
            rename_retry_s=options.retry_interval_s,
            sync_interval_s=options.sync_interval_s,
        )
        suffix = options.file_suffix or extension
        names = _Names(options.in_use_prefix, suffix, options.open_suffix, context.clock)
        self._closed: ClosedFiles | None = None
        self._markers: DoneMarkers | None = None
        listeners = self.listeners()
        if options.bucket_done is not None or listeners:
            self._closed = ClosedFiles(
                context.state_dir / "closed.notes", context.name, context.clock, context.counters, context.say,
                listeners, keeps_buckets=options.bucket_done is not None, here=here,
            )  # fmt: skip
        self.begin(Outlet(store, plan, names, context, self._closed, self._elsewhere), options.path, staged)
        self._thin: ThinFiles | None = None
        if isinstance(store, HdfsStore) and options.ends_thin_files:
            self._thin = ThinFiles(
                store.replicas, store.web.where, options.min_block_replicas or 0, options.max_open_files, context
            )
        if self._closed is not None and (name := options.bucket_done) is not None:
            self._periods = Periods(templates[0], zone, options.rounding)
            self._markers = DoneMarkers(
                store, whole(name) or name, options.bucket_done_lateness_s, self._closed, context,
                syncs=plan.syncs,
            )  # fmt: skip

    def listeners(self) -> Sequence[ClosedListener]:
        """Who is told of closed files: for sinks that build on this one."""
        return ()

    def deliver(self, batch: EventBatch) -> None:
        if not batch.rows:
            return
        keys = self._keys
        groups = self._buckets.groups(batch)
        keyed = [(keys.get(texts) or self._key(texts), rows, numbers) for texts, rows, numbers in groups]
        if self._closed is None:
            self.files.append(keyed)
            return
        buckets = [self._bucket(self._closed, key, group) for (key, _, _), group in zip(keyed, groups, strict=True)]
        self.files.append(keyed)
        if self._markers is not None:
            for bucket, (_, rows, _) in zip(buckets, groups, strict=True):
                self._markers.rows(bucket, rows.rows)

    def committed(self) -> None:
        super().committed()
        if self._markers is not None:
            self._markers.committed()

    def rolled_back(self) -> None:
        super().rolled_back()
        if self._markers is not None:
            self._markers.rolled_back()

    def caught_up(self, before_ms: int) -> None:
        if self._markers is not None:
            self._markers.caught_up(before_ms)

    def tick(self) -> bool:
        ended = self._thin is not None and self.files.end(self._thin.over(self.files.records))
        if self._markers is None:
            return super().tick() or ended
        ended = self.files.end(self._markers.over()) or ended
        ended = super().tick() or ended
        self._markers.tick(self.files.records)
        return ended

    def sync(self) -> None:
        if self._markers is not None:
            self._markers.syncing()
        super().sync()

    def synced(self) -> bool:
        done = super().synced()
        if done and self._markers is not None:
            self._markers.synced()
        return done

    def releasing(self) -> None:
        if self._markers is not None:
            self._markers.syncing()
        super().releasing()
        self.synced()

    def close(self) -> None:
        if self._is_closed:  # what could not be closed the first time is left for the next start
            return
        self._is_closed = True
        markers, closed = getattr(self, "_markers", None), getattr(self, "_closed", None)
        if markers is not None:
            markers.syncing()
        super().close()
        if markers is not None:
            self.synced()
            markers.close(self.files.records)
        if closed is not None:
            closed.close()
        if hasattr(self, "_packers"):
            self._packers.close()
        if hasattr(self, "_store"):
            self._store.close()
        if hasattr(self, "_elsewhere"):
            self._elsewhere.close()

    def _bucket(self, closed: ClosedFiles, key: str, group: Group) -> Bucket:
        """The bucket of a group of rows; it is noted before its first row is written."""
        bucket = closed.buckets.get(key)
        if bucket is None:
            ms, values = self._buckets.origin(group[0])
            start_ms, end_ms = self._periods.of(ms) if self._markers is not None else (None, None)
            bucket = Bucket(key, _SLASHES.sub("/", group[0][0]).rstrip("/"), values, start_ms, end_ms)
            try:
                closed.know(bucket)
            except OSError as error:
                raise RetryLater(trouble("write to", str(error.filename), error, rows_wait=True)) from error
        return bucket

    def _key(self, texts: tuple[str, ...]) -> str:
        """The bucket of a path and a prefix: the two joined, as Flume has it."""
        if len(self._keys) > 4 * self.options.max_open_files:
            self._keys.clear()
        key = self._keys[texts] = _SLASHES.sub("/", "/".join(texts))
        return key


class _Names:
    """Names of the files of a bucket, by a counter that begins at the clock's milliseconds."""

    def __init__(self, in_use_prefix: str, suffix: str, in_use_suffix: str, clock: Clock) -> None:
        self._in_use_prefix = in_use_prefix
        self._suffix = suffix
        self._in_use_suffix = in_use_suffix
        self._clock = clock
        self._counters: dict[str, int] = {}
        self._highest_retired = 0

    def next(self, key: str, taken: int = 0) -> tuple[str, str]:
        counter = self._counters.get(key)
        if counter is None:
            counter = max(self._clock.now_ms(), self._highest_retired)
        counter = self._counters[key] = counter + step(taken)
        folder, _, prefix = key.rpartition("/")
        name = f"{prefix}.{counter}{self._suffix}"
        return f"{folder}/{self._in_use_prefix}{name}{self._in_use_suffix}", f"{folder}/{name}"

    def retired(self, key: str) -> None:
        # Not below what the bucket had: a clock that was set back must not send it over all its old names again.
        self._highest_retired = max(self._highest_retired, self._counters.pop(key, 0))


def _staged(options: HdfsOptions) -> StagedPlan | None:
    """What becomes of rows that are staged, since a file of columns is made of them; None for files of events."""
    if (kind := options.columns_format) is None:
        return None
    target_bytes = options.target_file_bytes
    # A file can't be smaller than a group of its rows.
    group_bytes = min(options.row_group_bytes, target_bytes or options.row_group_bytes)
    return StagedPlan(
        kind=kind,
        codec=options.columns_codec,
        group_bytes=group_bytes,
        target_bytes=target_bytes,
        stage_bytes=options.stage_bytes,
        room=Room.for_groups(group_bytes),
    )


def _recipe(options: HdfsOptions, context: SinkContext, staged: StagedPlan | None) -> tuple[Recipe, str]:
    """What is in the files, and the suffix that their type or their codec gives them."""
    if staged is not None:
        return stage_recipe(options.columns_plan, staged.room, Unreadable(context)), staged.kind.suffix
    codec = find_codec(options.codec) if options.codec is not None else None
    suffix = codec.suffix if codec is not None else ""
    if options.file_type != "SequenceFile":
        return serializer_recipe(options.serializer, options.serializer_options, codec), suffix
    return recipe_of(SequenceFileSerializer, options.sequence_file_properties), suffix
