"""`LINE`: each line is an event; a line of more than `maxLineLength` characters is cut into several.

A line ends in `\\n`, a `\\r` before it stays, the last line needs no end. One read brings a block, one scan finds its
lines, and the block is the batch. Three questions are asked of the whole block: is it UTF-8, is any line too long, must
it go out in another character set; only a block that needs it goes through the slower steps below. None of the steps
looks at lines one by one.

Lengths are counted in Java's characters: one above U+FFFF counts twice. Flume cuts in the middle of one if it has to,
which destroys it; here it stays with the piece before the cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from shipper.api import DamagedData, EventBatch, Options, at_least, integer, option
from shipper.batch.framing import line_ends, rows_between, rows_of
from shipper.sources._charset import charset, is_utf8
from shipper.sources.deserializers._encoded import EncodedText, encoded_lines
from shipper.sources.deserializers._pieces import cut_lines
from shipper.sources.deserializers.deserializer import Content, Deserializer, Reading, Rows, Undecodable

#: A character is never longer than this in any character set.
_CHAR_BYTES_MAX = 4


@dataclass(frozen=True, kw_only=True)
class LineOptions(Options):
    """Options of the LINE deserializer."""

    line_chars_max: int = option(
        "maxLineLength",
        at_least(integer, 1),
        2048,
        help="Characters of one event; longer lines are cut.",
    )
    output_charset: str = option("outputCharset", charset, "utf-8", help="Character set of the bodies.")

    def problems(self) -> list[tuple[str, str]]:
        if self.output_charset in ("utf-16", "utf-32"):
            name = self.output_charset.upper()
            return [("outputCharset", f"{name} would put a mark before each event; write {name}BE or {name}LE")]
        return []


class LineDeserializer(Deserializer[LineOptions]):
    """Finds lines, a block at a time."""

    Options = LineOptions
    aliases = (
        "line", "org.apache.flume.serialization.LineDeserializer",
        "org.apache.flume.serialization.LineDeserializer$Builder",
    )  # fmt: skip

    def __init__(self, options: LineOptions, content: Content, reading: Reading) -> None:
        super().__init__(options, content, reading)
        self._encoded = EncodedText(reading.charset, reading.errors, content)
        # The block, where it begins in the content, how much of it is filled, and how much of that has become lines.
        # Its last byte is kept free: a last line without an end gets one there.
        left_bytes = content.left_bytes()
        block_bytes = reading.block_bytes if left_bytes is None else min(reading.block_bytes, max(left_bytes, 64))
        self._block = bytearray(block_bytes + 1)
        self._base = content.offset
        self._filled = 0
        self._used = 0
        self._ended = False
        self._lines: _Lines | None = None
        self._damage: DamagedData | None = None

    def read(self, rows_max: int) -> Rows | None:
        if self._lines is None:
            self._lines = self._next_lines()
            if self._lines is None:
                return None
        lines = self._lines
        first = lines.first
        end = lines.first = min(first + rows_max, lines.rows)
        start = lines.place(first)
        if end == lines.rows:
            self._lines = None
        stop = self._base + self._used if self._lines is None else lines.place(end)
        whole = end - first == lines.rows
        batch = lines.batch if whole else lines.batch.slice(first, end - first)
        last = self._lines is None and self._ended and self._damage is None and self._used >= self._filled
        cut = lines.cut if end == lines.rows else 0
        limit = f"maxLineLength = {self.options.line_chars_max}"
        return Rows(batch=batch, start=start, end=stop, last=last, cut_lines=cut, limit=limit)

    def _next_lines(self) -> _Lines | None:
        while True:
            if self._damage is not None:
                raise self._damage
            self._fill()
            if self._used == self._filled:
                return None
            size = self._filled
            whole = size if self._ended else self._encoded.last_line_end(self._block, size)
            if whole:
                lines = self._lines_in(whole, unfinished=False)
            elif size >= _CHAR_BYTES_MAX * (self.options.line_chars_max + 1):
                lines = self._lines_in(size, unfinished=True)
            else:
                self._grow()
                continue
            if lines is not None and lines.rows:
                return lines

    # --- the block

    def _fill(self) -> None:
        """Moves what is no line yet to the front, and reads behind it."""
        block, used = self._block, self._used
        rest = self._filled - used
        block[:rest] = block[used : self._filled]
        self._base += used
        self._used = 0
        room = memoryview(block)[rest : len(block) - 1]
        came = self.content.read_into(room)
        self._filled = rest + came
        self._ended = self.content.at_end()  # a short read may also have met damage

    def _grow(self) -> None:
        larger = bytearray(2 * len(self._block))
        larger[: self._filled] = self._block[: self._filled]
        self._block = larger

    # --- lines

    def _lines_in(self, size: int, *, unfinished: bool) -> _Lines | None:
        """The lines in the first bytes of the block. `unfinished`: they are the beginning of one line."""
        self._used = size
        encoded = self._encoded
        if encoded.charset == "utf-8":
            kept = encoded.without_half_char(self._block, size) if unfinished or self._ended else size
            if is_utf8(self._block, kept):
                # At the end of a file half a character is dropped, as Flume does.
                self._used = size if self._ended else kept
                return self._cut(self._block, kept, unfinished, None)
        text, used, bad = encoded.to_utf8(self._block, size)
        if bad is not None:
            return self._lines_before(bad)
        self._used = size if self._ended else used
        return self._cut(bytearray(text + b"\n"), len(text), unfinished, encoded.line_starts(self._block, used))

    def _lines_before(self, bad: int) -> _Lines | None:
        """The whole lines before bytes that can't be decoded; the next read fails."""
        what = bytes(self._block[bad : bad + 4]).hex(" ")
        self._damage = Undecodable(f"at byte {self._base + bad} ({what}) it is no {self._encoded.charset}")
        whole = self._encoded.last_line_end(self._block, bad)
        self._used = 0
        return self._lines_in(whole, unfinished=False) if whole else None

    def _cut(self, text: bytearray, size: int, unfinished: bool, raw: Any) -> _Lines | None:
        """The lines in the first bytes of `text`, which is UTF-8; one more byte of it is free.

        Args:
            raw: where lines begin in the block that the text was decoded from; None when the text is the block.
        """
        if not size:
            return None
        ends = line_ends(memoryview(text)[:size])
        places = _Places(self._base, text, ends, raw, self._encoded.charset)
        terminated = int(ends[-1]) == size
        covered = text[size]  # by the newline that the rows need; it may be the first byte of what is read next
        if not terminated:
            text[size] = 10
            ends = np.append(ends, np.int32(size + 1))
        cut = 0
        if int(np.diff(ends).max()) > self.options.line_chars_max:
            starts, stops, cut = cut_lines(text, ends, self.options.line_chars_max, terminated=terminated)
            if unfinished:
                self._used = places.of(int(starts[-1])) - self._base
                starts, stops = starts[:-1], stops[:-1]
            batch = EventBatch(rows_between(text, starts, stops))
            text[size] = covered
        else:
            starts = ends[:-1]
            batch = EventBatch(rows_of(text, ends), trim=1)
        if self.options.output_charset != "utf-8":
            batch = encoded_lines(batch, self.options.output_charset)
        return _Lines(batch, starts, places, cut)


class _Places:
    """Where the rows of a text lie in the content.

    A text that was decoded has other lengths than what it was decoded from, but the same lines. Inside a line, which is
    asked for only when a batch ends between two pieces of a cut one, the way back is to encode what stands before.
    """

    def __init__(self, base: int, text: bytearray, ends: Any, raw: Any, charset: str) -> None:
        self._base = base
        self._text = text
        self._ends = ends
        self._raw = raw
        self._charset = charset

    def of(self, place: int) -> int:
        """The offset in the content of what is at `place` in the text."""
        if self._raw is None:
            return self._base + place
        if len(self._raw) != len(self._ends):  # what replaced a bad byte has swallowed a line end, or made one
            return self._base
        line = int(np.searchsorted(self._ends, place, side="right")) - 1
        before = self._text[int(self._ends[line]) : place].decode()
        return self._base + int(self._raw[line]) + len(before.encode(self._charset, "replace"))


class _Lines:
    """The lines of a block on their way out; `first` is the next row."""

    def __init__(self, batch: EventBatch, starts: Any, places: _Places, cut: int) -> None:
        self.batch = batch
        self.rows = batch.rows
        self.first = 0
        self.cut = cut
        self._starts = starts
        self._places = places

    def place(self, row: int) -> int:
        """The offset in the content at which a row begins."""
        return self._places.of(int(self._starts[row]))
