"""Java's dialect of keys and values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.config.properties import JAVA_BLANKS, java_trim, merge, parse, read_files, written


def values(data: bytes) -> dict[str, str]:
    found, problems = parse(data, "f")
    assert [p for p in problems if p.severity == "error"] == []
    return {p.key: p.value for p in found}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a : b", {"a": "b"}),
        (b"a b", {"a": "b"}),
        (b"a=b", {"a": "b"}),
        (b"a\t=\t b", {"a": "b"}),
        (b"a\fb", {"a": "b"}),
        (b"a = = b", {"a": "= b"}),
        (b"a =: b", {"a": ": b"}),
        (b"a", {"a": ""}),
        (b"a=", {"a": ""}),
        (b"=b", {"": "b"}),
        (b"a=b # x", {"a": "b # x"}),
        (b"a=b  ", {"a": "b  "}),
        (b"  \t a=b", {"a": "b"}),
        (b"a\\ b=c", {"a b": "c"}),
        (b"a\\=b=c", {"a=b": "c"}),
        (b"a\\:b:c", {"a:b": "c"}),
        (b"a\\\\=c", {"a\\": "c"}),
        (b"a=1\na=2", {"a": "2"}),
        (b"a=\\\\d+", {"a": "\\d+"}),
        (b"a=\\d+", {"a": "d+"}),
        (b"a=C:\\dir\\new", {"a": "C:dir\new"}),
        (b"a=\\t\\n\\r\\f\\q", {"a": "\t\n\r\fq"}),
        (b"a=\\u00e9\\u65E5", {"a": "é日"}),
        (b"a=\\uD83D\\uDE00", {"a": "😀"}),
        (b"a=\\uD83Dx", {"a": "?x"}),
        (b"\\u0061=b", {"a": "b"}),
        (b"a\\u003d=b", {"a=": "b"}),
        (b"a=\xe9", {"a": "é"}),
        (b"a=b\x85c", {"a": "b\x85c"}),
        (b"a=b\x0bc", {"a": "b\x0bc"}),
        (b"", {}),
        (b"\n\n  \n\t\n", {}),
    ],
)
def test_separators_and_escapes_are_java_s(data: bytes, expected: dict[str, str]) -> None:
    assert expected == values(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"# a=b\n! c=d\n  # e=f", {}),
        (b"# no continuation \\\na=b", {"a": "b"}),
        (b"a=b # \\\n c", {"a": "b # c"}),
        (b"a=b\\\n   c", {"a": "bc"}),
        (b"a=b\\\r\n\t c", {"a": "bc"}),
        (b"a=b\\\r c", {"a": "bc"}),
        (b"a=b\\\\\nc=d", {"a": "b\\", "c": "d"}),
        (b"a=b\\\\\\\nc=d", {"a": "b\\c=d"}),
        (b"a=b\\\n# c", {"a": "b# c"}),
        (b"a=b\\\n\nc=d", {"a": "b", "c": "d"}),
        (b"a=b\\\n  \\\n c", {"a": "bc"}),
        (b"a=b\\", {"a": "b"}),
        (b"a\\\n=b", {"a": "b"}),
        (b"a\\\nb=c", {"ab": "c"}),
        (b"\\\n a=b", {"a": "b"}),
        (b"a=1\rb=2\r\nc=3\nd=4", {"a": "1", "b": "2", "c": "3", "d": "4"}),
        (b"a=1\r\r\nb=2", {"a": "1", "b": "2"}),
    ],
)
def test_lines_end_and_continue_as_in_java(data: bytes, expected: dict[str, str]) -> None:
    assert expected == values(data)


def test_a_key_knows_the_line_where_it_begins() -> None:
    found, _ = parse(b"# one\r\n\r\na=1\\\r\n 2\\\n 3\nb=4\rc=5", "f")
    assert [(p.key, p.line) for p in found] == [("a", 3), ("b", 6), ("c", 7)]


def test_a_wrong_unicode_escape_is_told_with_its_line_and_the_rest_is_read() -> None:
    found, problems = parse(b"a=1\nb=\\u12x4\nc=\\u\nd=2", "f")
    assert [p.key for p in found] == ["a", "d"]
    assert [(p.severity, p.line) for p in problems] == [("error", 2), ("error", 3)]
    assert "\\u12x4 is no character" in problems[0].message


def test_a_line_in_utf8_is_read_as_flume_reads_it_and_a_warning_shows_the_form_that_is_meant() -> None:
    found, problems = parse("a=1\na1.sinks.k1.hdfs.filePrefix = 日志é😀\n".encode(), "f")
    assert "日志é😀".encode().decode("latin-1") == found[1].value
    [warning] = problems
    assert (warning.severity, warning.line) == ("warning", 2)
    [line] = warning.fix
    assert parse(line.encode(), "f")[0][0].value == "日志é😀"


def test_a_wide_sign_in_the_place_of_an_equals_sign_is_recognised() -> None:
    _, [warning] = parse("a1.sources ＝ r1\n".encode(), "f")
    assert "the wide sign ＝" in warning.message
    assert warning.fix == ("a1.sources = r1",)


def test_latin_1_and_comments_in_any_encoding_are_no_problem() -> None:
    assert parse("# 日志\na=1\n".encode() + b"b=caf\xe9", "f")[1] == []


def test_a_byte_order_mark_is_skipped_with_a_warning() -> None:
    found, problems = parse(b"\xef\xbb\xbfa=1", "f")
    assert [p.key for p in found] == ["a"]
    assert [p.severity for p in problems] == ["warning"]


def test_a_file_in_utf_16_is_an_error_that_says_so() -> None:
    found, problems = parse("a=1".encode("utf-16"), "f")
    assert found == []
    assert "UTF-16" in problems[0].message


def test_a_later_file_overrides_key_by_key_and_both_places_are_remembered(write: Callable[..., Path]) -> None:
    first, second = write("a=1\nb=2\n", "one"), write("\nb=3\nc=4", "two")
    merged, problems = read_files([first, second])
    assert {key: p.value for key, p in merged.items()} == {"a": "1", "b": "3", "c": "4"}
    assert (str(second), 2, ((str(first), 2),)) == (merged["b"].file, merged["b"].line, merged["b"].overridden)
    assert problems == []


def test_a_key_set_twice_in_one_file_is_told_when_the_values_differ(write: Callable[..., Path]) -> None:
    merged, problems = read_files([write("a=1\nb=2\na=3\nb=2\n")])
    assert merged["a"].value == "3"
    assert [(p.severity, p.line, p.key) for p in problems] == [("warning", 1, "a")]


def test_a_key_that_was_overridden_twice_remembers_all_places() -> None:
    merged: dict = {}
    for name in "xyz":
        merge(merged, parse(b"a=" + name.encode(), name)[0])
    assert (merged["a"].value, merged["a"].overridden) == ("z", (("x", 1), ("y", 1)))


@pytest.mark.parametrize("kind", ["missing", "directory", "unreadable name"])
def test_a_file_that_cannot_be_read_is_an_error_and_the_others_are_read(
    kind: str, write: Callable[..., Path], tmp_path: Path
) -> None:
    bad = {"missing": tmp_path / "none", "directory": tmp_path, "unreadable name": Path("a\0b")}[kind]
    merged, problems = read_files([bad, write("a=1")])
    assert list(merged) == ["a"]
    assert [p.severity for p in problems] == ["error"]


def test_a_file_that_is_far_too_long_is_no_configuration(tmp_path: Path) -> None:
    large = tmp_path / "log"
    with large.open("wb") as opened:
        opened.truncate((16 << 20) + 1)
    assert [p.severity for p in read_files([large])[1]] == ["error"]


def test_trim_takes_what_java_takes() -> None:
    assert java_trim(" \t\x00\x1f\xa0a\x85\r\n ") == "\xa0a\x85"
    assert len(JAVA_BLANKS) == 33


def test_a_password_is_not_shown() -> None:
    found, _ = parse(b"a.s.keystore-password=x\na.s.keyStorePasswordFile=y\na.s.password=z\na.s.path=p", "f")
    assert [p.shown for p in found] == ["(hidden)", "y", "(hidden)", "p"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("a.b", "c"),
        ("a b=c:d", "x = y # z"),
        ("#a", "C:\\d\\n"),
        ("!a", "é日😀\t\n"),
        ("a\\", "b\\"),
        ("a", ""),
        ("a", "\x00\x1b\x85"),
    ],
)
def test_a_written_line_is_read_as_it_was_meant(key: str, value: str) -> None:
    line = written(key, value)
    assert line.isascii()
    assert values(line.encode()) == {key: value}
