"""exec with real commands: what is a line, how a command ends, starts again, and dies with us."""

from __future__ import annotations

import itertools
import logging
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shipper.api import ComponentFailed, EventBatch
from shipper.config.field import read_options
from shipper.sources._exec import process
from shipper.sources.exec import ExecOptions, ExecSource
from shipper.testing.fakes import ManualClock, source_context
from tests.vectors import vectors
from tests.waiting import alive, until, until_dead


class RealWaiter:
    """Waits for real descriptors, for a moment; what is left of the time-out passes on the manual clock alone."""

    def __init__(self, clock: ManualClock, moment_s: float) -> None:
        self._clock = clock
        self._moment_s = moment_s
        self.waits_left = 10_000

    def wait(self, timeout_s, fds=()):
        self.waits_left -= 1
        assert self.waits_left, "it does not sleep"
        readable, _, _ = select.select(list(fds), [], [], min(timeout_s, self._moment_s if fds else 0.001))
        if not readable:
            self._clock.advance(timeout_s)
        return readable

    @property
    def fileno(self):
        return -1


def exec_source(tmp_path, properties, moment_s=0.1, **context) -> tuple[ExecSource, list[tuple[str, str]], ManualClock]:
    options, findings = read_options(ExecOptions, properties)
    assert options is not None, findings
    source = ExecSource(options)
    clock = ManualClock()
    said: list[tuple[str, str]] = []
    waiter = RealWaiter(clock, moment_s)
    source.open(source_context(tmp_path / "state", clock=clock, waiter=waiter, said=said, **context))
    return source, said, clock


def next_batch(source: ExecSource) -> EventBatch:
    """The next batch, however long the command takes to print it."""
    end_s = time.monotonic() + 20
    while (batch := source.poll(5)) is None:
        assert time.monotonic() < end_s, "it prints nothing"
    return batch


def read_all(source: ExecSource, seconds: float = 20) -> list[bytes]:
    """All bodies until the command has ended for good."""
    bodies: list[bytes] = []
    begun = time.monotonic()
    while not source.finished() and time.monotonic() - begun < seconds:
        while (batch := source.poll(0.2)) is not None:
            bodies += batch.body.to_pylist()
            source.committed(batch)
    return bodies


def run(tmp_path, properties, **context) -> list[bytes]:
    """All bodies of a command that ends."""
    source, _, _ = exec_source(tmp_path, properties, **context)
    try:
        return read_all(source)
    finally:
        source.close()


@pytest.mark.parametrize("row", vectors("exec_source"), ids=lambda row: row["id"])
def test_recorded_answers_of_flume(tmp_path, row):
    config = dict(row["in"]["config"])
    for path, content in row["in"].get("file_content", {}).items():
        raw = bytes.fromhex(found[1]) if (found := re.search(r"bytes ([0-9a-f]+)\)", content)) else content.encode()
        (tmp_path / "input").write_bytes(raw)
        config["command"] = config["command"].replace(path, str(tmp_path / "input"))
    assert run(tmp_path, config) == [body.encode() for body in row["out"]["bodies"]]


def test_a_line_ends_at_newline_return_or_both(tmp_path):
    (tmp_path / "in").write_bytes(b"a\rb\r\nc\n\r\n\rd\n\re\r\rlast\r")
    assert run(tmp_path, {"command": f"cat {tmp_path}/in"}) == [
        b"a",
        b"b",
        b"c",
        b"",
        b"",
        b"d",
        b"",
        b"e",
        b"",
        b"last",
    ]


def test_a_line_end_that_is_split_between_two_reads_is_one(tmp_path):
    script = "printf 'a\\r'; sleep 0.2; printf '\\nb\\r'; sleep 0.2; printf 'c\\n'"
    assert run(tmp_path, {"command": script, "shell": "/bin/sh -c"}) == [b"a", b"b", b"c"]


def test_valid_text_in_any_language_comes_through_unchanged(tmp_path):
    text = "é ä € 漢字 \U0001f600".encode()
    (tmp_path / "in").write_bytes(text + b"\n" + b"\0nul\n")
    assert run(tmp_path, {"command": f"cat {tmp_path}/in"}) == [text, b"\0nul"]


@pytest.mark.parametrize(
    ("charset", "raw", "body"),
    [
        ("UTF-8", b"\xe9t\xe9", "\ufffdt\ufffd".encode()),
        ("ISO-8859-1", b"\xe9t\xe9", b"\xe9t\xe9"),
        ("windows-1252", b"\xe9\x81", b"\xe9?"),
        ("US-ASCII", b"\xe9", b"?"),
        ("GBK", "漢字".encode("gbk"), "漢字".encode("gbk")),
    ],
)
def test_bytes_go_through_the_charset_as_in_java(tmp_path, charset, raw, body):
    (tmp_path / "in").write_bytes(b"plain\n" + raw + b"\nend\n")
    assert run(tmp_path, {"command": f"cat {tmp_path}/in", "charset": charset}) == [b"plain", body, b"end"]


@pytest.mark.parametrize("charset", ["UTF-16", "nonsense"])
def test_a_charset_that_can_not_be_read_is_refused(charset):
    options, findings = read_options(ExecOptions, {"command": "cat", "charset": charset})
    assert options is None
    assert findings[0].message.startswith(f"charset = {charset}: ")


def test_a_million_lines_come_in_few_batches(tmp_path):
    source, _, _ = exec_source(tmp_path, {"command": "seq 1000000"})
    rows, batches = 0, 0
    while not source.finished():
        while (batch := source.poll(0.2)) is not None:
            rows, batches = rows + batch.rows, batches + 1
            assert batch.body[batch.rows - 1].as_py() == str(rows).encode()
            source.committed(batch)
    assert rows == 1_000_000
    assert batches < 1000


def test_a_line_longer_than_the_block_is_one_event(tmp_path):
    (tmp_path / "in").write_bytes(b"a\n" + b"x" * 3_000_000 + b"\nb\n")
    assert [len(body) for body in run(tmp_path, {"command": f"cat {tmp_path}/in"})] == [1, 3_000_000, 1]


def test_a_line_longer_than_max_line_bytes_is_cut_and_counted(tmp_path):
    (tmp_path / "in").write_bytes(b"a\n" + b"x" * 3_000_000 + b"\nb\n")
    source, said, _ = exec_source(tmp_path, {"command": f"cat {tmp_path}/in", "maxLineBytes": "1500000"})
    assert [len(body) for body in read_all(source)] == [1, 1_500_000, 1]
    assert source._reader._context.counters.get("truncated_lines") == 1
    assert "maxLineBytes = 1500000" in said[0][1]


def test_the_exit_code_is_said_once(tmp_path):
    source, said, _ = exec_source(tmp_path, {"command": "exit 3", "shell": "/bin/sh -c"})
    assert read_all(source) == []
    assert [line for _, line in said] == ["exit 3: ended with exit code 3; it is not started again (restart = false)"]


def test_a_command_starts_again_after_the_throttle(tmp_path):
    source, said, clock = exec_source(tmp_path, {"command": "echo x", "restart": "true", "restartThrottle": "7000"})
    times: list[float] = []
    while len(times) < 3:
        if (batch := source.poll(1)) is not None:
            times += [clock.monotonic_s()] * batch.rows
            source.committed(batch)
    source.close()
    assert all(after - before >= 7 for before, after in itertools.pairwise(times))
    assert "it starts again in 7 s" in said[0][1]


def test_errors_go_to_the_log_only_when_asked(tmp_path, caplog):
    caplog.set_level(logging.INFO, "shipper.source.exec")
    properties = {"command": "echo out; echo problem >&2", "shell": "/bin/sh -c"}
    assert run(tmp_path, properties) == [b"out"]
    assert "problem" not in caplog.text
    assert run(tmp_path, properties | {"logStdErr": "true"}) == [b"out"]
    assert "r1: problem" in caplog.text


def test_a_flood_of_errors_does_not_stop_the_output(tmp_path):
    script = "seq 200000 >&2; echo out"
    assert run(tmp_path, {"command": script, "shell": "/bin/sh -c", "logStdErr": "true"}) == [b"out"]


ERRORS = {"shell": "/bin/sh -c", "logStdErr": "true"}


def test_a_command_that_has_closed_its_errors_costs_nothing(tmp_path):
    """What has come to its end would be readable for ever: each wait would be over at once."""
    command = "exec 2>/dev/null; echo out; exec sleep 100"
    source, _, _ = exec_source(tmp_path, {"command": command, **ERRORS}, moment_s=0.01)
    assert next_batch(source).body.to_pylist() == [b"out"]
    source._reader._context.waiter.waits_left = 100
    for _ in range(20):
        assert source.poll(5) is None
    source.close()


def test_errors_without_an_end_of_line_are_cut(tmp_path, caplog):
    """A progress bar that goes on for days does not fill the worker."""
    caplog.set_level(logging.INFO, "shipper.source.exec")
    script = "head -c 3000000 /dev/zero | tr '\\0' x >&2; echo out"
    assert run(tmp_path, {"command": script, **ERRORS}) == [b"out"]
    said = [record.getMessage() for record in caplog.records]
    assert [line[:5] for line in said] == ["r1: x"]
    assert len(said[0]) < 10_000


@pytest.mark.parametrize(("printed", "said"), [
    (r"a\rb\r\nc\n\nd", ["a", "b", "c", "", "d"]),
    (r"10%%\r20%%\r", ["10%", "20%"]),
    (r"\377\n", ["\ufffd"]),
])  # fmt: skip
def test_errors_have_the_lines_of_the_output(tmp_path, caplog, printed, said):
    """Each end of a line that Java knows, and a last line without one."""
    caplog.set_level(logging.INFO, "shipper.source.exec")
    assert run(tmp_path, {"command": f"printf '{printed}' >&2", **ERRORS}) == []
    assert [record.getMessage() for record in caplog.records] == [f"r1: {line}" for line in said]


def test_errors_of_a_command_are_not_mixed_with_those_of_its_next_run(tmp_path, caplog):
    """The last line of the first run has no end, and a child of it still holds its stderr open."""
    caplog.set_level(logging.INFO, "shipper.source.exec")
    properties = {"command": "printf x >&2; sleep 100 >/dev/null & echo out", "restart": "true", **ERRORS}
    source, said, _ = exec_source(tmp_path, properties)
    while len(said) < 2:
        if (batch := source.poll(1)) is not None:
            source.committed(batch)
    source.close()
    assert [record.getMessage() for record in caplog.records][:2] == ["r1: x", "r1: x"]


def test_batch_size_and_timeout_are_literal_where_batches_are_strict(tmp_path):
    script = "seq 7; sleep 30"
    properties = {"command": script, "shell": "/bin/sh -c", "batchSize": "3", "batchTimeout": "2000"}
    source, _, clock = exec_source(tmp_path, properties, strict=True)
    begun_s = clock.monotonic_s()
    rows = []
    for _ in range(3):
        batch = next_batch(source)
        rows.append(batch.rows)
        source.committed(batch)
    source.close()
    assert rows == [3, 3, 1]
    assert clock.monotonic_s() - begun_s >= 2


def test_what_is_there_is_handed_out_at_once_where_they_are_not(tmp_path):
    source, _, clock = exec_source(tmp_path, {"command": "seq 7; sleep 30", "shell": "/bin/sh -c"}, moment_s=20)
    bodies: list[bytes] = []
    begun_s = clock.monotonic_s()
    while len(bodies) < 7:
        bodies += next_batch(source).body.to_pylist()
    source.close()
    assert clock.monotonic_s() - begun_s < 1


def test_no_batch_has_more_rows_than_the_channel_takes(tmp_path):
    source, _, _ = exec_source(tmp_path, {"command": "seq 100"}, rows_max=7)
    rows = []
    while not source.finished():
        while (batch := source.poll(0.2)) is not None:
            rows.append(batch.rows)
            source.committed(batch)
    assert max(rows) == 7
    assert sum(rows) == 100


def test_a_refused_batch_is_kept(tmp_path):
    source, _, _ = exec_source(tmp_path, {"command": "seq 3"})
    batch = next_batch(source)
    assert source.refused(batch, "c1 is full")
    source.close()


def test_a_program_that_does_not_exist_is_refused_with_its_name(tmp_path):
    with pytest.raises(ComponentFailed, match="no program frobnicate"):
        exec_source(tmp_path, {"command": "frobnicate -x"})


def test_plain_text_that_looks_like_a_shells_is_doubted():
    _, findings = read_options(ExecOptions, {"command": "seq 3 | tail -1"})
    assert [finding.severity for finding in findings] == ["warning"]
    assert "set shell = /bin/sh -c" in findings[0].message


PIPELINE = "trap '' TERM; sleep 1000 & echo $!; sleep 1001 | cat & echo $!; echo $$; wait"


def test_the_whole_group_ends_with_the_source(tmp_path):
    source, _, _ = exec_source(tmp_path, {"command": PIPELINE, "shell": "/bin/sh -c"})
    pids: list[int] = []
    while len(pids) < 3:
        pids += [int(body) for body in next_batch(source).body.to_pylist()]
    assert all(alive(pid) for pid in pids)
    source.close()
    until_dead(pids)


def test_the_whole_group_ends_when_the_process_of_the_source_is_killed(tmp_path):
    worker, pids = killable_source(tmp_path, PIPELINE, 3)
    assert all(alive(pid) for pid in pids)
    worker.kill()
    worker.wait()
    until_dead(pids)


DAEMON = "import os\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\nprint(os.getpid(), flush=True)"
LEFT_BEHIND = {
    "a group of its own": "timeout 1000 sh -c 'echo $$; exec sleep 1000'",
    "a session of its own": "setsid sh -c 'trap \"\" TERM HUP; echo $$; exec sleep 1000'",
    "in the background": "nohup sh -c 'echo $$; exec sleep 1000' & exit 0",
    "in the background, silent": "nohup sh -c 'echo $$; exec >/dev/null sleep 1000' & exit 0",
    "a daemon": f"{sys.executable} -S -c '{DAEMON}\nimport time; time.sleep(1000)'; sleep 1000",
    "a daemon's child": "setsid sh -c 'setsid sh -c \"sleep 1000 & echo \\$!; wait\" & wait' & wait",
}


@pytest.fixture(params=["/bin/sh", "/bin/bash", "/bin/sh, no list of children"])
def keeper(request, monkeypatch):
    """The shells that may be /bin/sh, and a kernel without CONFIG_PROC_CHILDREN; as text for another process too."""
    shell, _, without = request.param.partition(", ")
    if not os.path.exists(shell):
        pytest.skip(f"there is no {shell}")
    monkeypatch.setattr(process, "_SHELL", shell)
    if without:
        monkeypatch.setattr(process, "_KEEPER", process._KEEPER.replace("task/$$/children", "task/$$/none"))
    return f"process._SHELL, process._KEEPER = {process._SHELL!r}, {process._KEEPER!r}"


@pytest.mark.parametrize("how", LEFT_BEHIND)
def test_what_left_the_group_ends_with_the_source(tmp_path, keeper, how):
    source, _, _ = exec_source(tmp_path, {"command": LEFT_BEHIND[how], "shell": "/bin/sh -c"})
    pid = int(next_batch(source).body[0].as_py())
    assert alive(pid)
    source.close()
    assert not os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize("how", LEFT_BEHIND)
def test_what_left_the_group_ends_when_the_process_of_the_source_is_killed(tmp_path, keeper, how):
    worker, (pid,) = killable_source(tmp_path, LEFT_BEHIND[how], 1, keeper)
    assert alive(pid)
    worker.kill()
    worker.wait()
    until_dead([pid])


def test_what_a_command_left_behind_ends_before_it_starts_again(tmp_path):
    script = "setsid sh -c 'echo $$; exec >/dev/null sleep 1000' & sleep 0.1"
    properties = {"command": script, "shell": "/bin/sh -c", "restart": "true", "restartThrottle": "0"}
    source, _, _ = exec_source(tmp_path, properties)
    pids: list[int] = []
    while len(pids) < 3:
        batch = next_batch(source)
        pids += [int(body) for body in batch.body.to_pylist()]
        source.committed(batch)
    until_dead(pids[:2])
    source.close()
    until_dead(pids)


def test_orphans_of_a_command_that_runs_are_buried(tmp_path, keeper):
    """Each `(sh -c ... &)` is orphaned at once, and ends."""
    script = "for n in 1 2 3 4 5; do (sh -c 'echo $$' &); done; sleep 1000"
    source, _, _ = exec_source(tmp_path, {"command": script, "shell": "/bin/sh -c"})
    pids: list[int] = []
    while len(pids) < 5:
        pids += [int(body) for body in next_batch(source).body.to_pylist()]
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "they are buried")
    source.close()


def test_a_command_that_a_signal_ended_says_which(tmp_path, keeper):
    source, said, _ = exec_source(tmp_path, {"command": "kill -9 $$", "shell": "/bin/sh -c"})
    assert read_all(source) == []
    assert "ended with signal 9" in said[0][1]


def test_a_command_takes_signals_as_one_from_a_terminal_does(tmp_path, keeper):
    """What its keeper lets pass ends it: an ignored signal would be inherited."""
    ignored = run(tmp_path, {"command": "grep SigIgn /proc/self/status"})
    here = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("SigIgn")]
    restored = (1 << signal.SIGPIPE - 1) | (1 << signal.SIGXFSZ - 1)  # Python ignores them, and gives them back
    expected = int(here[0].split()[1], 16) & ~restored
    assert int(ignored[0].split()[1], 16) == expected


def test_a_command_that_signals_its_own_group_does_not_end_its_keeper(tmp_path, keeper):
    source, said, _ = exec_source(tmp_path, {"command": "echo $PPID; kill 0", "shell": "/bin/sh -c"})
    batch = next_batch(source)
    assert alive(int(batch.body[0].as_py()))
    source.committed(batch)
    read_all(source)
    assert "ended with signal 15" in said[0][1]


def killable_source(tmp_path, command, lines, keeper="") -> tuple[subprocess.Popen[bytes], list[int]]:
    """A process with a source, and the numbers that its command printed."""
    program = f"""
from pathlib import Path
from shipper.config.field import read_options
from shipper.sources._exec import process
from shipper.sources.exec import ExecOptions, ExecSource
from shipper.testing.fakes import source_context
{keeper}
options, _ = read_options(ExecOptions, {{"command": {command!r}, "shell": "/bin/sh -c"}})
source = ExecSource(options)
source.open(source_context(Path({str(tmp_path)!r})))
count = 0
while count < {lines}:
    if (batch := source.poll(5)) is not None:
        for body in batch.body.to_pylist():
            count += 1
            print(body.decode(), flush=True)
        source.committed(batch)
import time; time.sleep(1000)
"""
    root = str(Path(__file__).parents[2])
    worker = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}
    )
    assert worker.stdout is not None
    with worker.stdout:
        return worker, [int(worker.stdout.readline()) for _ in range(lines)]
