"""RC7: in no round may a consumer and a producer miss each other between "I sleep" and "is there more?".

The consumer says that it sleeps, looks once more, sleeps; the producer commits, then looks whether it has to ring. A
wake-up that is lost costs the whole sleep, which is made long here, so that one in ten million would show.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from shipper.ring.wait import Bell, Doorbell
from shipper.shared.words import full_fence
from tests.ring.conftest import Ring

_SLEEP_S = 10.0
_LATE_S = 0.05


def consume(home: Path, rounds: int) -> None:
    """Takes every frame, and sleeps as soon as there is none."""
    ring = Ring(home)
    consumer = ring.consumers[0]
    assert consumer.try_hold()
    doorbell, answer = Doorbell(home / "there"), Bell(home / "back")
    for _ in range(rounds):
        while consumer.peek() is None:
            consumer.sleeping(True)
            if not consumer.waiting:
                doorbell.wait(_SLEEP_S)
            consumer.sleeping(False)
        consumer.step()
        if consumer.release(0):
            answer.ring()


@pytest.mark.parametrize(
    "rounds", [20_000, pytest.param(10_000_000, marks=[pytest.mark.nightly, pytest.mark.timeout(7200)])]
)
def test_no_wake_up_is_lost(tmp_path: Path, rounds: int) -> None:
    ring = Ring(tmp_path)
    assert ring.page.take_over() and ring.producers[0].take_over()
    back = Doorbell(tmp_path / "back")
    pid = os.fork()
    if pid == 0:
        try:
            consume(tmp_path, rounds)
        finally:
            os._exit(0)
    bell, producer = Bell(tmp_path / "there"), ring.producers[0]
    longest_s, late, rung = 0.0, 0, 0
    began_s = time.monotonic()
    try:
        for number in range(rounds):
            assert ring.put(b"%d" % number)
            full_fence()
            put_s = time.monotonic()
            if producer.consumer_sleeps:
                rung += 1
                bell.ring()
            while not producer.drained:
                producer.sleeping(True)
                if not producer.drained:
                    back.wait(_SLEEP_S)
                producer.sleeping(False)
            waited_s = time.monotonic() - put_s
            longest_s = max(longest_s, waited_s)
            late += waited_s > _LATE_S
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    took_s = time.monotonic() - began_s
    print(f"{rounds} rounds in {took_s:.1f} s, {rung} rung, longest {longest_s * 1000:.1f} ms, {late} over 50 ms")
    assert rung > rounds // 100, "they hardly ever slept: nothing was tried"
    assert longest_s < _SLEEP_S / 2, f"a wake-up was lost: {longest_s:.2f} s"
    back.close()
    ring.close()
