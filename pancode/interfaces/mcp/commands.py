"""`pancode mcp` and `skill`: the fleet as tools for other agents, and a skill that says when to use it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from typer import Argument

from pancode.interfaces.cli.commands import Commands
from pancode.interfaces.cli.output import Face
from pancode.interfaces.cli.parameters import Json, option
from pancode.interfaces.cli.terminal import safe, safe_block
from pancode.interfaces.mcp.install import NAME, PROGRAMS, ClientProgram, carry_out, handed_on, program_of
from pancode.interfaces.mcp.skills import changes, skill_text
from pancode.kernel.caller import folder_here
from pancode.kernel.errors import ExitCode, WorkspaceError

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
    """Enter this server into another agent program, by that program's own command.

    If the program is not on PATH, the lines to add and their file are printed.
    """
    known = program_of(program)
    found = shutil.which("pancode")
    argv = [os.path.abspath(found)] if found else [sys.executable, "-m", "pancode"]
    argv += ["mcp", *(["--tools", tools] if _names(tools) else [])]
    variables = handed_on(os.environ)
    fix = f"if {NAME} is there already: pancode mcp uninstall {program}, then this again"
    act = _Act(known, known.adding(argv, variables), "add to", known.lines(argv, variables), fix)
    return _carried_out(face, act, dry_run=dry_run, yes=yes)


@mcp.verb("uninstall", "pancode mcp uninstall claude")
def uninstall(program: Program, *, dry_run: DryRun = False, yes: Yes = False, face: Json) -> int:
    """Take this server out of another agent program, by that program's own command."""
    known = program_of(program)
    act = _Act(
        known,
        known.removing(),
        "remove from",
        f"the entry {NAME} below {known.section}\n",
        f"look: {program} mcp list",
    )
    return _carried_out(face, act, dry_run=dry_run, yes=yes)


@dataclass(frozen=True, slots=True)
class _Act:
    """The program's own command, empty where it has none; and what a person would do to its file instead."""

    program: ClientProgram
    command: Sequence[str]
    verb: str
    lines: str
    fix: str


def _names(tools: str) -> list[str]:
    return [name for name in tools.split(",") if name]


def _carried_out(face: Face, act: _Act, *, dry_run: bool, yes: bool) -> int:
    name, file = act.program.name, str(act.program.place(Path.home(), os.environ))
    program = shutil.which(name)
    answer = {"program": name, "command": [], "file": file, "lines": act.lines, "changed": False}
    if not act.command or program is None:
        face.note(f"{name} is not on PATH" if program is None else f"{name} has no command for this")
        face.show(answer, lambda: safe_block(f"{act.verb} {file}:\n{act.lines}"))
        return ExitCode.DONE
    shown = safe(shlex.join(act.command))
    answer |= {"command": list(act.command), "changed": not dry_run}
    if dry_run:
        face.show(answer, lambda: f"would run: {shown}\n")
        return ExitCode.DONE
    if not yes and not face.agreed(f"Run {shown}?", "--yes"):
        return ExitCode.REFUSED
    said = carry_out(program, act.command, act.fix)
    face.show(answer, lambda: safe_block(f"{said}\n") + "start the program anew\n")
    return ExitCode.DONE


Project = Annotated[
    bool, option("Write into this repository, for everybody who works on it.", "--project/--user")
]


@app.group("skill", "pancode skill install", "pancode skill install --project --dry-run", default="show")
def skill() -> None:
    """A skill (SKILL.md) that tells other agents when and how to hand work over."""


@skill.verb("show", "pancode skill show")
def show(face: Json) -> None:
    """The text of the skill."""
    text = skill_text()
    face.show({"name": "pancode", "text": text}, lambda: text)


@skill.verb("install", "pancode skill install", "pancode skill install --project")
def install_skill(*, project: Project = False, dry_run: DryRun = False, yes: Yes = False, face: Json) -> int:
    """Put it into .agents/skills and .claude/skills: Claude Code, Codex, Gemini, OpenCode, Copilot, Qwen."""
    return _skills_changed(face, _top(project), True, (dry_run, yes))


@skill.verb("uninstall", "pancode skill uninstall")
def uninstall_skill(
    *, project: Project = False, dry_run: DryRun = False, yes: Yes = False, face: Json
) -> int:
    """Take it away again."""
    return _skills_changed(face, _top(project), False, (dry_run, yes))


def _top(project: bool) -> Path:
    if not project:
        return Path.home()
    done = subprocess.run(
        ["git", "rev-parse", "--show-toplevel"],
        cwd=folder_here(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise WorkspaceError("you stand in no repository", why=done.stderr.strip(), fix="cd into one")
    return Path(done.stdout.strip())


def _skills_changed(face: Face, top: Path, install: bool, asked: tuple[bool, bool]) -> int:
    dry_run, yes = asked
    needed = [one for one in changes(top, install=install) if one.needed]
    listed: list[dict[str, Any]] = [{"file": str(one.file), "diff": one.diff()} for one in needed]
    answer = {"changes": listed, "changed": bool(needed) and not dry_run}
    if not needed:
        face.show(answer, lambda: "all is as it should be\n")
        return ExitCode.DONE
    for one in needed:
        face.note(
            safe_block(one.diff()) if one.before is not None and install else f"{_word(install)} {one.file}"
        )
    if not dry_run:
        if not yes and not face.agreed(f"{_word(install).capitalize()} {len(needed)} files?", "--yes"):
            return ExitCode.REFUSED
        for one in needed:
            one.make()
    done = "would be changed" if dry_run else "changed"
    face.show(answer, lambda: "".join(f"{one.file} {done}\n" for one in needed))
    return ExitCode.DONE


def _word(install: bool) -> str:
    return "write" if install else "remove"
