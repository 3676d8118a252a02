"""The command line of `agent`, as Flume's script and commons-cli take it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from shipper.cli.arguments import AgentCommand, HelpWanted, UsageError, parse_agent
from shipper.units import format_seconds


def parsed(line: str, environment: dict[str, str] | None = None) -> AgentCommand:
    return parse_agent(line.split(), environment or {})


BASE = "-n a1 -f a1.properties"
PLAIN = AgentCommand(files=(Path("a1.properties"),), agent="a1")


@pytest.mark.parametrize("line", [
    "-n a1 -f a1.properties",
    "--name a1 --conf-file a1.properties",
    "--conf-file a1.properties --name a1",
    "-name a1 -conf-file a1.properties",
    "--name=a1 --conf-file=a1.properties",
    "-n=a1 -f=a1.properties",
    "-na1 -fa1.properties",
    "--na a1 --conf-f a1.properties",
    "-n a1 -n a1 -f a1.properties",
])  # fmt: skip
def test_every_way_to_name_the_agent_and_its_file(line: str) -> None:
    """commons-cli knows short, long, attached, assigned and abbreviated options, with one dash or two."""
    assert parsed(line) == PLAIN


@pytest.mark.parametrize(("more", "changed"), [
    ("-c conf", {"conf_dir": Path("conf")}),
    ("--conf conf", {"conf_dir": Path("conf")}),
    ("--config conf", {"conf_dir": Path("conf")}),
    ("-conf conf", {"conf_dir": Path("conf")}),
    ("-c one -c two", {"conf_dir": Path("two")}),
    ("-f b.properties", {"files": (Path("a1.properties"), Path("b.properties"))}),
    ("--no-reload-conf", {"reload": False}),
    ("-no-reload-conf", {"reload": False}),
    ("--no-reload", {"reload": False}),
    ("-i 5", {"poll_interval_s": 5.0}),
    ("--stop-deadline 8s", {"stop_deadline_s": 8.0}),
    ("--stop-deadline=2min", {"stop_deadline_s": 120.0}),
    ("-i5", {"poll_interval_s": 5.0}),
    ("--poll-interval 2min", {"poll_interval_s": 120.0}),
    ("--poll-interval=500ms", {"poll_interval_s": 0.5}),
    ("-d", {"background": True}),
    ("--daemon", {"background": True}),
    ("--dryrun", {"dry_run": True}),
    ("--dry-run", {"dry_run": True}),
    ("--strict", {"strict": True}),
    ("--run-dir /r --state-dir /s", {"run_dir": Path("/r"), "state_dir": Path("/s")}),
    ("-Dflume.root.logger=INFO,console", {"system": {"flume.root.logger": "INFO,console"}}),
    ("-Da=b=c -Dd -Da=x", {"system": {"a": "x", "d": ""}}),
    ("--", {}),
])  # fmt: skip
def test_what_an_option_changes(more: str, changed: dict[str, Any]) -> None:
    """Before the other options or behind them, and nothing else changes."""
    for line in (f"{BASE} {more}", f"{more} {BASE}"):
        found = asdict(parsed(line))
        wanted = {**asdict(PLAIN), **changed}
        found["files"], wanted["files"] = set(found["files"]), set(wanted["files"])
        assert found == wanted


def test_directories_may_be_system_properties_and_options_win() -> None:
    found = parsed(f"{BASE} -Drun.dir=/r -Dstate.dir=/s --run-dir /x")
    assert (found.run_dir, found.state_dir) == (Path("/x"), Path("/s"))


@pytest.mark.parametrize(("more", "note"), [
    ("-Xmx512m", "-Xmx512m is for a Java machine and has no effect here."),
    ("-XX:+UseG1GC", "-XX:+UseG1GC is for a Java machine and has no effect here."),
    ("-agentlib:jdwp=x", "-agentlib:jdwp=x is for a Java machine and has no effect here."),
    ("-javaagent:x.jar", "-javaagent:x.jar is for a Java machine and has no effect here."),
    ("-C lib/*", "-C lib/* has no effect: there is no Java class path here."),
    ("--classpath lib", "-C lib has no effect: there is no Java class path here."),
    ("--plugins-path p:q", "--plugins-path p:q has no effect: plugins are Python packages installed beside shipper."),
    ("stray", "'stray' stands alone on the command line and has no effect, as in Flume."),
])  # fmt: skip
def test_what_is_taken_without_effect_is_said_in_one_line(more: str, note: str) -> None:
    found = parsed(f"{BASE} {more}")
    assert found.notes == (note,)
    assert {**asdict(found), "notes": ()} == asdict(PLAIN)


@pytest.mark.parametrize("option", [
    "-u", "--conf-uri", "-z", "--zkConnString", "-p", "--zkBasePath", "-a", "--auth-provider", "-prov",
    "--conf-provider", "-user", "--conf-user", "-pwd", "--conf-password", "-b", "--backup-directory",
])  # fmt: skip
def test_options_of_flume_that_are_not_in_this_build_are_refused_by_name(option: str) -> None:
    with pytest.raises(UsageError, match=f"^{option}: ") as caught:
        parsed(f"{BASE} {option} x")
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(("line", "message"), [
    (f"{BASE} --conf-fiel x", r"no option --conf-fiel; did you mean --conf-file\?"),
    (f"{BASE} --file x", r"no option --file; did you mean --conf-file\?"),
    (f"{BASE} -file x", r"no option -file; did you mean --conf-file\?"),
    (f"{BASE} --no-relaod-conf", r"no option --no-relaod-conf; did you mean --no-reload-conf\?"),
    (f"{BASE} --nmae x", r"no option --nmae; did you mean --name\?"),
    (f"{BASE} --Strict", r"no option --Strict; did you mean --strict\?"),
    (f"{BASE} --quux", r"no option --quux\. "),
    (f"{BASE} -name1 x", r"no option -name1; did you mean --name\?"),
    (f"{BASE} -q", r"no option -q\. "),
    (f"{BASE} --s", r"no option --s\."),
    (f"{BASE} -D", r"-D needs a property right behind it"),
    (f"{BASE} --strict=yes", r"--strict takes no value, but --strict=yes gives it one"),
    (f"{BASE} -c", r"-c needs a value; for instance -c conf"),
    ("-n -f a1.properties", r"-n needs a value; for instance -n a1"),
    ("-n a1 -f", r"-f needs a value; for instance -f a1.properties"),
    (f"{BASE} --run-dir", r"--run-dir needs a value"),
    ("-n a1", r"Agent a1 needs its file: shipper agent -n a1 -f FILE.properties"),
    ("-f nowhere.properties", r"Which agent of the file shall run\? Say it with -n NAME"),
    ("", r"Which agent"),
    (f"{BASE} -n a2", r"-n is given more than once \(a1, a2\)"),
    (f"{BASE} -i soon", r"-i soon: a duration is a number with an optional unit"),
    (f"{BASE} -i 0", r"-i 0: "),
    (f"{BASE} -i -5", r"-i -5: "),
])  # fmt: skip
def test_what_can_not_be_understood_is_a_usage_error(line: str, message: str) -> None:
    """It names what was wrong, the nearest spelling, and what would be right."""
    with pytest.raises(UsageError, match=message):
        parsed(line)


def test_a_missing_name_is_answered_with_the_agents_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "x.properties"
    file.write_text("# b.sources = no\na2.sources = r1\na1.channels=c1\n a1.sinks : k1\na1.sources.r1.type = exec\n")
    with pytest.raises(UsageError, match=r"Say it with -n NAME\. The file has a1, a2\."):
        parse_agent(["-f", str(file)], {})


@pytest.mark.parametrize("line", ["-h", "--help", f"{BASE} -h", "--help -n"])
def test_help_is_wanted_whatever_else_is_missing(line: str) -> None:
    """Flume's `agent -h` fails because -n is missing; ours helps."""
    if line == "--help -n":
        with pytest.raises(UsageError):
            parsed(line)
    else:
        with pytest.raises(HelpWanted):
            parsed(line)


def test_a_directory_whose_name_is_no_text_is_refused() -> None:
    """Where an agent lies is written down, as text."""
    for option in ("--run-dir", "--state-dir"):
        with pytest.raises(UsageError, match="The directory /bad\ufffd is no valid UTF-8"):
            parse_agent([*BASE.split(), option, "/bad\udcff"])


@pytest.mark.permissions_count
def test_a_flume_env_that_can_not_be_read_is_said(tmp_path: Path) -> None:
    script = tmp_path / "flume-env.sh"
    script.write_text("JAVA_OPTS=-Da=script\n")
    script.chmod(0)
    notes = parsed(f"{BASE} -c {tmp_path}").notes
    assert notes == (f"{script} can't be read (Permission denied): its -D flags do not count.",)


def test_the_flags_of_flume_env_count_below_the_command_line(tmp_path: Path) -> None:
    """The script's JAVA_OPTS, then the environment's, then -D on the command line, which wins."""
    (tmp_path / "flume-env.sh").write_text('export JAVA_OPTS="-Xmx20m -Da=script -Db=script -Dc=script"\n')
    found = parse_agent([*BASE.split(), "-c", str(tmp_path), "-Dc=line"], {"FLUME_JAVA_OPTS": "-Db=environment -Xms5m"})
    assert found.system == {"a": "script", "b": "environment", "c": "line"}


def test_the_article_with_its_daemon_flag_is_taken_as_it_stands() -> None:
    """`-d` is said there to run it as a daemon; Flume's own dry run is --dryrun here."""
    found = parsed("-c etc/ -f etc/flume-agent.conf -n a1 -d")
    assert found == AgentCommand(
        files=(Path("etc/flume-agent.conf"),), agent="a1", conf_dir=Path("etc"), background=True
    )  # fmt: skip
    assert format_seconds(found.poll_interval_s) == "30 s"
