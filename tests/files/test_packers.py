"""Packers: what is large is packed in parts at the same time, and comes in order."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pyarrow as pa
import pytest

from shipper.files.compress import Codec, find_codec
from shipper.files.packers import Packers

MIB = 1 << 20


def marked(data: object) -> bytes:
    """A run that says how long its data is and how it begins."""
    text = bytes(memoryview(data))  # type: ignore[arg-type]
    return b"%d:%c " % (len(text), text[0])


MARKED = Codec("marked", "", ".x", marked)


def test_parts_are_packed_at_the_same_time_and_come_in_order() -> None:
    """Each waits for the other one: were they packed one after the other, none would ever be."""
    meeting = threading.Barrier(3, timeout=30)

    def pack(data: object) -> bytes:
        meeting.wait()
        return marked(data)

    packers = Packers(3)
    data = b"a" * MIB + b"b" * MIB + b"c" * MIB
    assert packers.pack(replace(MARKED, pack=pack), data) == [b"1048576:a ", b"1048576:b ", b"1048576:c "]
    packers.close()


@pytest.mark.parametrize(("threads", "size_bytes", "parts"), [(4, 2 * MIB - 1, 1), (4, 2 * MIB, 2), (2, 9 * MIB, 2)])
def test_a_part_is_worth_a_thread(threads: int, size_bytes: int, parts: int) -> None:
    """What is small is packed by the caller alone, and no thread is begun for it."""
    before = threading.active_count()
    packers = Packers(threads)
    assert len(packers.pack(MARKED, bytes(size_bytes))) == parts
    assert threading.active_count() - before == parts - 1
    packers.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("name", ["gzip", "zstd", "bzip2"])
def test_the_parts_together_are_the_data(name: str) -> None:
    data = os.urandom(1000) * 3000
    packers = Packers(2)
    runs = packers.pack(find_codec(name), data)
    packers.close()
    assert len(runs) == 2
    kind = {"bzip2": "bz2"}.get(name, name)
    assert b"".join(pa.CompressedInputStream(pa.BufferReader(run), kind).read() for run in runs) == data


@pytest.mark.usefixtures("liblzo2")
def test_blocks_of_lzo_that_are_packed_at_the_same_time_do_not_mix() -> None:
    from shipper.files._lzo import pack_blocks

    parts = [bytes([number]) * 1000 + os.urandom(1000) * 2000 for number in range(8)]
    wanted = [pack_blocks(part) for part in parts]
    with ThreadPoolExecutor(4) as several:
        for _ in range(5):
            assert list(several.map(pack_blocks, parts)) == wanted


def test_a_part_that_fails_is_the_callers_failure() -> None:
    def pack(data: object) -> bytes:
        if marked(data).endswith(b"b "):
            raise MemoryError
        return b""

    packers = Packers(2)
    with pytest.raises(MemoryError):
        packers.pack(replace(MARKED, pack=pack), b"a" * MIB + b"b" * MIB)
    packers.close()


def test_without_a_number_there_is_one_for_each_core_up_to_four() -> None:
    assert Packers().threads == min(len(os.sched_getaffinity(0)), 4)
