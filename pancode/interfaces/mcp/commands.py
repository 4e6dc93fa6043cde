"""`pancode mcp`: the fleet as tools for other agent programs."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pancode.interfaces.cli.parameters import Argument, Face, Json, option, verb
from pancode.interfaces.cli.terminal import escape_line, safe_block
from pancode.interfaces.mcp.install import NAME, PROGRAMS, ClientProgram, handed_on, program_of, run_command
from pancode.kernel.errors import ExitCode

Program = Annotated[str, Argument(metavar="PROGRAM", help=f"One of: {', '.join(PROGRAMS)}.")]
DryRun = Annotated[bool, option("Only show the change, without making it.", "--dry-run")]
Yes = Annotated[bool, option("Make the change without a question.", "--yes", "-y")]
_TOOLS = (
    "More groups of tools to offer, separated by commas: workflows, schedules, sessions, settings, choices, "
    "proof, history, or all."
)
Tools = Annotated[str, option(_TOOLS, "--tools", "GROUPS")]


@verb("mcp serve", "pancode mcp serve", "pancode mcp --tools workflows,schedules")
def serve(*, tools: Tools = "") -> int:
    """Serve tools on standard input and output. An agent program starts this command itself."""
    from pancode.interfaces.mcp.server import serve as answer

    if sys.stdin.isatty():
        way = "to register the server in Claude Code: pancode mcp install claude"
        sys.stderr.write(f"this command is for programs, not for users; {way}\n")
    answer(_split_names(tools))
    return ExitCode.DONE


@verb(
    "mcp install",
    "pancode mcp install claude",
    "pancode mcp install claude --tools workflows",
    "pancode mcp install codex --dry-run",
)
def install(
    program: Program, *, tools: Tools = "", dry_run: DryRun = False, yes: Yes = False, face: Json
) -> int:
    """Add this MCP server to another agent program, with that program's own command.

    If the program is not on PATH, print the lines to add and the file for them.
    """
    known = program_of(program)
    found = shutil.which("pancode")
    argv = [os.path.abspath(found)] if found else [sys.executable, "-m", "pancode"]
    argv += ["mcp", *(["--tools", tools] if _split_names(tools) else [])]
    variables = handed_on(os.environ)
    fix = f"if the entry already exists: pancode mcp uninstall {program}, then run this command again"
    command, lines = known.add_command(argv, variables), known.lines(argv, variables)
    return _apply(face, known, command, "add to", lines, fix, dry_run=dry_run, approved=yes)


@verb("mcp uninstall", "pancode mcp uninstall claude")
def uninstall(program: Program, *, dry_run: DryRun = False, yes: Yes = False, face: Json) -> int:
    """Remove this MCP server from another agent program, with that program's own command."""
    known = program_of(program)
    lines, fix = (
        f"the entry {NAME} below {known.section}\n",
        (f"see the registered servers: {program} mcp list"),
    )
    command = known.remove_command()
    return _apply(face, known, command, "remove from", lines, fix, dry_run=dry_run, approved=yes)


def _split_names(tools: str) -> list[str]:
    return [name for name in tools.split(",") if name]


def _apply(
    face: Face,
    known: ClientProgram,
    command: Sequence[str],
    act: str,
    lines: str,
    fix: str,
    *,
    dry_run: bool,
    approved: bool,
) -> int:
    """Run the program's own command to change its settings; if it has none, show what the user must edit."""
    file, program = str(known.place(Path.home(), os.environ)), shutil.which(known.name)
    answer = {"program": known.name, "command": [], "file": file, "lines": lines, "changed": False}
    if not command or program is None:
        face.note(f"{known.name} {'is not on PATH' if program is None else 'has no command for this'}")
        return face.end(ExitCode.DONE, answer, lambda: safe_block(f"{act} {file}:\n{lines}"))
    shown = escape_line(shlex.join(command))
    answer |= {"command": list(command), "changed": not dry_run}
    if dry_run:
        return face.end(ExitCode.DONE, answer, lambda: f"would run: {shown}\n")
    if not approved and not face.confirm(f"Run {shown}?", "--yes"):
        return ExitCode.REFUSED
    text = safe_block(f"{run_command(program, command, fix)}\n") + "restart the program to apply the change\n"
    return face.end(ExitCode.DONE, answer, lambda: text)
