"""10,000 mutated configuration files: each gets an answer for a person, never a traceback, and none hangs.

The mutations are seeded: part 7 is the same 500 files on every machine. Bytes are flipped, lines lost, doubled and
moved, tokens exchanged for words that hurt. The files name no `external` filter, so that nothing is ever run.
"""

from __future__ import annotations

import io
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shipper.cli.check import check
from shipper.config.bind import load
from shipper.config.plan import Plan
from shipper.config.problem import SEVERITIES

PARTS, FILES_A_PART = 20, 500

#: The longest that one file may take; a hang is what this finds, so it is far above what a busy machine needs.
FILE_MAX_S = 5.0

SEEDS = [
    b"""\
# tail to files, with every kind of line end\r
a1.sources = r1 r2
a1.channels = c1 c2\r
a1.sinks = k1 k2
a1.sources.r1.type = TAILDIR
a1.sources.r1.filegroups = f1 f2
a1.sources.r1.filegroups.f1 = /var/log/app/.*\\\\.log
a1.sources.r1.filegroups.f2 = /var/log/web/access.log
a1.sources.r1.headers.f1.host = web1
a1.sources.r1.positionFile = ${env:HOME}/p.json
a1.sources.r1.channels = c1 c2
a1.sources.r1.selector.type = multiplexing
a1.sources.r1.selector.header = level
a1.sources.r1.selector.mapping.ERROR = c1 c2
a1.sources.r1.selector.default = c1
a1.sources.r1.interceptors = i1 i2 i3
a1.sources.r1.interceptors.i1.type = timestamp
a1.sources.r1.interceptors.i2.type = host
a1.sources.r1.interceptors.i2.useIP = false
a1.sources.r1.interceptors.i3.type = static
a1.sources.r1.interceptors.i3.key = dc
a1.sources.r1.interceptors.i3.value = ${DC:-fra}
a1.sources.r2.type = seq
a1.sources.r2.totalEvents = 1000
a1.sources.r2.channels = c2
a1.channels.c1.type = memory
a1.channels.c1.capacity = 10000
a1.channels.c1.transactionCapacity = 1000
a1.channels.c2.type = memory
a1.sinks.k1.type = hdfs
a1.sinks.k1.hdfs.path = file:///data/%Y/%m/%d/%{host}
a1.sinks.k1.hdfs.fileType = CompressedStream
a1.sinks.k1.hdfs.codeC = lz4
a1.sinks.k1.hdfs.rollInterval = 60
a1.sinks.k1.hdfs.timeZone = Europe/Berlin
a1.sinks.k1.hdfs.round = true
a1.sinks.k1.hdfs.roundUnit = minute
a1.sinks.k1.hdfs.roundValue = 10
a1.sinks.k1.serializer = text
a1.sinks.k1.serializer.appendNewline = false
a1.sinks.k1.channel = c1
a1.sinks.k2.type = file_roll
a1.sinks.k2.sink.directory = /var/spool/out
a1.sinks.k2.channel = c2
DC = ${env:DC:-ber}
""",
    b"""\
a1.sources = r1
a1.sinks = k1
a1.channels = c1
a1.sources.r1.type = exec
a1.sources.r1.command = tail -F /path/to/logs/*.log
a1.channels.c1.type = memory
a1.sinks.k1.type = hdfs
a1.sinks.k1.hdfs.path = hdfs://namenode:9000/user/flume/data/
a1.sinks.k1.hdfs.fileType = DataStream
a1.sinks.k1.hdfs.fileSuffix = .txt
""",
    b"""\
a1.sources = r1
a1.channels = c1
a1.sinks = k1 k2 k3
a1.sinkgroups = g1 g2
a1.configfilters = f1
a1.configfilters.f1.type = env
a1.sources.r1.type = netcat
a1.sources.r1.bind = 127.0.0.1
a1.sources.r1.port = 44444
a1.sources.r1.max-line-length = 512
a1.sources.r1.channels = c1
a1.channels.c1.type = file
a1.channels.c1.checkpointDir = /var/c
a1.channels.c1.dataDirs = /var/d1,/var/d2
a1.sinks.k1.type = logger
a1.sinks.k1.channel = c1
a1.sinks.k2.type = null
a1.sinks.k2.channel = c1
a1.sinks.k2.password = x${f1['KEY']}y
a1.sinks.k3.type = avro
a1.sinks.k3.hostname = h
a1.sinks.k3.port = 4141
a1.sinks.k3.channel = c1
a1.sinkgroups.g1.sinks = k1 k2
a1.sinkgroups.g1.processor.type = failover
a1.sinkgroups.g1.processor.priority.k1 = 5
a1.sinkgroups.g1.processor.priority.k2 = 10
a1.sinkgroups.g2.sinks = k3
a1.sinkgroups.g2.processor.type = default
""",
    b"""\
a1.sources = spool
a1.channels = c
a1.sinks = out
a1.sources.spool.type = spooldir
a1.sources.spool.spoolDir = /var/spool/in
a1.sources.spool.deserializer = LINE
a1.sources.spool.deserializer.maxLineLength = 4096
a1.sources.spool.channels = c
a1.channels.c.type = org.apache.flume.channel.MemoryChannel
a1.sinks.out.type = org.apache.flume.sink.RollingFileSink
a1.sinks.out.sink.directory = \\
    /var/spool/\\u006fut
a1.sinks.out.channel = c
b1.sources = x
b1.channels = y
b1.sources.x.type = ${kind}
b1.sources.x.channels = y
b1.channels.y.type = ${b1.sources.x.type}
kind = ${env:KIND:-seq}
""",
]  # fmt: skip

HURTING = [
    b"", b" ", b"0", b"-1", b"1", b"99999999999999999999", b"1e9", b"0x10", b"NaN", b"inf", b"-inf", b"1e400",
    b"\xd9\xa3", b"true", b"TRUE", b"yes", b"null", b"none", b"\\", b"\\\\", b"\\u", b"\\u00", b"\\ud800", b"\\u0000",
    b"\x00", b"\xff", b"\xc3\xa9", b"\xe2\x80\xa8", b"\x85", b"\x1b[31m", b"=", b":", b"#", b"!", b".", b"..", b"*",
    b"(", b"[", b"(a+)+$", b"\\\\Q", b"%", b"%{", b"%[x]", b"%Q", b"${", b"${}", b"${a1}", b"${sys:", b"${env:}",
    b"${date:QQ}", b"${a1.sources}", b"${${${", b"$${x}", b"${x:-${x:-", b"${f1['KEY']}", b"${java:x}", b"seq",
    b"memory", b"hdfs", b"TAILDIR", b"r1 r1", b"c1,c2", b"c1 c9", b"a1", b"sources", b"channel", b"channels", b"type",
    b"workers", b"batch.bytes", b"batch.linger", b"strictBatch", b"1.5 hours", b"30 seconds", b"5 parsecs", b"64MiB",
    b"-64MiB", b"/", b"/dev/null", b"/nonexistent/x", b"file:///", b"hdfs://", b"s3a://b/k", b"com.example.Foo",
    b"org.apache.flume.sink.kafka.KafkaSink", b"x" * 5000, b"multiplexing", b"failover", b"load_balance", b"selector",
    b"interceptors", b"serializer", b"avro_event", b"json_lines", b"header_and_text", b"GMT+8", b"Mars/Phobos",
    b"gzip", b"snappy",
    # Numbers that no word holds, repetitions that no expression counts, and what stands in itself too deep.
    b"9223372036854775807", b"9223372036854775808", b"-9223372036854775809", b"9" * 400 + b"k", b"9" * 400 + b".0",
    b"9" * 5000, b"9223372036854775807 d", b"0." + b"9" * 400 + b"T", b"a{2147483648}", b"a{4294967296}",
    b"((a{9999}){9999}){9999}", b"\\\\x{110000}", b"\\\\x{ffffffffffffffff}", b"(" * 3000 + b")" * 3000, b"[" * 3000,
    b"${a:-" * 2000 + b"5" + b"}" * 2000, b"${" * 3000 + b"}" * 3000, b"${" * 3000, b"%{" * 2000 + b"}" * 2000,
]  # fmt: skip


def mutated(random_: random.Random) -> bytes:
    """One of the files with one to eight things wrong with it."""
    data = random_.choice(SEEDS)
    for _ in range(random_.choice((1, 1, 2, 3, 5, 8))):
        data = random_.choice(MUTATIONS)(data, random_)
    return data


def _flip(data: bytes, random_: random.Random) -> bytes:
    if not data:
        return data
    at = random_.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random_.randrange(8)]) + data[at + 1 :]


def _insert(data: bytes, random_: random.Random) -> bytes:
    at = random_.randrange(len(data) + 1)
    return data[:at] + random_.choice(HURTING) + data[at:]


def _cut(data: bytes, random_: random.Random) -> bytes:
    at = random_.randrange(len(data) + 1)
    return data[:at] + data[at + random_.randrange(60) :]


def _truncate(data: bytes, random_: random.Random) -> bytes:
    return data[: random_.randrange(len(data) + 1)]


def _lines(data: bytes, random_: random.Random) -> bytes:
    """Loses, doubles or moves a line."""
    lines = data.split(b"\n")
    line = lines.pop(random_.randrange(len(lines)))
    for _ in range(random_.choice((0, 1, 2))):
        lines.insert(random_.randrange(len(lines) + 1), line)
    return b"\n".join(lines)


def _value(data: bytes, random_: random.Random) -> bytes:
    """Gives a line another value."""
    lines = data.split(b"\n")
    at = random_.randrange(len(lines))
    key = lines[at].partition(b"=")[0]
    lines[at] = key + b"= " + random_.choice(HURTING)
    return b"\n".join(lines)


def _token(data: bytes, random_: random.Random) -> bytes:
    """Exchanges a part of a key."""
    lines = data.split(b"\n")
    at = random_.randrange(len(lines))
    parts = lines[at].split(b".")
    parts[random_.randrange(len(parts))] = random_.choice(HURTING)
    lines[at] = b".".join(parts)
    return b"\n".join(lines)


def _splice(data: bytes, random_: random.Random) -> bytes:
    other = random_.choice(SEEDS)
    return data[: random_.randrange(len(data) + 1)] + other[random_.randrange(len(other)) :]


def _encode(data: bytes, random_: random.Random) -> bytes:
    """What an editor does to a file."""
    text = data.decode("latin-1")
    return random_.choice(
        (
            lambda: text.encode("utf-16"),
            lambda: b"\xef\xbb\xbf" + data,
            lambda: data.replace(b"\n", b"\r\n"),
            lambda: data.replace(b"\n", b"\r"),
            lambda: data.replace(b"= ", b"\xef\xbc\x9d "),
            lambda: data.replace(b" = ", b" "),
            lambda: data + data,
        )
    )()


MUTATIONS = [_flip, _insert, _cut, _truncate, _lines, _lines, _value, _value, _value, _token, _token, _splice, _encode]


@pytest.mark.parametrize("part", range(PARTS))
def test_a_mutated_file_gets_an_answer(part: int, tmp_path: Path) -> None:
    random_ = random.Random(f"configuration {part}")
    path = tmp_path / "a.properties"
    for number in range(FILES_A_PART):
        data = mutated(random_)
        path.write_bytes(data)
        begun = time.monotonic()
        out = io.StringIO()
        try:
            plan, problems = load([path], "a1", {"stage": "x"}, {"HOME": "/root", "KEY": "k"}, strict=number % 7 == 0)
            code = check([path], "a1" if number % 5 else None, number % 7 == 0, {"stage": "x"}, {"HOME": "/root"}, out)
        except Exception as wrong:
            raise AssertionError(f"part {part}, file {number} ended in {wrong!r}:\n{data!r}") from wrong
        taken_s = time.monotonic() - begun
        assert taken_s < FILE_MAX_S, f"part {part}, file {number} took {taken_s:.1f} s:\n{data!r}"
        text = out.getvalue()
        assert "Traceback" not in text, data
        assert "internal error" not in text.lower(), data
        for line in text.split("\n"):
            assert line.isprintable(), ascii(line)
        assert code in (0, 1)
        assert (plan is None) == any(problem.severity == "error" for problem in problems), data
        for problem in problems:
            assert problem.severity in SEVERITIES
            assert problem.one_line().isprintable(), data
        if plan is not None:
            assert Plan.decode(plan.encode()) == plan, data


@pytest.mark.parametrize("part", range(4))
def test_a_mutated_file_gets_an_answer_from_the_command(part: int, tmp_path: Path) -> None:
    random_ = random.Random(f"command {part}")
    path = tmp_path / "a1.properties"
    for number in range(25):
        data = mutated(random_)
        path.write_bytes(data)
        command = [
            sys.executable,
            "-m",
            "shipper.cli.main",
            "check",
            "-n",
            "a1",
            *(["--strict"] * (number % 2)),
            str(path),
        ]
        ran = subprocess.run(command, capture_output=True, timeout=60)
        said = (ran.stdout + ran.stderr).decode()
        assert ran.returncode in (0, 1), f"file {number}: {said}\n{data!r}"
        assert said.rstrip(), data
        assert "Traceback" not in said, data
        assert "internal error" not in said.lower(), data
