"""How workers come into being: a template that dies, whenever it does, leaves nobody whom the supervisor does not know;
and one of another build is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

import shipper
from shipper.cli.arguments import AgentCommand
from shipper.cli.view import TerminalView
from shipper.errors import ComponentFailed
from shipper.supervisor import supervisor
from shipper.supervisor.fleet import TEMPLATE_RETRY_S
from shipper.testing.agent import Agent
from tests.workers.conftest import agent_of, file_roll, taildir, texts

Make = Callable[..., Agent]
SOURCES = ("r1", "r2", "r3")

#: Carried out by every Python that starts with it: the first template dies where `WHERE` says.
DYING = """
import os, signal, sys
if "shipper.workers.template" in sys.orig_argv and not os.path.exists({marker!r}):
    def die():
        open({marker!r}, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    forks, fork, write = [], os.fork, os.write
    def dying_fork():
        pid = fork()
        if pid:
            forks.append(pid)
            if len(forks) == {forks}:
                die()
        return pid
    def dying_write(fd, data):
        if data[:1] == b"!":
            die()
        return write(fd, data)
    if {forks}:
        os.fork = dying_fork
    else:
        os.write = dying_write
"""


def dying(tmp_path: Path, forks: int) -> Mapping[str, str]:
    """An environment in which the first template dies behind that fork; 0 = behind its answer, before workers begin."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(DYING.format(marker=str(tmp_path / "died"), forks=forks))
    path = [str(site), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in path if part)}


@pytest.mark.parametrize("forks", [1, 2, 4, 0])
def test_a_template_that_dies_leaves_no_worker_that_nobody_knows(agent: Make, tmp_path: Path, forks: int) -> None:
    for name in SOURCES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.log").write_text("".join(f"{name} {i}\n" for i in range(1000)))
    one = agent(
        agent_of(*(taildir(name, "c1", tmp_path / name) for name in SOURCES), file_roll("k1", "c1", tmp_path / "out"),
                 sources=" ".join(SOURCES)),
        environment=dying(tmp_path, forks),
    ).start()  # fmt: skip
    assert (tmp_path / "died").exists()
    one.until(lambda: texts(tmp_path / "out").count(b"\n") >= 3000, "all lines")
    one.until(lambda: len(one.children()) == 4, "the template has gone")
    assert set(one.workers()) == {"k1", *SOURCES}, "four processes, and each is another worker"
    assert "is in use" not in one.log(), one.log()
    assert one.stop() == 0, one.log()
    assert sorted(texts(tmp_path / "out").splitlines()) == sorted(
        f"{name} {i}".encode() for name in SOURCES for i in range(1000)
    )


@pytest.mark.parametrize(("end", "templates"), [("os.kill(os.getpid(), 9)", 5), ("os._exit(7)", 1)])
def test_templates_that_never_live_end_the_start(
    end: str, templates: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was killed is followed by another, but not for ever; one that ends by itself would do so again."""
    born = tmp_path / "born"
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, sys\n"
        f"if 'shipper.workers.template' in sys.orig_argv:\n"
        f"    open({str(born)!r}, 'a').write('1')\n"
        f"    {end}\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    waits: list[float] = []
    monkeypatch.setattr(supervisor, "time", SimpleNamespace(sleep=waits.append))
    read_fd, write_fd = os.pipe()
    command = AgentCommand((tmp_path / "a1.properties",), "a1")
    with pytest.raises(ComponentFailed, match=r"the template of the workers (was killed by SIGKILL|ended with code 7)"):
        supervisor._loaded_at_start(command, TerminalView({}), read_fd, write_fd)
    os.close(read_fd)
    os.close(write_fd)
    assert len(born.read_text()) == templates
    assert waits == [TEMPLATE_RETRY_S] * (templates - 1)


def test_after_an_upgrade_a_dead_worker_makes_the_agent_restart_in_order(agent: Make, tmp_path: Path) -> None:
    """The process id stays, every worker is of the new build, and no line is lost or comes twice."""
    home = tmp_path / "installed"
    shutil.copytree(Path(shipper.__file__).parent, home / "shipper", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "in").mkdir()
    log = tmp_path / "in" / "a.log"
    log.write_text("".join(f"{i}\n" for i in range(1000)))
    one = agent(
        agent_of(taildir("r1", "c1", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "out")),
        environment={**os.environ, "PYTHONPATH": str(home)}, before=("env", "-C", str(tmp_path)),
    ).start()  # fmt: skip
    supervisor, workers = one.pid, one.workers()
    one.until(lambda: texts(tmp_path / "out").count(b"\n") >= 1000, "the first lines")
    root = home / "shipper" / "__init__.py"
    root.write_text(root.read_text().replace('__version__ = "', '__version__ = "9.'))
    one.kill("k1")
    with log.open("a") as file:
        file.write("".join(f"{i}\n" for i in range(1000, 2000)))
    one.until(lambda: one.log().count("a1 is running") == 2, "it runs again")
    assert "shipper was upgraded while the agent ran" in one.log()
    assert "restarting in order" in one.log()
    assert one.pid == supervisor and not set(workers.values()) & set(one.workers().values())
    one.until(lambda: texts(tmp_path / "out").count(b"\n") >= 2000, "all lines")
    assert one.stop() == 0, one.log()
    assert texts(tmp_path / "out") == b"".join(b"%d\n" % i for i in range(2000))
    assert one.log().count("restarting in order") == 1


def test_two_copies_at_the_start_are_refused_with_both_builds(agent: Make, tmp_path: Path) -> None:
    """A template that another path finds is of another build: said at once, and never tried again and again."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'shipper.workers.template' in sys.orig_argv:\n"
        f"    sys.path.insert(0, {str(Path(shipper.__file__).parents[1])!r})\n"
        "    import shipper.workers.stamp as found\n"
        "    found.STAMP = '0.0-another'\n"
    )
    path = os.pathsep.join(part for part in (str(site), os.environ.get("PYTHONPATH", "")) if part)
    one = agent(
        agent_of(taildir("r1", "c1", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "out")),
        environment={**os.environ, "PYTHONPATH": path},
    )
    assert one.run() == 3
    assert "build 0.0-another" in one.log() and "Traceback" not in one.log()
