"""What the benchmarks of compressed files share: an access log into files of the hdfs sink, in memory and on a disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from perf.harness.command import Settings
from perf.harness.floor import BATCHES
from perf.harness.lines import block
from perf.harness.results import Goal
from perf.harness.rivals import Rival
from perf.harness.transfer import Places, Transfer, measure
from perf.topology._files import hdfs
from shipper.files.compress import find_codec

_LINE_BYTES = 145
#: by how much an output may be larger than the rival's
_LARGER = 1.05


def compressed(
    settings: Settings,
    name: str,
    source: Callable[[Places], Mapping[str, object]],
    codec: str,
    rivals: Mapping[Rival, float],
    read_back: Callable[[Path], Iterator[bytes]],
) -> None:
    """Measures one source and one codec.

    Args:
        source: the source and its channel.
        rivals: what share of the wall time of each is good enough; the ratio is to the first.
    """
    first, *others = rivals
    goals = []
    for rival, share in rivals.items():
        short = rival.name.split()[0]
        goals.append(Goal(f"wall_over_{short}", share, f"x the wall time of {rival.name}", most=True))
        goals.append(Goal(f"output_over_{short}", _LARGER, f"x the output of {rival.name}", most=True))
    for on_disk in (False, True):
        transfer = Transfer(
            name=name,
            case="145 B lines",
            properties=lambda places: {
                **source(places),
                **hdfs(places, fileType="CompressedStream", codeC=codec, useLocalTimeStamp="true"),
            },
            line_bytes=_LINE_BYTES,
            rival=first,
            more_rivals=tuple(others),
            read_back=read_back,
            goals=tuple(goals),
            on_disk=on_disk,
            write_bytes=len(find_codec(codec).pack(block(_LINE_BYTES)[:BATCHES])),
        )
        measure(settings, transfer)
