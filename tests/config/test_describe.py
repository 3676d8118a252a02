"""What `describe` says comes from the declarations, and can be written into a file."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper import registry
from shipper.cli.describe import describe
from shipper.config import describe as pages
from shipper.config.bind import load
from shipper.config.describe import Described, default_text
from shipper.config.field import REQUIRED
from shipper.config.properties import parse

EVERYTHING = [one for family in pages.PLACES for one in pages.described(family)]
by_name = pytest.mark.parametrize("one", EVERYTHING, ids=[f"{one.family}-{one.name}" for one in EVERYTHING])


def said(*wanted: str, **options: bool) -> tuple[int, str]:
    out = io.StringIO()
    return describe(*wanted, out=out, **options), out.getvalue()


def test_every_component_is_in_the_overview() -> None:
    code, text = said()
    assert code == 0
    for one in EVERYTHING:
        assert f"  {one.name} " in text
        assert one.sentence in text


@by_name
def test_every_option_of_a_component_is_on_its_page(one: Described) -> None:
    code, text = said(f"{one.family} {one.name}")
    assert code == 0
    for declared in (*one.options, *one.common):
        assert f"    {declared.key}  (" in text
        for alias in declared.aliases if declared.refused is None else ():
            assert alias in text


def test_the_line_that_chooses_a_serializer_is_the_one_that_works() -> None:
    for family, name, place in (
        ("serializer", "json_lines", "sinks.k1.serializer"), ("deserializer", "blob", "sources.r1.deserializer"),
    ):  # fmt: skip
        assert f"\n  a1.{place} = {name}\n" in said(f"{family} {name}")[1]
        assert f"\na1.{place} = {name}\n" in said(f"{family} {name}", template=True)[1]
    assert "\n  a1.sinks.k1.type = hdfs\n" in said("sink hdfs")[1]


@by_name
def test_every_default_can_be_written_and_means_itself(one: Described) -> None:
    for declared in (*one.options, *one.common):
        written = None if declared.default is REQUIRED else default_text(declared)
        if written is not None and declared.refused is None:
            [found] = parse(f"k={written}".encode(), "f")[0]
            assert declared.kind.parse(found.value) == declared.default, declared.key


@by_name
def test_a_component_is_found_by_all_of_its_names(one: Described) -> None:
    for name in (one.name, *one.aliases):
        assert one in pages.find(name)
        assert registry.find(one.family, name) is registry.find(one.family, one.name)


@by_name
def test_every_component_has_a_sentence_and_every_option_its_own(one: Described) -> None:
    assert one.sentence.endswith((".", ":"))
    for declared in one.options:
        assert declared.help.endswith("."), declared.key


@by_name
def test_a_template_parses_and_names_every_key_once(one: Described) -> None:
    lines = said(f"{one.family} {one.name}", template=True)[1].splitlines()
    keys = [line.lstrip("#").split(" =")[0] for line in lines if line.lstrip("#").startswith(one.prefix)]
    declared = [d.key.replace("*", "NAME") for d in (*one.options, *one.common) if d.refused is None]
    assert lines[0].startswith("#") and one.choice in lines
    chosen_by = [] if one.family in ("serializer", "deserializer") else ["type"]
    assert keys == [one.prefix + key for key in (*chosen_by, *declared)]
    assert parse("\n".join(lines).encode(), "f")[1] == []


def test_the_sink_s_promise_is_said() -> None:
    assert "Each event arrives exactly once." in said("file_roll")[1]


def test_the_file_to_start_from_runs(write: Callable[..., Path], tmp_path: Path) -> None:
    text = said(None, template=True)[1].replace("DIRECTORY", str(tmp_path)).replace("/var/log/", f"{tmp_path}/")
    plan, problems = load([write(text)], "a1", {}, {})
    assert problems == []
    assert plan is not None


def test_a_family_shows_all_of_it() -> None:
    text = said("channels")[1]
    assert all(f"{one.name} (channel)" in text for one in EVERYTHING if one.family == "channel")


@pytest.mark.parametrize(("wanted", "words"), [("hdsf", "Did you mean hdfs?"), ("jms", "not in this build"), ("", "")])
def test_what_is_not_there_is_said_with_what_was_meant(wanted: str, words: str) -> None:
    code, text = said(wanted)
    assert code == (2 if wanted else 0)
    assert words in text


def test_class_names_are_spelled_as_flume_spells_them() -> None:
    """A person copies them into a file that Flume is to run as well."""
    everything = [one for family in pages.PLACES for one in pages.described(family)]
    shown = [alias for one in everything for alias in one.aliases if "." in alias]
    assert "org.apache.flume.sink.hdfs.HDFSEventSink" in shown
    assert [alias for alias in shown if alias == alias.lower()] == []
