"""One damaged word of a lane or a put page, whichever it is, loses nothing; what can't be told comes once more."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shipper.errors import DamagedData
from shipper.ring.layout import COMMIT_SLOT, GENERATION, RING, slot_checksum
from shipper.ring.repair import repair_lane, repair_page
from tests.ring.conftest import Ring

PUT = [b"frame %02d" % n for n in range(7)]
TAKEN = 4
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "flipped": lambda word: bytes([word[0] ^ 1]) + word[1:],
    "flipped high": lambda word: word[:7] + bytes([word[7] ^ 0x80]),
    "zeroed": lambda word: bytes(8),
    "torn": lambda word: word[:4] + b"\xff\xff\xff\xff",
}


def made(directory: Path, ring: Callable[..., Ring]) -> None:
    """Seven puts into two lanes, four of them taken from each with a sequence of the sink's."""
    directory.mkdir()
    one = ring(2, directory)
    for number, payload in enumerate(PUT):
        assert one.put(payload, payload)
        if number < TAKEN:
            for lane in range(2):
                consumer = one.consumers[lane]
                assert consumer.peek() is not None
                consumer.step()
                consumer.release(number + 1)
    one.close()


def repaired(directory: Path) -> list[str]:
    """What the supervisor does before a start."""
    lanes = [directory / f"lane{number}" for number in range(2)]
    said = [line for lane in lanes for line in repair_lane(lane)]
    return said + repair_page(directory / "page", {100 + number: lane for number, lane in enumerate(lanes)})


def words(path: Path, size: int) -> Iterator[tuple[int, bytes]]:
    """The words of a page that are used."""
    data = path.read_bytes()[:size]
    return ((at, data[at : at + 8]) for at in range(0, len(data), 8) if any(data[at : at + 8]))


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["lane0", "page"])
def test_a_damaged_word_loses_nothing(tmp_path: Path, ring: Callable[..., Ring], file: str, damage: str) -> None:
    """And nothing comes twice; and what was committed is known still; and new rows can be put and taken."""
    home, copy = tmp_path / "home", tmp_path / "copy"
    made(home, ring)
    tried = 0
    for at, word in words(home / file, RING if file == "lane0" else 1 << 20):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(home, copy)
        with (copy / file).open("r+b") as target:
            target.seek(at)
            target.write(DAMAGES[damage](word))
        repaired(copy)
        assert repaired(copy) == [], f"word {at}: what was repaired once is whole"
        again = at == GENERATION and file == "lane0"  # the slot before: its commit comes once more
        holder = 1024 <= at < 1152 and file == "lane0"
        one = Ring(copy, 2)
        try:
            for lane in range(2):
                left = PUT[TAKEN - 1 :] if again and lane == 0 and one.peek_all(0)[0] != PUT[TAKEN] else PUT[TAKEN:]
                assert one.consumers[lane].lane.committed().sequence == len(PUT) - len(left), f"word {at}"
                if not holder:
                    assert one.consumers[lane].try_hold()
                assert one.peek_all(lane) == left, f"word {at}"
            assert one.page.number() >= len(PUT)
            assert one.page.take_over()
            assert one.put(b"new", b"new"), f"word {at}"
            assert one.peek_all(0)[-4:] == one.peek_all(1) == [*PUT[TAKEN:], b"new"], f"word {at}"
        finally:
            one.close()
        tried += 1
    assert tried > 20


def spoil(path: Path, *places: int) -> None:
    """Words are overwritten."""
    with path.open("r+b") as file:
        for at in places:
            file.seek(at)
            file.write(b"\x5a" * 8)


def test_a_slot_beyond_repair_makes_one_commit_come_again(tmp_path: Path, ring: Callable[..., Ring]) -> None:
    made(tmp_path / "home", ring)
    at = COMMIT_SLOT + (TAKEN & 1) * 128
    spoil(tmp_path / "home" / "lane0", at, at + 32, at + 40)
    assert "comes once more" in " ".join(repaired(tmp_path / "home"))
    one = ring(2, tmp_path / "home")
    assert one.peek_all(0) == PUT[TAKEN - 1 :]
    assert one.peek_all(1) == PUT[TAKEN:]


def test_two_lost_slots_make_all_that_is_whole_come_again(tmp_path: Path, ring: Callable[..., Ring]) -> None:
    made(tmp_path / "home", ring)
    spoil(tmp_path / "home" / "lane0", *(COMMIT_SLOT + at for at in (0, 8, 32, 128, 136, 160)))
    assert "comes once more" in " ".join(repaired(tmp_path / "home"))
    one = ring(2, tmp_path / "home")
    assert one.peek_all(0) == PUT


def test_both_slots_of_a_put_page_are_rebuilt_from_the_frames(tmp_path: Path, ring: Callable[..., Ring]) -> None:
    made(tmp_path / "home", ring)
    data = (tmp_path / "home" / "page").read_bytes()
    heads = [at for at in range(512, len(data), 128) if data[at : at + 8] in (b"\6" + bytes(7), b"\7" + bytes(7))]
    spoil(tmp_path / "home" / "page", *heads)
    assert "rebuilt from the frames" in " ".join(repaired(tmp_path / "home"))
    one = ring(2, tmp_path / "home")
    assert one.peek_all(0) == one.peek_all(1) == PUT[TAKEN:]
    assert one.page.number() == len(PUT)
    assert one.put(b"new", b"new")
    assert one.take(0, 4) == [*PUT[TAKEN:], b"new"]


def test_a_put_whose_writer_died_at_its_last_store_counts(tmp_path: Path, ring: Callable[..., Ring]) -> None:
    """All of it is there but the word that names it; unless one of its frames has been written over since."""
    for torn in (False, True):
        home = tmp_path / str(torn)
        made(home, ring)
        with (home / "page").open("r+b") as file:
            file.seek(256)
            file.write((len(PUT) - 1).to_bytes(8, "little"))
        if torn:
            data = (home / "lane1").read_bytes()
            spoil(home / "lane1", data.rindex(PUT[-1]))
        repaired(home)
        one = ring(2, home)
        wanted = PUT[TAKEN:-1] if torn else PUT[TAKEN:]
        assert one.peek_all(0) == one.peek_all(1) == wanted


def test_another_version_is_not_repaired(tmp_path: Path, ring: Callable[..., Ring]) -> None:
    made(tmp_path / "home", ring)
    path = tmp_path / "home" / "lane0"
    size = int.from_bytes(path.read_bytes()[16:24], "little")
    with path.open("r+b") as file:
        file.seek(8)
        file.write(
            (9).to_bytes(8, "little") + size.to_bytes(8, "little") + slot_checksum((9, size)).to_bytes(8, "little")
        )
    with pytest.raises(DamagedData, match="layout version 9"):
        repaired(tmp_path / "home")
