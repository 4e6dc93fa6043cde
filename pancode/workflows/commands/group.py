"""`pancode workflow`: list, show, check, resume and otherwise manage workflows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Argument

from pancode.interfaces.cli.larger_work import LargerCommands
from pancode.interfaces.cli.output import Face, find_user, folder_here, list_findings
from pancode.interfaces.cli.parameters import Cursor, Json, Whole, completions, fetch_page, many, option, verb
from pancode.interfaces.cli.terminal import RowColumns, escape_lines, format_rows
from pancode.interfaces.client.client import Client
from pancode.kernel.errors import ConfigError, ExitCode, UsageError
from pancode.kernel.formatting import count_noun
from pancode.kernel.route import Route
from pancode.workflows import answers
from pancode.workflows.commands.begin import Detach, Yes, make_later, wait_for_workflow
from pancode.workflows.commands.completions import workflow_files
from pancode.workflows.commands.tables import format_headline, format_workflow, format_workflows

Workflow = Annotated[str, Argument(autocompletion=completions.workflows)]
MOST = 1_000
BEADS = ".beads/issues.jsonl"
_LS_FILES = "List workflow files that can be named: the project's, yours, and the shipped ones."


@verb("workflow ls", "5", "--kind chain")
def ls(
    *,
    number: Annotated[int, Argument(min=1, max=MOST)] = 20,
    kind: Annotated[
        Literal["batch", "chain", "graph", "lane", "race"] | None,
        option("Show only workflows of this kind.", "K"),
    ] = None,
    cursor: Cursor = None,
    whole: Whole = False,
    files: Annotated[bool, option(_LS_FILES)] = False,
    face: Json,
) -> None:
    """List the newest workflows first. Elsewhere, W may be a prefix of a workflow's id, or `last`."""
    if files:
        return list_files(face)
    client, most = face.client(), number if kind is None else MOST
    answer = fetch_page(client, answers.WORKFLOWS, "workflows", most, cursor, whole=whole)
    found = [one for one in answer["workflows"] if kind in (None, one["kind"])]
    found = found if whole else found[:number]
    # A page with only one kind does not contain all workflows up to `next`.
    next_ = answer["next"] if kind is None else None
    return face.show({"workflows": found, "next": next_}, lambda: format_workflows(found, kind))


def list_files(face: Face) -> None:
    answer = face.ask_running(answers.WORKFLOW_FILES, cwd=folder_here())
    if answer is None:
        from pancode.workflows.commands.sources import find_places
        from pancode.workflows.files.reader import describe_files

        answer = {"files": describe_files(find_places().all())}
    rows = answer["files"]
    face.show(answer, lambda: format_rows(rows, _FILES))


_FILES: RowColumns[answers.WorkflowFile] = {
    **{"NAME": "name", "KIND": "kind", "STEPS": "steps"},
    "FROM": lambda one: f"{one['from']}{', not the shipped one' if one['replaces'] else ''}",
    "WHAT FOR": lambda one: one["wrong"] or one["description"],
}


@verb(
    "workflow show",
    "last",
    "-f w-7f3k2x",
    "pancode workflow show review-loop --file > .pancode/workflows/review-loop.yaml",
)
def show(
    w: Workflow,
    *,
    follow: Annotated[
        bool, option("Wait for the workflow's end, as the command that started it does.")
    ] = False,
    file: Annotated[bool, option("Print the workflow file with that name, so that you can copy it.")] = False,
    face: Json,
) -> int:
    """Show a workflow with its steps; or, with --file, the text of a workflow file."""
    if follow and not file:
        return wait_for_workflow(face, face.get(answers.WORKFLOW.at(w)), detach=False)
    if file:
        from pancode.workflows.commands.sources import text_of

        found = text_of(w)
        face.show({"name": found.name, "file": found.place, "text": found.text}, lambda: found.text)
    else:
        show_workflow(face, w)
    return ExitCode.DONE


def show_workflow(face: Face, w: str) -> None:
    face.show_result(face.get(answers.WORKFLOW.at(w)), format_workflow)


@verb("workflow plan", "docs/shop-12-plan.md > plan.yaml", "--beads --only shop-7 > tasks.yaml")
def plan(
    file: Annotated[Path | None, Argument(help="A plan, as written by `pancode issue plan --keep`.")] = None,
    *,
    beads: Annotated[bool, option(f"Use the open tasks of a Beads file instead (default: {BEADS}).")] = False,
    only: Annotated[list[str], many("With --beads: only this task and its blockers; may be repeated.", "ID")],
    face: Json,
) -> None:
    """Print a chain that carries out the steps of a plan in order, and then reviews the result.

    For Beads, each task starts when the tasks that block it are done; others run in parallel. Epics are left
    out because they need no work. PanCode does not write to the Beads file.
    """
    if beads:
        from pancode.workflows.files.chains import chain_of_beads, read_beads

        source = file or Path(BEADS)
        tasks = read_beads(_text(source, f"give the path of a Beads file: {BEADS}"), str(source), only)
        made = chain_of_beads(tasks, str(source))
        return face.show({"tasks": [one.id for one in tasks], "text": made}, lambda: made)
    if file is None or only:
        raise UsageError("FILE or --beads is required", fix="pancode workflow plan docs/NAME-plan.md")
    from pancode.workflows.files.chains import chain_of_plan, read_plan

    steps = read_plan(_text(file, "give the path of a plan: docs/NAME-plan.md"), str(file))
    chain = chain_of_plan(steps, str(file))
    return face.show({"title": steps.title, "steps": list(steps.steps), "text": chain}, lambda: chain)


def _text(file: Path, fix: str) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"cannot read {file}", why=str(exc), fix=fix) from exc


_RESOLVE = "Let an agent resolve a conflict between the results of steps that another step needs."


def check_workflow_file(face: Face, file: str) -> int:
    """Report all problems of a workflow FILE, each with its line."""
    from pancode.workflows.commands.sources import text_of
    from pancode.workflows.files.reader import check_workflow

    try:
        source = text_of(file)
    except ConfigError as wrong:
        errors: Sequence[ConfigError] = [wrong]
        answer: dict[str, Any] = {"file": file, "kind": None, "steps": 0}
    else:
        found = check_workflow(source.text, source.place, source.name)
        errors = found.problems
        answer = {"file": source.place, "kind": found.kind, "steps": len(found.steps())}
    answer["problems"] = [{"message": str(one), "why": one.why, "fix": one.fix} for one in errors]
    end = f"a valid {answer['kind']} of {count_noun(answer['steps'], 'step')}"
    end = f"{answer['file']}: {count_noun(len(errors), 'problem') if errors else end}"
    face.show(answer, lambda: escape_lines([*list_findings("error", answer["problems"]), end]))
    return ExitCode.CONFIG if errors else ExitCode.DONE


@verb("workflow resume", "last", "last --resolve")
def resume(
    w: Workflow,
    *,
    resolve: Annotated[bool, option(_RESOLVE)] = False,
    detach: Detach = False,
    yes: Yes = False,
    face: Json,
) -> int:
    """Continue a workflow that failed or was stopped; finished steps are not repeated."""
    return begin_again(face, answers.RESUME_WORKFLOW.at(w), detach, yes, resolve=resolve)


def begin_again(
    face: Face, route: Route[answers.WorkflowShape], detach: bool, approved: bool, **more: bool
) -> int:
    """Resume a workflow or repeat it, depending on the route, and wait for its end."""
    from pancode.runs.commands.dispatch_requests import post_agreed

    answer = post_agreed(face, face.client(works=True), route, {"by": find_user(), "yes": approved, **more})
    return wait_for_workflow(face, answer, detach=detach)


def retry_workflow(face: Face, w: str, detach: bool, approved: bool) -> int:
    """Repeat a whole workflow, and wait for its end."""
    return begin_again(face, answers.RETRY_WORKFLOW.at(w), detach, approved)


ASKS_ABOVE = 3
"""With more active runs of a workflow than this, a user at a terminal must confirm."""


def stop_workflow(face: Face, client: Client, name: str, body: dict[str, str], approved: bool) -> int:
    shape = client.get(answers.WORKFLOW.at(name))
    at_work = [step for step in shape["steps"] if step["state"] == "running"]
    must_confirm = len(at_work) > ASKS_ABOVE and not approved and face.can_ask()
    if must_confirm and not face.confirm(f"Stop {len(at_work)} runs of {shape['workflow']}?", "--yes"):
        return ExitCode.INTERRUPTED
    face.show_result(client.post(answers.STOP_WORKFLOW.at(shape["workflow"]), body), format_headline)
    return ExitCode.DONE


COMMANDS = LargerCommands(show_workflow, retry_workflow, stop_workflow, make_later, workflow_files)
