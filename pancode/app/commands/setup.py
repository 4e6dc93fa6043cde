"""`pancode init`, `fleet demo`, `doctor`, `config check`: commands that need no coordinator."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pancode.fleet.answers import CHECKS, HomeCheck
from pancode.interfaces.cli.output import Face, folder_here
from pancode.interfaces.cli.parameters import Argument, Json, Nodes, option, verb
from pancode.interfaces.cli.terminal import RowColumns, escape_line, escape_lines, format_rows
from pancode.interfaces.client.client import home_of
from pancode.kernel.errors import ExitCode, PancodeError, UsageError
from pancode.workflows.commands.completions import workflow_files


@verb("init", "", "cd my-project && pancode init --write")
def init(
    *,
    write: Annotated[
        bool, option("Write the proposed pancode.yaml of this repository without asking.")
    ] = False,
    face: Json,
) -> None:
    """Write your configuration files, fully commented out, into your home; never overwrites.

    Inside a repository also propose its pancode.yaml (setup, kept folders, gates), based on pyproject.toml,
    package.json, Cargo.toml, go.mod or a Makefile. It is written after you approve, or with --write.
    """
    from pancode.app.init import proposed_here, write_files

    def agreed(path: str, text: str) -> bool:
        if write or not face.can_ask():
            return write
        face.note(f"proposed for {path}:\n\n{text}")
        return face.confirm(f"Write {path}?", "--write")

    face.acts_here("pancode init")
    answer = write_files(home_of(os.environ))
    project = answer["project"] = proposed_here(Path(folder_here()), agreed)
    files = [*answer["files"], *([project] if project is not None else [])]
    text, shown = "", face.can_ask() and not write
    for file in files:
        is_proposed = file is project and project["text"] is not None
        state = "written" if file["written"] else "not written" if is_proposed else "exists, unchanged"
        text += f"{file['path']}  {state}\n"
    if project is not None and project["text"] is not None and not shown:
        text += (
            "" if project["written"] else "proposed but not written (to write it: pancode init --write):\n"
        )
        text += f"\n{project['text']}"
    face.show(answer, lambda: text)


@verb("fleet demo", "", "--keep", "--remove")
def demo(
    *,
    keep: Annotated[bool, option("Leave the fleet running afterwards.")] = False,
    remove: Annotated[bool, option("Remove what an earlier --keep left behind.")] = False,
    face: Json,
) -> int:
    """Run a whole fleet on this machine in under a minute: no root, key, model or network needed.

    The demo runs four runs on two nodes over SSH and kills one node agent during a run. It verifies receipts,
    lands a change, balances costs and removes everything. Exit code 0 only if every check passed.
    """
    from pancode.app import demo as offline

    face.acts_here("pancode fleet demo")

    def write(text: str) -> None:
        """Print a part of the narration immediately; with --json it is only in the answer."""
        if not face.as_json:
            sys.stdout.write(text)
            sys.stdout.flush()

    if remove:
        count = offline.remove(os.environ, write=write)
        return face.end(ExitCode.DONE, {"removed": count}, lambda: "" if count else "no demo found\n")
    report = offline.play(os.environ, keep=keep, write=write)
    return face.end(ExitCode.DONE if report["ok"] else ExitCode.INTERNAL, report, lambda: "")


@verb("doctor", "", "--fix", "gpubox")
def doctor(
    nodes: Nodes,
    *,
    whole: Annotated[bool, option("Check every node of the fleet instead of this machine.", "--all")] = False,
    repair: Annotated[bool, option("Make safe repairs; confirm each one first.", "--fix")] = False,
    yes: Annotated[bool, option("With --fix: do not ask for confirmation.")] = False,
    face: Json,
) -> int:
    """Show problems on this machine with their fixes; for NODES, repair what bring-up can repair there.

    --fix removes other users' access to PanCode's private files, removes sockets of a dead coordinator and
    checkouts that no node agent of this machine knows, writes missing configuration files, brings up node
    agents that have another version or do not report, and deletes the files of old runs (pancode admin gc).
    It confirms each repair first.
    """
    if nodes or whole:
        if repair or yes:
            fix = shlex.join(["pancode", "doctor", *nodes]) if nodes else "pancode doctor --all"
            raise UsageError("--fix and --yes only apply to this machine", fix=fix)
        from pancode.fleet.commands.fleet import check_nodes

        return check_nodes(face, nodes)
    face.acts_here("pancode doctor")
    if yes and not repair:
        raise UsageError("--yes requires --fix", fix="pancode doctor --fix --yes")
    if repair:
        _repair_all(face, yes)
    home = home_of(os.environ)
    answer = face.ask_running(CHECKS)
    if answer is None:
        from pancode.app.doctor import run_checks

        answer = {"checks": run_checks(home, os.environ)}
    checks = answer["checks"]
    text, wrong = format_rows(checks, _CHECKS), [one for one in checks if not one["ok"]]
    for one in (one for one in wrong if one["fix"]):
        text += escape_lines((f"  {one['what']}", f"    fix: {one['fix']}"))
    face.show(answer, lambda: text)
    return ExitCode.UNAVAILABLE if any(one["level"] == "error" for one in wrong) else ExitCode.DONE


_CHECKS: RowColumns[HomeCheck] = {
    **{"": lambda one: "ok" if one["ok"] else one["level"], "WHAT": "what", "HOW WE KNOW": "detail"}
}


def _repair_all(face: Face, approved: bool) -> None:
    """Offer each repair in turn and make the approved ones; one that fails does not stop the others."""
    from pancode.app.repair import list_repairs

    repairs = list(list_repairs(home_of(os.environ), os.environ))
    for one in repairs:
        act = escape_line(one.act)
        face.note(escape_line(one.wrong))
        if not approved and not face.confirm(f"  {act}: do it?", "pancode doctor --fix --yes"):
            continue
        try:
            one.do()
            face.note(f"  done: {act}")
        except (PancodeError, OSError) as error:
            face.note(f"  repair failed: {escape_line(str(error))}")
    if not repairs:
        face.note("nothing can be repaired automatically")


Kind = Literal["settings", "agents", "rules", "workflow", "skills"]
_NAMES: dict[str, Kind] = {
    **{"pancode": "settings", "panpresets": "settings"},
    **{"panagents": "agents", "pansafety": "rules", "SKILL": "skills"},
}
_KIND = "The kind of file (default: derived from its name): settings, agents, rules, workflow or skills."


@verb(
    "config check",
    "pancode config check .pancode/workflows/release.yaml",
    "pancode.yaml",
    "--kind agents",
    ".agents/skills/deploy",
)
def check(
    *,
    files: Annotated[
        list[str],
        Argument(
            metavar="[FILE]...",
            help="A file, the folder of a skill, or the name of a workflow.",
            autocompletion=workflow_files,
            default_factory=list,
            show_default=False,
        ),
    ],
    kind: Annotated[Kind | None, option(_KIND)] = None,
    face: Json,
) -> int:
    """Report every error in FILE, with its line; exit code 3 if there are errors.

    With --kind and no FILE: check the settings, the agents or the rules in force here, or all skills.
    Settings are every pancode.yaml and panpresets.yaml; of these, only the first error is reported.
    """
    kind = kind or (kind_of(files[0]) if files else None)
    if kind is None or (kind == "workflow" and not files):
        if kind:
            raise UsageError(f"--kind {kind} requires FILE", fix=f"pancode config check FILE --kind {kind}")
        raise UsageError("FILE or --kind is required", fix="pancode config check --kind settings")
    if len(files) > 1 and kind != "skills":
        raise UsageError("only one FILE is allowed", fix=f"pancode config check {files[0]}")
    if kind in _CHECK_OF:
        return _CHECK_OF[kind](face, files)
    file = files[0] if files else None
    if kind == "settings":
        from pancode.config.commands import check_settings

        return check_settings(face, file)
    if kind == "agents":
        from pancode.agents.commands.agents import check_agents

        return check_agents(face, file)
    from pancode.agents.commands.choices import check_rules

    return check_rules(face, file)


def check_workflow_files(face: Face, files: list[str]) -> int:
    from pancode.workflows.commands.group import check_workflow_file

    return check_workflow_file(face, files[0])


def check_skill_files(face: Face, files: list[str]) -> int:
    from pancode.skills.commands.skills import check_skills

    return check_skills(face, files)


_CHECK_OF: dict[Kind, Callable[[Face, list[str]], int]] = {
    "skills": check_skill_files,
    "workflow": check_workflow_files,
}
"""What checks the files of a feature. Only skills may be several."""


def kind_of(file: str) -> Kind:
    """Return the kind of a file by its name: a folder has agents or skills; any other name is a workflow."""
    path = Path(file)
    if path.is_dir():
        return "agents" if os.path.exists(path / "panagents.yaml") else "skills"
    return _NAMES.get(path.stem, "workflow")
