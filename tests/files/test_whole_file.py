"""A file that is written as a whole: the old one or the new one is there, and what can't be written is named."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from shipper import whole_file


def test_a_file_takes_the_place_of_another(tmp_path: Path) -> None:
    whole_file.write(tmp_path / "f", [b"old"])
    whole_file.write(tmp_path / "f", [b"ne", memoryview(b"w")])
    assert (tmp_path / "f").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["f"]
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600


@pytest.mark.parametrize("call", ["open", "write", "fsync", "rename"])
def test_what_fails_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    whole_file.write(tmp_path / "f", [b"old"])

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(whole_file.os, call, full)
        with pytest.raises(OSError, match="No space left on device") as raised:
            whole_file.write(tmp_path / "f", [b"new"], synced=True)
    assert raised.value.filename == str(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_bytes_are_synced_before_they_have_their_name_and_the_name_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut leaves an empty file under the name, or the old one after the caller went on."""
    done = []
    fsync, rename = os.fsync, os.rename

    def seen_fsync(descriptor: int) -> None:
        done.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def seen_rename(old: str, new: Path) -> None:
        done.append(("rename", str(new)))
        rename(old, new)

    monkeypatch.setattr(whole_file.os, "fsync", seen_fsync)
    monkeypatch.setattr(whole_file.os, "rename", seen_rename)
    path = tmp_path / "f"
    whole_file.write(path, [b"x"], synced=True)
    assert done == [("sync", f"{path}.new"), ("rename", str(path)), ("sync", str(tmp_path))]


def test_who_goes_on_with_the_file_appends_to_it(tmp_path: Path) -> None:
    descriptor = whole_file.opened(tmp_path / "f", [b"head"])
    whole_file.write_all(descriptor, b" and more")
    assert os.pread(descriptor, 99, 0) == (tmp_path / "f").read_bytes() == b"head and more"
    os.close(descriptor)
