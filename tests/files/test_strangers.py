"""Files that are being written, in folders of a sink that has no journal of them: they are named, and left alone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from shipper.files import strangers
from shipper.files.local import LocalStore
from tests.files.test_settling import NAME, Life


def said(life: Life) -> list[str]:
    return [line for _, line in life.said if "no journal" in line]


def test_what_a_lost_state_directory_leaves_is_named_once_and_left_alone(tmp_path: Path) -> None:
    first = Life(tmp_path)
    first.deliver(b"a")
    shutil.rmtree(first.context.state_dir)
    second = Life(tmp_path, start_s=10, rollCount="1")
    for body in (b"b", b"c"):
        second.deliver(body)
    [line] = said(second)
    assert line.startswith("1 file has the name of files that are being written, and this sink has no journal of them")
    assert f": it is {first.out}/{NAME}.tmp. " in line
    second.sink.close()
    assert second.files()[f"{NAME}.tmp"] == b"a\n"


def test_with_a_journal_nobody_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Life(tmp_path)
    first.deliver(b"a")
    first.sink.close()
    (first.out / f"{NAME}.tmp").write_text("of another agent")
    monkeypatch.setattr(LocalStore, "list", lambda *_: pytest.fail("it looks"))
    second = Life(tmp_path, 1, start_s=10)
    second.deliver(b"b")
    assert said(second) == []


@pytest.mark.parametrize("name", ["FlumeData.1340459193235", "Other.1340459193235.tmp", "FlumeData.1340459199999.tmp"])
def test_whole_files_those_of_others_and_those_that_are_new_are_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("theirs")
    life = Life(tmp_path, start_s=1)
    life.deliver(b"b")
    assert said(life) == []


def test_it_looks_into_so_many_folders_and_into_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    found = LocalStore.list

    def listed(store: LocalStore, folder: str) -> list[str]:
        looked.append(os.path.basename(folder))
        return found(store, folder)

    monkeypatch.setattr(LocalStore, "list", listed)
    monkeypatch.setattr(strangers, "_LOOKS_MAX", 3)
    life = Life(tmp_path, path=f"file://{tmp_path}/out/%{{h}}", rollCount="1")
    for headers in [{"h": f"h{number}"} for number in (0, 1, 0, 2, 3, 4)]:
        life.deliver(b"a", headers=[headers])
    assert looked == ["h0", "h1", "h2"]


def test_a_folder_that_can_not_be_listed_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(LocalStore, "list", refuse)
    life = Life(tmp_path)
    life.deliver(b"a")
    life.sink.close()
    assert list(life.files().values()) == [b"a\n"]
