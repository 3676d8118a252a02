"""A growing file into compressed files on a real HDFS, NameNode and DataNode on the same machine.

::

    access.log --> [TAILDIR r1] --> (memory c1) --> [hdfs k1, CompressedStream lz4] --> NameNode, DataNode

Goal: our processes take at most 1.15 times the CPU of the same transfer into `file://` plus what the bare client takes
to write as many bytes (in pieces as the sink flushes them); and at least 0.7 of the MB/s of a person who runs `lz4 -1`
and then `hdfs dfs -put`, without the start of its JVM. The ratio is to that person's wall time.

And against Flume's own hdfs sink, tuned, into files of this machine: as text at least 15 times the MB/s per core, as
gzip at least 8 times.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from perf.harness import machine, usage
from perf.harness.command import Settings, run
from perf.harness.flume import hdfs_figure
from perf.harness.hdfs import Cluster, NoCluster, cluster
from perf.harness.lines import Input, write_input
from perf.harness.results import Goal, Result, progress
from perf.harness.rivals import LZ4
from perf.harness.transfer import (
    Places,
    Rounds,
    Transfer,
    check_output,
    files_below,
    gzip_text_of,
    hadoop_lz4_text_of,
    rounds_of,
    run_round,
    settle,
    text_of,
)
from perf.topology._files import hdfs, tail

_NAME = "tail_to_hdfs"
_LINE_BYTES = 145
_USUAL_BYTES = 500 * 10**6
_GOALS = (
    Goal("cpu_over_parts", 1.15, "x the CPU of file:// and of the bare client", most=True),
    Goal("speed_over_put", 0.7, "x the MB/s of lz4 -1 and then hdfs dfs -put"),
)
_FOLDER = "/benchmark"
#: How many times as many MB/s per core as Flume's, by the codec.
_TIMES_FLUME = {"": 15.0, "gzip": 8.0}
_FLUME_LINE_BYTES = 527


def benchmark(settings: Settings) -> None:
    """Measures in memory; the DataNode keeps its blocks where `--disk` says."""
    for codec, times in _TIMES_FLUME.items():
        _against_flume(settings, codec, times)
    try:
        with cluster(settings.disk / "hdfs") as found:
            settings.report(_measured(settings, found))
    except NoCluster as reason:
        result = Result(_NAME, "145 B lines", {}, ratio=None, notes=[f"not measured: {reason}"])
        result.notes += [goal.sentence({}) for goal in _GOALS]
        settings.report(result)


def _against_flume(settings: Settings, codec: str, times: float) -> None:
    """Files of this machine, since that is where Flume is quickest."""
    packed = {"fileType": "CompressedStream", "codeC": codec} if codec else {"fileType": "DataStream"}
    transfer = Transfer(
        name=_NAME,
        case=f"{_FLUME_LINE_BYTES} B lines, {codec or 'text'}",
        properties=lambda places: {**tail(places), **hdfs(places, **packed)},
        line_bytes=_FLUME_LINE_BYTES,
        read_back=gzip_text_of if codec else text_of,
    )
    result = rounds_of(settings, transfer, _USUAL_BYTES)
    hdfs_figure(settings, _FLUME_LINE_BYTES, codec).beside(result, times)
    settings.report(result)


def _measured(settings: Settings, found: Cluster) -> Result:
    base = settings.fast
    source = write_input(base / "input", settings.size(_USUAL_BYTES), _LINE_BYTES)
    local, remote = Rounds(), Rounds()
    client_cpu_s, lz4_s, put_s, start_s, flushes = [], [], [], [], []
    for number in range(settings.rounds):
        progress(f"{_NAME}: round {number + 1} of {settings.rounds}")
        run_round(settings, _transfer("file://{out}"), source, base, local)
        written = files_below(base / "out")
        packed = base / "packed.lz4"
        with packed.open("wb") as target:
            for path in written:
                target.write(path.read_bytes())
        found.shell("-rm", "-r", "-f", "-skipTrash", _FOLDER)
        before = found.flushes()
        run_round(settings, _transfer(f"{found.uri}{_FOLDER}"), source, base, remote)
        flushes.append(max(1, found.flushes() - before))
        _check(settings, found, source, base / "back")
        piece_bytes = max(1, packed.stat().st_size // flushes[-1])
        client_cpu_s.append(found.client_cpu_s(packed, f"{_FOLDER}/client", piece_bytes))
        settle(settings, base, source)
        lz4_s.append(LZ4.run(source.path, base / "rival").wall_s)
        start_s.append(found.shell("-ls", "/"))
        put_s.append(found.shell("-put", "-f", str(packed), f"{_FOLDER}/put"))
        packed.unlink()
    source.path.unlink()
    progress("")
    median = statistics.median
    wall_s, cpu_s = median(remote.wall_s), max(median(remote.cpu_s), usage.TICK_S)
    parts_s = median(local.cpu_s) + median(client_cpu_s)
    person_s = median(lz4_s) + max(median(put_s) - median(start_s), usage.TICK_S)
    figures = {
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "file_cpu_s": median(local.cpu_s),
        "file_wall_s": median(local.wall_s),
        "client_cpu_s": median(client_cpu_s),
        "flushes": median(flushes),
        "cpu_over_parts": cpu_s / parts_s,
        "MB/s_wall": source.size_bytes / 1e6 / wall_s,
        "lz4_wall_s": median(lz4_s),
        "put_wall_s": median(put_s),
        "jvm_start_s": median(start_s),
        "speed_over_put": person_s / wall_s,
        "peak_memory_MB": max(remote.peak_bytes) / 1e6,
        "cores_used_by_others": median(remote.others),
    }
    case = f"145 B lines, {source.size_bytes / 1e9:.3g} GB, {machine.file_system(base)}"
    ratio = (wall_s / person_s, "x the wall time of lz4 -1 and then hdfs dfs -put of its output")
    notes = ["cores used by others: NameNode and DataNode among them"]
    return Result(_NAME, case, figures, goals=_GOALS, ratio=ratio, notes=notes)


def _transfer(path: str) -> Transfer:
    """The same agent, but for where it writes to."""

    def properties(places: Places) -> Mapping[str, object]:
        keys = {"fileType": "CompressedStream", "codeC": "lz4", "path": path.replace("{out}", str(places.outgoing))}
        return {**tail(places), **hdfs(places, **keys)}

    local = path.startswith("file:")
    transfer = Transfer(name=_NAME, case="145 B lines", properties=properties, line_bytes=_LINE_BYTES)
    return replace(transfer, read_back=hadoop_lz4_text_of) if local else transfer


def _check(settings: Settings, found: Cluster, source: Input, place: Path) -> None:
    """What is on the cluster is what went in."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    found.shell("-get", f"{_FOLDER}/*", str(place))
    check_output(hadoop_lz4_text_of, source, place, True)
    shutil.rmtree(place)


if __name__ == "__main__":
    run(benchmark)
