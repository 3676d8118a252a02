"""The local store: what it never does to a file that is there."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from shipper.files import local
from shipper.files.extent import Extent
from shipper.files.local import LocalStore
from shipper.files.store import trouble


def written(store: LocalStore, path: Path, data: bytes) -> str:
    handle = store.create(str(path))
    handle.write(data)
    handle.close()
    return handle.identity


def test_a_file_is_made_with_its_folders_and_never_over_another(tmp_path: Path) -> None:
    store = LocalStore()
    written(store, tmp_path / "a" / "b" / "f", b"first")
    with pytest.raises(FileExistsError):
        store.create(str(tmp_path / "a" / "b" / "f"))
    assert (tmp_path / "a" / "b" / "f").read_bytes() == b"first"


def test_a_link_in_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    store = LocalStore()
    for name in ("link", "dangling"):
        with pytest.raises(FileExistsError):
            store.create(str(tmp_path / name))
        with pytest.raises(OSError, match=r"symbolic links|No such file"):
            store.append(str(tmp_path / name), Extent(0))
    assert (tmp_path / "target").read_bytes() == b"precious"


def test_a_store_that_makes_no_folders_leaves_a_missing_one_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LocalStore(makes_folders=False).create(str(tmp_path / "gone" / "f"))
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("how", ["renameat2", "link"])
def test_a_rename_never_overwrites(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "link":
        monkeypatch.setattr(local, "_renameat2", lambda: None)
    store = LocalStore()
    written(store, tmp_path / "a", b"a")
    written(store, tmp_path / "b", b"b")
    with pytest.raises(FileExistsError):
        store.rename(str(tmp_path / "a"), str(tmp_path / "b"))
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [b"a", b"b"]
    store.rename(str(tmp_path / "a"), str(tmp_path / "c"))
    assert sorted(os.listdir(tmp_path)) == ["b", "c"]
    with pytest.raises(FileNotFoundError):
        store.rename(str(tmp_path / "a"), str(tmp_path / "d"))


def test_appending_cuts_only_the_file_that_is_meant(tmp_path: Path) -> None:
    store = LocalStore()
    identity = written(store, tmp_path / "f", b"abcdef")
    for length, wrong in ((3, "0.0"), (7, identity)):  # another file; a shorter one
        with pytest.raises(FileNotFoundError):
            store.append(str(tmp_path / "f"), Extent(length, wrong))
    assert (tmp_path / "f").read_bytes() == b"abcdef"
    handle = store.append(str(tmp_path / "f"), Extent(3, identity))
    handle.write(b"X")
    handle.close()
    handle.close()
    assert (tmp_path / "f").read_bytes() == b"abcX"


def test_a_short_write_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class OneByteAtATime:
        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def write(self, descriptor: int, data: Any) -> int:
            return os.write(descriptor, memoryview(data)[:1])

    monkeypatch.setattr(local, "os", OneByteAtATime())
    for data in (b"bytes", bytearray(b"bytes"), memoryview(b"xbytes")[1:]):
        path = tmp_path / str(len(os.listdir(tmp_path)))
        written(LocalStore(), path, data)  # type: ignore[arg-type]
        assert path.read_bytes() == b"bytes"


def test_a_file_knows_that_it_was_removed(tmp_path: Path) -> None:
    handle = LocalStore().create(str(tmp_path / "f"))
    assert not handle.unlinked()
    (tmp_path / "f").unlink()
    assert handle.unlinked()
    handle.close()


def test_questions_about_what_is_not_there_are_answered(tmp_path: Path) -> None:
    store = LocalStore()
    (tmp_path / "f").write_bytes(b"abc")
    (tmp_path / "d").mkdir()
    assert store.stat(str(tmp_path / "no")) is None
    assert store.stat(str(tmp_path / "f" / "below")) is None
    assert store.list(str(tmp_path / "no")) == []
    assert store.list(str(tmp_path)) == ["d", "f"]
    file, folder = store.stat(str(tmp_path / "f")), store.stat(str(tmp_path / "d"))
    assert file is not None
    assert folder is not None
    assert (file.length, file.is_directory, folder.is_directory) == (3, False, True)
    store.delete(str(tmp_path / "no"))
    store.set_permission(str(tmp_path / "f"), 0o600)
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600


def test_trouble_says_what_where_why_and_what_helps() -> None:
    assert trouble("write to", "/x/f", OSError(errno.EROFS, "whatever")) == (
        "could not write to /x/f: Read-only file system; the file system is mounted read-only: "
        "remount it or name another directory"
    )
    assert trouble("write to", "/x/f", OSError("odd")) == "could not write to /x/f: odd"
