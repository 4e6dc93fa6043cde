"""`pancode issue`: issues of a project's tracker, and runs that work on them."""

from __future__ import annotations

from typing import Annotated, Any

from typer import Argument

from pancode.interfaces.cli.parameters import Json, completions, find_user, option, parse_money, verb
from pancode.interfaces.cli.terminal import (
    Columns,
    escape_line,
    escape_lines,
    format_facts,
    format_rows,
    safe_block,
    short_time,
)
from pancode.interfaces.client.caller import find_folder
from pancode.issues.answers import ISSUE, ISSUES, WORK, WORKS, IssuesAnswer
from pancode.kernel.errors import ApiError, ExitCode, UsageError
from pancode.runs.commands import options
from pancode.runs.commands.dispatch import format_plan, of_caller, post_agreed

Issue = Annotated[str, Argument(help="An issue of a project: MIN-123.")]
_PROJECT = "Its project (default: the project of the current folder)."
Project = Annotated[str | None, option(_PROJECT, "P", complete=completions.projects)]


@verb("issue ls", "pancode issue", "pancode issue ls --project shop")
def ls(*, project: Project = None, face: Json) -> None:
    """List issues being worked on, with the state in their trackers; then the project's open issues.

    `pancode project add --tracker` sets where a project's issues are: GitHub, GitLab or Linear. The token is
    a stored secret (`pancode config secret`), the coordinator's GITHUB_TOKEN, GITLAB_TOKEN or LINEAR_API_KEY,
    or the login of gh or glab.
    """
    client = face.client()
    works = client.get(WORKS)["works"]
    found: IssuesAnswer = {"project": "", "issues": []}
    try:
        found = client.get(ISSUES, project=project, cwd=find_folder())
    except ApiError as error:
        if error.code != "no_project":
            raise
        face.note(f"cannot list open issues: {escape_line(str(error))}")
    text = format_rows(works, _WORKS, cut="TITLE") + "\n" if works else ""
    none = f"project {found['project']} has no open issues"
    text += format_rows(found["issues"], _ISSUES, none, cut="TITLE")
    face.show({"works": works, **found}, lambda: text)
    for one in works:
        if one["trouble"]:
            face.note(f"{escape_line(one['issue'])}: the tracker was not told: {escape_line(one['trouble'])}")


_ISSUES = {"ISSUE": "issue", "STATE": "state", "LABELS": "labels", "FOR": "assignees", "TITLE": "title"}


@verb("issue show", "pancode issue show SHOP-12")
def show(issue: Issue, face: Json) -> None:
    """Show one issue with its text."""
    one = face.get(ISSUE.at(issue))
    facts = {"state": one["state"], "labels": ", ".join(one["labels"]), "for": ", ".join(one["assignees"])}
    facts |= {"by": one["author"], "project": one["project"], "at": one["url"]}
    text = escape_line(f"{one['issue']}  {one['title']}") + f"\n{format_facts(facts, 8)}\n"
    face.show(one, lambda: f"{text}{safe_block(one['text'])}\n")


@verb("issue work", "pancode issue work SHOP-12", "pancode issue work SHOP-12 --plan")
def on(
    issue: Issue,
    *,
    dry_run: Annotated[bool, option("Show the task and the gates, and begin nothing.", "--dry-run")] = False,
    agent: Annotated[str | None, option("Agent definition.", "A", complete=completions.agents)] = None,
    model: Annotated[str | None, option("Model of the agent.", "M")] = None,
    runtime: Annotated[str | None, option("Runtime of the agent.", "R")] = None,
    node: Annotated[str | None, option("The machine.", "N", complete=completions.nodes)] = None,
    budget: Annotated[
        str | None, option("The most that the run may cost.", "USD", parser=parse_money)
    ] = None,
    yes: options.Yes = False,
    plans: Annotated[bool, option("First plan it with a planner in its workspace.", "--plan")] = False,
    face: Json,
) -> int:
    """Have an agent work on an issue in a separate workspace, or continue what the last run there left.

    The tracker is updated: the issue is in progress, then in review, and done only when the change has
    landed; one comment names the run. The text of an issue is material for the agent, never an instruction.

    With --plan nothing is built yet: a planner reads and asks, like `pancode issue plan ISSUE`. Once the plan
    is kept, run the same command without --plan to carry it out.
    """
    if plans:
        if agent is not None or budget is not None or dry_run:
            what = "--plan excludes --agent, --budget and --dry-run: a plan has its own agent"
            fix = f"pancode issue work {issue} --plan; give the other options when the plan is carried out"
            raise UsageError(what, fix=fix)
        from pancode.issues.commands.plans import on as talk

        status = talk(issue, model=model, runtime=runtime, node=node, face=face)
        face.note(f"next: pancode issue plan --keep {issue.lower()}; then: pancode issue work {issue}")
        return status
    settings = {"agent": agent, "model": model, "runtime": runtime, "node": node, "budget": budget}
    body: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
    body |= {"issue": issue, "dry_run": dry_run, "yes": yes, "by": find_user()}
    body |= {"settings": of_caller({"workspace": "none"}).get("settings", {})}
    client = face.client(works=True)
    if dry_run:
        view = client.post(WORK, body)
        face.warn(view["warnings"])
        report = view["report"]
        face.show(view, lambda: f"{safe_block(view['task'])}\n{format_plan(report, report['snapshot'])}")
        return ExitCode.DONE if report["admitted"] else ExitCode.REFUSED
    one = post_agreed(face, client, WORK, body)
    face.warn(one["warnings"])
    lines = [f"{one['run']}  works on {one['issue']} {one['title']}"]
    lines.append(f"  workspace {one['workspace']}, agent {one['agent']}")
    lines.append(f"  follow it: pancode logs -f {one['run']}   when it is done: pancode land {one['run']}")
    return face.end(ExitCode.DONE, one, lambda: escape_lines(lines))


_WORKS: Columns = {
    **{"ISSUE": "issue", "TOLD": lambda one: one["state"] or "nothing yet", "RUN": "run"},
    **{"RUN IS": lambda one: one["run_state"] or "-", "BEGAN": lambda one: short_time(one["began_at"])},
    "TITLE": "title",
}
