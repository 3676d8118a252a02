"""Tests whose size a variable says, at their full size: so that one command runs all of a night.

`bash tests/run.sh -m nightly -n 0 -s` comes by here. Each runs in a process of its own, which prints its seeds and its
progress. `SHIPPER_NIGHT_SHARE=0.01` runs a hundredth of each, to see that the night would begin.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shipper.testing.mortal import dies_with_us

SHARE = float(os.environ.get("SHIPPER_NIGHT_SHARE", "1"))
ROOT = Path(__file__).parents[2]

#: test file -> the variable of its size, and its full size.
SIZES = {
    "tests/durable/test_crash_states.py": ("SHIPPER_CRASH_STATES", 10_000_000),
    "tests/durable/test_damage.py": ("SHIPPER_DAMAGES", 20_000),
    "tests/durable/test_model.py": ("SHIPPER_MODEL_LIVES", 50_000),
    "tests/channels/test_model.py": ("SHIPPER_MODEL_LIVES", 40_000),
    "tests/durable/test_kills.py": ("SHIPPER_KILLS", 1_000),
    "tests/proof/test_dead_letters.py": ("SHIPPER_KILL_ROUNDS", 60),
    "tests/workers/test_kills.py": ("SHIPPER_KILL_ROUNDS", 100),
    "tests/workers/test_file_channel.py": ("SHIPPER_KILL_ROUNDS", 100),
    "tests/workers/test_ledger.py": ("SHIPPER_KILL_ROUNDS", 50),
}
#: Test files that leave out all but every n-th death: none is left out.
EVERY = dict.fromkeys(
    ("tests/files/test_deaths.py", "tests/files/columns/test_deaths.py", "tests/channels/test_spill_deaths.py"),
    "SHIPPER_DEATHS_STRIDE",
)


@pytest.mark.nightly
@pytest.mark.timeout(12 * 3600)
@pytest.mark.parametrize("file", [*SIZES, *EVERY])
def test_at_its_full_size(file: str) -> None:
    if file in EVERY:
        variable, size = EVERY[file], max(1, round(1 / (SHARE * 5)) if SHARE < 1 else 1)
    else:
        variable, full = SIZES[file]
        size = max(1, int(full * SHARE))
    print(f"{file}: {variable} = {size}", flush=True)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-s", "--timeout", "0", file], cwd=ROOT, preexec_fn=dies_with_us(),
        env={**os.environ, variable: str(size)},
    )  # fmt: skip
    assert ran.returncode == 0, f"{variable}={size} python -m pytest --timeout 0 {file}"
