"""`pancode project`: named repositories with their own defaults; an issue's prefix selects the repository."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Context

from pancode.interfaces.cli import completions
from pancode.interfaces.cli.declared import collect_values, take_values
from pancode.interfaces.cli.output import write_new
from pancode.interfaces.cli.parameters import (
    Face,
    Json,
    option,
    verb,
)
from pancode.interfaces.cli.terminal import RowColumns, escape_line, escape_lines, format_facts, format_rows
from pancode.interfaces.client.caller import folder_here
from pancode.interfaces.client.client import home_here
from pancode.interfaces.client.remote.place import remote_of
from pancode.kernel.declared import leave_out_unset, to_json
from pancode.kernel.errors import ExitCode, UsageError, describe_cause
from pancode.kernel.formatting import format_bytes
from pancode.kernel.names import PLANNER, PRD, is_readme
from pancode.runs.project_rules import CHANGES
from pancode.workspaces import answers

Project = Annotated[str, Argument(autocompletion=completions.projects)]
_FACTS = {"linear_id": "linearProjectId", "linear_name": "linearProjectName", "prefix": "linearPrefix"}
"""The key in a mapping file for each field of a project."""
_MAPPING = "Add all projects of a mapping file (linearPrefix ...), or none if one fails."


@verb(
    "project add",
    ".",
    "~/src/shop --name shop --agent builder --require gpu=24g --budget 2",
    "--name shop --verify 'pytest -q' --prefix SHOP",
    ". --tracker github:example/shop --prefix SHOP",
    "--name shop --work-label agent --work-person ana",
    "--name shop --pull-person ana --pull-follow",
    "--name shop --label agent:reviewer=agent=reviewer --label big=budget=5",
    "--mapping project-mappings.json",
)
@take_values(CHANGES.values(), after="path")
def add(
    path: Annotated[
        str | None, Argument(help="A directory in the project's repository; omit it to change a project.")
    ] = None,
    *,
    mapping: Annotated[str | None, option(_MAPPING, "FILE")] = None,
    face: Json,
    ctx: Context,
    **_options: Any,
) -> int:
    """Add a project, or change one: options that you omit do not change.

    If a new project has no PRD (file with its goal), a terminal offers a draft: `pancode project prd`.
    """
    body = collect_values(CHANGES.values(), ctx.params)
    if path is not None:
        body["path"] = make_absolute(path)
    if "pull_people" in body:
        body["pull_people"] = [one for one in body["pull_people"] if one != "none"]
    if mapping is not None and body:
        raise UsageError("--mapping cannot be combined with other options", fix="omit the other options")
    if mapping is not None:
        done = face.post(answers.MAP_PROJECTS, {"projects": read_mappings(mapping)}).projects
    else:
        done = (face.post(answers.ADD_PROJECT, body),)
    for note in dict.fromkeys(note for one in done for note in one.notes):
        face.note(f"note: {escape_line(note)}")
    face.show({"projects": done} if mapping else done[0], lambda: "".join(map(_format_project, done)))
    if path is None or body.get("prd") or not face.can_ask() or not _lacks_prd(done[0].prd):
        return ExitCode.DONE
    beside = f"; {escape_line(done[0].prd)} is not a PRD" if done[0].prd else ""
    if face.confirm(f"There is no {PRD}{beside}. Let a planner draft one now? It only reads files.", ""):
        return _dispatch_draft(face, done[0].name, PLANNER)
    return ExitCode.DONE


def _lacks_prd(prd: str) -> bool:
    return not prd or is_readme(prd)


def make_absolute(path: str) -> str:
    """Return the absolute path; a relative one is taken from the user's current directory."""
    return str(Path(folder_here()) / Path(path).expanduser())


def read_mappings(file: str) -> list[dict[str, Any]]:
    """Return the projects of a mapping file; UsageError for any other file."""
    try:
        projects = []
        for row in json.loads(Path(file).expanduser().read_text()):
            facts = {ours: str(row[theirs]) for ours, theirs in _FACTS.items() if row.get(theirs)}
            projects.append({"path": str(Path(str(row["localPath"])).expanduser()), **facts})
        if not projects:
            raise ValueError("the file has no rows")
        return projects
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as exc:
        what = f"{file} is not a valid project mapping file"
        fix = 'write [{"linearPrefix": "MIN", "localPath": "/home/me/myn", "linearProjectName": "..."}]'
        raise UsageError(what, why=describe_cause(exc), fix=fix, code="bad_mapping") from exc


@verb("project copy", "", "~/src/shop --yes")
def copy(
    path: Annotated[str, Argument(help="A directory in the project's repository.")] = ".",
    *,
    yes: Annotated[bool, option("Agree to the list without asking.", "--yes")] = False,
    face: Json,
) -> None:
    """Show the ignored files that each run of a repository gets as copies (`copy:` in its pancode.yaml), and
    agree to the list.

    You agree once to exactly this list; the files may change. Each run gets the files of your checkout as
    they are at the dispatch, sealed for its node.
    """
    from pancode.config.copied_files import agree, is_agreed, read_copied
    from pancode.config.user_environment import FileSurroundings

    face.acts_here("project copy")
    home = home_here(os.environ)
    around = FileSurroundings(home, os.environ)
    top = around.project_of(make_absolute(path))
    project = around.project(top)
    patterns = project.copies
    if top is None or not patterns:
        what = f"{top or path} requests no copies"
        raise UsageError(what, fix="add to its pancode.yaml: copy: [.env.local]", code="no_copy")
    found = read_copied(Path(top), patterns, project.cache)
    rows = [{"file": name, "bytes": len(data)} for name, data in found.items()]
    if not is_agreed(home, Path(top), patterns):
        for row in rows:
            face.note(f"{escape_line(str(row['file']))}: {row['bytes']} bytes")
        names = escape_line(", ".join(patterns))
        if not yes and not face.confirm(f"Give each run of {top} copies of {names}?", "--yes"):
            fix = f"pancode project copy {top}"
            raise UsageError("nothing was done: you declined", fix=fix, code="not_agreed")
        agree(home, Path(top), patterns)
    shown = format_rows(rows, {"FILE": "file", "BYTES": lambda row: str(row["bytes"])})
    face.show({"project": top, "agreed": list(patterns), "files": rows}, lambda: shown)


@verb("project ls", "")
def ls(face: Json) -> None:
    """List all projects.

    A clone with the same remote address is the same project, wherever it is. Options and variables override a
    project's defaults, which override pancode.yaml and `config set`. Undo a change: `pancode config undo`.
    """
    answer = face.get(answers.PROJECTS, prd=1)
    none = "no projects yet; try: pancode project add ."
    face.show(answer, lambda: format_rows(answer.projects, _COLUMNS, none, cut="PATH"))


def _format_path(one: answers.ProjectShape) -> str:
    return one.path if one.there else f"{one.path} (not a repository)"


_COLUMNS: RowColumns[answers.ProjectShape] = {
    **{"PROJECT": "name", "PREFIX": "prefix", "AGENT": "agent", "BUDGET": "budget", "REMOTE": "remote"},
    "PATH": _format_path,
}


@verb("project show", "shop", "SHOP-123")
def show(project: Project, face: Json) -> None:
    """Show a project that you name by its name, by one of its issues, or by its name or id in Linear."""
    face.show_result(face.get(answers.PROJECT.at(project)), _format_project)


def _format_pairs(values: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in values.items())


def _format_project(one: answers.ProjectShape) -> str:
    rules = {name: leave_out_unset(to_json(rule)) for name, rule in one.labels.items()}
    labels = _format_pairs(one.require)
    gates = None if one.verify is None else "; ".join(shlex.join(argv) for argv in one.verify) or "none"
    budget = None if one.budget is None else f"${one.budget} a run"
    facts = {"path": _format_path(one), "remote": one.remote, "agent": one.agent, "machines": labels}
    memory = f"at least {format_bytes(one.gpu_memory)} each" if one.gpu_memory else ""
    facts |= {"GPUs": ", ".join(filter(None, (one.gpus, memory)))}
    facts |= {"budget": budget, "gates": gates, "issues": one.prefix and f"{one.prefix}-..."}
    facts |= {"tracker": one.tracker, "prd": one.prd or f"none; pancode project prd {one.name}"}
    facts |= {
        "labels": "; ".join(f"{name} {_format_pairs(rule)}" for name, rule in rules.items()),
    }
    facts |= {"linear": " ".join(filter(None, (one.linear_name, one.linear_id)))}
    return f"{escape_line(one.name)}\n{format_facts(facts, 9)}"


@verb("project prd", "shop", "shop --keep r-7f3k")
def prd(
    project: Project,
    *,
    keep: Annotated[str | None, option(f"Write the draft of this run to {PRD}.", "RUN")] = None,
    agent: Annotated[str, option("The agent that drafts the PRD; it can only read files.")] = PLANNER,
    face: Json,
) -> int:
    """Let a read-only run draft the PRD of a project (a file that describes its goal), and show the draft.

    The run writes no files. With --keep, the draft is written to docs/PRD.md in your own files, unless that
    file exists; edit and commit it. From then on, agents in that repository get its path.
    """
    if keep is None:
        return _dispatch_draft(face, project, agent)
    made = face.get(answers.DRAFT.at(project), run=keep)
    file = Path(made["path"], PRD)
    # With a remote coordinator, the user's files are on this computer, the project's path on the other one.
    if remote_of(os.environ) is not None:
        from pancode.config.projects import address_of

        here = Path(folder_here())
        top = next((one for one in (here, *here.parents) if (one / ".git").exists()), here)
        if not made["remote"] or address_of(str(top)) != made["remote"]:
            what = f"the current directory is not in a checkout of {made['project']}"
            why = f"the project's remote is {made['remote'] or 'unknown'}"
            raise UsageError(what, why=why, fix="change to a directory in a checkout of the project")
        file = top / PRD
    if file.parent.is_symlink():
        what = f"{file.parent} is a link to another place"
        raise UsageError(what, fix=f"write {PRD} yourself", code="bad_folder")
    if made["prd"] and not is_readme(made["prd"]):
        raise UsageError(f"{made['project']} has a PRD: {made['prd']}", fix="edit it", code="file_exists")
    if not file.parent.exists():
        file.parent.mkdir()
    write_new(file, made["text"] or "")
    done = {"project": made["project"], "file": str(file)}
    face.show(done, lambda: f"{escape_line(str(file))}  written; read it, then: git add {PRD}\n")
    return ExitCode.DONE


def _dispatch_draft(face: Face, project: str, agent: str) -> int:
    """Dispatch a run in mode review, which changes no files, to draft a PRD, and print how to keep it."""
    from pancode.interfaces.cli.main import run

    made = face.get(answers.DRAFT.at(project))
    if not _lacks_prd(made["prd"]):
        what = f"{made['project']} has a PRD: {made['prd']}"
        raise UsageError(what, fix=f"read {made['prd']}", code="file_exists")
    flags = ("--json",) if face.as_json else ()
    where = ("--agent", agent, "--mode", "review", "--project", made["project"])
    status = run(["dispatch", *flags, *where, "--", made["task"]])
    if status == ExitCode.DONE:
        face.note(
            f"nothing was written; to keep the draft: pancode project prd {made['project']} --keep last"
        )
    return status


@verb("project webhook", "shop", "shop --secret < secret.txt")
def webhook(
    project: Project,
    *,
    secret: Annotated[bool, option("Store the secret that the tracker created, which Linear does.")] = False,
    face: Json,
) -> None:
    """Let a project's issue tracker notify PanCode of changes, in addition to polling it every two minutes.

    Shows the address and a new secret for the tracker's webhook settings: GitHub and GitLab take both, with
    JSON as the content type. Linear takes the address and shows a secret, which --secret reads from standard
    input or a hidden prompt. A webhook only makes PanCode query the tracker, and read the pull
    requests that it watches, at once.
    """
    given = face.read_secret("webhook secret: ", 1_000).strip() if secret else None
    made = face.post(answers.TRACKER_HOOK.at(project), {"secret": given})
    closed = (
        "the API is not open over TCP; set api.listen in pancode.yaml, then: pancode fleet down, fleet up"
    )
    lines = [f"{made['project']}  {made['tracker']}", f"  address  {made['url'] or closed}"]
    if made["secret"]:
        lines.append(f"  secret   {made['secret']}  (shown once)")
    elif made["tracker"] == "linear":
        command = f"pancode project webhook {made['project']} --secret"
        lines.append(f"  secret   Linear creates it; then: {command}")
    face.show(made, lambda: escape_lines(lines))


@verb("project rm", "shop")
def rm(project: Project, face: Json) -> None:
    """Remove a project from PanCode. The repository and the runs do not change."""
    done = face.post(answers.REMOVE_PROJECT.at(project))
    face.show(done, lambda: f"{escape_line(done['target'].partition('.')[2])}  forgotten\n")
