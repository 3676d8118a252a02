"""Agents, what they read and what they wrote."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import lz4.block
import pytest

from shipper.instance.ledger import Ledger
from shipper.instance.ledger_book import LedgerBook
from shipper.testing.agent import Agent


def taildir(name: str, channel: str, directory: Path, **options: object) -> str:
    """A TAILDIR source of all files of a directory."""
    lines = {
        "type": "TAILDIR", "filegroups": "f", "filegroups.f": f"{directory}/.*",
        "positionFile": directory.parent / f"{directory.name}-{name}.json", "channels": channel, "rotateWait": 1,
        **options,
    }  # fmt: skip
    return "".join(f"a1.sources.{name}.{key} = {value}\n" for key, value in lines.items())


def seq(name: str, channel: str, total: int, **options: object) -> str:
    """A source that counts."""
    lines = {"type": "seq", "totalEvents": total, "channels": channel, **options}
    return "".join(f"a1.sources.{name}.{key} = {value}\n" for key, value in lines.items())


def file_roll(name: str, channel: str, directory: Path, **options: object) -> str:
    """A sink that writes files of text."""
    directory.mkdir(parents=True, exist_ok=True)
    lines = {"type": "file_roll", "sink.directory": directory, "sink.rollInterval": 1, "channel": channel, **options}
    return "".join(f"a1.sinks.{name}.{key} = {value}\n" for key, value in lines.items())


def hdfs_lz4(name: str, channel: str, directory: Path) -> str:
    """A sink that writes lz4 files as Hadoop reads them."""
    lines = {
        "type": "hdfs", "hdfs.path": f"file://{directory}", "hdfs.fileType": "CompressedStream", "hdfs.codeC": "lz4",
        "hdfs.rollInterval": 0, "hdfs.rollCount": 0, "hdfs.rollSize": 3 << 20, "channel": channel,
    }  # fmt: skip
    return "".join(f"a1.sinks.{name}.{key} = {value}\n" for key, value in lines.items())


def agent_of(*parts: str, sources: str = "r1", channels: str = "c1", sinks: str = "k1", more: str = "") -> str:
    """A configuration of agent a1 with memory channels."""
    head = f"a1.sources = {sources}\na1.channels = {channels}\na1.sinks = {sinks}\n"
    memory = "".join(f"a1.channels.{name}.type = memory\n" for name in channels.split())
    return head + memory + "".join(parts) + more


def numbered(path: Path) -> tuple[int, ...]:
    """Order of the files of a sink: by the numbers in their names."""
    return tuple(int(digits) for digits in re.findall(r"\d+", path.name))


def texts(directory: Path) -> bytes:
    """What is in the files of a file_roll sink, in order."""
    return b"".join(path.read_bytes() for path in sorted(directory.iterdir(), key=numbered))


def lz4_texts(directory: Path) -> bytes:
    """What Hadoop's Lz4Codec reads in the files of an hdfs sink, in order."""
    found = []
    for path in sorted(directory.iterdir(), key=numbered):
        assert path.suffix == ".lz4", f"{path} is not finished"
        data, at = path.read_bytes(), 0
        while at < len(data):
            raw, at = struct.unpack_from(">I", data, at)[0], at + 4
            got = 0
            while got < raw:
                size = struct.unpack_from(">I", data, at)[0]
                block = lz4.block.decompress(data[at + 4 : at + 4 + size], uncompressed_size=raw - got)
                found.append(block)
                got, at = got + len(block), at + 4 + size
    return b"".join(found)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Callable[..., Agent]]:
    """Makes agents that end with the test: `agent(properties, name="a1")`."""
    with ExitStack() as stack:
        made = 0

        def make(properties: str, directory: Path | None = None, **options: object) -> Agent:
            nonlocal made
            made += 1
            where = directory or tmp_path / f"agent{made}"
            return stack.enter_context(Agent(where, properties, **options))  # type: ignore[arg-type]

        yield make


def total(one: Agent) -> Ledger:
    """What the book and the memory of an agent say now."""
    path = next(one.state_dir.glob("*/ledger.json"), None)
    return LedgerBook(path).total() if path else Ledger()


def has(one: Agent, rows: int) -> Callable[[], bool]:
    """True when so many rows of channel c1 were delivered and committed: they are in files a moment before."""
    return lambda: total(one).channels.get("c1", {}).get("delivered", 0) >= rows


def maps(pid: int) -> str:
    """What a process has mapped."""
    return Path(f"/proc/{pid}/maps").read_text()


def descriptor_limit(pid: int) -> tuple[str, str]:
    """Soft and hard limit on open files of a process."""
    line = next(line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith("Max open"))
    return line.split()[3], line.split()[4]


def is_root() -> bool:
    """Some things only root may do."""
    return os.getuid() == 0
