"""Locks that an opening of a file owns: within one process too, two openings are two owners."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shipper import file_lock


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], int]]:
    """Opens one file again and again."""
    descriptors: list[int] = []

    def opening() -> int:
        descriptors.append(os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT, 0o600))
        return descriptors[-1]

    yield opening
    for descriptor in descriptors:
        os.close(descriptor)


def test_one_opening_at_a_time_has_a_byte(opened: Callable[[], int]) -> None:
    one, other = opened(), opened()
    assert file_lock.lock(one, 1 << 40, 1)
    assert not file_lock.lock(other, 1 << 40, 1)
    assert file_lock.lock(other, (1 << 40) + 1, 1)
    file_lock.unlock(one, 1 << 40, 1)
    assert file_lock.lock(other, 1 << 40, 1)


def test_many_share_a_byte_and_nobody_has_it_alone_then(opened: Callable[[], int]) -> None:
    one, other, third = opened(), opened(), opened()
    assert file_lock.lock(one, 7, 1, shared=True)
    assert file_lock.lock(other, 7, 1, shared=True)
    assert not file_lock.lock(third, 7, 1)
    assert not file_lock.is_locked(third, 7, 1)


def test_all_of_a_file_is_asked_for_without_taking_it(opened: Callable[[], int]) -> None:
    one, other = opened(), opened()
    assert not file_lock.is_locked(other, 0, 0)
    assert file_lock.lock(one, 0, 0)
    assert file_lock.is_locked(other, 0, 0)
    assert not file_lock.is_locked(one, 0, 0)
