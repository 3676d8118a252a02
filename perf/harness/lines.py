"""Inputs: files of log lines that differ as real ones do, so that what compresses them is measured honestly.

A block of 64 MiB is made line by line from a seeded generator (address, time, request, status, size, referer, agent,
and text up to the wanted length); a larger file repeats the block, which no codec's window of 32 or 64 KiB can see.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BLOCK_BYTES = 64 << 20
_SEED = 20_120_623
_POOL_WORDS = 300_000
_PAGES = 4000
_FIRST_S = 1_340_459_193

_METHODS = ("GET",) * 17 + ("POST", "POST", "HEAD")
_STATUSES = (200,) * 15 + (304, 304, 404, 302, 500)
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:115.0) Gecko/20100101",
    "curl/7.88.1",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 16_5 like Mac OS X)",
    "python-requests/2.31.0",
    "Googlebot/2.1 (+http://www.google.com/bot.html)",
)


@dataclass(frozen=True)
class Input:
    """A file of lines.

    Attributes:
        line_bytes: mean length of a line with its newline.
    """

    path: Path
    size_bytes: int
    lines: int

    @property
    def line_bytes(self) -> float:
        return self.size_bytes / self.lines


@functools.lru_cache(maxsize=2)
def block(line_bytes: int, size_bytes: int = BLOCK_BYTES) -> bytes:
    """At least `size_bytes` of whole lines with a mean length of `line_bytes`, the same at every call."""
    random = np.random.default_rng(_SEED + line_bytes)
    count = size_bytes // line_bytes + 1
    lengths = np.maximum(random.normal(line_bytes, line_bytes / 7, count), line_bytes * 0.55).astype(int).tolist()
    addresses = random.zipf(1.3, count) * 2_654_435_761 % (1 << 32)
    octets = zip(*(((addresses >> shift) & 255).tolist() for shift in (24, 16, 8, 0)), strict=True)
    times = (np.cumsum(random.random(count) * 0.04) + _FIRST_S).astype(int).tolist()
    picks = random.integers(0, 1 << 30, count).tolist()
    sizes = (random.pareto(1.2, count) * 900 + 120).astype(int).tolist()
    pool = _pool(random)
    pages = random.integers(0, len(pool) - line_bytes * 3, _PAGES)
    places = pages[np.minimum(random.zipf(1.25, count), 1 << 40) % _PAGES].tolist()
    stamps = {second: _stamp(second) for second in set(times)}
    with_referer, with_agent = line_bytes >= 130, line_bytes >= 190
    lines = []
    for length, (a, b, c, d), second, pick, size, place in zip(
        lengths, octets, times, picks, sizes, places, strict=True
    ):
        head = f'{a}.{b}.{c}.{d} - - [{stamps[second]}] "{_METHODS[pick % 20]} /'
        tail = f' HTTP/1.1" {_STATUSES[(pick >> 6) % 20]} {size}'
        if with_referer:
            tail += f' "https://www.example.com/{pool[place : place + 12]}"'
        if with_agent:
            tail += f' "{_AGENTS[(pick >> 12) % 6]}"'
        left = max(length - len(head) - len(tail) - 1, 1)
        if left > 150:  # long lines have a request id and a cookie behind them, not a path of 300 letters
            tail += f' id={pick:08x}{size:08x}{place:08x} "{pool[place : place + left - 110]}"'
            left = max(length - len(head) - len(tail) - 1, 1)
        lines.append(f"{head}{pool[place + 20 : place + 20 + left]}{tail}\n")
    return "".join(lines).encode()


def write_input(path: Path, size_bytes: int, line_bytes: int) -> Input:
    """Makes a file of whole lines, about `size_bytes` long."""
    unit = block(line_bytes, min(size_bytes, BLOCK_BYTES))
    whole, rest = divmod(size_bytes, len(unit))
    last = unit[: unit.rfind(b"\n", 0, rest) + 1]
    with path.open("wb", buffering=0) as file:
        for _ in range(whole):
            file.write(unit)
        file.write(last)
    lines = whole * unit.count(b"\n") + last.count(b"\n")
    return Input(path, whole * len(unit) + len(last), lines)


def _pool(random: np.random.Generator) -> str:
    """Words of a site: few are frequent, most are rare; a fifth are numbers."""
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(random.choice(letters, size)) for size in random.integers(3, 11, 2500)]
    ranks = np.minimum(random.zipf(1.15, _POOL_WORDS), 1 << 40) % len(words)
    numbers = random.integers(0, 100_000, _POOL_WORDS)
    shown = [
        str(number) if number % 5 == 0 else words[rank]
        for rank, number in zip(ranks.tolist(), numbers.tolist(), strict=True)
    ]
    return "/".join(shown)


def _stamp(second: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(second, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
