"""`shipper channel inspect | verify | export DIR`: what is in a file channel, found out without its agent."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from shipper.cli.main import main
from shipper.errors import ConfigurationError
from tests.channels.logged import Logged


def filled(directory: Path, *bodies: bytes, properties: dict[str, str] | None = None) -> None:
    """A file channel from which one event was delivered and these were not; nobody has it open."""
    channel = Logged(directory, properties)
    assert channel.put(b"delivered")
    assert channel.drain() == [b"delivered"]
    for body in bodies:
        assert channel.put(body)
    channel.write()
    channel.kill()


def made(directory: Path) -> Path:
    """The directory, which was not there."""
    directory.mkdir()
    return directory


def test_what_waits_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path, b"one", b"two")
    for place in (tmp_path, tmp_path / "checkpoint"):
        assert main(["channel", "inspect", str(place)]) == 0
        said = capsys.readouterr().out
        assert "2 events wait" in said and "for k0.0: 2 events" in said and "1 were delivered" in said


def test_damage_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path, b"one" * 100, b"two" * 100)
    assert main(["channel", "verify", str(tmp_path)]) == 0
    assert "every record is whole" in capsys.readouterr().out
    segment = next((tmp_path / "data").glob("*.segment"))
    content = bytearray(segment.read_bytes())
    content[content.index(b"twotwo")] ^= 1
    segment.write_bytes(content)
    assert main(["channel", "verify", str(tmp_path)]) == 1
    assert "damaged: record 3 (1 rows)" in capsys.readouterr().out


def test_a_checkpoint_that_is_missing_makes_no_channel_of_flume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The directory called checkpoint is the channel's own."""
    filled(tmp_path, b"one", b"two")
    (tmp_path / "checkpoint" / "shipper.checkpoint").unlink()
    assert main(["channel", "verify", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "Flume" not in said.out + said.err
    assert "shipper.checkpoint" in said.out and "damaged: it is missing or damaged" in said.out


def test_a_data_directory_that_is_gone_is_given_up_with_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And one that is there is not."""
    filled(tmp_path, b"one", b"two")
    command = ["channel", "give-up", str(tmp_path / "checkpoint"), str(tmp_path / "data")]
    assert main(command) == 1 and "add --yes" in capsys.readouterr().err
    assert main([*command, "--yes"]) == 1 and "is there: name it in dataDirs" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(ConfigurationError, match="2 events that wait are missing"):
        Logged(tmp_path).drain()
    assert main([*command, "--yes"]) == 0 and "is given up" in capsys.readouterr().out
    channel = Logged(tmp_path)
    assert channel.put(b"three")
    assert channel.drain() == [b"three"]


def test_events_are_written_out_and_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path, b"one", b"two")
    to = tmp_path / "out"
    assert main(["channel", "export", str(tmp_path), "--to", str(to)]) == 0
    assert (to / "k0.0.log").read_bytes() == b"one\ntwo\n"
    assert main(["channel", "export", str(tmp_path), "--to", str(to), "--json-lines"]) == 0
    lines = (to / "k0.0.jsonl").read_text().splitlines()
    assert [json.loads(line)["body"] for line in lines] == ["one", "two"]
    assert Logged(tmp_path).drain() == [b"one", b"two"]
    capsys.readouterr()


def test_an_encrypted_channel_is_written_out_with_its_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "k1.key"
    key.write_bytes(bytes(32))
    key.chmod(0o600)
    encrypted = {
        "encryption.activeKey": "k1", "encryption.keyProvider": "FILE", "encryption.keyProvider.keys": "k1",
        "encryption.keyProvider.keys.k1.file": str(key),
    }  # fmt: skip
    filled(tmp_path, b"secret", properties=encrypted)
    to = tmp_path / "out"
    assert main(["channel", "export", str(tmp_path), "--to", str(to)]) == 1
    assert "is encrypted with the key 'k1'" in capsys.readouterr().err
    assert main(["channel", "export", str(tmp_path), "--to", str(to), "--key", f"k1={key}"]) == 0
    assert (to / "k0.0.log").read_bytes() == b"secret\n"


def test_a_directory_without_a_channel_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["channel", "inspect", str(tmp_path)]) == 1
    assert "no channel lies in" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_what_is_no_directory_is_said(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(made(tmp_path / "channel"), b"one")
    file = tmp_path / "file"
    file.touch()
    for wrong in (["missing"], [str(file)], [str(tmp_path / "channel"), "--data", str(tmp_path / "missing")]):
        assert main(["channel", command, *wrong]) == 1
        captured = capsys.readouterr()
        assert captured.err == f"shipper channel: there is no directory {wrong[-1]}\n"
        assert captured.out == ""


def test_a_data_dir_without_a_file_of_the_channel_is_not_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else nothing would have been looked at, and "every record is whole" be said of it."""
    filled(made(tmp_path / "channel"), b"one")
    (tmp_path / "empty").mkdir()
    assert main(["channel", "verify", str(tmp_path / "channel"), "--data", str(tmp_path / "empty")]) == 1
    assert f"no file of a channel lies in {tmp_path / 'empty'}" in capsys.readouterr().err
    both = ["--data", str(tmp_path / "empty"), "--data", str(tmp_path / "channel" / "data")]
    assert main(["channel", "verify", str(tmp_path / "channel"), *both]) == 0


def test_a_directory_has_one_channel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(made(tmp_path / "channel"), b"one")
    assert main(["channel", "export", str(tmp_path / "channel"), "--to", str(tmp_path), "--channel", "c7"]) == 1
    assert "--channel is for a leftover" in capsys.readouterr().err
