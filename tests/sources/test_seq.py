"""The seq source: numbers as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.api import EventBatch, Origin
from shipper.config.field import read_options
from shipper.registry import find
from shipper.sources.seq import SeqOptions, SeqSource
from shipper.testing.fakes import source_context


def seq(tmp_path: Path, config: dict[str, str] | None = None, **context: object) -> SeqSource:
    options, findings = read_options(SeqOptions, config or {})
    assert options is not None, findings
    source = SeqSource(options)
    source.open(source_context(tmp_path, **context))  # type: ignore[arg-type]
    return source


def poll(source: SeqSource) -> EventBatch:
    batch = source.poll(0)
    assert batch is not None
    return batch


def numbers(batch: EventBatch) -> list[bytes]:
    return list(batch.body.to_pylist())


def test_bodies_are_the_numbers_in_order_without_headers(tmp_path: Path) -> None:
    """0, 1, 2, ... over batch borders and widths, none missing."""
    source = seq(tmp_path, batch_bytes=1000)
    seen: list[bytes] = []
    while len(seen) < 11_000:
        batch = poll(source)
        assert batch.header_names == []
        seen += numbers(batch)
    assert seen == [b"%d" % n for n in range(len(seen))]


def test_a_batch_is_filled_up_to_the_bytes_of_a_batch_whatever_batchsize_says(tmp_path: Path) -> None:
    """batchSize = 1 is Flume's unit, not ours."""
    batch = poll(seq(tmp_path, {"batchSize": "1"}))
    assert batch.rows > 90_000
    assert batch.size_bytes <= 1 << 20


def test_batchsize_is_literal_under_strictbatch(tmp_path: Path) -> None:
    """A person who asked for literal transactions gets them."""
    source = seq(tmp_path, {"batchSize": "7"}, strict=True)
    assert numbers(poll(source)) == [b"%d" % n for n in range(7)]
    assert poll(source).rows == 7


def test_a_batch_fits_the_channel(tmp_path: Path) -> None:
    """No more rows than the smallest capacity."""
    assert poll(seq(tmp_path, rows_max=100)).rows == 100


def test_it_is_finished_after_totalevents(tmp_path: Path) -> None:
    """Then poll has nothing, and the worker may end."""
    source = seq(tmp_path, {"totalEvents": "3"})
    assert not source.finished()
    assert numbers(poll(source)) == [b"0", b"1", b"2"]
    assert source.poll(0) is None
    assert source.finished()


def test_totalevents_zero_sends_nothing(tmp_path: Path) -> None:
    """Not even the 0."""
    source = seq(tmp_path, {"totalEvents": "0"})
    assert source.poll(0) is None
    assert source.finished()


def test_numbers_that_did_not_reach_the_channels_come_again(tmp_path: Path) -> None:
    """position goes back to the start of what was lost."""
    source = seq(tmp_path, rows_max=10)
    poll(source)
    second = poll(source)
    source.position(second.origins)
    assert numbers(poll(source)) == numbers(second)


def test_a_restart_goes_on_behind_the_last_committed_number(tmp_path: Path) -> None:
    """Neither repeated nor left out."""
    first = poll(seq(tmp_path, rows_max=10))
    assert first.origins == (Origin("seq", 0, 10),)
    said: list[tuple[str, str]] = []
    after = seq(tmp_path, rows_max=10, positions={"seq": first.origins[0]}, said=said)
    assert numbers(poll(after)) == [b"%d" % n for n in range(10, 20)]
    assert said[0][1].startswith("goes on with 10: ")


def test_a_first_start_says_nothing(tmp_path: Path) -> None:
    """All workers begin with a block of their own."""
    said: list[tuple[str, str]] = []
    for worker in range(3):
        seq(tmp_path, worker=worker, workers=3, said=said)
    assert said == []


def test_two_workers_share_the_numbers_out(tmp_path: Path) -> None:
    """Each number comes from exactly one of them."""
    seen: list[int] = []
    for worker in range(2):
        source = seq(tmp_path, {"totalEvents": "200000"}, worker=worker, workers=2)
        while (batch := source.poll(0)) is not None:
            seen += map(int, numbers(batch))
        assert source.finished()
    assert sorted(seen) == list(range(200_000))


@pytest.mark.parametrize("config", [{"totalEvents": "-1"}, {"batchSize": "0"}, {"totalEvents": "many"}])
def test_values_that_make_no_sense_are_errors(config: dict[str, str]) -> None:
    """With the key in the message."""
    options, findings = read_options(SeqOptions, config)
    assert options is None
    assert next(iter(config)) in findings[0].message


def test_it_is_found_by_alias_and_by_class_name() -> None:
    """Both spellings of a Flume file."""
    assert find("source", "seq") is SeqSource
    assert find("source", "org.apache.flume.source.SequenceGeneratorSource") is SeqSource
