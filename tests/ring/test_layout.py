"""The layout of a lane and a put page, word by word: what another version, or another language, would have to write."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.errors import ComponentFailed, DamagedData
from shipper.ring.lane import Lane
from shipper.ring.layout import PAD, frame_length, lane_key, read_frame
from shipper.ring.puts import PutPage
from tests.ring.conftest import CAPACITY, Ring

RING = 4096


def words(data: bytes, offset: int, count: int) -> tuple[int, ...]:
    """`count` little-endian words."""
    return struct.unpack_from(f"<{count}Q", data, offset)


def crc(*values: int) -> int:
    return zlib.crc32(struct.pack(f"<{len(values)}Q", *values))


def test_a_new_lane_is_an_empty_ring_behind_a_page_of_words(tmp_path: Path) -> None:
    Lane.create(tmp_path / "lane", CAPACITY).close()
    data = (tmp_path / "lane").read_bytes()
    assert len(data) == RING + CAPACITY
    assert data[:8] == b"SHPLANE1"
    assert words(data, 8, 3) == (1, CAPACITY, crc(1, CAPACITY))
    assert words(data, 512, 9) == (0,) * 8 + (crc(*(0,) * 8),)
    used = set(range(32)) | set(range(512, 584))
    assert not any(byte for at, byte in enumerate(data) if at not in used)
    assert (tmp_path / "lane").stat().st_mode & 0o777 == 0o600


def test_the_capacity_is_rounded_up_to_whole_pages(tmp_path: Path) -> None:
    with Lane.create(tmp_path / "lane", 4097).segment:
        assert (tmp_path / "lane").stat().st_size == RING + 8192


def test_each_word_stands_where_the_drawing_says(ring: Callable[..., Ring], tmp_path: Path) -> None:
    one = ring()
    assert one.put(b"x" * 100)
    one.take()
    assert one.put(b"y" * 200)
    one.producers[0].sleeping(True)
    one.consumers[0].sleeping(True)
    one.consumers[0].want()
    data = (tmp_path / "lane0").read_bytes()
    assert words(data, 128, 1) == (1,), "PRODUCER_EPOCH"
    assert words(data, 256, 1) == (1,), "CONSUMER_EPOCH"
    assert words(data, 384, 1) == (1,), "GENERATION"
    slot = (256, 0, 7, 0, 1, 100, 1, 1)
    assert words(data, 640, 9) == (*slot, crc(*slot)), "commit slot 1"
    assert words(data, 768, 1) == (1,), "CONSUMER_ASLEEP"
    assert words(data, 896, 1) == (1,), "PRODUCER_ASLEEP"
    assert words(data, 1024, 1) == (7,), "HOLDER"
    assert words(data, 1152, 1) == (1,), "WANTED"
    page = (tmp_path / "page").read_bytes()
    assert page[:8] == b"SHPPUTS1"
    assert words(page, 8, 3) == (1, 4, crc(1, 4))
    assert words(page, 128, 1) == (1,), "EPOCH"
    assert words(page, 256, 1) == (2,), "COMMITTED"
    assert words(page, 512, 4) == (100, 0, 0, 0), "keys"
    no_lane = 2**64 - 1
    lane = (640, 256, 2, 300, 2)
    assert words(page, 640, 5) == (2, 1, no_lane, 0, crc(2, no_lane, 0, *lane)), "slot 0, its head"
    assert words(page, 640 + 128, 5) == lane
    earlier = (256, 0, 1, 100, 1)
    assert words(page, 640 + 5 * 128, 5) == (1, 1, no_lane, 0, crc(1, no_lane, 0, *earlier)), "slot 1, its head"
    assert words(page, 640 + 6 * 128, 5) == earlier


def test_a_frame_is_128_bytes_of_header_and_its_payload(ring: Callable[..., Ring], tmp_path: Path) -> None:
    one = ring()
    assert one.put(b"a" * 100)
    assert one.put(b"b" * 130)
    data = (tmp_path / "lane0").read_bytes()[RING:]
    head = data[256 : 256 + 72]
    assert struct.unpack("<IHH", head[:8]) == (0x4D415246, 1, 0)
    assert words(head, 8, 8) == (256, 384, 130, 1, 2, 2, 230, 2)
    assert struct.unpack_from("<II", data, 256 + 72) == (zlib.crc32(b"b" * 130, zlib.crc32(head)), 1)
    assert data[256 + 80 : 384] == bytes(48)
    assert data[384 : 384 + 130] == b"b" * 130


@pytest.mark.parametrize(("payload", "length"), [(0, 128), (1, 256), (128, 256), (129, 384)])
def test_frames_are_whole_lines(payload: int, length: int) -> None:
    assert frame_length(payload) == length


def test_a_lane_key_is_the_same_for_ever() -> None:
    """Keys are stored: another hash would lose what waits in a lane when shipper is upgraded."""
    assert lane_key("c1", "r1.0--k1.0") == 0xDAB86B3EC038BBD7
    assert lane_key("c1", "r1.0--k1.0") != lane_key("c2", "r1.0--k1.0")


HEADER_DAMAGE = {
    "no magic": (0, b"XXXXXXXX", "does not begin with"),
    "a later version": (8, struct.pack("<Q", 2), "layout version 2"),
    "a flipped size": (16, struct.pack("<Q", CAPACITY + 4096), "damaged header"),
    "a flipped checksum": (24, b"\x01", "damaged header"),
}


@pytest.mark.parametrize("damage", HEADER_DAMAGE)
@pytest.mark.parametrize("kind", [Lane, PutPage])
def test_a_segment_with_a_damaged_header_is_refused(kind: type, damage: str, tmp_path: Path) -> None:
    path = tmp_path / "segment"
    (Lane.create(path, CAPACITY) if kind is Lane else PutPage.ensure(path, 4)).close()
    offset, data, words_of_error = HEADER_DAMAGE[damage]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
    with pytest.raises(DamagedData, match=words_of_error) as caught:
        Lane.open(path) if kind is Lane else PutPage.ensure(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"short", b"\n" * 5000])
def test_a_file_that_is_no_segment_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "lane").write_bytes(content)
    with pytest.raises(DamagedData, match=str(tmp_path)):
        Lane.open(tmp_path / "lane")


def test_a_put_page_has_room_for_so_many_lanes_and_says_when_it_is_full(tmp_path: Path) -> None:
    page = PutPage.ensure(tmp_path / "page", 2)
    assert [page.register(5), page.register(9), page.register(5)] == [0, 1, 0]
    assert page.index(9) == 1
    with pytest.raises(ComponentFailed, match="room for 2 lanes"):
        page.register(13)
    with pytest.raises(KeyError, match="no lane with key 0xd"):
        page.index(13)
    page.close()


class TestFrameChecks:
    """A frame certifies itself: whatever byte is wrong, it is no frame."""

    def frame(self) -> bytearray:
        from shipper.ring.layout import Frame, frame_header

        payload = b"p" * 100
        head = frame_header(Frame(8192, 256, 3, 9, 30, 300, 3, 0, memoryview(payload)))
        return bytearray(head + payload).ljust(1024, b"\0")

    def test_a_whole_frame_is_read(self) -> None:
        found = read_frame(memoryview(self.frame()), 0, 8192)
        assert found is not None and bytes(found.payload) == b"p" * 100 and found.rows_after == 30

    @pytest.mark.parametrize(("start", "size_bytes"), [(0, 100), (0, 0), (100, 0), (3, 90), (64, 36)])
    def test_a_part_whose_checksum_is_known_is_not_looked_at(self, start: int, size_bytes: int) -> None:
        """The header is the same as if it had been."""
        from shipper.ring.layout import Frame, Known, frame_header

        payload = bytes(range(100))
        frame = Frame(8192, 256, 3, 9, 30, 300, 3, 0, memoryview(payload))
        known = Known(start, size_bytes, zlib.crc32(payload[start : start + size_bytes]))
        assert frame_header(frame, known) == frame_header(frame)
        wrong = known._replace(checksum=known.checksum ^ 1)
        assert size_bytes == 0 or frame_header(frame, wrong) != frame_header(frame)

    def test_every_flipped_byte_of_header_and_payload_is_seen(self) -> None:
        """Only the unused rest of the header and the padding behind the payload may change."""
        for at in [*range(80), *range(128, 228)]:
            for bit in (0x01, 0x80, 0xFF):
                data = self.frame()
                data[at] ^= bit
                assert read_frame(memoryview(data), 0, 8192) is None, at

    def test_a_frame_of_another_round_is_not_this_one(self) -> None:
        assert read_frame(memoryview(self.frame()), 0, 8192 + CAPACITY) is None

    @pytest.mark.parametrize("length", [0, 100, 128, 1152, 2**63, 2**64 - 128])
    def test_a_length_that_can_not_be_is_refused_whatever_the_checksum_says(self, length: int) -> None:
        from shipper.ring.layout import Frame, frame_header

        payload = b"p" * 100
        head = frame_header(Frame(0, length, 1, 1, 1, 1, 1, PAD * 0, memoryview(payload)))
        data = bytearray(head + payload).ljust(1024, b"\0")
        assert read_frame(memoryview(data), 0, 0) is None

    def test_a_header_that_would_stand_behind_the_end_is_no_frame(self) -> None:
        assert read_frame(memoryview(bytearray(256)), 200, 0) is None
