"""A promise: what a put page will say once a take commit elsewhere is stored, written down before that commit.

Two words can't be stored at once. The take commit decides; the frames of the put stand behind their tails already, and
the promise has all that the page's commit needs, so whoever comes after a death can keep it or forget it::

    write       died before: no promise; what was staged is above all tails
    take        died before: the lane's generation is the one in the promise: forget it
    commit      died before: the generation is another one: keep it (the page gets the words that the promise has)
    remove      died before: the page says this number already

One file beside the page, replaced in one step::

    {"about": [channel, lane, board of its log or "", generation before, sink id, run id],
     "put": [number, origin lane, origin position], "lanes": [[...], ...], "intake": [...], "offers": [[...], ...]}
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import orjson

from shipper import whole_file
from shipper.ring.layout import LaneState
from shipper.ring.puts import PutPage, PutState
from shipper.shared.take_mark import TakeMark
from shipper.shared.tally import Intake, Offers, PutTally

SUFFIX = ".promise"


class Promise(NamedTuple):
    """A put that is staged, and the take commit that makes it true."""

    mark: TakeMark
    state: PutState
    tally: PutTally


def path_of(page: Path) -> Path:
    """Where the promise of a put page lies."""
    return page.with_name(f"{page.name}{SUFFIX}")


def write(path: Path, promise: Promise) -> None:
    """Writes a promise down, in one step. It counts within the life of the shared memory that it speaks of."""
    state, tally = promise.state, promise.tally
    content = {
        "about": list(promise.mark), "put": [state.number, state.origin_lane, state.origin_position],
        "lanes": [list(lane) for lane in state.lanes], "intake": list(tally.intake),
        "offers": [list(offers) for offers in tally.offers],
    }  # fmt: skip
    whole_file.write(path, [orjson.dumps(content)])


def read(path: Path) -> Promise | None:
    """The promise that lies there; None when there is none."""
    try:
        found = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    lanes = tuple(LaneState(*lane) for lane in found["lanes"])
    tally = PutTally(Intake(*found["intake"]), tuple(Offers(*offers) for offers in found["offers"]))
    number, origin_lane, origin_position = found["put"]
    return Promise(TakeMark(*found["about"]), PutState(number, origin_lane, origin_position, lanes), tally)


def is_open(page: PutPage, promise: Promise) -> bool:
    """True when the page has not got the promised put yet."""
    return page.number() + 1 == promise.state.number


def keep(page: PutPage, promise: Promise) -> None:
    """Makes the promised put visible. Only who has taken the page over may."""
    page.commit(promise.state, promise.tally)
