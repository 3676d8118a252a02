"""What a person is told when what an agent lives on is taken away: its run directory, its template."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from pathlib import Path

import pytest

from shipper.errors import ConfigurationError
from shipper.instance.instance import find
from shipper.supervisor.launch import Killed, Template
from shipper.testing.agent import Agent
from tests.workers.conftest import agent_of, file_roll, taildir


@pytest.mark.parametrize(("system", "run", "state"), [
    ({}, "--run-dir says so", "--state-dir says so"),
    ({"run.dir": "/r/"}, "-Drun.dir says so", "--state-dir says so"),
    ({"run.dir": "/x", "state.dir": "/s"}, "--run-dir says so", "-Dstate.dir says so"),
])  # fmt: skip
def test_a_place_that_was_asked_for_is_named_as_it_was_typed(system: dict[str, str], run: str, state: str) -> None:
    """An option wins over the system property: then it is the option that counts."""
    found = find("a1", Path("/a1.properties"), run_dir=Path("/r"), state_dir=Path("/s"), system=system)
    assert (found.run_place.reason, found.state_place.reason) == (run, state)


def test_a_removed_run_directory_is_named_when_a_worker_needs_it(tmp_path: Path) -> None:
    """Running workers go on without it; one that is started again can't, and says what to do."""
    logs, out = tmp_path / "logs", tmp_path / "out"
    logs.mkdir()
    with Agent(tmp_path / "agent", agent_of(taildir("r1", "c1", logs), file_roll("k1", "c1", out))) as agent:
        agent.start()
        gone = agent.instance_dir()
        shutil.rmtree(agent.run_dir)
        (logs / "a.log").write_bytes(b"still delivered\n")
        agent.until(lambda: any(path.stat().st_size for path in out.iterdir()))
        agent.kill("r1")
        agent.until(lambda: f"{gone} was removed while the agent was running" in agent.log())
        agent.until(lambda: "r1: the worker ended with code 3" in agent.log(), "the supervisor knows of its end")
        said = agent.log()
        assert agent.stop() == 3
    assert "stop the agent and start it again" in said
    assert "Please report it" not in said


def test_a_template_that_was_killed_is_said_to_be(tmp_path: Path) -> None:
    """Killed for its memory, for instance: it had no time to say anything itself."""
    read_fd, write_fd = os.pipe()
    template = Template(write_fd)
    try:
        os.kill(template.pid, signal.SIGKILL)
        with pytest.raises(Killed, match=r"the template of the workers was killed by SIGKILL"):
            template.load([str(tmp_path / "a1.properties")], "a1", {}, False)
    finally:
        template.close()
        os.close(read_fd)
        os.close(write_fd)


def test_a_run_directory_that_outlived_the_machine_is_set_aside(tmp_path: Path) -> None:
    """On a disk it is there after a power cut, with what happened to reach the disk: rows are read again instead."""
    logs, out = tmp_path / "logs", tmp_path / "out"
    logs.mkdir()
    (logs / "a.log").write_bytes(b"one\n")
    with Agent(tmp_path / "agent", agent_of(taildir("r1", "c1", logs), file_roll("k1", "c1", out))) as agent:
        agent.start()
        agent.until(lambda: any(path.stat().st_size for path in out.iterdir()))
        place = agent.instance_dir()
        agent.kill()
        (place / "boot").write_text("0badcafe-before")
        agent.start()
        with (logs / "a.log").open("ab") as file:
            file.write(b"two\n")
        agent.until(lambda: b"".join(path.read_bytes() for path in sorted(out.iterdir())).count(b"two\n") == 1)
        said = agent.log()
        assert place.with_name(f"{place.name}.0badcafe").is_dir()
        assert agent.stop() == 0
    assert "which of its bytes reached the disk nobody knows" in said
    # The run was not settled: `one` was delivered and may not have been synced, so it comes again at most once.
    assert b"".join(path.read_bytes() for path in sorted(out.iterdir())).count(b"one\n") in (1, 2)


def test_a_start_that_a_full_disk_ended_is_followed_by_one_that_works(tmp_path: Path) -> None:
    """The file of the lock was made and got no bytes. No file of the state directory has to be deleted by hand."""
    instance = find("a1", tmp_path / "f", run_dir=tmp_path / "run", state_dir=tmp_path / "state")
    instance.state_dir.mkdir(parents=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(ConfigurationError, match=r"can't use .*/lock: File too large; .*give --run-dir") as told:
            instance.claim()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "chown" not in str(told.value), "nobody's rights are to blame"
    assert (instance.state_dir / "lock").stat().st_size == 0
    instance.claim()
    instance.close()


def test_a_sink_whose_state_can_not_be_written_is_named_and_tried_again(tmp_path: Path) -> None:
    """As on a full disk: a directory is in the way of the first file that its worker writes there."""
    logs, out = tmp_path / "logs", tmp_path / "out"
    logs.mkdir()
    (logs / "a.log").write_bytes(b"delivered later\n")
    with Agent(tmp_path / "agent", agent_of(taildir("r1", "c1", logs), file_roll("k1", "c1", out))) as agent:
        agent.start()
        in_the_way = next(agent.state_dir.glob("*/sinks/k1.0/sink.json"))
        agent.stop()
        in_the_way.unlink()
        in_the_way.mkdir()
        agent.start(wait=False)
        agent.until(lambda: f"k1: can't write {in_the_way}: Is a directory" in agent.log())
        assert "Please report it" not in agent.log()
        in_the_way.rmdir()
        agent.until(lambda: "a1 is running" in agent.log().rpartition("Is a directory")[2])
        assert agent.stop() == 0
