"""`pancode mcp`: the fleet as tools for other agent programs."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

from typer import Argument

from pancode.interfaces.cli.commands import Commands
from pancode.interfaces.cli.output import Face
from pancode.interfaces.cli.parameters import Json, option
from pancode.interfaces.cli.terminal import safe_block
from pancode.interfaces.mcp.install import PROGRAMS, ConfigChange, change_of
from pancode.kernel.errors import ExitCode

app = Commands()


Program = Annotated[str, Argument(metavar="PROGRAM", help=f"One of: {', '.join(PROGRAMS)}.")]
DryRun = Annotated[bool, option("Only show the change.", "--dry-run")]
Yes = Annotated[bool, option("Make the change without asking.", "--yes", "-y")]


Tools = Annotated[
    str,
    option(
        "Groups of tools beside those for runs: workflows, schedules, sessions, settings, choices, proof, "
        "history, or all; with commas.",
        "--tools",
        "GROUPS",
    ),
]


@app.group("mcp", "pancode mcp install claude", "claude mcp add pancode -- pancode mcp", default="serve")
def mcp() -> None:
    """The fleet as tools for Claude Code, Codex and other agents (Model Context Protocol)."""


@mcp.verb("serve", "pancode mcp", "pancode mcp --tools workflows,schedules")
def serve(*, tools: Tools = "") -> int:
    """Serve tools on standard input and output, for a program that starts this by itself."""
    from pancode.interfaces.mcp.server import serve as answer

    if sys.stdin.isatty():
        sys.stderr.write("a program speaks here, not a person; to enter it: pancode mcp install claude\n")
    answer(_names(tools))
    return ExitCode.DONE


@mcp.verb(
    "install",
    "pancode mcp install claude",
    "pancode mcp install claude --tools workflows",
    "pancode mcp install codex --dry-run",
)
def install(
    program: Program, *, tools: Tools = "", dry_run: DryRun = False, yes: Yes = False, face: Json
) -> int:
    """Enter this server into the configuration of another agent program; shows the change first."""
    found = shutil.which("pancode")
    argv = [os.path.abspath(found)] if found else [sys.executable, "-m", "pancode"]
    more = ["--tools", tools] if _names(tools) else []
    change = change_of(program, [*argv, "mcp", *more], Path.home(), os.environ)
    return _changed(face, change, dry_run=dry_run, yes=yes)


@mcp.verb("uninstall", "pancode mcp uninstall claude")
def uninstall(program: Program, *, dry_run: DryRun = False, yes: Yes = False, face: Json) -> int:
    """Take this server out of the configuration of another agent program."""
    return _changed(face, change_of(program, (), Path.home(), os.environ), dry_run=dry_run, yes=yes)


def _names(tools: str) -> list[str]:
    return [name for name in tools.split(",") if name]


def _changed(face: Face, change: ConfigChange, *, dry_run: bool, yes: bool) -> int:
    answer = {"file": str(change.file), "changed": change.needed and not dry_run, "diff": change.diff()}
    if not change.needed:
        face.show(answer, lambda: f"{change.file} is as it should be\n")
        return ExitCode.DONE
    face.note(safe_block(change.diff()))
    if not dry_run:
        if not yes and not face.agreed(f"Change {change.file}?", "--yes"):
            return ExitCode.REFUSED
        change.write()
    words = "would be changed" if dry_run else "changed; start the program anew"
    face.show(answer, lambda: f"{change.file} {words}\n")
    return ExitCode.DONE
