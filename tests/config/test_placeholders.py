"""`${...}` in values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from shipper.config.java_date import format_java_date
from shipper.config.placeholders import ENVIRONMENT_SWITCH, Resolved, resolve
from shipper.config.properties import parse

NOW = datetime(2026, 3, 9, 7, 5, 3, 42_000, timezone(timedelta(hours=-3, minutes=-30), "NST"))


def resolved(text: str, system: Mapping[str, str] = {}, environment: Mapping[str, str] = {}) -> Resolved:
    return resolve({p.key: p for p in parse(text.encode(), "f")[0]}, system, environment, NOW)


def values(text: str, system: Mapping[str, str] = {}, environment: Mapping[str, str] = {}) -> dict[str, str]:
    return {key: p.value for key, p in resolved(text, system, environment).properties.items()}


@pytest.mark.vectors("placeholder_resolution")
def test_values_are_those_of_flume(row: dict[str, Any]) -> None:
    want = row.get("want", row["out"])["properties"]
    assert want == values(row["in"]["text"], row["in"]["sys"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${env:HOME}", "/root"),
        ("${ENV:HOME}", "/root"),
        ("${Sys:stage}", "DEV"),
        ("a${env:HOME}b${sys:stage}c", "a/rootbDEVc"),
        ("${env:NONE:-x}", "x"),
        ("${none:-x}", "x"),
        ("${none:-}", ""),
        ("${none:-${sys:stage}}", "DEV"),
        ("${none:-a:-b}", "a:-b"),
        ("${env:HOME:-x}", "/root"),
        ("${B}", "1"),
        ("${CHAIN}", "1"),
        ("${${sys:stage}_HOST}", "dev.host"),
        ("${INDIRECT}", "/root"),
        ("$${B}", "${B}"),
        ("$$${B}", "$${B}"),
        ("${B}$${B}${B}", "1${B}1"),
        ("${ESCAPED}", "${B}"),
        ("$B", "$B"),
        ("$", "$"),
        ("${", "${"),
        ("${}", "${}"),
        ("${B", "${B"),
        ("${B${B}", "${B${B}"),
        ("}${B}{", "}1{"),
        ("%{host}/%Y", "%{host}/%Y"),
        ("${f1['key']}", "${f1['key']}"),
        ("${sys:none}", "${sys:none}"),
        ("${${none}_HOST}", "${${none}_HOST}"),
        ("${date:yyyy-MM-dd'T'HH:mm}", "2026-03-09T07:05"),
        ("${DATE:yyyy}", "2026"),
        ("${file:UTF-8:/etc/passwd}", "${file:UTF-8:/etc/passwd}"),
        ("${script:javascript:1+1}", "${script:javascript:1+1}"),
        ("${sys:file.separator}", "/"),
    ],
)
def test_a_placeholder_becomes(value: str, expected: str) -> None:
    text = (
        f"a={value}\nB=1\nCHAIN=${{C2}}\nC2=${{C3}}\nC3=${{B}}\nDEV_HOST=dev.host\nESCAPED=$${{B}}\n"
        "INDIRECT=${sys:home}\n"
    )
    system = {"stage": "DEV", "home": "${env:HOME}"}
    assert expected == values(text, system, {"HOME": "/root"})["a"]


def test_the_result_does_not_depend_on_the_order_of_the_lines() -> None:
    lines = ["a=${b}${c}", "b=${c}", "c=${d}x", "d=1"]
    expected = {"a": "1x1x", "b": "1x", "c": "1x", "d": "1"}
    for shift in range(4):
        assert expected == values("\n".join(lines[shift:] + lines[:shift]))


@pytest.mark.parametrize("text", ["a=${a}", "a=${b}\nb=${a}", "a=x${b}\nb=${c}\nc=${b}", "a=${b:-${a}}"])
def test_a_ring_is_an_error_that_names_it_and_the_values_stay(text: str) -> None:
    result = resolved(text)
    assert "error" in {p.severity for p in result.problems}
    assert any("ring" in p.message and " -> " in p.message for p in result.problems)
    assert "${" in result.properties["a"].value


@pytest.mark.parametrize("value", ["${a:-" * 2000 + "5" + "}" * 2000, "${" * 3000 + "}" * 3000])
def test_placeholders_in_each_other_without_end_are_an_error_of_their_line(value: str) -> None:
    result = resolved(f"b=1\nx={value}\ny=${{b}}")
    [problem] = result.problems
    assert (problem.severity, problem.line) == ("error", 2)
    assert "more than 100 levels deep; give a part of it a key of its own" in problem.message
    assert result.properties["y"].value == "1"


def test_keys_that_are_too_deep_together_are_an_error() -> None:
    lines = [f"k{n}={'${none:-' * 90}${{k{n + 1}}}{'}' * 90}" for n in range(20)]
    result = resolved("\n".join([*lines, "k20=1"]))
    assert {p.severity for p in result.problems} == {"error"}
    assert all("levels deep" in p.message for p in result.problems)


def test_a_ring_is_shown_once_round() -> None:
    messages = [p.message for p in resolved("a=${b}\nb=x${c}\nc=${a}").problems]
    assert messages[0] == "a: placeholders refer to each other in a ring (a -> b -> c -> a)."


def test_a_ring_through_the_environment_ends() -> None:
    assert [p.severity for p in resolved("a=${env:X}", environment={"X": "${env:X}"}).problems] == ["error"]


def test_one_ring_does_not_keep_the_other_keys_from_their_values() -> None:
    result = resolved("a=${b}\nb=${a}\nc=${d}\nd=1")
    assert result.properties["c"].value == "1"


@pytest.mark.parametrize(
    ("line", "environment", "nearest"),
    [
        ("x.positionFile=${HOME}/p", {"HOME": "/root"}, "${env:HOME}"),
        ("x.y=${DIRR}", {}, "${DIR}"),
        ("x.y=${quite_other}", {}, None),
    ],
)
def test_a_placeholder_without_a_value_is_told_with_what_was_meant(
    line: str, environment: dict[str, str], nearest: str | None
) -> None:
    [problem] = resolved(f"DIR=/d\n{line}", environment=environment).problems
    assert ("warning", 2, nearest) == (problem.severity, problem.line, problem.nearest)


@pytest.mark.parametrize("line", ["x.command=bash -c 'echo ${HOME}'", "x.replaceString=${name}", "x.p=${f1['k']}"])
def test_dollars_that_belong_to_a_shell_a_regex_or_a_filter_are_no_problem(line: str) -> None:
    assert resolved(line).problems == []


def test_a_bare_name_is_an_environment_variable_only_with_flume_s_switch() -> None:
    environment = {"NAME": "v", "B": "no"}
    assert values("a=${NAME}", {}, environment)["a"] == "${NAME}"
    switch = {"propertiesImplementation": ENVIRONMENT_SWITCH}
    assert values("a=${NAME}${B}\nB=1", switch, environment) == {"a": "v1", "B": "1"}


@pytest.mark.vectors("config_filters")
def test_the_switch_of_1_9_works_as_recorded(row: dict[str, Any]) -> None:
    if row["id"] == "env_implementation_1_9":
        switch = {"propertiesImplementation": ENVIRONMENT_SWITCH}
        assert row["out"] == values(f"a={row['in']}", switch, row["env"])["a"]


def test_lookups_of_one_s_own_are_told_to_have_no_effect() -> None:
    assert [p.severity for p in resolved("a=1", {"lookups": "my.properties"}).problems] == ["warning"]


def test_the_machine_is_described_as_java_does_and_an_unknown_word_is_an_error() -> None:
    assert os.uname().sysname in values("a=${java:os}")["a"]
    assert [p.severity for p in resolved("a=${java:nope}").problems] == ["error"]


def test_bytes_of_the_environment_that_are_no_utf8_can_be_sent_on() -> None:
    value = values("a=${env:X}", environment={"X": os.fsdecode(b"a\xffb")})["a"]
    assert value == "a\ufffdb"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("yyyyMMdd", "20260309"),
        ("yy-M-d", "26-3-9"),
        ("MMM MMMM", "Mar March"),
        ("E EEEE u", "Mon Monday 1"),
        ("HH:mm:ss.SSS", "07:05:03.042"),
        ("h K k a", "7 7 7 AM"),
        ("D DDD", "68 068"),
        ("w W F", "11 2 2"),
        ("Z ZZ X XX XXX z", "-0330 -03:30 -03 -0330 -03:30 NST"),
        ("'o''clock' ''", "o'clock '"),
        ("", ""),
        ("-/.:", "-/.:"),
    ],
)
def test_a_java_date_pattern_is_written(pattern: str, expected: str) -> None:
    assert expected == format_java_date(pattern, NOW)


@pytest.mark.parametrize("pattern", ["b", "yyyy'", "yyyyT"])
def test_a_wrong_date_pattern_is_an_error_with_its_line(pattern: str) -> None:
    [problem] = resolved(f"a=1\nb=${{date:{pattern}}}").problems
    assert (problem.severity, problem.line) == ("error", 2)
