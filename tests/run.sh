#!/usr/bin/env bash
# The tests, from nothing: installs shipper with its test tools into .venv-test, checks style and types, runs the tests.
# Arguments go to pytest: `bash tests/run.sh tests/ring -k wrap`.
# The same tests at their full size, for a night: `bash tests/run.sh -m nightly -n 0 -s`.
set -euo pipefail
cd "$(dirname "$0")/.."
. examples/_environment.sh
tmp=${TMPDIR:-/tmp}
free_mb=$(($(df -Pk "$tmp" | awk 'NR == 2 { print $4 }') / 1024))
if [ "$free_mb" -lt 5000 ]; then
    echo "tests/run.sh: $tmp has $free_mb MB free, and the tests write up to 4,500 MB there: make room, or set TMPDIR" >&2
    exit 1
fi
environment .venv-test '.[test]'
python_of .venv-test -m ruff check shipper tests perf
python_of .venv-test -m ruff format --check shipper tests perf
python_of .venv-test -m mypy
# Tests with real agents and servers wait for half of their time: one more process than there are cores.
export PYTEST_XDIST_AUTO_NUM_WORKERS=${PYTEST_XDIST_AUTO_NUM_WORKERS:-$(($(nproc) + 1))}
python_of .venv-test -m pytest "$@"
