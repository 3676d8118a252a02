"""Text: what a line is, and that a block is not copied."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shipper.api import EventBatch
from shipper.batch.framing import line_ends, rows_of
from shipper.registry import find
from shipper.serializers.text import TextSerializer


def test_each_body_is_a_line(make, recorded_events: EventBatch, reference: Path) -> None:
    """The bytes are those of the real agent, through either of its sinks."""
    text = make(TextSerializer).serialize(recorded_events)
    assert bytes(text) == (reference / "flume-files" / "data-text.txt").read_bytes()
    assert bytes(text) == (reference / "flume-files" / "fr-text.txt").read_bytes()


def test_without_newlines_bodies_follow_each_other(make, recorded_events: EventBatch) -> None:
    """appendNewline = false."""
    text = make(TextSerializer, appendNewline="false").serialize(recorded_events)
    assert bytes(text) == "first eventzweites Ereignis äöü €third\twith tab".encode()


def test_a_block_with_its_newlines_is_written_as_it_lies_in_memory(make) -> None:
    """No byte of it is copied, also when the batch is a part of the block."""
    block = pa.py_buffer(b"one\ntwo\n\nthree\n")
    batch = EventBatch(rows_of(block, line_ends(memoryview(block))), trim=1)
    text = make(TextSerializer).serialize(batch.slice(1, 2))
    assert bytes(text) == b"two\n\n"
    assert np.frombuffer(text, np.uint8).ctypes.data == block.address + 4


@pytest.mark.parametrize(("block", "trim"), [(b"one\r\ntwo\r\n\r\n", 2), (b"one\ntwo\n\n", 1)])
def test_the_sources_line_ends_are_not_part_of_a_body(make, block: bytes, trim: int) -> None:
    """A line that ended in CRLF in the source ends in a newline alone, or in nothing when that is asked for."""
    batch = EventBatch(rows_of(block, line_ends(block)), trim=trim)
    assert bytes(make(TextSerializer).serialize(batch)) == b"one\ntwo\n\n"
    assert bytes(make(TextSerializer, appendNewline="false").serialize(batch)) == b"onetwo"


def test_no_rows_are_no_bytes(make) -> None:
    """An empty batch adds nothing."""
    assert bytes(make(TextSerializer).serialize(EventBatch.of([]))) == b""


@pytest.mark.parametrize(
    "name",
    ["text", "TEXT", "Text", "org.apache.flume.serialization.BodyTextEventSerializer$Builder"],
)
def test_it_is_found_by_flumes_names(name: str) -> None:
    """The alias in any case, and the class name."""
    assert find("serializer", name) is TextSerializer
