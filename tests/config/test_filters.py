"""Config filters: values that do not stand in the file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shipper.config.agents import sort_by_agent
from shipper.config.bind import load
from shipper.config.filters import apply, external, filtered
from shipper.config.problem import Problem
from shipper.config.properties import parse

FILE = """\
a.configfilters = f1
a.configfilters.f1.type = {type}
a.sources.r.type = seq
a.sources.r.password = pre${{f1['KEY']}}post
a.sources.r.other = ${{f1[KEY]}} ${{f1["KEY"]}} ${{f1['KEY"]}} ${{f1['no key']}} ${{f1['NONE']}}
"""


def applied(text: str, environment: dict[str, str]) -> tuple[dict[str, str], list[Problem]]:
    agents, _ = sort_by_agent({p.key: p for p in parse(text.encode(), "f")[0]})
    problems = apply(agents["a"], environment)
    return {key: s.value for key, s in agents["a"].components["sources"]["r"].settings.items()}, problems


@pytest.mark.vectors("config_filters")
def test_references_are_answered_as_in_flume(row: dict[str, Any]) -> None:
    answers = {("f1", "param"): "one", ("f1", "header"): "x", ("f2", "port"): "99"}

    def ask(name: str, key: str) -> str | None:
        if name == "f3":
            raise ValueError("no")
        return answers.get((name, key))

    if row["id"] == "external_exit_nonzero":
        with pytest.raises(ValueError, match="ended with 1"):
            external("false")("key")
    elif row["id"] != "env_implementation_1_9":  # that one is no filter: see test_placeholders.py
        assert row["out"] == filtered(row["in"], ["f1", "f2", "f3"], ask)[0]


def test_the_env_filter_answers_every_form_of_quotes_and_leaves_the_rest() -> None:
    settings, problems = applied(FILE.format(type="env"), {"KEY": "s3cret"})
    assert settings["password"] == "pres3cretpost"
    assert settings["other"] == """s3cret s3cret ${f1['KEY"]} ${f1['no key']} ${f1['NONE']}"""
    assert [p.severity for p in problems] == ["warning"]
    assert "NONE" in problems[0].message


def test_the_external_filter_gives_the_first_line_that_the_command_prints(tmp_path: Path) -> None:
    script = tmp_path / "print.py"
    script.write_text("import sys\nprint('value of', sys.argv[1])\nprint('second')")
    text = FILE.format(type="external") + f"a.configfilters.f1.command = {sys.executable} {script}\n"
    settings, _ = applied(text, {})
    assert settings["password"] == "prevalue of KEYpost"


def test_a_command_that_fails_or_is_not_there_leaves_the_text_and_says_why() -> None:
    for command, why in (("false", "ended with 1"), ("/no/such/command", "can't be run")):
        text = FILE.format(type="org.apache.flume.configfilter.ExternalProcessConfigFilter")
        settings, problems = applied(text + f"a.configfilters.f1.command = {command}\n", {})
        assert settings["password"] == "pre${f1['KEY']}post"
        assert why in problems[0].message


def test_a_command_that_hangs_is_given_up_with_all_that_it_started(tmp_path: Path) -> None:
    script = tmp_path / "hang.sh"
    script.write_text("#!/bin/sh\nsleep 600\n")
    script.chmod(0o755)
    with pytest.raises(ValueError, match="did not answer"):
        external(str(script), timeout_s=0.2)("key")


def test_a_command_is_asked_once_for_a_key(tmp_path: Path) -> None:
    script = tmp_path / "count.sh"
    script.write_text(f"#!/bin/sh\necho x >> {tmp_path}/asked\necho v\n")
    script.chmod(0o755)
    text = FILE.format(type="external") + f"a.configfilters.f1.command = {script}\n"
    applied(text, {})
    assert len((tmp_path / "asked").read_text().split()) == 2  # KEY and NONE


@pytest.mark.parametrize(
    ("lines", "severity", "words"),
    [
        ("a.configfilters.f1.type = hadoop", "error", "external"),
        ("a.configfilters.f1.type = envv", "dropped", "no config filter of type"),
        ("a.configfilters.f1.type = external", "dropped", "command is required"),
        ("a.configfilters.f1.type = env\na.configfilters.f1.comand = x", "warning", "no such key"),
        ("", "dropped", "no line"),
        (
            "a.configfilters.f1.type = external\na.configfilters.f1.command = echo\na.configfilters.f1.charset = no",
            "dropped",
            "charset",
        ),
    ],
)
def test_a_filter_that_cannot_work_is_told(lines: str, severity: str, words: str) -> None:
    _, problems = applied(f"a.configfilters = f1\n{lines}\na.sources.r.type = seq\n", {})
    assert [severity] == [p.severity for p in problems]
    assert words in problems[0].message


def test_what_came_out_of_a_filter_is_never_shown(complete: str, write: Callable[..., Path]) -> None:
    text = complete.replace("type=seq", "type=seq\na.sources.r.batchSize=${f['K']}")
    text += "a.configfilters=f\na.configfilters.f.type=env\n"
    _, problems = load([write(text)], "a", {}, {"K": "topsecret"})
    assert any("batchSize" in p.message for p in problems)
    assert not [p for p in problems if "topsecret" in repr(p)]


def test_filters_of_other_agents_are_not_run(complete: str, write: Callable[..., Path], tmp_path: Path) -> None:
    other = complete.replace("a.", "b.").replace("type=seq", "type=seq\nb.sources.r.batchSize=${f['K']}")
    other += f"b.configfilters=f\nb.configfilters.f.type=external\nb.configfilters.f.command=touch {tmp_path}/ran\n"
    load([write(complete + other)], "a", {}, {})
    assert not (tmp_path / "ran").exists()
