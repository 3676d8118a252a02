"""The commands that typer parses: check, describe, stat, health. Each imports what it needs when it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if sys.stdout.isatty() else None,  # a pipe gets plain lines
    help="Moves log events as Apache Flume does, and runs Flume's configuration files.",
)

_RunDir = Annotated[
    Path | None, typer.Option("--run-dir", help="Where the agent's shared memory lies, when it was started so.")
]


@app.command("stat")
def stat_command(
    name: Annotated[str | None, typer.Argument(help="Name of the agent; all running agents without it.")] = None,
    run_dir: _RunDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Shows what a running agent does, what it holds in memory, and where it is held up."""
    from shipper.cli.stat import stat

    raise typer.Exit(stat(name, run_dir, as_json))


@app.command("health")
def health_command(
    name: Annotated[str, typer.Argument(help="Name of the agent.")],
    run_dir: _RunDir = None,
) -> None:
    """One line and an exit code for Nagios and its kin: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."""
    from shipper.cli.health import health

    raise typer.Exit(health(name, run_dir))
