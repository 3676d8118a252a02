"""Packers: what is large is packed in parts at the same time, and is one run as if it had been packed in one go."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from shipper.files.compress import Codec, Parts, find_codec
from shipper.files.packers import Packers

MIB = 1 << 20


def codec_of(pack: Callable[[memoryview, bool], bytes], multiple_bytes: int = 1) -> Codec:
    """A codec whose runs are in brackets."""
    parts = Parts(
        multiple_bytes,
        lambda data, last: pack(memoryview(data), last),
        lambda packed, checksum, size_bytes: b"<" + b"".join(packed) + b">",
    )
    return Codec("marked", "", ".x", lambda data: b"alone", parts=parts)


def mark(data: memoryview, last: bool) -> bytes:
    return b"%d:%c%s" % (len(data), data[0], b"." if last else b" ")


def test_parts_are_packed_at_the_same_time_and_come_in_order() -> None:
    """Each waits for the other ones: were they packed one after the other, none would ever be."""
    meeting = threading.Barrier(3, timeout=30)

    def pack(data: memoryview, last: bool) -> bytes:
        meeting.wait()
        return mark(data, last)

    packers = Packers(3, cores=8)
    data = b"a" * MIB + b"b" * MIB + b"c" * MIB
    assert packers.pack(codec_of(pack), data) == b"<1048576:a 1048576:b 1048576:c.>"
    packers.close()


@pytest.mark.parametrize(
    ("threads", "cores", "size_bytes", "parts", "begun"),
    [
        (4, 8, 2 * MIB - 1, 0, 0),
        (4, 8, 2 * MIB, 2, 1),
        (2, 8, 9 * MIB, 9, 1),
        (10, 3, 9 * MIB, 9, 2),
        (None, 8, 9 * MIB, 9, 3),
        (4, 1, 9 * MIB, 0, 0),
    ],
)
def test_a_part_is_worth_a_thread_and_a_thread_a_core(
    threads: int | None, cores: int, size_bytes: int, parts: int, begun: int
) -> None:
    """What is small is packed by the caller alone, and no thread is begun for it."""
    before = threading.active_count()
    packers = Packers(threads, cores=cores)
    run = packers.pack(codec_of(mark), bytes(size_bytes))
    assert (run.count(b":") == parts) if parts else (run == b"alone")
    # a thread of the pool that has nothing to do takes the next work before another one is begun
    assert min(begun, 1) <= threading.active_count() - before <= begun
    packers.close()
    assert threading.active_count() == before


def test_a_thread_that_is_held_up_packs_fewer_parts() -> None:
    """Were the parts dealt out beforehand, its share of them would wait for it: here all others are packed first."""
    held, others = threading.Event(), threading.Semaphore(0)

    def pack(data: memoryview, last: bool) -> bytes:
        if data[0] == ord("h"):
            assert all(others.acquire(timeout=30) for _ in range(5))
            held.set()
        else:
            others.release()
        return mark(data, last)

    packers = Packers(2, cores=2)
    run = packers.pack(codec_of(pack), b"h" * MIB + b"o" * 5 * MIB)
    assert held.is_set()
    assert run == b"<1048576:h " + b"1048576:o " * 4 + b"1048576:o.>"
    packers.close()


class TestAhead:
    """What comes next is packed while its target is waited for."""

    def test_what_was_packed_ahead_is_there_when_it_is_asked_for(self) -> None:
        """And not before what came first: the cores are that one's."""
        packed, there = list[int](), threading.Event()

        def pack(data: memoryview, last: bool) -> bytes:
            packed.append(data[0])
            if data[0] == ord("n") and last:
                there.set()
            return mark(data, last)

        packers, codec = Packers(2, cores=2), codec_of(pack)
        packers.ahead(codec, b"n" * 2 * MIB, ("lane", 8))
        assert packed == []
        assert packers.pack(codec, b"f" * 2 * MIB, place=("lane", 0)) == b"<1048576:f 1048576:f.>"
        assert there.wait(30)
        assert packers.pack(codec, b"n" * 2 * MIB, place=("lane", 8)) == b"<1048576:n 1048576:n.>"
        packers.close()
        assert sorted(packed) == sorted(b"ffnn")

    @pytest.mark.parametrize("place", [None, ("lane", 16), ("other", 8)])
    def test_it_is_of_use_for_its_own_place_only(self, place: tuple[str, int] | None) -> None:
        packers, codec = Packers(2, cores=2), codec_of(mark)
        packers.ahead(codec, b"n" * 2 * MIB, ("lane", 8))
        packers.pack(codec, b"f" * 2 * MIB)
        assert packers.pack(codec, b"o" * 2 * MIB, place=place) == b"<1048576:o 1048576:o.>"
        assert packers.pack(codec, b"n" * 2 * MIB, place=("lane", 8)) == b"<1048576:n 1048576:n.>"
        packers.close()

    def test_without_its_checksum_it_is_of_no_use_to_gzip(self) -> None:
        data, gzip = os.urandom(1000) * 3000, find_codec("gzip")
        packers = Packers(2, cores=2)
        packers.ahead(gzip, data, ("lane", 8))
        packers.pack(gzip, data)
        assert zlib.decompress(packers.pack(gzip, data, place=("lane", 8)), 31) == data
        packers.close()

    def test_what_nobody_asks_for_makes_way_for_others(self) -> None:
        """Another sink has taken it, or the transaction came again, and again."""
        packed = list[bytes]()

        def pack(data: memoryview, last: bool) -> bytes:
            packed.append(bytes(data[:1]))
            return mark(data, last)

        packers, codec = Packers(2, cores=2), codec_of(pack)
        packers.ahead(codec, b"l" * 2 * MIB, ("lane", 8))
        packers.pack(codec, b"f" * 2 * MIB)
        for _ in range(3):
            packers.pack(codec, b"o" * 2 * MIB, place=("lane", 16))
        packers.ahead(codec, b"n" * 2 * MIB, ("lane", 24))
        packers.pack(codec, b"f" * 2 * MIB)
        assert packers.pack(codec, b"n" * 2 * MIB, place=("lane", 24)) == b"<1048576:n 1048576:n.>"
        packers.close()
        assert packed.count(b"n") == 2

    def test_its_failure_is_that_of_who_asks_for_it(self) -> None:
        def pack(data: memoryview, last: bool) -> bytes:
            if data[0] == ord("n"):
                raise MemoryError
            return mark(data, last)

        packers, codec = Packers(2, cores=2), codec_of(pack)
        packers.ahead(codec, b"n" * 2 * MIB, ("lane", 8))
        packers.pack(codec, b"f" * 2 * MIB)
        with pytest.raises(MemoryError):
            packers.pack(codec, b"n" * 2 * MIB, place=("lane", 8))
        packers.close()

    def test_nobody_looks_at_the_data_once_the_packers_are_closed(self) -> None:
        going, ended = threading.Event(), threading.Event()

        def pack(data: memoryview, last: bool) -> bytes:
            if data[0] == ord("n"):
                going.set()
                closed.wait(30)
                ended.set()
            return mark(data, last)

        closed = threading.Event()
        packers, codec = Packers(2, cores=2), codec_of(pack)
        packers.ahead(codec, b"n" * 2 * MIB, ("lane", 8))
        packers.pack(codec, b"f" * 2 * MIB)
        assert going.wait(30)
        threading.Timer(0.01, closed.set).start()
        packers.close()
        assert ended.is_set()


def test_a_codec_without_parts_is_asked_once() -> None:
    packers = Packers(4, cores=4)
    assert packers.pack(Codec("alone", "", ".x", lambda data: b"%d" % len(data)), bytes(9 * MIB)) == b"9437184"
    packers.close()


@pytest.mark.parametrize("size_bytes", [2 * MIB, 3 * MIB + 1, 9 * MIB + 12345])
def test_a_gzip_run_of_parts_is_one_member(size_bytes: int) -> None:
    data = (os.urandom(1000) * (size_bytes // 1000 + 1))[:size_bytes]
    packers = Packers(3, cores=3)
    run = packers.pack(find_codec("gzip"), data)
    packers.close()
    member = zlib.decompressobj(31)
    assert member.decompress(run) == data
    assert member.eof
    assert not member.unused_data


def test_a_checksum_that_is_known_is_not_made_again() -> None:
    """The member ends with the one that was given: whoever reads it finds what has changed since it was made."""
    data = os.urandom(1000) * 3000
    packers = Packers(3, cores=3)
    known = packers.pack(find_codec("gzip"), data, zlib.crc32(data))
    assert known == packers.pack(find_codec("gzip"), data)
    wrong = packers.pack(find_codec("gzip"), data, zlib.crc32(data) ^ 1)
    packers.close()
    with pytest.raises(zlib.error, match="incorrect data check"):
        zlib.decompress(wrong, 31)


@pytest.mark.parametrize("name", ["lz4", "snappy"])
def test_a_run_of_blocks_is_the_same_however_it_is_packed(name: str) -> None:
    """No block is smaller for it, but the last."""
    codec, data = find_codec(name), os.urandom(1000) * 5000
    packers = Packers(3, cores=3)
    assert packers.pack(codec, data) == codec.pack(data)
    packers.close()


@pytest.mark.usefixtures("liblzo2")
@pytest.mark.parametrize("name", ["lzo", "lzop"])
def test_a_codec_may_be_used_by_several_threads_at_once(name: str) -> None:
    codec, data = find_codec(name), [os.urandom(1000) * 1000 for _ in range(16)]
    alone = [codec.pack(each) for each in data]
    with ThreadPoolExecutor(4) as several:
        assert list(several.map(codec.pack, data)) == alone


@pytest.mark.parametrize("fails", [ord("a"), ord("b")])
def test_a_part_that_fails_is_the_callers_failure_and_nobody_packs_on_behind_it(fails: int) -> None:
    """The data is the caller's again: whoever is at a part is waited for."""
    both = threading.Barrier(2, timeout=30)
    ended: list[int] = []

    def pack(data: memoryview, last: bool) -> bytes:
        if data[0] in b"ab":
            both.wait()
        if data[0] == fails:
            raise MemoryError
        ended.append(data[0])
        return b""

    packers = Packers(2, cores=2)
    with pytest.raises(MemoryError):
        packers.pack(codec_of(pack), b"a" * MIB + b"b" * MIB + b"c" * 6 * MIB)
    seen = list(ended)
    packers.close()
    assert ended == seen
