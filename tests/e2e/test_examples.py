"""Every file of examples/ runs as it stands, but for its directory, and delivers what goes in."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shipper.testing.agent import Agent
from shipper.testing.ports import free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
ACCESS = [f"10.0.0.{n % 250} GET /page/{n} 200".encode() for n in range(5000)]
ERRORS = [f"error {n}: no such page".encode() for n in range(300)]

#: The examples that a test below is about; another file in the folder makes the test below fail.
TESTED: dict[str, Callable[[Path], None]] = {}


def example(name: str) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    def note(check: Callable[[Path], None]) -> Callable[[Path], None]:
        TESTED[name] = check
        return check

    return note


def agent(directory: Path, name: str, **changes: str) -> Agent:
    """The agent of an example whose files lie below `directory`."""
    properties = (EXAMPLES / name).read_text().replace("@DIR@", str(directory))
    for old, new in changes.items():
        assert old in properties
        properties = properties.replace(old, new)
    return Agent(directory / "agent", properties)


def write_logs(directory: Path) -> None:
    logs = directory / "logs"
    logs.mkdir()
    (logs / "access.log").write_bytes(b"\n".join(ACCESS) + b"\n")
    (logs / "error.log").write_bytes(b"\n".join(ERRORS) + b"\n")


def files_below(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def lines_of(paths: list[Path], read: Callable[[bytes], bytes] = bytes) -> Counter[bytes]:
    """How often each line is in these files; what is still being written counts as far as it is there."""
    return Counter(b"".join(read(path.read_bytes()) for path in paths).splitlines())


def hadoop_blocks(compressed: bytes) -> bytes:
    """What Hadoop's block codec makes of a .lz4 file: raw length, then (compressed length, block) until it is full."""
    found, at = [], 0
    while at < len(compressed):
        wanted = int.from_bytes(compressed[at : at + 4])
        at += 4
        while wanted > 0:
            length = int.from_bytes(compressed[at : at + 4])
            # A raw lz4 block does not say how long it is when it is unpacked; it is at most what is still wanted.
            raw = pa.Codec("lz4_raw").decompress(compressed[at + 4 : at + 4 + length], wanted, asbytes=True)
            found.append(raw)
            wanted -= len(raw)
            at += 4 + length
    return b"".join(found)


def sequence_file_rows(content: bytes) -> list[bytes]:
    """The values of an uncompressed SequenceFile of LongWritable and BytesWritable, read by its description."""

    def text(at: int) -> tuple[bytes, int]:
        return content[at + 1 : at + 1 + content[at]], at + 1 + content[at]

    assert content[:4] == b"SEQ\x06"
    key_class, at = text(4)
    value_class, at = text(at)
    assert (key_class, value_class) == (b"org.apache.hadoop.io.LongWritable", b"org.apache.hadoop.io.BytesWritable")
    assert content[at : at + 2] == b"\0\0"  # neither records nor blocks are compressed
    pairs = int.from_bytes(content[at + 2 : at + 6])
    at += 6
    for _ in range(2 * pairs):
        _, at = text(at)
    sync = content[at : at + 16]
    at += 16
    rows = []
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], signed=True)
        if length == -1:
            assert content[at + 4 : at + 20] == sync
            at += 20
            continue
        value = content[at + 16 : at + 8 + length]  # after the lengths of record and key, and the key of 8 bytes
        assert int.from_bytes(value[:4]) == len(value) - 4
        rows.append(value[4:])
        at += 8 + length
    return rows


@example("main-job.properties")
def check_main_job(directory: Path) -> None:
    write_logs(directory)
    wanted = ACCESS + ERRORS
    with agent(directory, "main-job.properties").start() as running:
        running.until(lambda: lines_of(files_below(directory / "data"), gunzip_so_far).total() == len(wanted))
        assert running.stop() == 0
    found = files_below(directory / "data")
    assert [path.suffix for path in found] == [".gz"]
    assert found[0].name.startswith("access.")
    assert lines_of(found, gzip.decompress) == Counter(wanted)


def gunzip_so_far(data: bytes) -> bytes:
    """All members of a gzip file that is still being written, as far as they are there."""
    found = b""
    while data:
        member = zlib.decompressobj(wbits=31)
        found += member.decompress(data)
        data = member.unused_data
    return found


def delivered_bytes(positions: Path) -> int:
    """How far all files of a tail have been delivered."""
    return sum(file["pos"] for file in json.loads(positions.read_text())) if positions.exists() else 0


@example("tail-to-parquet.properties")
def check_tail_to_parquet(directory: Path) -> None:
    write_logs(directory)
    wanted = ACCESS + ERRORS
    with agent(directory, "tail-to-parquet.properties").start() as running:
        size = sum(path.stat().st_size for path in (directory / "logs").iterdir())
        running.until(lambda: delivered_bytes(directory / "positions.json") == size)
        assert running.stop() == 0
    found = files_below(directory / "data")
    assert {path.suffix for path in found} == {".parquet"}
    tables = [pq.read_table(path, partitioning=None) for path in found]
    assert Counter(row.encode() for table in tables for row in table["body"].to_pylist()) == Counter(wanted)


@example("exec-to-text.properties")
def check_exec_to_text(directory: Path) -> None:
    write_logs(directory)
    with agent(directory, "exec-to-text.properties").start() as running:
        running.until(lambda: lines_of(files_below(directory / "data")).total() == len(ACCESS) + len(ERRORS))
        with (directory / "logs" / "access.log").open("ab") as log:
            log.write(b"one more\n")
        running.until(lambda: b"one more" in lines_of(files_below(directory / "data")))
        assert running.stop() == 0
    found = files_below(directory / "data")
    assert {path.suffix for path in found} == {".txt"}
    assert lines_of(found) == Counter([*ACCESS, *ERRORS, b"one more"])


@example("netcat-to-files.properties")
def check_netcat_to_files(directory: Path) -> None:
    (directory / "data").mkdir()
    port = free_port()
    with agent(directory, "netcat-to-files.properties", **{"44444": str(port)}).start() as running:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(b"\n".join(ACCESS) + b"\n")
            answers = client.makefile("rb")
            assert [answers.readline() for _ in ACCESS] == [b"OK\n"] * len(ACCESS)
        assert running.stop() == 0
    assert lines_of(files_below(directory / "data")) == Counter(ACCESS)


@example("spooldir-to-lz4.properties")
def check_spooldir_to_lz4(directory: Path) -> None:
    write_logs(directory)
    with agent(directory, "spooldir-to-lz4.properties").start() as running:
        running.until(lambda: len(list((directory / "logs").glob("*.COMPLETED"))) == 2, "both files are read")
        assert running.stop() == 0
    found = files_below(directory / "data")
    assert {path.suffix for path in found} == {".lz4"}
    assert {path.parent.parent.name for path in found} == {socket.getfqdn()}
    assert lines_of(found, hadoop_blocks) == Counter(ACCESS + ERRORS)


@example("two-groups-two-channels.properties")
def check_two_groups_two_channels(directory: Path) -> None:
    write_logs(directory)
    (directory / "data").mkdir()

    def alerts() -> list[Path]:
        return sorted(path for path in (directory / "data").iterdir() if path.is_file())

    def archive() -> list[bytes]:
        files = files_below(directory / "data" / "archive")
        return [row for path in files for row in sequence_file_rows(path.read_bytes())]

    with agent(directory, "two-groups-two-channels.properties").start() as running:
        running.until(lambda: lines_of(alerts()).total() == len(ERRORS), "the alerts have arrived")
        assert running.stop() == 0
    assert Counter(archive()) == Counter(ACCESS)
    rows = [json.loads(line) for path in alerts() for line in path.read_bytes().splitlines()]
    assert Counter(row["body"].encode() for row in rows) == Counter(ERRORS)
    assert {row["headers"]["kind"] for row in rows} == {"error"}


@example("tail-through-disk.properties")
def check_tail_through_disk(directory: Path) -> None:
    """What is in the channel outlives the machine: all processes are killed, and what was in memory is taken away."""
    write_logs(directory)
    (directory / "data").mkdir()
    with agent(directory, "tail-through-disk.properties").start() as running:
        running.until(lambda: lines_of(files_below(directory / "data")).total() > 1000)
        left = running.children()
        running.kill()
        running.until_gone(left)
        shutil.rmtree(running.instance_dir())
        with (directory / "logs" / "access.log").open("ab") as log:
            log.write(b"one more\n")
        running.start()
        running.until(lambda: b"one more" in lines_of(files_below(directory / "data")))
        assert running.stop() == 0
    assert lines_of(files_below(directory / "data")) == Counter([*ACCESS, *ERRORS, b"one more"])


@example("dead-letters.properties")
def check_dead_letters(directory: Path) -> None:
    write_logs(directory)
    (directory / "letters").mkdir()

    def letters() -> list[bytes]:
        return [line for path in files_below(directory / "letters") for line in path.read_bytes().splitlines()]

    with agent(directory, "dead-letters.properties").start() as running:
        running.until(lambda: len(letters()) == len(ERRORS), "the letters have arrived")
        assert running.stop() == 0
    assert lines_of(files_below(directory / "data")) == Counter(ACCESS)
    rows = [json.loads(line) for line in letters()]
    assert Counter(row["body"].encode() for row in rows) == Counter(ERRORS)
    assert {(row["headers"]["deadLetter.sink"], row["headers"]["deadLetter.channel"]) for row in rows} == {("k1", "c1")}
    assert all("needs the time of each event" in row["headers"]["deadLetter.reason"] for row in rows)


@example("tail-through-memory-and-disk.properties")
def check_tail_through_memory_and_disk(directory: Path) -> None:
    """The sink can't write at first: memory fills up, and what comes behind it goes to disk; order is kept."""
    write_logs(directory)
    with agent(directory, "tail-through-memory-and-disk.properties").start(wait=False) as running:
        running.until(lambda: list((directory / "channel" / "data").glob("*.segment")))
        (directory / "data").mkdir()
        running.until(lambda: lines_of(files_below(directory / "data")).total() == len(ACCESS) + len(ERRORS))
        assert running.stop() == 0
    lines = b"".join(path.read_bytes() for path in files_below(directory / "data")).splitlines()
    assert [line for line in lines if not line.startswith(b"error")] == ACCESS
    assert [line for line in lines if line.startswith(b"error")] == ERRORS


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.properties")))
def test_an_example_delivers_what_goes_in(name: str, tmp_path: Path) -> None:
    """Each line once, and no .tmp file is left after the agent has stopped."""
    TESTED[name](tmp_path)
    assert [path.name for path in files_below(tmp_path / "data") if path.name.endswith(".tmp")] == []
