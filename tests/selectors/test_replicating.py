"""The replicating selector: everything to everybody."""

from __future__ import annotations

from shipper.api import EventBatch
from shipper.config.field import read_options
from shipper.registry import find
from shipper.selectors.replicating import ReplicatingOptions, ReplicatingSelector


def selector(optional: str = "", channels: tuple[str, ...] = ("c1", "c2", "c3")) -> ReplicatingSelector:
    options, _ = read_options(ReplicatingOptions, {"optional": optional} if optional else {})
    assert options is not None
    return ReplicatingSelector(options, channels)


def test_every_channel_gets_the_same_batch_uncopied() -> None:
    """Three channels, one batch object."""
    batch = EventBatch.of([b"a", b"b"])
    routes = selector().route(batch)
    assert [(r.channel, r.required) for r in routes] == [("c1", True), ("c2", True), ("c3", True)]
    assert all(route.batch is batch for route in routes)


def test_an_optional_channel_is_not_required() -> None:
    """`optional` takes channels out of the required ones, and they come last."""
    routes = selector("c2 c1").route(EventBatch.of([b"a"]))
    assert [(r.channel, r.required) for r in routes] == [("c3", True), ("c2", False), ("c1", False)]


def test_a_repeated_optional_channel_gets_each_row_once_and_that_is_said() -> None:
    """Flume would put the event in twice."""
    routes = selector("c2 c2").route(EventBatch.of([b"a"]))
    assert [r.channel for r in routes] == ["c1", "c3", "c2"]
    _, findings = read_options(ReplicatingOptions, {"optional": "c2 c2"})
    assert [f.severity for f in findings] == ["warning"]
    assert "c2 is named 2 times" in findings[0].message


def test_an_optional_name_that_is_no_channel_of_the_source_is_a_problem_with_a_hint() -> None:
    """The person sees which name, and which may be meant."""
    options = ReplicatingOptions(optional=("kanal1", "kanal9", "c1,c2"))
    problems = ReplicatingSelector.wiring_problems(options, ("kanal1", "kanal2"))
    assert problems == [
        ("optional", "kanal9 is not one of the source's channels; did you mean kanal2?"),
        ("optional", "c1,c2 is not one of the source's channels; names are separated by blanks, not by commas"),
    ]


def test_it_is_found_by_alias_and_by_class_name() -> None:
    """Both spellings of a Flume file."""
    assert find("selector", "replicating") is ReplicatingSelector
    assert find("selector", "org.apache.flume.channel.ReplicatingChannelSelector") is ReplicatingSelector
