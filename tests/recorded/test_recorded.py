"""What releases have left on machines (`record.py`): this build drains all of it, and refuses what is newer.

An archive stays for good, or until a release says that it does not read that layout any more. Each is named for the
version of its layouts.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.durable import layout as log_layout
from shipper.durable.board import Board
from shipper.durable.disk import Disk
from shipper.errors import ConfigurationError, DamagedData
from shipper.files.journal import Journal
from shipper.instance import ledger, parked_file, parking
from shipper.instance.parked_file import ParkedFile
from shipper.ring import layout
from shipper.ring.lane import Lane
from shipper.ring.puts import PutPage
from shipper.workers.positions import Positions
from tests.channels.logged import Logged
from tests.pipeline.test_dead_letters import World
from tests.recorded.record import IN_LOG, LETTERS, STREAM, WAITING, instance_in
from tests.workers.test_positions import ManualHead

ARCHIVES = sorted(Path(__file__).parent.glob("layout-*.tar.gz"))


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name)
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What a release has left."""
    with tarfile.open(request.param) as packed:
        packed.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # from 3.11.4 on
    return tmp_path


def drain(world: World) -> None:
    """Everything in the run directory is there once, and the ledger of it goes on."""
    delivery = world.sink()
    while delivery.step():
        pass
    assert world.target.safe == WAITING, "what was taken before does not come again"
    assert [body for body, _ in world.letters()] == LETTERS
    found = ledger.read(world.run_dir).channels
    assert {name: ledger.mismatch(numbers) for name, numbers in found.items()} == {"c1": 0, "d1": 0}
    assert found["c1"]["accepted"] == found["c1"]["delivered"] + found["c1"]["set_aside"] == 7
    world.kill()


def test_there_is_an_archive_of_the_present_layouts() -> None:
    """Whoever raises one of these versions records a new archive, and keeps those that are there."""
    versions = {layout.VERSION, log_layout.VERSION, parking.VERSION}
    assert versions == {1}
    assert [path.name for path in ARCHIVES] == ["layout-1.tar.gz"]


def test_a_run_directory_is_drained(left: Path) -> None:
    """Lanes, put pages, and a dead letter whose worker had died before it was put."""
    drain(World(left / "run"))


def test_what_was_parked_is_drained(left: Path) -> None:
    instance = instance_in(left)
    instance.state_dir.mkdir(parents=True)
    shutil.move(left / "state" / "channels.parked", parking.parked_path(instance.state_dir))
    taken = parking.take_back(instance)
    assert taken is not None and taken.events == len(WAITING) + len(LETTERS)
    drain(World(instance.run_dir))


def test_positions_are_read(left: Path) -> None:
    assert Positions(left / "positions", [ManualHead()]).streams == {STREAM.stream: STREAM}


class Recorder(Disk):
    """The disk of the machine on which the log was left, which was not booted since."""

    def __init__(self, board: Path) -> None:
        super().__init__()
        left = Board.open(board)
        self._boot_id = left.boot_id
        left.close()

    def boot_id(self) -> bytes:
        return self._boot_id


@pytest.mark.parametrize("booted", [False, True])
def test_a_log_is_drained(left: Path, booted: bool) -> None:
    """With what was in the lane only, when its writer died. Behind a boot it stands where the checkpoint does, which
    was written before the first row was taken."""
    disk = Disk() if booted else Recorder(left / "log" / "checkpoint" / "shipper.board")
    channel = Logged(left / "log", disk=disk)
    found: list[bytes] = []
    while rows := channel.take():
        found += rows
    assert found == ([b"log 1", *IN_LOG] if booted else IN_LOG)
    channel.kill()


def test_the_journal_of_a_sink_is_read(left: Path) -> None:
    journal = Journal(left / "sink" / "state" / "files.journal", 1)
    (record,) = journal.records.values()
    assert record.progress is not None and (record.progress.length, record.progress.rows) == (8, 2)
    assert Path(record.path).name == next((left / "sink" / "out").iterdir()).name
    journal.close()


class TestANewerRelease:
    """A version that this build does not know is refused by name; nothing of it is changed."""

    @pytest.mark.parametrize(
        ("name", "open_it"),
        [
            ("run/channels/c1/r1.0--k1.0", Lane.open), ("run/puts/r1.0", PutPage.ensure),
            ("log/checkpoint/shipper.board", Board.open),
        ],
        ids=["lane", "put page", "board"],
    )  # fmt: skip
    def test_a_segment(self, name: str, open_it: Callable[[Path], object], left: Path) -> None:
        path = left / name
        data = bytearray(path.read_bytes())
        data[8:16] = (9).to_bytes(8, "little")
        if open_it == Board.open:
            data[56:64] = log_layout.crc32(bytes(data[:56])).to_bytes(8, "little")
        path.write_bytes(data)
        with pytest.raises(DamagedData, match=r"layout version 9; this build reads version 1"):
            open_it(path)
        assert path.read_bytes() == data

    def test_what_was_parked(self, left: Path) -> None:
        instance = instance_in(left)
        instance.state_dir.mkdir(parents=True)
        path = parking.parked_path(instance.state_dir)
        old = ParkedFile(left / "state" / "channels.parked")
        parked_file.write(path, {**old.about, "version": 9}, [])
        with pytest.raises(ConfigurationError, match=r"parked by a newer release \(layout 9; this one reads 1\)"):
            parking.take_back(instance)
        assert path.exists()
