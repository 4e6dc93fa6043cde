"""`pancode workspace`: a named branch with its files and node, which are kept from one run to the next."""

from __future__ import annotations

import os
import time
from typing import Annotated, Any

from pancode.fleet.answers import NODE
from pancode.interfaces.cli.follow import format_summary, wait_for_run
from pancode.interfaces.cli.output import Face, exit_of, find_user
from pancode.interfaces.cli.parameters import Argument, Json, completions, option, verb
from pancode.interfaces.cli.terminal import (
    Columns,
    clip_columns,
    escape_line,
    escape_lines,
    format_facts,
    format_rows,
    short_time,
)
from pancode.interfaces.client.caller import find_folder
from pancode.interfaces.client.client import home_of
from pancode.kernel.errors import ExitCode, UnavailableError, UsageError
from pancode.kernel.formatting import count_noun, first_few, format_bytes, format_outcome
from pancode.runs.answers import RUN
from pancode.workspaces import answers
from pancode.workspaces.commands.projects import make_absolute

Workspace = Annotated[str, Argument(autocompletion=completions.workspaces)]
_LEAVE = (
    "Leave the workspace: required if you used an editor or your own shell, which do not report that you "
    "left."
)


@verb("workspace create", "login --node gpubox", "MIN-123 --title 'add login'")
def create(
    name: Annotated[str, Argument(help="A name, or an issue of a project: MIN-123.")],
    *,
    title: Annotated[str, option("Additional words for the branch name.", "WORDS")] = "",
    node: Annotated[str | None, option("The node where the workspace's runs work.")] = None,
    project: Annotated[
        str | None, option("The workspace's project (default: the current repository).")
    ] = None,
    face: Json,
) -> None:
    """Create a workspace: a series of runs in which each run starts with the previous one's files.

    The first run starts with a snapshot of the repository, like any run. Only one run at a time works in the
    workspace. All files are stored on the coordinator's computer, so a workspace survives the loss of its
    node: `pancode land RUN --branch` turns them into commits.
    """
    body = {"name": name, "title": title, "node": node, "project": project, "cwd": find_folder()}
    face.show_result(face.post(answers.CREATE_WORKSPACE, body), _format_workspace)


@verb("workspace ls", "")
def ls(face: Json) -> None:
    """List all workspaces, the most recently used first.

    DIRTY: files that the workspace's runs changed and that have not landed; ? while a run works there. SIZE:
    the size of its files on its node, as last measured. AHEAD: commits of its runs since the last landing.
    BEHIND: commits, since it was created, on the branch checked out in its repository. AHEAD and BEHIND are
    only counted for the 20 most recently used workspaces.
    """
    answer = face.get(answers.WORKSPACES, measured=1)
    none = "no workspaces yet; try: pancode workspace create NAME"
    face.show(answer, lambda: format_rows(answer["workspaces"], _COLUMNS, none, spare=("BRANCH",)))


def _format_state(one: answers.WorkspaceAnswer) -> str:
    if one["agent"] is not None:
        return f"{one['agent']} works there"
    return format_outcome(one["outcome"] or "new")


_COLUMNS: Columns = {
    **{"WORKSPACE": "workspace", "BRANCH": "branch", "NODE": "node", "STATE": _format_state, "RUNS": "count"},
    "DIRTY": lambda one: "?" if one["dirty"] is None else count_noun(one["dirty"], "file"),
    "SIZE": lambda one: None if one["size"] is None else format_bytes(one["size"]),
    **{"AHEAD": "ahead", "BEHIND": "behind", "LAST": "last"},
    "USED": lambda one: short_time(one["used_at"] or one["created_at"]),
}


@verb("workspace show", "min-123")
def show(workspace: Workspace, face: Json) -> None:
    """Show a workspace: its runs, its work that has not landed, and its problems."""
    face.show_result(face.get(answers.WORKSPACE.at(workspace), measured=1), _format_workspace)


def _format_workspace(one: answers.WorkspaceAnswer) -> str:
    facts = {"branch": one["branch"], "project": one["project"], "node": one["node"] or "any"}
    facts |= {"state": _format_state(one), "unlanded": first_few(one["files"], 8) or "nothing"}
    facts |= {} if one["dirty"] is not None else {"dirty": "unknown until the workspace's run has ended"}
    facts |= {} if one["size"] is None else {"size": format_bytes(one["size"])}
    if one["ahead"] is not None:
        behind = "" if one["behind"] is None else f", {one['behind']} behind the checked-out branch"
        facts["commits"] = f"{one['ahead']} ahead{behind}"
    lines = [one["workspace"], *(f"  {key:<9} {value}" for key, value in facts.items())]
    for run in one["runs"]:
        landed, task = "  (landed)" if run["landed"] else "", clip_columns(escape_line(run["task"]), 60)
        lines.append(f"  {run['run']}  {run['outcome']:<12} {task}{landed}")
    for problem in one["problems"]:
        lines += [f"  problem: {problem['what']}", f"    fix: {problem['fix']}"]
        lines += [f"    a repair: {problem['does']}"] if problem["does"] else []
    if one["files"] and one["agent"] is None:
        lines.append(f"  land it: pancode land {one['last']} --branch {one['branch']}")
    return escape_lines(lines)


_OPENS, _LOOK_S = 1_200, 0.5
"""How many times to check for the workspace's files, and the seconds between two checks: set-up may take
minutes."""


_PRINT = "Open it, and print where it is for ssh and editors; it stays reserved for you until --leave."


@verb("workspace open", "min-123", "min-123 --print")
def open_(
    workspace: Workspace,
    *,
    node: Annotated[str | None, option("The node for the workspace's files.")] = None,
    prints: Annotated[bool, option(_PRINT, "--print")] = False,
    leave: Annotated[bool, option(_LEAVE)] = False,
    face: Json,
) -> int:
    """Enter a workspace: a tmux session on the node that has its files, over your own SSH.

    Meanwhile only you can write to it: a run reserves it, so no agent works there. To leave, end the shell
    (exit): your changes are that run's result, and the next run starts with them. To return later instead,
    detach (Ctrl-B d) and run the same command. The run ends automatically after 8 hours; nothing is lost.

    --leave ends the reserving run as exit does: the gates then check your changes.
    """
    if leave:
        one = face.get(answers.WORKSPACE.at(workspace))
        return _leave_workspace(face, workspace, one["opened"]["run"] if one["opened"] else one["last"])
    from pancode.fleet.login import at_terminal, describe_remotes, open_shell

    prints = prints or face.as_json
    if not prints:
        if not at_terminal():
            fix = f"pancode workspace open {workspace} --print"
            raise UsageError("standard input is not a terminal", fix=fix, code="no_terminal")
        home_of(os.environ)  # The command that enters the node uses this computer's SSH.
    opened = _open_workspace(face, workspace, node)
    target = face.get(NODE.at(opened["node"]))["target"]
    folder, run = opened["folder"], opened["run"]
    if prints:
        ways = {**describe_remotes(target, folder), "leave": f"pancode workspace open --leave {workspace}"}
        facts = {"run": run, "node": opened["node"], "folder": folder, **ways}
        words = f"{escape_line(workspace)}  reserved for you until you leave it\n{format_facts(facts, 7)}"
        return face.end(ExitCode.DONE, {"workspace": workspace, **facts}, lambda: words)
    if not open_shell(target, folder, f"pancode-{run}", os.environ):
        back, end = f"pancode workspace open {workspace}", f"pancode workspace open --leave {workspace}"
        face.note(f"workspace {escape_line(workspace)} stays open; to return: {back}; to end it: {end}")
        return ExitCode.DONE
    return _leave_workspace(face, workspace, run)


def _leave_workspace(face: Face, workspace: str, run: str | None) -> int:
    """Leave the workspace, and wait for the end of the run that kept it open; return the exit code."""
    client = face.client()
    client.post(answers.LEAVE_WORKSPACE.at(workspace), {"by": find_user()})
    if run is None:
        return ExitCode.DONE
    ended = wait_for_run(face, client, run)
    if ended is None:
        return ExitCode.DETACHED
    whole = client.get(RUN.at(run))
    return face.end(exit_of(ended["outcome"]), ended, lambda: format_summary(whole))


def _open_workspace(face: Face, workspace: str, node: str | None) -> dict[str, Any]:
    """Open the workspace and return its place after its files arrive; UnavailableError if they do not."""
    client = face.client(works=True)
    one = client.post(answers.OPEN_WORKSPACE.at(workspace), {"by": find_user(), "node": node})
    run = one["opened"]["run"] if one["opened"] else one["last"]
    face.note(f"{run} copies the files of workspace {escape_line(workspace)} to a node")
    for _ in range(_OPENS):
        there = one["opened"]
        if there is None or there["folder"] is not None:
            break
        time.sleep(_LOOK_S)
        one = client.get(answers.WORKSPACE.at(workspace))
    if not one["opened"] or one["opened"]["folder"] is None:
        what, fix = f"the files of workspace {escape_line(workspace)} did not arrive", f"pancode why {run}"
        raise UnavailableError(what, why=f"{run} is {one['outcome']}", fix=fix)
    return dict(one["opened"])


@verb("workspace repair", "min-123", "min-123 --repository ~/src/myn")
def repair(
    workspace: Workspace,
    *,
    repository: Annotated[str | None, option("The new path of its repository.", "PATH")] = None,
    node: Annotated[str | None, option("The workspace's node from now on, or any.")] = None,
    dry_run: Annotated[bool, option("Only print what the repair would do.")] = False,
    face: Json,
) -> None:
    """Repair a workspace whose repository was moved, whose node is full or removed, or whose files were lost.

    Prints what the repair does, and asks in a terminal. If the files of the newest run were lost, it
    continues from the newest run that has files, or else from the repository. No run or result is deleted.
    """
    one = face.get(answers.WORKSPACE.at(workspace))
    does = [problem["does"] for problem in one["problems"] if problem["does"]]
    does += [f"its repository becomes {repository}"] if repository is not None else []
    does += [f"the workspace's node becomes {node}"] if node is not None else []
    if dry_run:
        return face.show({**one, "does": does}, lambda: _format_workspace(one) + _plan(does))
    if face.can_ask() and does:
        face.note(_plan(does).rstrip())
        if not face.confirm("Repair the workspace in this way?", ""):
            return face.note("nothing was changed")
    body = {"repository": None if repository is None else make_absolute(repository), "node": node}
    face.show_result(face.post(answers.REPAIR_WORKSPACE.at(workspace), body), _format_workspace)


def _plan(does: list[str]) -> str:
    return "".join(f"  then: {escape_line(one)}\n" for one in does) or "  nothing to repair\n"


@verb("workspace rm", "min-123", "min-123 --force")
def rm(
    workspace: Workspace,
    *,
    force: Annotated[bool, option("Remove the workspace even if it has work that has not landed.")] = False,
    face: Json,
) -> None:
    """Remove a workspace. Its runs and their files are kept: `diff` and `land` still work with them."""
    done = face.post(answers.REMOVE_WORKSPACE.at(workspace), {"force": force})
    kept = f"; its work is kept: pancode diff {done['kept']}" if done["kept"] else ""
    face.show(done, lambda: f"{escape_line(done['removed'])}  forgotten{kept}\n")
