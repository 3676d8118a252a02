"""The file channel: the contract of a channel, and what is true of its log when any of its processes dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shipper.api import EventBatch, Origin
from shipper.testing.contracts import ChannelContract
from tests.channels.logged import Logged

Make = Callable[..., Logged]


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Make]:
    """Makes file channels: `logged({"capacity": "5"}, sources=2)`."""
    made: list[Logged] = []

    def make(properties: dict[str, str] | None = None, **grid: object) -> Logged:
        made.append(Logged(tmp_path, properties, **grid))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.kill()


@pytest.mark.parametrize(
    "channel",
    [{}, {"ring.bytes": "64k"}, {"capacity": "100000"}, {"fsyncPerTransaction": "false"}, {"maxFileSize": "64k"}],
    indirect=True,
)
class TestContract(ChannelContract):
    """A file channel keeps the contract of every channel."""

    @pytest.fixture
    def channel(self, logged: Make, request: pytest.FixtureRequest) -> Logged:
        return logged(request.param)


class TestContractOfAGrid(ChannelContract):
    """So does one that several source workers put into."""

    @pytest.fixture
    def channel(self, logged: Make) -> Logged:
        return logged({"capacity": "100000"}, sources=2)


def test_a_put_is_safe_once_it_is_synced_and_not_before(logged: Make) -> None:
    channel = logged()
    assert channel.put(b"a")
    assert not channel.put_side().safe
    channel.write()
    assert channel.put_side().safe


def test_one_sync_makes_all_that_waited_safe(logged: Make) -> None:
    channel = logged(sources=3)
    assert channel.put(b"first")
    channel.write()
    syncs = []
    active_sync = channel.writer.log.sync
    channel.writer.log.sync = lambda: syncs.append(1) or active_sync()  # type: ignore[method-assign, func-returns-value]
    for worker in range(3):
        for _ in range(20):
            assert channel.put(b"a", worker=worker)
    channel.write()
    assert len(syncs) == 1
    assert all(channel.put_side(worker).safe for worker in range(3))


@pytest.mark.parametrize("sync_each", ["true", "false"])
def test_a_writer_that_dies_behind_its_sync_writes_nothing_twice(logged: Make, sync_each: str) -> None:
    """What it had appended, and not yet released in the lane, is in the log once."""
    channel = logged({"fsyncPerTransaction": sync_each})
    for number in range(5):
        assert channel.put(b"%d" % number)
    for feed in channel.writer._feeds:
        assert channel.writer._take(feed)
    channel.writer.log.sync()
    channel.kill_writer()
    assert channel.put(b"5")
    channel.write()
    assert channel.drain() == [b"0", b"1", b"2", b"3", b"4", b"5"]


def test_a_writer_that_dies_before_its_sync_loses_nothing(logged: Make) -> None:
    channel = logged()
    for number in range(5):
        assert channel.put(b"%d" % number)
    for feed in channel.writer._feeds:
        assert channel.writer._take(feed)
    channel.kill_writer()
    assert channel.drain() == [b"0", b"1", b"2", b"3", b"4"]


def test_what_was_safe_survives_the_loss_of_the_run_directory(logged: Make) -> None:
    channel = logged()
    assert channel.put(b"a", origins=[Origin("s", 0, 7, "x")])
    channel.write()
    assert channel.put(b"was not safe")
    channel.cut_the_power()
    assert channel.drain() == [b"a"]
    assert list(channel.writer.log.positions().values()) == [("s", 0, 7, "x")]


def test_a_full_disk_makes_puts_wait_and_loses_nothing(logged: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = logged({"ring.bytes": "64k", "maxFileSize": "64k"})
    body = b"x" * 8000
    free = [1 << 40]
    monkeypatch.setattr(channel.writer.log._disk, "free_bytes", lambda directory: free[0])
    free[0] = 0
    put = 0
    while channel.put(b"%d " % put + body):
        put += 1
        channel.write()
    assert "minimumRequiredSpace" in channel.writer.full_because
    assert "64" in channel.put_side().full_because("c1") or "ring" in channel.put_side().full_because("c1")
    free[0] = 1 << 40
    assert [found.split()[0] for found in channel.drain()] == [b"%d" % n for n in range(put)]
    assert channel.put(b"again") and channel.drain() == [b"again"]


def test_capacity_counts_what_is_in_the_log(logged: Make) -> None:
    channel = logged({"capacity": "5"})
    assert [channel.put(b"x") for _ in range(6)] == [True] * 5 + [False]
    channel.write()
    assert not channel.put(b"x")
    assert len(channel.take(batches=1)) == 1
    assert channel.put(b"x")


def test_a_put_that_is_larger_than_its_ring_goes_through(logged: Make) -> None:
    channel = logged({"ring.bytes": "64k"})
    body = b"y" * 500_000
    assert channel.put(body)
    channel.write()
    assert channel.put_side().safe
    assert channel.drain() == [body]
    assert not list((channel.directory / "c1").glob("*overflow*"))


def test_a_stream_keeps_its_order_over_several_sinks(logged: Make) -> None:
    channel = logged(sinks=3)
    for worker in range(3):
        channel.take_side(worker)
    for number in range(30):
        stream = f"s{number % 4}"
        assert channel.put(b"%s %d" % (stream.encode(), number), origins=[Origin(stream, number, number + 1)])
    channel.write()
    found = [channel.drain(worker) for worker in range(3)]
    assert sum(map(len, found)) == 30
    assert sum(bool(rows) for rows in found) == 3
    for stream in (b"s0", b"s1", b"s2", b"s3"):
        lanes = [[row for row in rows if row.startswith(stream)] for rows in found]
        assert sum(bool(rows) for rows in lanes) == 1
        numbers = [int(row.split()[1]) for rows in lanes for row in rows]
        assert numbers == sorted(numbers)


def test_a_sink_that_cannot_deliver_leaves_its_rows_to_another(logged: Make) -> None:
    channel = logged(sinks=2)
    for number in range(4):
        assert channel.put(b"%d" % number)
    first, second = channel.take_side(0), channel.take_side(1)
    first.let_go(lambda: None)
    found = channel.drain(1)
    assert sorted(found) == [b"0", b"1", b"2", b"3"]
    second.give_back(lambda: None)
    first.come_back()
    assert channel.put(b"4") and channel.put(b"5")
    assert len(channel.drain(0)) == 1 and len(channel.drain(1)) == 1


def test_an_encrypted_log_is_read_with_its_key_only(logged: Make, tmp_path: Path) -> None:
    key = tmp_path / "k1.key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    channel = logged(
        {
            "encryption.activeKey": "k1", "encryption.keyProvider": "FILE", "encryption.keyProvider.keys": "k1",
            "encryption.keyProvider.keys.k1.file": str(key),
        }
    )  # fmt: skip
    assert channel.put(b"a secret of the firm" * 20)
    channel.write()
    assert all(b"secret of" not in path.read_bytes() for path in (tmp_path / "data").glob("*.segment"))
    assert channel.drain() == [b"a secret of the firm" * 20]


def test_a_view_stays_valid_until_it_is_given_back(logged: Make) -> None:
    """Also when its segment is removed meanwhile."""
    channel = logged({"maxFileSize": "64k"})
    assert channel.put(b"a" * 5000)
    transaction = channel.take_side().transaction()
    transaction.begin()
    batch = transaction.take()
    assert isinstance(batch, EventBatch)
    transaction.commit()
    transaction.close()
    for _ in range(40):
        assert channel.put(b"b" * 5000)
        channel.take()
        channel.take_side().publish_durable(channel.take_side().committed())
        channel.now_s += 31
        channel.writer.tick(channel.now_s)
    assert batch.body.to_pylist() == [b"a" * 5000]
