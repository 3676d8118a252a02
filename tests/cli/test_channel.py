"""`shipper channel`: what is left is listed, written out, thrown away, given to another agent."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from shipper.cli.main import main
from shipper.cli.stat import ended
from shipper.instance import parking
from shipper.instance.ledger import mismatch
from shipper.instance.ledger_book import LedgerBook
from shipper.shared.tally import DISCARDED
from tests.workers.rings import CONFIGURATION, Rings

KINDS = ["parked", "in its run directory"]


def left(directory: Path, kind: str, *bodies: bytes) -> Rings:
    """An agent that left these events."""
    directory.mkdir(exist_ok=True)
    rings = Rings(directory)
    rings.put(b"delivered")
    rings.take()
    for body in bodies:
        rings.put(body)
    rings.end_workers()
    if kind == "parked":
        assert parking.put_away(rings.instance, rings.file, True)
    rings.instance.close()
    return rings


def shipper(directory: Path, *arguments: str) -> int:
    """Runs the command on that agent's places."""
    return main(["channel", *arguments, "--run-dir", f"{directory}/run", "--state-dir", f"{directory}/state"])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_is_listed(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    rings = left(tmp_path, kind, b"one", b"two", b"three")
    assert shipper(tmp_path, "list") == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["LEFTOVER", "CHANNEL", "EVENTS", "BYTES", "AGE", "OF", "WHERE"]
    cells = line.split()
    assert cells[:4] == [rings.instance.name, "c1", "3", "11"]
    place = rings.instance.run_dir if kind != "parked" else parking.parked_path(rings.instance.state_dir)
    assert cells[-1] == str(place)
    if kind == "parked":
        assert f"a1 of {rings.file}" in line


def test_nothing_left_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in ("run", "state"):
        (tmp_path / place).mkdir()
    assert shipper(tmp_path, "list") == 0
    assert capsys.readouterr().out == "No channel holds events that no running agent owns.\n"


def test_a_full_disk_is_said_with_the_file_and_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rings = left(tmp_path, KINDS[0], b"one", b"two")
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "c1.r1.0--k1.0.log"
    path.with_name(f".{path.name}.new").symlink_to("/dev/full")
    assert shipper(tmp_path, "export", rings.instance.name, "--to", f"{tmp_path}/out") == 1
    said = f"{path}: No space left on device; free some room, or give a directory on another disk\n"
    assert capsys.readouterr().err.endswith(said)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_events_are_written_out_and_stay(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    rings = left(tmp_path, kind, b"one", b"two")
    assert shipper(tmp_path, "export", rings.instance.name, "--to", f"{tmp_path}/out") == 0
    path = tmp_path / "out" / "c1.r1.0--k1.0.log"
    assert path.read_bytes() == b"one\ntwo\n"
    assert f"{path}: 2 events, 8 B" in capsys.readouterr().out
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert shipper(tmp_path, "export", "a1", "--to", f"{tmp_path}/out") == 1, "files are never overwritten"
    assert f"{path}: is there already, and is not replaced" in capsys.readouterr().err
    assert shipper(tmp_path, "export", "a1", "--to", f"{tmp_path}/out", "--json-lines") == 0
    lines = path.with_suffix(".jsonl").read_text().splitlines()
    assert [json.loads(line)["body"] for line in lines] == ["one", "two"]
    again = Rings(tmp_path, start=False)
    again.instance.claim()
    parking.take_back(again.instance)
    again.build()
    assert again.drain() == [b"one", b"two"]
    again.end()


def test_a_put_larger_than_its_ring_is_written_out(tmp_path: Path) -> None:
    big = os.urandom(60_000).hex().encode()
    left(tmp_path, "parked", big, b"small")
    assert shipper(tmp_path, "export", "a1", "--to", f"{tmp_path}/out") == 0
    assert (tmp_path / "out" / "c1.r1.0--k1.0.log").read_bytes() == big + b"\nsmall\n"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_discarded_is_gone_and_its_memory_free(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rings = left(tmp_path, kind, b"one", b"two")
    assert shipper(tmp_path, "discard", "a1") == 1, "nobody was asked"
    assert "needs a word: add --yes" in capsys.readouterr().err
    assert shipper(tmp_path, "discard", "a1", "--yes") == 0
    assert "2 events of c1 are gone." in capsys.readouterr().out
    assert not rings.instance.run_dir.exists()
    assert not list(rings.instance.state_dir.glob("*.parked*"))
    again = Rings(tmp_path)
    again.put(b"new")
    assert again.drain() == [b"new"]
    again.end()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("busy", [False, True])
def test_another_agent_delivers_what_it_adopts(
    tmp_path: Path, kind: str, busy: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file was moved: the events of the agent at the old place go to that at the new one, also when it has some."""
    old = left(tmp_path, kind, b"one", b"two")
    new = Rings(tmp_path, CONFIGURATION, file=tmp_path / "moved.properties")
    if busy:
        new.put(b"own")
    new.end()
    assert shipper(tmp_path, "adopt", old.instance.name, "-n", "a1", "-f", str(old.file)) == 1
    assert "just start it" in capsys.readouterr().err
    assert shipper(tmp_path, "adopt", old.instance.name, "-n", "a1", "-f", str(new.file)) == 0
    assert "2 events are in" in capsys.readouterr().out
    assert not old.instance.run_dir.exists() and not list(old.instance.state_dir.glob("*.parked"))
    new = Rings(tmp_path, CONFIGURATION, file=tmp_path / "moved.properties", start=False)
    new.instance.claim()
    parking.take_back(new.instance)
    parking.take_adopted(new.instance)
    new.build()
    new.put(b"new")
    assert sorted(new.drain()) == sorted([b"new", b"one", b"two"] + [b"own"] * busy)
    assert new.put_side().last_origins() == []
    assert not list(new.instance.state_dir.glob("*.parked"))
    new.end()


def test_an_agent_that_is_not_in_the_file_adopts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its events would wait for a start that never comes."""
    old = left(tmp_path, "parked", b"one")
    moved = tmp_path / "moved.properties"
    moved.write_text(CONFIGURATION)
    assert shipper(tmp_path, "adopt", old.instance.name, "-n", "a2", "-f", str(moved)) == 1
    assert f"there is no agent a2 in {moved}, which has a1" in capsys.readouterr().err
    assert shipper(tmp_path, "adopt", old.instance.name, "-n", "a1", "-f", str(moved)) == 0


def test_an_agent_adopts_nothing_for_a_channel_that_it_does_not_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next start would not deliver them. Once they are adopted, they are no longer said to be the old agent's."""
    old = left(tmp_path, "parked", b"one")
    other = tmp_path / "other.properties"
    other.write_text(CONFIGURATION.replace("a1.", "b1.").replace("c1", "c2"))
    adopt = ("adopt", old.instance.name, "-n", "b1", "-f", str(other))
    for more, absent in (((), "c1"), (("--channel", "c9"), "c9")):
        assert shipper(tmp_path, *adopt, *more) == 1
        said = capsys.readouterr().err
        assert f"agent b1 of {other} has no channel {absent}: nobody would" in said and "It has c2: name" in said
    assert shipper(tmp_path, *adopt, "--channel", "c2") == 0
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    assert ended("a1", tmp_path / "run") == []
    assert ended("b1", tmp_path / "run") == [
        "agent b1 has stopped; 1 event of c2 adopted: its next start delivers them"
    ]


def test_an_unknown_leftover_names_those_that_are_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rings = left(tmp_path, "parked", b"one")
    assert shipper(tmp_path, "export", "b1", "--to", f"{tmp_path}/out") == 1
    assert f"there is no leftover 'b1'; there are {rings.instance.name}" in capsys.readouterr().err
    assert shipper(tmp_path, "export", "a1", "--to", f"{tmp_path}/out", "--channel", "c2") == 1
    assert "has no events in a channel 'c2'; it has some in c1" in capsys.readouterr().err


def test_a_leftover_of_an_agent_that_is_just_starting_is_not_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rings = left(tmp_path, "parked", b"one")
    rings.instance.claim()
    assert shipper(tmp_path, "discard", "a1", "--yes") == 1
    assert "is running: stop it first" in capsys.readouterr().err
    rings.instance.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channel", ["c1", "all"])
def test_what_a_person_throws_away_is_in_the_ledger(
    tmp_path: Path, kind: str, channel: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Now, and after the next start: nothing is lost without a word, nothing is called gone with the memory."""
    two = CONFIGURATION.replace("channels = c1", "channels = c1 c2") + "a1.channels.c2.type = memory\n"
    rings = Rings(tmp_path, two)
    book = LedgerBook(rings.instance.state_dir / "ledger.json")
    book.open_run(rings.instance.run_id(), rings.instance.run_dir, "a1", rings.file, {})
    rings.put(b"one", b"two")
    rings.put(b"other", channel="c2")
    rings.end_workers()
    book.save(closed=kind == "parked")
    if kind == "parked":
        assert parking.put_away(rings.instance, rings.file, True)
    rings.instance.close()
    assert shipper(tmp_path, "discard", "a1", "--yes", *(["--channel", channel] if channel != "all" else [])) == 0
    for again in (False, True):
        if again:
            rings = Rings(tmp_path, two, start=False)
            rings.instance.claim()
            parking.take_back(rings.instance)
            rings.build()
            LedgerBook(book.path).open_run(rings.instance.run_id(), rings.instance.run_dir, "a1", rings.file, {})
        found = LedgerBook(book.path).total()
        numbers = found.channels["c1"]
        assert (numbers["discarded"], numbers["in_channel"], numbers["vanished"]) == (2, 0, 0)
        other = found.channels["c2"]
        assert (other["discarded"], other["in_channel"]) == ((0, 1) if channel == "c1" else (1, 0))
        assert not any(map(mismatch, found.channels.values()))
        assert f"{DISCARDED:016x}" not in found.sinks
    rings.end()
    capsys.readouterr()
    assert main(["ledger", "-n", "a1", "--state-dir", f"{tmp_path}/state"]) == 0
    assert "2              thrown away by a person (shipper channel discard)" in capsys.readouterr().out


def test_stat_and_health_say_that_an_agent_has_stopped_and_what_is_parked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rings = left(tmp_path, "parked", b"one", b"two", b"three")
    monkeypatch.setattr("shipper.instance.instance.state_places", lambda: [tmp_path / "state"])
    said = f"agent a1 of {rings.file} has stopped; 3 events of c1 parked: its next start delivers them\n"
    assert main(["stat", "a1", "--run-dir", f"{tmp_path}/run"]) == 0
    assert capsys.readouterr().out == said
    assert main(["health", "a1", "--run-dir", f"{tmp_path}/run"]) == 2
    assert capsys.readouterr().out == f"CRITICAL - {said}"
    assert main(["health", "a2", "--run-dir", f"{tmp_path}/run"]) == 3


@pytest.mark.parametrize("option", ["--run-dir", "--state-dir"])
@pytest.mark.parametrize("command", [["list"], ["export", "a1", "--to", "out"], ["discard", "a1", "--yes"]])
def test_a_directory_that_is_not_there_is_an_error(
    tmp_path: Path, option: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is mistyped, or another one: that nothing is left over would be wrong to say."""
    places = {"--run-dir": tmp_path, "--state-dir": tmp_path, option: tmp_path / "nowhere"}
    words = [word for name, place in places.items() for word in (name, str(place))]
    assert main(["channel", *command, *words]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "", f"shipper channel: can't look into {option} {tmp_path}/nowhere: No such file or directory\n"
    )  # fmt: skip
