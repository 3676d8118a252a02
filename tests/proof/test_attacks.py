"""RX1-RX8: what somebody may try who writes log lines, names files, speaks to our ports, or shares the machine.

Paths (RX1), commands (RX2), addresses (RX3), ports (RX4), modes and owners (RX5), formats that run code (RX6), hosts
out of headers (RX7), secrets (RX8). What listeners take in is bounded in `tests/sources` and `tests/metrics`.
"""

from __future__ import annotations

import ast
import os
import random
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import shipper
from shipper.errors import ConfigurationError
from shipper.instance.instance import find
from shipper.sinks.hdfs.address import address_problem
from shipper.testing.ports import free_port
from tests.crash.conftest import Make, agent, agent_of, file_roll, taildir, texts
from tests.crash.test_descriptors import client
from tests.sinks.test_hdfs import Running

__all__ = ["agent"]

SEED = int(os.environ.get("SHIPPER_SEED", "1"))
PIECES = ("..", "/", ".", "\x00", "\n", "~", "%", "$HOME", "\\", "a", "é", " ", "%2e%2e", "//", "-", "*", "\u2215")
SECRET = "kept-to-itself"


class TestPaths:
    """RX1."""

    def test_no_header_writes_outside_of_the_directory(self, tmp_path: Path) -> None:
        """Whatever it holds, in a folder and in a name."""
        chance = random.Random(SEED)
        values = ["".join(chance.choices(PIECES, k=chance.randint(1, 6))) for _ in range(300)]
        running = Running(tmp_path / "a" / "b", "/%{h}/x%{h}", filePrefix="%{h}")
        for value in values:
            running.deliver(b"a row", headers=[{"h": value}])
        running.sink.close()
        written = [path for path in tmp_path.rglob("*") if path.is_file() and b"a row" in path.read_bytes()]
        assert sum(path.read_bytes().count(b"a row") for path in written) == len(values), f"seed {SEED}"
        outside = [path for path in written if running.out not in path.parents]
        assert not [path for path in outside if "state" not in path.parts], f"seed {SEED}: {outside}"

    def test_a_link_in_the_place_of_a_file_is_not_written_through(self, tmp_path: Path) -> None:
        """Somebody who may write in the output directory guesses the next name."""
        other = tmp_path / "other"
        other.write_text("theirs")
        running = Running(tmp_path)
        running.out.mkdir(exist_ok=True)
        for number in range(50):
            (running.out / f"FlumeData.{running.clock.now_ms() + number}.tmp").symlink_to(other)
        running.deliver(b"a row")
        running.sink.close()
        assert other.read_text() == "theirs"
        assert any(path.read_bytes() == b"a row\n" for path in running.out.iterdir() if not path.is_symlink())


class TestCommands:
    """RX2."""

    def test_what_looks_like_a_shells_is_an_argument(self, agent: Make, tmp_path: Path) -> None:
        """Without `shell` nobody interprets it: neither in the command nor in the name of a file that is read."""
        (tmp_path / "in").mkdir()
        trap = f"$(touch {tmp_path}-1);touch x`touch y`".replace("/", "\u2215")
        (tmp_path / "in" / f"{trap}.log").write_text("a line\n")
        source = (
            f"a1.sources.r1.command = echo a;touch {tmp_path}/made $(touch {tmp_path}/made)\n"
            f"a1.sources.r1.type = exec\na1.sources.r1.channels = c1\n"
            f"a1.sources.r2.type = exec\na1.sources.r2.command = tail -n +1 -F {tmp_path}/in/*.log\n"
            "a1.sources.r2.channels = c1\n"
        )
        one = agent(agent_of(source, file_roll("k1", "c1", tmp_path / "out"), sources="r1 r2")).start()
        one.until(lambda: len(texts(tmp_path / "out").splitlines()) >= 2, "both have printed")
        assert one.stop() == 0, one.log()
        printed = b"a;touch %b/made $(touch %b/made)" % (bytes(tmp_path), bytes(tmp_path))
        assert sorted(texts(tmp_path / "out").splitlines()) == sorted([b"a line", printed])
        assert not (tmp_path / "made").exists()


class TestAddresses:
    """RX3 and RX7."""

    @pytest.mark.parametrize(
        "address",
        ["http://169.254.169.254/latest", "https://x/y", "s3a://b/x", "ftp://x/y", "file://evil/etc", "gopher://x/"],
    )
    def test_only_what_is_meant_can_be_written_to(self, address: str) -> None:
        assert address_problem(address)

    @pytest.mark.parametrize("address", ["hdfs://%{h}/x", "hdfs://nn-%{h}:8020/x", "viewfs://%{h}/x", "file://%{h}/x"])
    def test_no_header_says_to_which_host(self, address: str) -> None:
        assert address_problem(address)

    def test_a_header_that_begins_a_path_is_no_address(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        running = Running(tmp_path, path="%{h}/x")
        for value in ("hdfs://evil:8020/x", "file:///etc", "/etc/cron.d", "//evil/x"):
            running.deliver(b"a row", headers=[{"h": value}])
        running.sink.close()
        written = [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"a row\n"]
        assert len(written) == 4, "below the directory where the agent was started"


class TestPorts:
    """RX4."""

    def test_the_numbers_are_for_this_machine_and_lead_nowhere_else(self, agent: Make, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        port = free_port()
        one = agent(
            agent_of(taildir("r1", "c1", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "out")),
            arguments=("-Dflume.monitoring.type=http", f"-Dflume.monitoring.port={port}"),
        ).start()  # fmt: skip
        bound = {
            row.split()[1].partition(":")[0]
            for table in ("tcp", "tcp6") for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
            if row.split()[3] == "0A" and int(row.split()[1].rpartition(":")[2], 16) == port
        }  # fmt: skip
        assert bound == {"0100007F"}, "127.0.0.1, and nothing besides"
        for path in (b"/../../../../etc/passwd", b"/%2e%2e/%2e%2e/etc/passwd", b"//etc/passwd", b"http://evil/x"):
            with client(port) as asking:
                asking.sendall(b"GET " + path + b" HTTP/1.0\r\n\r\n")
                answer = b"".join(iter(lambda asking=asking: asking.recv(4096), b""))
            assert b" 404 " in answer.partition(b"\r\n")[0] and b"root:" not in answer, path
        assert one.stop() == 0, one.log()


class TestModes:
    """RX5."""

    def test_what_is_kept_is_for_its_user_alone_whatever_the_umask(self, agent: Make, tmp_path: Path) -> None:
        """Segments, journals, positions: nobody else reads them, and nobody else writes anything of ours."""
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "a.log").write_text("a line\n")
        lines = agent_of(
            taildir("r1", "c1", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "out"),
            more=f"a1.channels.c1.type = file\na1.channels.c1.checkpointDir = {tmp_path}/log/checkpoint\n"
            f"a1.channels.c1.dataDirs = {tmp_path}/log/data\n",
        )  # fmt: skip
        one = agent(lines, before=("sh", "-c", 'umask 000; exec "$0" "$@"')).start()
        one.until(lambda: texts(tmp_path / "out") == b"a line\n")
        for place in (one.instance_dir(), next(one.state_dir.glob("a1-*"))):
            assert stat.S_IMODE(place.stat().st_mode) == 0o700
        rows = [path for path in (tmp_path / "log").rglob("*") if path.is_file() and path.stat().st_size]
        assert rows and not [path for path in rows if path.stat().st_mode & 0o077]
        for pid in (one.pid, *one.workers().values()):
            assert resource.prlimit(pid, resource.RLIMIT_CORE)[0] == 0, "no core: rows and keys are in memory"
        assert one.stop() == 0, one.log()

    @pytest.mark.skipif(os.getuid() != 0, reason="makes a directory of another user")
    @pytest.mark.parametrize("link", [False, True])
    def test_a_run_directory_that_another_user_made_first_is_refused(self, tmp_path: Path, link: bool) -> None:
        """Where everybody may write, its name can be guessed; who owns it could put other segments there."""
        open_to_all = tmp_path / "shm"
        open_to_all.mkdir()
        open_to_all.chmod(0o1777)
        theirs = open_to_all / f"shipper-{os.getuid()}"
        if link:
            theirs.symlink_to(tmp_path)
        else:
            theirs.mkdir(mode=0o777)
        os.chown(theirs, 4711, 4711, follow_symlinks=False)
        file = tmp_path / "a1.properties"
        file.write_text("")
        one = find("a1", file, run_dir=theirs, state_dir=tmp_path / "state")
        with pytest.raises(ConfigurationError, match="belongs to user 4711, in a folder where everybody may write"):
            one.claim()
        theirs.unlink() if link else shutil.rmtree(theirs)
        one.claim()
        assert stat.S_IMODE(theirs.stat().st_mode) == 0o700
        one.close()


def calls() -> Iterator[tuple[Path, str]]:
    """What the product calls or imports, by its dotted name."""
    for path in Path(shipper.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield path, ast.unparse(node.func)
                if any(word.arg == "shell" for word in node.keywords):
                    yield path, "shell="
            elif isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield path, node.module or ""


def test_nothing_that_is_read_can_run_code() -> None:
    """RX6: no format of ours, and none that we read, is one that names code."""
    banned = {
        "pickle", "marshal", "shelve", "yaml", "dill", "eval", "exec", "compile", "__import__", "os.system", "os.popen",
        "shell=",
    }  # fmt: skip
    found = {(path.name, name) for path, name in calls() if name in banned or name.partition(".")[0] in banned}
    assert not found


def test_no_secret_of_a_configuration_is_shown_anywhere(agent: Make, tmp_path: Path) -> None:
    """RX8: not by the commands, the log, the numbers, the process list, or what lies in memory and state."""
    (tmp_path / "in").mkdir()
    more = f"a1.sources.r1.keystore-password = {SECRET}\na1.sinks.k1.api.token = {SECRET}\n"
    port = free_port()
    one = agent(
        agent_of(taildir("r1", "c1", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "out"), more=more),
        arguments=("-Dflume.monitoring.type=http", f"-Dflume.monitoring.port={port}"),
    ).start()  # fmt: skip
    shown = [one.log()]
    for words in (
        ["check", str(one.file)],
        ["agent", "--dryrun", "-n", "a1", "-f", str(one.file)],
        ["stat", "--json", "--run-dir", str(one.run_dir)],
    ):
        said = subprocess.run([sys.executable, "-m", "shipper.cli.main", *words], capture_output=True, text=True)
        assert said.stdout + said.stderr, words
        shown.append(said.stdout + said.stderr)
    with client(port) as asking:
        asking.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        shown.append(b"".join(iter(lambda: asking.recv(65536), b"")).decode())
    for pid in (one.pid, *one.workers().values()):
        shown += [Path(f"/proc/{pid}/{name}").read_text(errors="replace") for name in ("cmdline", "environ")]
    kept = [path for place in (one.run_dir, one.state_dir) for path in place.rglob("*") if path.is_file()]
    shown += [path.read_bytes().decode("latin-1") for path in kept]
    assert one.stop() == 0
    assert not [text[:200] for text in [*shown, one.log()] if SECRET in text]
