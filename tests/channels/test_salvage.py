"""A damaged frame costs its own rows: they are kept in a file, counted and said; the others are delivered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.channels.memory.salvage import Salvage
from tests.channels.conftest import Memory

DAMAGES = {"flipped": lambda data: bytes([data[0] ^ 1]), "zeroed": lambda data: bytes(len(data))}


def spoil(path: Path, body: bytes, damage: str) -> None:
    """Damages the bytes of a body in its frame."""
    data = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(at := data.index(body))
        file.write(DAMAGES[damage](data[at : at + 4]))


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("victim", range(4))
def test_a_damaged_frame_costs_its_own_rows(
    memory: Callable[..., Memory], tmp_path: Path, victim: int, damage: str
) -> None:
    one = memory({"ring.bytes": "64k"}, poison=False)
    bodies = [b"body-%d" % number for number in range(4)]
    for body in bodies:
        assert one.put(body)
    spoil(one.lane(), bodies[victim], damage)
    said: list[tuple[str, str]] = []
    kept = tmp_path / "kept"
    one.take_side().keep_damaged(Salvage(kept, lambda *line: said.append(line)))
    assert one.drain() == bodies[:victim] + bodies[victim + 1 :]
    (file,) = kept.iterdir()
    assert bodies[victim][4:] in file.read_bytes(), "what was skipped is kept as it stood"
    assert all(body not in file.read_bytes() for body in bodies if body != bodies[victim])
    assert len(said) == 1 and str(file) in said[0][1] and "do not pass their checks" in said[0][1]
    assert one.rows() == 0
    assert one.put(b"new") and one.drain() == [b"new"]


def test_what_is_rolled_back_is_kept_once(memory: Callable[..., Memory], tmp_path: Path) -> None:
    one = memory({"ring.bytes": "64k"}, poison=False)
    for body in (b"one", b"two-two", b"three"):
        assert one.put(body)
    spoil(one.lane(), b"two-two", "flipped")
    said: list[tuple[str, str]] = []
    one.take_side().keep_damaged(Salvage(tmp_path / "kept", lambda *line: said.append(line)))
    for _ in range(3):
        transaction = one.take_side().transaction()
        transaction.begin()
        while transaction.take() is not None:
            pass
        transaction.rollback()
        transaction.close()
    assert len(list((tmp_path / "kept").iterdir())) == len(said) == 1


def test_a_place_that_can_not_be_written_holds_nothing_up(memory: Callable[..., Memory], tmp_path: Path) -> None:
    one = memory({"ring.bytes": "64k"}, poison=False)
    for body in (b"one-one", b"two"):
        assert one.put(body)
    spoil(one.lane(), b"one-one", "zeroed")
    (tmp_path / "file").write_bytes(b"")
    said: list[tuple[str, str]] = []
    one.take_side().keep_damaged(Salvage(tmp_path / "file" / "kept", lambda *line: said.append(line)))
    assert one.drain() == [b"two"]
    assert "can't be kept" in said[0][1] and "Not a directory" in said[0][1]
