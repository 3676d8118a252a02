"""What every test may use: the recorded answers of the real Flume classes, Hadoop's reader, clusters, and programs."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))  # for the files of fixtures beside this one

from columnar import columnar  # noqa: F401
from fetched import FETCH_S
from hadoop import hadoop  # noqa: F401
from hdfs.fixtures import hdfs, hdfs_kerberos, hdfs_pair, hdfs_patient, hdfs_to_break  # noqa: F401
from permissions import _permissions_count  # noqa: F401
from programs import liblzo2, program, rivals_path  # noqa: F401
from vectors import REFERENCE

# A shell that starts the tests behind an `&` has them ignore Ctrl-C, `nohup` a terminal that is closed, and all agents
# that they start would, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Other cases are drawn with every run but in CI, where a failure is to say that a change has broken something.
settings.register_profile(
    "shipper", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("shipper")


def pytest_configure(config: pytest.Config) -> None:
    """The marks of our own."""
    config.addinivalue_line("markers", "permissions_count: file modes bind this test also when root runs it")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that needs something waits until it is fetched, the others for the first one."""
    for item in items:
        if {"columnar", "hadoop", "liblzo2", "program", "rivals_path"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.timeout(FETCH_S))


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of recorded Flume answers, bytes and files beside the project."""
    return REFERENCE
