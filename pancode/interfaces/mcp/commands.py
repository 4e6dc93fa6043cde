"""`pancode mcp`: the fleet as tools for other agent programs."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument

from pancode.interfaces.cli.commands import Commands
from pancode.interfaces.cli.output import Face
from pancode.interfaces.cli.parameters import Json, option
from pancode.interfaces.cli.terminal import escape_line, safe_block
from pancode.interfaces.mcp.install import NAME, PROGRAMS, ClientProgram, handed_on, program_of, run_command
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


@app.verb("mcp serve", "pancode mcp serve", "pancode mcp --tools workflows,schedules")
def serve(*, tools: Tools = "") -> int:
    """Serve tools on standard input and output, for a program that starts this by itself."""
    from pancode.interfaces.mcp.server import serve as answer

    if sys.stdin.isatty():
        sys.stderr.write(
            "this command is for programs, not for users; to register it in Claude Code: "
            "pancode mcp install claude\n"
        )
    answer(_names(tools))
    return ExitCode.DONE


@app.verb(
    "mcp install",
    "pancode mcp install claude",
    "pancode mcp install claude --tools workflows",
    "pancode mcp install codex --dry-run",
)
def install(
    program: Program, *, tools: Tools = "", dry_run: DryRun = False, yes: Yes = False, face: Json
) -> int:
    """Add this server to another agent program, with that program's own command.

    If the program is not on PATH, the lines to add and their file are printed.
    """
    known = program_of(program)
    found = shutil.which("pancode")
    argv = [os.path.abspath(found)] if found else [sys.executable, "-m", "pancode"]
    argv += ["mcp", *(["--tools", tools] if _names(tools) else [])]
    variables = handed_on(os.environ)
    fix = f"if {NAME} is there already: pancode mcp uninstall {program}, then this again"
    change = _Change(known, known.add_command(argv, variables), "add to", known.lines(argv, variables), fix)
    return _apply(face, change, dry_run=dry_run, yes=yes)


@app.verb("mcp uninstall", "pancode mcp uninstall claude")
def uninstall(program: Program, *, dry_run: DryRun = False, yes: Yes = False, face: Json) -> int:
    """Remove this server from another agent program, with that program's own command."""
    known = program_of(program)
    change = _Change(
        known,
        known.remove_command(),
        "remove from",
        f"the entry {NAME} below {known.section}\n",
        f"look: {program} mcp list",
    )
    return _apply(face, change, dry_run=dry_run, yes=yes)


@dataclass(frozen=True, slots=True)
class _Change:
    """The program's own command, empty where it has none; and what a user would do to its file instead."""

    program: ClientProgram
    command: Sequence[str]
    verb: str
    lines: str
    fix: str


def _names(tools: str) -> list[str]:
    return [name for name in tools.split(",") if name]


def _apply(face: Face, change: _Change, *, dry_run: bool, yes: bool) -> int:
    name, file = change.program.name, str(change.program.place(Path.home(), os.environ))
    program = shutil.which(name)
    answer = {"program": name, "command": [], "file": file, "lines": change.lines, "changed": False}
    if not change.command or program is None:
        face.note(f"{name} is not on PATH" if program is None else f"{name} has no command for this")
        face.show(answer, lambda: safe_block(f"{change.verb} {file}:\n{change.lines}"))
        return ExitCode.DONE
    shown = escape_line(shlex.join(change.command))
    answer |= {"command": list(change.command), "changed": not dry_run}
    if dry_run:
        face.show(answer, lambda: f"would run: {shown}\n")
        return ExitCode.DONE
    if not yes and not face.confirm(f"Run {shown}?", "--yes"):
        return ExitCode.REFUSED
    said = run_command(program, change.command, change.fix)
    face.show(answer, lambda: safe_block(f"{said}\n") + "restart the program\n")
    return ExitCode.DONE
