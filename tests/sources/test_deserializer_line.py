"""The LINE deserializer: lines out of a file's content."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, BinaryIO

import pytest

from shipper.api import DamagedData
from shipper.config.field import read_options
from shipper.registry import find
from shipper.sources.deserializers.deserializer import Reading, Rows
from shipper.sources.deserializers.line import LineDeserializer, LineOptions
from tests.vectors import vectors


class Bytes:
    """Content in memory that hands out so many bytes at a time at most."""

    def __init__(self, data: bytes, offset: int = 0) -> None:
        self.data = data
        self.offset = offset

    def read_into(self, view: memoryview) -> int:
        piece = self.data[self.offset : self.offset + len(view)]
        view[: len(piece)] = piece
        self.offset += len(piece)
        return len(piece)

    def at_end(self) -> bool:
        return self.offset >= len(self.data)

    def left_bytes(self) -> int | None:
        return None

    def seek(self, offset: int) -> None:
        self.offset = offset

    def as_file(self) -> BinaryIO:
        raise NotImplementedError


def line(data: bytes, config: dict[str, str] | None = None, *, offset: int = 0, **reading: Any) -> LineDeserializer:
    options, findings = read_options(LineOptions, config or {})
    assert options is not None, findings
    return LineDeserializer(options, Bytes(data, offset), Reading(**reading))


def reads(made: LineDeserializer, rows_max: int = 1 << 20) -> Iterator[tuple[Rows, list[bytes]]]:
    while (rows := made.read(rows_max)) is not None:
        yield rows, rows.batch.body.to_pylist()


def bodies(data: bytes, config: dict[str, str] | None = None, **reading: Any) -> list[bytes]:
    return [body for _, found in reads(line(data, config, **reading)) for body in found]


def flume(text: str, chars_max: int) -> list[str]:
    """What Flume's reader does, character by character; a surrogate pair stays together at a cut."""
    out, piece, length = [], "", 0
    begun = False
    for char in text:
        if char == "\n":
            out.append(piece)
            piece, length, begun = "", 0, False
            continue
        piece, length, begun = piece + char, length + (2 if ord(char) > 0xFFFF else 1), True
        if length >= chars_max:
            out.append(piece)
            piece, length, begun = "", length - chars_max, False
    return [*out, piece] if begun else out


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("others", [0, 1000])
def test_recorded_answers(which: int, others: int) -> None:
    """What Flume made of the text, alone and among 1,000 other lines."""
    row = vectors("deserializer_line")[which]
    kind = find("deserializer", row["in"]["type"])
    assert kind is LineDeserializer
    before = "".join(f"before {n} ö\n" for n in range(others // 2))
    after = "".join(f"after {n}\r\n" for n in range(others // 2))
    text = row["in"]["in"]
    at = 0 if text.startswith("\ufeff") else others // 2
    data = (text + before + after if not at else before + text + after).encode("utf-8", "surrogatepass")
    found = bodies(data, row["in"]["config"])
    expected = [event["body"].encode() for event in row["out"]["events"]]
    assert found[at : at + len(expected)] == expected
    assert len(found) == len(expected) + others


@pytest.mark.parametrize("block_bytes", [8, 64, 1 << 20])
@pytest.mark.parametrize("seed", range(8))
def test_lines_are_cut_where_flume_cuts_them(block_bytes: int, seed: int) -> None:
    """Any lengths, any characters, any block border; with `\\r`, empty lines, and no newline at the end."""
    shuffle = random.Random(seed)
    alphabet = ["a", "b", "\r", "\0"] if seed % 2 else ["a", "ä", "€", "\u2028", "x"]
    text = ""
    for _ in range(40):
        text += "".join(shuffle.choices(alphabet, k=shuffle.choice([0, 1, 9, 10, 11, 20, 35, 300])))
        text += shuffle.choice(["\n", "\n", "\r\n", "\n\n"])
    text += shuffle.choice(["", "end", "x" * 10, "y" * 20])
    found = bodies(text.encode(), {"maxLineLength": "10"}, block_bytes=block_bytes)
    assert found == [piece.encode() for piece in flume(text, 10)]


def test_a_character_of_two_java_characters_stays_whole_at_a_cut() -> None:
    """Flume would make two question marks of it."""
    assert bodies("aaa😀bb\n".encode(), {"maxLineLength": "4"}) == ["aaa😀".encode(), b"bb"]


def test_a_line_of_exactly_the_greatest_length_gives_an_empty_event_too() -> None:
    """As Flume, whose reader has not seen the newline yet; not at the end of the file."""
    assert bodies(b"1234\n12345\n1234", {"maxLineLength": "4"}) == [b"1234", b"", b"1234", b"5", b"1234"]


def test_the_newlines_stay_in_the_block_where_nothing_is_special() -> None:
    """The batch is the block: a text sink can write it as it is."""
    ((rows, found),) = reads(line(b"a\nb\r\nlast"))
    assert rows.batch.trim == 1
    assert found == [b"a", b"b\r", b"last"]
    assert bytes(rows.batch.lines()) == b"a\nb\r\nlast\n"
    assert (rows.start, rows.end, rows.last) == (0, 9, True)


@pytest.mark.parametrize("rows_max", [1, 3, 7])
@pytest.mark.parametrize(
    ("charset", "config"),
    [
        ("utf-8", {}),
        ("utf-8", {"maxLineLength": "5"}),
        ("latin-1", {"maxLineLength": "5"}),
        ("gbk", {"maxLineLength": "5"}),
        ("utf-16-le", {"maxLineLength": "5"}),
        ("utf-16-be", {}),
        ("utf-32-le", {"maxLineLength": "7"}),
        ("shift_jis", {"maxLineLength": "5"}),
        ("utf-8", {"outputCharset": "ISO-8859-1", "maxLineLength": "6"}),
    ],
)
def test_reading_can_begin_again_behind_any_row_that_was_read(
    charset: str, config: dict[str, str], rows_max: int
) -> None:
    """A deserializer made at `end` gives what would have come: neither more nor less."""
    words = (
        ["", "a", "Füße", "abcdefghij", "x" * 23]
        if charset in ("latin-1", "utf-8")
        else ["", "中文", "abc中文def文文文", "z"]
    )
    text = "\n".join(random.Random(3).choices(words, k=50))
    data = text.encode(charset)
    whole = bodies(data, config, charset=charset)
    seen: list[bytes] = []
    end = 0
    while True:
        made = line(data, config, offset=end, charset=charset)
        rows = made.read(rows_max)
        if rows is None:
            break
        assert rows.start == end
        assert rows.batch.rows <= rows_max
        seen += rows.batch.body.to_pylist()
        end = rows.end
        following = made.read(rows_max)
        assert following is None or following.start == end
    assert seen == whole
    assert end == len(data)


def test_another_character_set_is_read_as_utf8() -> None:
    """Single-byte, multi-byte, and wide ones."""
    text = "Füße\n\nGröße\r\n"
    assert bodies(text.encode("latin-1"), charset="latin-1") == ["Füße".encode(), b"", "Größe\r".encode()]
    assert bodies("中文\n文\n".encode("gbk"), charset="gbk") == ["中文".encode(), "文".encode()]
    assert bodies("ਊ\nĊ\nx".encode("utf-16-le"), charset="utf-16-le") == ["ਊ".encode(), "Ċ".encode(), b"x"]


@pytest.mark.parametrize("order", ["le", "be"])
def test_the_mark_at_the_beginning_of_utf16_decides(order: str) -> None:
    """And it is no text; also when reading begins later. Without a mark it is big-endian, as in Java."""
    mark = b"\xff\xfe" if order == "le" else b"\xfe\xff"
    data = mark + "a\nbö\n".encode(f"utf-16-{order}")
    assert bodies(data, charset="utf-16") == [b"a", "bö".encode()]
    later = line(data, offset=6, charset="utf-16").read(10)
    assert later is not None
    assert later.batch.body.to_pylist() == ["bö".encode()]
    assert bodies("a\n".encode("utf-16-be"), charset="utf-16") == [b"a"]


@pytest.mark.parametrize(
    ("charset", "expected"), [("ISO-8859-1", "Füße".encode("latin-1")), ("UTF-16BE", "Füße".encode("utf-16-be"))]
)
def test_bodies_can_go_out_in_another_character_set(charset: str, expected: bytes) -> None:
    """Of every line; what the set lacks becomes a question mark."""
    found = bodies("Füße\n\n中x".encode(), {"outputCharset": charset})
    assert found[:2] == [expected, b""]
    assert found[2] == (b"?x" if charset == "ISO-8859-1" else "中x".encode("utf-16-be"))


def test_a_mark_before_every_event_is_refused() -> None:
    """UTF-16 without an order of bytes."""
    options, findings = read_options(LineOptions, {"outputCharset": "UTF-16"})
    assert options is None
    assert "UTF-16BE" in findings[0].message


def test_bad_bytes_end_the_reading_and_all_lines_before_are_given() -> None:
    """`FAIL`: the message says where and what."""
    made = line(b"one\ntwo\ncaf\xe9 three\nfour\n", block_bytes=1 << 10)
    rows = made.read(100)
    assert rows is not None
    assert rows.batch.body.to_pylist() == [b"one", b"two"]
    assert (rows.end, rows.last) == (8, False)
    for _ in range(2):
        with pytest.raises(DamagedData, match=r"at byte 11 \(e9 20 74 68\) it is no utf-8"):
            made.read(100)


@pytest.mark.parametrize(("errors", "body"), [("replace", "caf\ufffd"), ("ignore", "caf")])
def test_bad_bytes_can_be_replaced_or_left_out(errors: str, body: str) -> None:
    """The lines around them are as they were, and places stay right."""
    data = b"one\ncaf\xe9\nfour\n"
    assert bodies(data, errors=errors) == [b"one", body.encode(), b"four"]
    ends = [rows.end for rows, _ in reads(line(data, errors=errors), 1)]
    assert ends == [4, 9, 14]


@pytest.mark.parametrize("errors", ["strict", "replace", "ignore"])
def test_half_a_character_at_the_end_of_the_file_is_dropped(errors: str) -> None:
    """As in Flume, whatever the policy says."""
    made = line(b"a\nb\xe2\x82", errors=errors)
    ((rows, found),) = reads(made)
    assert found == [b"a", b"b"]
    assert (rows.end, rows.last) == (5, True)


def test_a_character_on_a_block_border_is_no_error() -> None:
    """At any place of the border."""
    text = "äöü€😀" * 20
    for block_bytes in range(8, 40):
        assert bodies(f"{text}\n{text}\n".encode(), block_bytes=block_bytes) == [text.encode()] * 2


def test_a_line_longer_than_the_block_is_read_whole_when_it_may_be_so_long() -> None:
    """The block grows."""
    data = b"x" * 100_000 + b"\nshort\n"
    assert bodies(data, {"maxLineLength": "200000"}, block_bytes=1024) == [b"x" * 100_000, b"short"]


def test_a_line_without_end_does_not_make_the_block_grow() -> None:
    """It comes in pieces, as it is read."""
    made = line(b"x" * 1_000_000, {"maxLineLength": "100"}, block_bytes=4096)
    total = 0
    for rows, found in reads(made):
        assert {len(body) for body in found} == {100}
        total += rows.batch.rows
    assert total == 10_000
    assert len(made._block) == 4097


def test_cut_lines_are_counted() -> None:
    """So that somebody can be told."""
    cut = [
        rows.cut_lines for rows, _ in reads(line(b"short\n" + b"x" * 30 + b"\n" + b"y" * 11, {"maxLineLength": "10"}))
    ]
    assert cut == [2]


@pytest.mark.parametrize("config", [{"maxLineLength": "0"}, {"maxLineLength": "long"}, {"outputCharset": "klingon"}])
def test_values_that_make_no_sense_are_errors(config: dict[str, str]) -> None:
    """With the key in the message."""
    options, findings = read_options(LineOptions, config)
    assert options is None
    assert next(iter(config)) in findings[0].message
