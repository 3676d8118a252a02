"""RS3: no descriptors left: nobody runs in circles, nothing is lost, and all goes on once there are some again.

The limits are set from outside, on processes that run, as when a machine's own limit is reached.
"""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from pathlib import Path

from shipper.testing.agent import Agent
from shipper.testing.ports import free_port
from tests.crash.conftest import Make, agent_of, file_roll, taildir, texts

FILES = 150
LINES = 200
_LOOK_S = 2.0
_BUSY_SHARE = 0.2  # of a processor: a loop that never waits takes all of one


def allow(pid: int, more: int | None) -> None:
    """So many descriptors beyond those that a process has open; None = as many as ever."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    soft = hard if more is None else len(os.listdir(f"/proc/{pid}/fd")) + more
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


def busy_s(pid: int) -> float:
    """Processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def share_while(pid: int, seconds: float) -> float:
    """Share of a processor that a process takes while that much time passes."""
    began_s, before_s = time.monotonic(), busy_s(pid)
    threading.Event().wait(seconds)
    return (busy_s(pid) - before_s) / (time.monotonic() - began_s)


def wanted() -> list[bytes]:
    return sorted(b"%d.%d" % (file, line) for file in range(FILES) for line in range(LINES))


def write_logs(directory: Path) -> None:
    directory.mkdir()
    for file in range(FILES):
        (directory / f"{file:03d}.log").write_text("".join(f"{file}.{line}\n" for line in range(LINES)))


def test_a_tail_of_more_files_than_descriptors_waits_and_goes_on(agent: Make, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    one = agent(agent_of(taildir("r1", "c1", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "out"))).start()
    source = one.worker("r1")
    allow(source, 0)
    (tmp_path / "new").mkdir()
    for file in range(FILES):
        text = "".join(f"{file}.{line}\n" for line in range(LINES))
        (tmp_path / "new" / "log").write_text(text)
        (tmp_path / "new" / "log").rename(tmp_path / "in" / f"{file:03d}.log")
    one.until(lambda: "Too many open files" in one.log() or texts(tmp_path / "out"), "it is said, or done")
    share = share_while(source, _LOOK_S)
    assert share < _BUSY_SHARE, f"it took {share:.0%} of a processor to wait\n{one.log()}"
    allow(source, None)
    one.until(lambda: texts(tmp_path / "out").count(b"\n") >= FILES * LINES, "everything is delivered")
    assert one.stop() == 0, one.log()
    assert sorted(texts(tmp_path / "out").split()) == wanted()
    assert "Traceback" not in one.log()


def test_a_sink_of_more_buckets_than_descriptors_waits_and_goes_on(agent: Make, tmp_path: Path) -> None:
    write_logs(tmp_path / "in")
    sink = (
        f"a1.sinks.k1.type = hdfs\na1.sinks.k1.hdfs.path = file://{tmp_path}/out/%{{basename}}\n"
        "a1.sinks.k1.channel = c1\na1.sinks.k1.hdfs.fileType = DataStream\na1.sinks.k1.hdfs.rollCount = 0\n"
        "a1.sinks.k1.hdfs.rollSize = 0\na1.sinks.k1.hdfs.rollInterval = 0\n"
    )
    blocked = tmp_path / "out"
    blocked.write_text("a file where the directory should be")
    source = taildir("r1", "c1", tmp_path / "in", fileHeader="true", fileHeaderKey="basename")
    one = agent(agent_of(source, sink)).start()
    one.until(lambda: "trying again" in one.log(), "the target refuses")
    worker = one.worker("k1")
    allow(worker, 20)
    blocked.unlink()
    blocked.mkdir()

    def arrived() -> list[bytes]:
        return [row for path in blocked.rglob("*") if path.is_file() for row in path.read_bytes().split()]

    one.until(lambda: "Too many open files" in one.log() or len(arrived()) >= FILES * LINES, "it is said, or done")
    share = share_while(worker, _LOOK_S)
    assert share < _BUSY_SHARE, f"it took {share:.0%} of a processor to wait\n{one.log()}"
    allow(worker, None)
    one.until(lambda: len(arrived()) >= FILES * LINES, "everything is delivered")
    assert one.stop() == 0, one.log()
    assert sorted(arrived()) == wanted()
    assert not list(blocked.rglob("*.tmp"))
    assert "Traceback" not in one.log()


def test_a_listener_without_descriptors_serves_who_is_there_and_others_later(agent: Make, tmp_path: Path) -> None:
    """Who comes meanwhile is sent away: the kernel would say "somebody waits" again and again."""
    netcat = "a1.sources.r1.type = netcat\na1.sources.r1.bind = 127.0.0.1\na1.sources.r1.channels = c1\n"
    port = free_port()
    more = f"a1.sources.r1.port = {port}\n"
    one = agent(agent_of(netcat, file_roll("k1", "c1", tmp_path / "out"), more=more)).start()
    first = client(port)
    assert said(first, b"first") == b"OK\n"
    worker = one.worker("r1")
    allow(worker, 20)
    others = [client(port) for _ in range(50)]
    one.until(lambda: "connections are taken (max-connections = 1000, and ulimit -n)" in one.log(), "it is said")
    share = share_while(worker, _LOOK_S)
    assert share < _BUSY_SHARE, f"it took {share:.0%} of a processor to wait\n{one.log()}"
    assert said(first, b"again") == b"OK\n", "who is in is served meanwhile"
    allow(worker, None)
    for other in others:
        other.close()
    late = client(port)
    assert said(late, b"late") == b"OK\n"
    first.close()
    late.close()
    assert one.stop() == 0, one.log()
    assert texts(tmp_path / "out") == b"first\nagain\nlate\n"
    assert "Traceback" not in one.log()


def client(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def said(to: socket.socket, line: bytes) -> bytes:
    """What a listener answers to a line."""
    to.sendall(line + b"\n")
    return to.recv(10)


def test_an_agent_whose_supervisor_has_no_descriptors_goes_on_and_restarts_a_worker_later(
    agent: Make, tmp_path: Path
) -> None:
    """A template can't be started; it is tried again until there is room."""
    (tmp_path / "in").mkdir()
    port = free_port()
    one: Agent = agent(
        agent_of(taildir("r1", "c1", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "out")),
        arguments=("-Dflume.monitoring.type=http", f"-Dflume.monitoring.port={port}"),
    ).start()  # fmt: skip
    allow(one.pid, 0)
    one.kill("r1")
    (tmp_path / "in" / "a.log").write_bytes(b"a\nb\n")
    asking = client(port)
    asking.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
    share = share_while(one.pid, _LOOK_S)
    assert share < _BUSY_SHARE, f"it took {share:.0%} of a processor to wait\n{one.log()}"
    assert one.pid, one.log()
    one.until(lambda: "can't be started: Too many open files; it is tried again in" in one.log(), "it is said")
    allow(one.pid, None)
    assert b"200 OK" in asking.recv(100), "who asked meanwhile gets the answer now"
    asking.close()
    one.until(lambda: texts(tmp_path / "out") == b"a\nb\n", "the source is back")
    assert one.stop() == 0, one.log()
    assert "Traceback" not in one.log()
