"""RC8: a role is free at once when its holder is dead, whatever its children have inherited and whatever it left."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from shipper.testing.agent import Agent
from tests.crash.conftest import Make, agent_of, file_roll, taildir, texts
from tests.ring.conftest import Ring
from tests.waiting import until

rounds_c_and_n = pytest.mark.parametrize(
    "rounds", [10, pytest.param(1000, marks=[pytest.mark.nightly, pytest.mark.timeout(1800)])]
)


def hold_with_children(home: Path) -> None:
    """Takes all roles of a ring, then starts programs that would inherit what may be inherited."""
    ring = Ring(home).attach()
    started = [subprocess.Popen(["sleep", "60"], close_fds=False) for _ in range(2)]
    (home / "children.new").write_text(" ".join(str(child.pid) for child in started))
    os.replace(home / "children.new", home / "children")
    assert ring.page.number() == 0
    signal.pause()


@rounds_c_and_n
def test_all_roles_of_a_killed_holder_are_free_as_soon_as_it_is_dead(tmp_path: Path, rounds: int) -> None:
    Ring(tmp_path).close()
    longest_s = dying_s = 0.0
    for _ in range(rounds):
        pid = os.fork()
        if pid == 0:
            try:
                hold_with_children(tmp_path)
            finally:
                os._exit(1)
        until((tmp_path / "children").exists)
        children = [int(child) for child in (tmp_path / "children").read_text().split()]
        (tmp_path / "children").unlink()
        try:
            os.kill(pid, signal.SIGKILL)
            killed_s = time.monotonic()
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # on a busy machine it takes a while to die
            dead_s = time.monotonic()
            ring = Ring(tmp_path)
            free = ring.page.take_over() and ring.producers[0].take_over() and ring.consumers[0].try_hold()
            assert free, "a child holds what its parent owned"
            longest_s = max(longest_s, time.monotonic() - dead_s)
            dying_s = max(dying_s, dead_s - killed_s)
            ring.consumers[0].let_go()
            ring.close()
            os.waitpid(pid, 0)
        finally:
            for child in children:
                os.kill(child, signal.SIGKILL)
    print(
        f"{rounds} deaths: dead {dying_s * 1000:.1f} ms after the signal, and all roles free {longest_s * 1000:.1f} ms "
        "later, at the longest"
    )


def test_what_dead_processes_left_half_made_is_in_nobodys_way(agent: Make, tmp_path: Path) -> None:
    """Segments under their temporary names, a torn note, a bell that nobody hears: the next start does not mind."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.log").write_text("".join(f"{i}\n" for i in range(1000)))
    one: Agent = agent(agent_of(taildir("r1", "c1", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "out"))).start()
    one.until(lambda: texts(tmp_path / "out").count(b"\n") == 1000)
    one.kill()
    home = one.instance_dir()
    for folder, name in [
        ("channels/c1", ".r1.0--k1.0.77"),
        ("puts", ".r1.0.77"),
        (".", ".control.77"),
        (".", "id.new"),
    ]:
        (home / folder / name).write_bytes(b"half")
    (home / "puts" / "r1.0.new").write_bytes(b"half")
    os.mkfifo(home / "bells" / "sources" / "gone.0")
    (home / "handed-over").mkdir(exist_ok=True)
    (home / "handed-over" / "0123456789abcdef").write_text("")
    with (tmp_path / "in" / "a.log").open("a") as file:
        file.write("".join(f"{i}\n" for i in range(1000, 2000)))
    one.start()
    one.until(lambda: texts(tmp_path / "out").count(b"\n") >= 2000)
    assert one.stop() == 0, one.log()
    assert texts(tmp_path / "out") == b"".join(b"%d\n" % i for i in range(2000))
