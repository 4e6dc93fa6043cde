"""`pancode project tools`: small tools that agents made for a project, kept with a user's approval."""

from __future__ import annotations

from typing import Annotated

from pancode.interfaces.cli.follow import follow_new
from pancode.interfaces.cli.parameters import Argument, Detach, Json, find_user, option, verb
from pancode.interfaces.cli.terminal import Columns, format_facts, format_rows, safe_block, short_time
from pancode.interfaces.client.caller import find_folder
from pancode.interfaces.client.client import path_of
from pancode.kernel.formatting import clip_columns, escape_line
from pancode.skills.answers import KEEP_TOOL, TOOL, TOOLS, TRY_TOOL, ToolDetail

Run = Annotated[str, Argument(metavar="RUN", help="The run that made the tool.")]
Tool = Annotated[str, Argument(metavar="NAME", help="The tool's name.")]
Project = Annotated[str | None, option("The tool's project (default: the current one).")]


@verb("project tools ls", "", "--project shop")
def ls(
    *, project: Annotated[str | None, option("Show only tools of this project.")] = None, face: Json
) -> None:
    """List all tools that agents have made: those that runs get now, and those that wait for approval.

    A run proposes one by writing .pancode/tools/NAME/: tool.json (about, input as a JSON schema, seconds),
    run (a script that reads JSON), tests/CASE.in and tests/CASE.out. They are in no result or landing.
    """
    answer = face.get(TOOLS, project=project)
    none = "no agent has made a tool yet; see: pancode project tools ls -h"
    face.show(answer, lambda: format_rows(answer["tools"], _COLUMNS, none, spare=("PROJECT",)))


_COLUMNS: Columns = {
    **{"TOOL": "name", "STATE": "state", "RUN": "run", "BY": lambda one: one["by"] or "-"},
    **{"SINCE": lambda one: short_time(one["at"]), "ABOUT": lambda one: clip_columns(one["about"], 60)},
    **{"PROJECT": "project"},
}


@verb("project tools show", "r-7f3k2x count-words")
def show(run: Run, name: Tool, face: Json) -> None:
    """Show a proposed tool: its purpose, its files, its tests, and the result of its trial."""
    face.show_result(face.get(TOOL.at(run, name)), _format_tool)


def _format_tool(one: ToolDetail) -> str:
    facts: dict[str, str | None] = {"about": one["about"], "made by": one["run"], "project": one["project"]}
    facts |= {"digest": one["digest"], "state": one["state"]}
    facts |= {"trial": one["trial"] or "none", "problem": one["problem"]}
    files = [f"--- {escape_line(path)}\n{safe_block(text)}\n" for path, text in one["files"].items()]
    return f"{escape_line(one['name'])}\n{format_facts(facts, 8)}{''.join(files)}"


@verb("project tools try", "r-7f3k2x count-words")
def try_(run: Run, name: Tool, *, detach: Detach = False, face: Json) -> int:
    """Run the tool's tests on a node, in its sandbox, without network access. Exits with the run's status."""
    return follow_new(face, TRY_TOOL.at(run, name), {"by": find_user()}, detach)


@verb("project tools keep", "r-7f3k2x count-words")
def keep(
    run: Run,
    name: Tool,
    *,
    yes: Annotated[bool, option("Do not prompt: you have reviewed the tool.")] = False,
    face: Json,
) -> None:
    """Keep a tool with its project once its tests have passed; shows the tool and asks you first.

    The tool's files are signed. Later runs of the project get it read-only, but only in a sandbox: native as
    a tool of that name, other programs as a skill. Receipts name it with its digest.
    """
    client = face.client()
    one = client.get(TOOL.at(run, name))
    if not yes:
        face.note(_format_tool(one))
        question = f"Keep {escape_line(name)} for all later runs of {escape_line(one['project'])}?"
        if not face.confirm(question, "--yes"):
            return
    kept = client.post(KEEP_TOOL.at(run, name), {"by": find_user(), "digest": one["digest"]})
    face.show(kept, lambda: f"{escape_line(kept['name'])}  kept  {kept['digest'][:12]}\n")


@verb("project tools rm", "count-words", "count-words --run r-7f3k2x")
def rm(
    name: Tool,
    *,
    project: Project = None,
    run: Annotated[str | None, option("Dismiss this run's proposal instead.", "RUN")] = None,
    face: Json,
) -> None:
    """Revoke a kept tool, so that later runs do not get it; current runs have it until they end.

    With --run, dismiss a proposal instead: it is removed from the inbox, and kept tools do not change.
    """
    body = {"by": find_user(), "project": project, "cwd": None if project else find_folder(), "run": run}
    done = face.client().post(path_of("tools", name, "remove"), body)
    what = (
        ("proposal dismissed; it is no longer in the inbox")
        if run
        else "tool removed; later runs do not get it"
    )
    face.show(done, lambda: f"{escape_line(done['removed'])}  {what}\n")
