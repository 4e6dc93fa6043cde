"""`pancode skill`: tells agent programs when to hand work over to the fleet."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Annotated, Any

from pancode.caller import folder_here
from pancode.cli.face import Face
from pancode.cli.output.render import safe_block
from pancode.cli.parsing.lazy import Commands
from pancode.cli.parsing.params import Json, option
from pancode.errors import ExitCode, WorkspaceError
from pancode.mcp.skills import changes, skill_text

app = Commands()
Project = Annotated[
    bool, option("Write into this repository, for everybody who works on it.", "--project/--user")
]
DryRun = Annotated[bool, option("Only show the change.", "--dry-run")]
Yes = Annotated[bool, option("Make the change without asking.", "--yes", "-y")]


@app.group("skill", "pancode skill install", "pancode skill install --project --dry-run", default="show")
def skill() -> None:
    """A skill (SKILL.md) that tells other agents when and how to hand work over."""


@skill.verb("show", "pancode skill show")
def show(face: Json) -> None:
    """The text of the skill."""
    text = skill_text()
    face.show({"name": "pancode", "text": text}, lambda: text)


@skill.verb("install", "pancode skill install", "pancode skill install --project")
def install(*, project: Project = False, dry_run: DryRun = False, yes: Yes = False, face: Json) -> int:
    """Put it into .agents/skills and .claude/skills: Claude Code, Codex, Gemini, OpenCode, Copilot, Qwen."""
    return _changed(face, _top(project), True, (dry_run, yes))


@skill.verb("uninstall", "pancode skill uninstall")
def uninstall(*, project: Project = False, dry_run: DryRun = False, yes: Yes = False, face: Json) -> int:
    """Take it away again."""
    return _changed(face, _top(project), False, (dry_run, yes))


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


def _changed(face: Face, top: Path, install: bool, asked: tuple[bool, bool]) -> int:
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
