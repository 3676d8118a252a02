"""The formats that need work for each event, with the interceptors that most files have.

::

    access.log --> [TAILDIR r1, timestamp, host] --> (memory c1) --> [hdfs k1, one of four formats] --> FlumeData.*

Goal: at least 150 MB/s per core for each: SequenceFile (Flume's default), header_and_text, avro_event, json_lines. The
ratio is to `cat in > out`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from perf.harness.command import Settings, run
from perf.harness.results import Goal
from perf.harness.rivals import CAT
from perf.harness.transfer import Places, Transfer, measure
from perf.topology._files import hdfs, tail, time_and_host, under

FORMATS: dict[str, dict[str, object]] = {
    "SequenceFile": {"hdfs.fileType": "SequenceFile"},
    "header_and_text": {"hdfs.fileType": "DataStream", "serializer": "header_and_text"},
    "avro_event": {"hdfs.fileType": "DataStream", "serializer": "avro_event"},
    "json_lines": {"hdfs.fileType": "DataStream", "serializer": "json_lines"},
}


def benchmark(settings: Settings) -> None:
    """Measures the four formats in memory."""
    for name, keys in FORMATS.items():
        transfer = Transfer(
            name="serializers",
            case=f"{name}, 145 B lines",
            properties=_with(keys),
            line_bytes=145,
            rival=CAT,
            goals=(Goal("MB_per_core_s", 150, "MB/s per core"),),
        )
        measure(settings, transfer, 500 * 10**6)


def _with(keys: Mapping[str, object]) -> Callable[[Places], Mapping[str, object]]:
    return lambda places: {**tail(places), **time_and_host(), **hdfs(places), **under("sinks.k1.", keys)}


if __name__ == "__main__":
    run(benchmark)
