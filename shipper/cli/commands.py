"""The commands that typer parses: check, describe, stat, health. Each imports what it needs when it runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from shipper.cli.channel import app as channel_app

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich" if sys.stdout.isatty() else None,  # a pipe gets plain lines
    help="Moves log events as Apache Flume does, and runs Flume's configuration files.",
)

_RunDir = Annotated[
    Path | None, typer.Option("--run-dir", help="Where the agent's shared memory lies, when it was started so.")
]
_Name = Annotated[str | None, typer.Option("--name", "-n", help="The same, as agent has it.")]
_Running = Annotated[str | None, typer.Argument(help="Name of the agent; all running agents without it.")]


@app.command("check")
def check_command(
    files: Annotated[list[Path] | None, typer.Argument(help="The files, in the order of the agent's -f.")] = None,
    more_files: Annotated[
        list[Path] | None, typer.Option("--conf-file", "-f", help="The same, as agent has it.")
    ] = None,
    agent: Annotated[str | None, typer.Option("--name", "-n", help="One agent of the files; all without it.")] = None,
    conf_dir: Annotated[Path | None, typer.Option("--conf", "-c", help="Where flume-env.sh lies.")] = None,
    system: Annotated[list[str] | None, typer.Option("-D", help="key=value, a system property.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are errors.")] = False,
) -> None:
    """Says everything that is wrong or doubtful in a configuration. 0: it runs; 1: it does not, or not all of it."""
    from shipper.cli.arguments import inherited_properties, missing_conf_dir
    from shipper.cli.check import check

    wanted = [*(files or ()), *(more_files or ())]
    if not wanted:
        raise typer.BadParameter("which file? shipper check FILE.properties")
    notes = [missing] if conf_dir is not None and (missing := missing_conf_dir(conf_dir)) else []
    properties = inherited_properties(conf_dir, os.environ, notes)
    properties.update((key, value) for key, _, value in (text.partition("=") for text in system or ()))
    for note in notes:
        typer.echo(note, err=True)
    raise typer.Exit(check(wanted, agent, strict, properties))


@app.command("describe")
def describe_command(
    wanted: Annotated[list[str] | None, typer.Argument(help="A type, a family, or both, as in: sink hdfs")] = None,
    template: Annotated[bool, typer.Option("--template", help="Lines to start a file from.")] = False,
    agent: Annotated[str, typer.Option("--name", "-n", help="The agent's name in those lines.")] = "a1",
) -> None:
    """Shows the components of this build with all their options, or a template file to start from."""
    from shipper.cli.describe import describe

    raise typer.Exit(describe(" ".join(wanted or ()), template, agent))


@app.command("stat")
def stat_command(
    agent: _Running = None,
    name: _Name = None,
    run_dir: _RunDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Shows what a running agent does, what it holds in memory, and where it is held up."""
    from shipper.cli.stat import stat

    raise typer.Exit(stat(name or agent, run_dir, as_json))


@app.command("files")
def files_command(
    agent: _Running = None,
    name: _Name = None,
    run_dir: _RunDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Shows the files that sinks have open, are closing or wait to rename. 0; 1: no such agent."""
    from shipper.cli.files import files

    raise typer.Exit(files(name or agent, run_dir, as_json))


@app.command("ledger")
def ledger_command(
    agent: Annotated[str | None, typer.Argument(help="Name of the agent; all of this user without it.")] = None,
    name: _Name = None,
    run_dir: _RunDir = None,
    state_dir: Annotated[
        Path | None, typer.Option("--state-dir", help="Where the agent's state lies, when it was started so.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Says what became of every event. 0: all are accounted for; 1: no such agent; 2: a mismatch."""
    from shipper.cli.ledger import ledger

    raise typer.Exit(ledger(name or agent, run_dir, state_dir, as_json))


@app.command("health")
def health_command(
    agent: Annotated[str | None, typer.Argument(help="Name of the agent; the one worst off without it.")] = None,
    name: _Name = None,
    run_dir: _RunDir = None,
) -> None:
    """One line and an exit code for Nagios and its kin: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."""
    from shipper.cli.health import health

    raise typer.Exit(health(name or agent, run_dir))


app.add_typer(channel_app, name="channel")
