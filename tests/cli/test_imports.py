"""What the supervisor and `stat` import stays small: the agent at rest is counted in megabytes."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "pyarrow",
    "numpy",
    "typer",
    "click",
    "rich",
    "asyncio",
    "uvloop",
    "logging",
    "fastavro",
    "lz4",
    "http",
)


def imported(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter has after `code`."""
    program = f"import sys\n{code}\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split() if done.stdout.splitlines() else ())


@pytest.mark.parametrize("code", [
    "from shipper.cli.main import main; main(['agent', '-h'])",
    "from shipper.cli.main import main; main(['version'])",
    "import shipper.cli.run, shipper.cli.view, shipper.supervisor.supervisor",
    "import shipper.metrics.block, shipper.metrics.export, shipper.metrics.server, shipper.metrics.observer",
    "from shipper.cli.stat import stat; stat('nobody')",
    "from shipper.cli.health import health; health('nobody')",
])  # fmt: skip
def test_no_heavy_package_is_imported(code: str) -> None:
    """Arrow alone would be 40 MB, typer and rich 5, asyncio and logging 3."""
    assert imported(code) == set()


def test_the_other_commands_bring_typer_but_no_data_libraries() -> None:
    assert imported("from shipper.cli.main import main; main(['stat', 'nobody'])") & {"pyarrow", "numpy"} == set()
