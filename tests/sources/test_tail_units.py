"""The small parts of the tail: scans, Java's expressions, marks, groups."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.batch.framing import line_ends, strip_carriage_returns
from shipper.batch.line_scan import LineScan
from shipper.sources._tail.group import GlobGroup, RegexGroup
from shipper.sources._tail.identity import Mark, key_of
from shipper.sources._tail.java_lines import JavaLineRule, any_line_ends, strip_any_line_ends
from shipper.sources._tail.java_regex import compile_java
from shipper.sources._tail.lines import FileChanged, LineReader, NewlineRule
from shipper.sources._tail.watch import _network_kind
from shipper.sources._tail.watched import WatchedFile


@pytest.mark.parametrize("share", [0.0, 0.0005, 0.01, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 100_000, 131_073, 400_001])
def test_line_ends_are_where_the_newlines_are(share, size):
    values = np.where(np.random.default_rng(size).random(size) < share, 10, 65).astype(np.uint8)
    expected = np.concatenate([[0], np.flatnonzero(values == 10) + 1])
    assert line_ends(values.tobytes()).tolist() == expected.tolist()


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"a", b"bc", b"\0"]), max_size=30), st.integers(0, 1))
def test_javas_lines_are_those_of_universal_newlines(parts, large):
    filler = b"x" * 100 + b"\n"
    block = filler * (2000 * large) + b"".join(parts)
    offsets = any_line_ends(block)
    finished = block[: offsets[-1]]
    records, trim = strip_any_line_ends(memoryview(block), offsets)
    bodies = [body[: len(body) - trim] for body in records.column(0).to_pylist()]
    expected = re.split(rb"\r\n|\r|\n", finished)
    assert bodies == expected[:-1]
    rest = block[offsets[-1] :]
    assert rest.rstrip(b"\r").count(b"\r") == rest.count(b"\n") == 0


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"a", b"bc"]), max_size=30))
def test_taildirs_lines_lose_one_return(parts):
    block = b"".join(parts)
    offsets = line_ends(block)
    records, trim = strip_carriage_returns(memoryview(block), offsets)
    bodies = [body[: len(body) - trim] for body in records.column(0).to_pylist()]
    expected = [line.removesuffix(b"\r") for line in block.split(b"\n")[:-1]]
    assert bodies == expected


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=60))
def test_bytes_go_through_utf8_line_by_line_as_in_one_stream(raw):
    block = raw + b"\n"
    rule = JavaLineRule("UTF-8")
    offsets = rule.ends(memoryview(block), LineScan.of(block))
    records, trim = rule.rows(memoryview(block), offsets)
    bodies = [body[: len(body) - trim] for body in records.column(0).to_pylist()]
    text = block.decode("utf-8", "replace")
    assert bodies == [line.encode() for line in re.split("\r\n|\r|\n", text)[:-1]]


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        (r"app\.log.*", ["app.log", "app.log.1"], ["xapp.log", "app_log"]),
        (r"[ab].log", ["a.log", "b.log"], ["c.log", "ab.log"]),
        (r"file1$", ["file1"], ["file12"]),
        (r"(?i)APP.log", ["app.log"], ["apq.log"]),
        (r"(?<day>\d+)-\k<day>", ["12-12"], ["12-13"]),
        (r"\p{Alpha}+\p{Digit}", ["ab1"], ["ab", "é1"]),
        (r"[\p{Upper}_]+", ["A_B"], ["a"]),
        (r"\P{Digit}+", ["ab"], ["a1"]),
        (r"\Qa.b\E.", ["a.bc"], ["axbc"]),
        (r"a++b", ["aab"], ["b"]),
        (r"\w+\.log", ["ab.log"], ["é.log"]),
        (r"[^.]+", ["a"], ["a.b"]),
        (r"[^^]+\.log", ["a.log"], ["a^.log"]),
        (r"[a^]\.log", ["a.log", "^.log"], ["b.log"]),
        (r"[\w^]+", ["a^"], ["."]),
        (r"[\Q\E^a]", ["^", "a"], ["b"]),
        (r"a\x2eb\x{2e}c\056d", ["a.b.c.d"], ["axb.c.d"]),
        (r"a\z", ["a"], ["ab"]),
        (r"[\]\[]", ["]", "["], ["x"]),
        (r"log\h\H", ["log x"], ["log  "]),
        (r".", ["x"], ["\u2028", "\r"]),
        (r"(?:a|b)(?=c)c", ["ac"], ["a"]),
        (r"(?i:a)b", ["Ab"], ["AB"]),
    ],
)
def test_javas_expressions_match_what_they_match_in_java(pattern, matching, other):
    compiled = compile_java(pattern)
    assert [name for name in matching + other if compiled.fullmatch(name)] == matching


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("[a[bc]]", "class inside a class"),
        ("[a-z&&[^b]]", "intersection"),
        ("[ab", "not closed"),
        ("[]a]", "empty"),
        ("[^]a]", "empty"),
        ("(a", "no regular expression"),
        ("*a", "no regular expression"),
        (r"a\p{IsGreek}", "only the classes"),
        (r"a(?i)b", "at the beginning only"),
        ("a\\", "ends in a single"),
        (r"\X", "no counterpart"),
        (r"(?s).", "no counterpart"),
        ("a{4294967296}", "a repetition is 2147483647 times at most"),
        (r"\x{110000}", "the last character is"),
        (r"\x{ffffffffffffffff}", "the last character is"),
        ("(" * 3000 + ")" * 3000, "hundreds of levels deep"),
    ],
)
def test_what_python_can_not_say_is_refused_with_a_reason(pattern, reason):
    with pytest.raises(ValueError, match=reason):
        compile_java(pattern)


def test_a_mark_fits_only_what_it_was_made_of(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"one\ntwo\n")
    fd = os.open(path, os.O_RDONLY)
    mark = Mark(4, head_bytes=4, head_crc=_crc(b"one\n"), anchor_bytes=4, anchor_crc=_crc(b"one\n"), path="/x:y")
    assert Mark.of(4, mark.anchor) == mark
    assert mark.fits(fd, 8)
    assert not mark.fits(fd, 3)
    path.write_bytes(b"ONE\ntwo\n")
    assert not mark.fits(fd, 8)
    os.close(fd)


def _crc(data: bytes) -> int:
    import zlib

    return zlib.crc32(data)


def test_an_inode_that_is_used_again_has_another_key_where_the_file_system_can_tell(tmp_path):
    def key(name):
        fd = os.open(tmp_path / name, os.O_RDWR | os.O_CREAT)
        try:
            return key_of(fd, os.fstat(fd))
        finally:
            os.close(fd)

    first = key("a")
    assert key("a") == first
    os.unlink(tmp_path / "a")
    again = key("b")
    assert again != first or first.generation == 0


def test_a_group_by_expression_matches_the_whole_name_in_one_directory(tmp_path):
    for name in ("a.log", "b.log", "a.logx"):
        (tmp_path / name).touch()
    group = RegexGroup("g", str(tmp_path), compile_java(r"[ab]\.log"))
    assert group.listing() == [f"{tmp_path}/a.log", f"{tmp_path}/b.log"]
    assert group.matches(f"{tmp_path}/a.log")
    assert not group.matches(f"{tmp_path}/sub/a.log")


def test_a_group_by_glob_matches_as_a_shell_does(tmp_path):
    (tmp_path / "d").mkdir()
    for name in ("a.log", ".hidden.log", "d/a.log"):
        (tmp_path / name).touch()
    group = GlobGroup("g", f"{tmp_path}/*.log")
    assert group.listing() == [f"{tmp_path}/a.log"]
    assert group.directories() == [str(tmp_path)]
    matching = [name for name in ("a.log", ".hidden.log", "d/a.log") if group.matches(f"{tmp_path}/{name}")]
    assert matching == ["a.log"]
    assert GlobGroup("g", f"{tmp_path}/*/a.log").directories() == [f"{tmp_path}/d"]
    assert not GlobGroup("g", "/x/*/a.log").matches("/x/y/z/a.log")


def test_local_file_systems_are_told_from_network_ones():
    assert _network_kind("/proc") is None
    assert _network_kind("/") is None


@pytest.mark.parametrize("shorter", [True, False], ids=["shorter", "as long as before"])
def test_a_file_written_anew_between_two_pieces_of_a_read_gives_what_was_read_and_then_says_so(
    shorter: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read of several pieces never joins two files, and what it has of the old one is not thrown away."""
    path = tmp_path / "a.log"
    old = b"".join(b"old line %06d\n" % number for number in range(50_000))
    path.write_bytes(old)
    file = WatchedFile(key_of(-1, path.stat()), "f", str(path), GlobGroup("g", str(path), {}))
    file.fd = os.open(path, os.O_RDONLY)
    reader = LineReader(NewlineRule(), 1 << 20, 1 << 20)
    real, reads = os.preadv, []

    def written_anew_behind_the_first(*asked: object) -> int:
        count = real(*asked)  # type: ignore[arg-type]
        reads.append(count)
        if len(reads) == 1:
            path.write_bytes(b"new line\n" * (10 if shorter else len(old) // 9))
        return count

    monkeypatch.setattr(os, "preadv", written_anew_behind_the_first)
    lines = reader.read(file, 1_000_000)
    assert lines is not None
    assert old.startswith(b"".join(lines.records.column(0).to_pylist())), "of the old file, in order"
    assert 10_000 < lines.records.num_rows < 20_000, "as much as the first piece brought"
    with pytest.raises(FileChanged):
        reader.read(file, 1_000_000)
    os.close(file.fd)


@pytest.mark.parametrize(("size_bytes", "waits"), [(100_000, False), (2_000_000, True)])
def test_room_is_waited_for_only_where_a_whole_block_is_to_be_read(
    size_bytes: int, waits: bool, tmp_path: Path
) -> None:
    """The few lines that a quiet log has got fit into a ring that has no room for a block."""
    path = tmp_path / "a.log"
    path.write_bytes(b"a line of a log\n" * (size_bytes // 16))
    file = WatchedFile(key_of(-1, path.stat()), "f", str(path), GlobGroup("g", str(path), {}))
    file.fd = os.open(path, os.O_RDONLY)
    lent: list[memoryview] = []

    def awaited(block_bytes: int) -> memoryview:
        lent.append(memoryview(bytearray(block_bytes)))
        return lent[-1]

    reader = LineReader(NewlineRule(), 1 << 20, 1 << 20, lambda _: None, awaited)
    lines = reader.read(file, 1_000_000)
    assert lines is not None and set(lines.records.column(0).to_pylist()) == {b"a line of a log\n"}
    assert len(lent) == waits
    assert not waits or bytes(lent[0][:16]) == b"a line of a log\n", "it is read to where it came from"
    os.close(file.fd)


def test_where_few_rows_are_wanted_little_more_than_these_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a block that holds many times as many; and a line that is longer than all before it comes whole."""
    path = tmp_path / "a.log"
    lines = [b"line %06d %s\n" % (number, b"x" * 130) for number in range(20_000)]
    lines[15_000] = b"long " + b"y" * 700_000 + b"\n"
    path.write_bytes(b"".join(lines))
    file = WatchedFile(key_of(-1, path.stat()), "f", str(path), GlobGroup("g", str(path), {}))
    file.fd = os.open(path, os.O_RDONLY)
    reader = LineReader(NewlineRule(), 4 << 20, 1 << 20)
    real, brought = os.preadv, [0]

    def counted(*asked: object) -> int:
        count = real(*asked)  # type: ignore[arg-type]
        brought[0] += count
        return count

    monkeypatch.setattr(os, "preadv", counted)
    found: list[bytes] = []
    while (read := reader.read(file, 1000)) is not None:
        assert read.records.num_rows <= 1000
        found += read.records.column(0).to_pylist()
        if len(found) == 1000:
            brought[0] = 0  # the first read knows nothing of the lines
        if len(found) == 15_000:
            assert brought[0] < 14_000 * len(lines[0]) * 1.2
    assert found == lines
    os.close(file.fd)
