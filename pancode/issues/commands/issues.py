"""`pancode issue`: issues of a project's tracker, the runs that work on them, and their plans."""

from __future__ import annotations

from typing import Annotated, Any

from pancode.interfaces.cli.follow import suspend_session
from pancode.interfaces.cli.output import Face, find_user
from pancode.interfaces.cli.parameters import Argument, Json, Yes, option, parse_money, verb
from pancode.interfaces.cli.terminal import Columns, escape_lines, format_facts, format_rows, safe_block
from pancode.interfaces.client.caller import find_folder
from pancode.interfaces.client.transcript import fetch_conversation, format_markdown
from pancode.issues.answers import ISSUE, ISSUES, KEEP_PLAN, PLAN, WORK, WORKS, IssuesAnswer
from pancode.kernel.errors import ApiError, ExitCode, UsageError
from pancode.kernel.formatting import escape_line
from pancode.kernel.names import PLANNER
from pancode.runs.commands.dispatch_requests import format_plan, of_caller, post_agreed
from pancode.workspaces.answers import WORKSPACE

Issue = Annotated[str, Argument(help="An issue of a project: MIN-123.")]
Project = Annotated[
    str | None, option("The project of the issue (default: the project of the current folder).")
]


@verb("issue ls", "pancode issue", "--project shop")
def ls(*, project: Project = None, face: Json) -> None:
    """List issues that runs work on, with the state in their trackers; then the project's other open issues.

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
            face.note(
                f"{escape_line(one['issue'])}: could not update the tracker: {escape_line(one['trouble'])}"
            )


_ISSUES = {"ISSUE": "issue", "STATE": "state", "LABELS": "labels", "FOR": "assignees", "TITLE": "title"}


@verb("issue show", "SHOP-12")
def show(issue: Issue, face: Json) -> None:
    """Show one issue with its text."""
    one = face.get(ISSUE.at(issue))
    facts = {"state": one["state"], "labels": ", ".join(one["labels"]), "for": ", ".join(one["assignees"])}
    facts |= {"by": one["author"], "project": one["project"], "at": one["url"]}
    text = escape_line(f"{one['issue']}  {one['title']}") + f"\n{format_facts(facts, 8)}\n"
    face.show(one, lambda: f"{text}{safe_block(one['text'])}\n")


@verb("issue work", "SHOP-12", "SHOP-12 --plan")
def on(
    issue: Issue,
    *,
    dry_run: Annotated[bool, option("Show the task and the admission gates, but start nothing.")] = False,
    agent: Annotated[str | None, option("Agent definition.")] = None,
    model: Annotated[str | None, option("Model of the agent.")] = None,
    runtime: Annotated[str | None, option("Runtime of the agent.")] = None,
    node: Annotated[str | None, option("Use only this node.")] = None,
    budget: Annotated[
        str | None, option("The most that the run may cost.", "USD", parser=parse_money)
    ] = None,
    yes: Yes = False,
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
            fix = (
                f"pancode issue work {issue} --plan; give the other options later, when you have the plan "
                "carried out"
            )
            raise UsageError(what, fix=fix)
        status = plan(issue, model=model, runtime=runtime, node=node, face=face)
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
    **{"RUN IS": "run_state", "BEGAN": "began_at", "TITLE": "title"},
}
MOST_QUESTIONS = 200_000
_GOES_ON = "Continue the plan that is in this repository, such as one you pulled."


@verb("issue plan", "SHOP-12", "--keep shop-12")
def plan(
    what: Annotated[str, Argument(help="An issue, the name of a plan, or the task in words.")],
    *,
    goes_on: Annotated[bool, option(_GOES_ON, "--continue")] = False,
    once: Annotated[bool, option("Take one turn, print its answer, and suspend the session.")] = False,
    model: Annotated[str | None, option("Model of the planner.")] = None,
    runtime: Annotated[str | None, option("Runtime of the planner.")] = None,
    node: Annotated[str | None, option("Use only this node.")] = None,
    keep: Annotated[
        bool, option("Write the newest plan into its workspace, together with the conversation.")
    ] = False,
    face: Json,
) -> int:
    """Plan an issue or a task with a planner in a separate workspace, or return to that conversation.

    The planner only reads. It asks what is in scope, how to do it, which edge cases matter, how to test the
    work and what is excluded, and then writes the plan. --keep stores the plan in the workspace as
    docs/NAME-plan.md, where the next work finds it: `issue work ISSUE`, `dispatch --workspace NAME`, or a
    chain that `workflow plan` makes of its steps. The plan lands with the change.
    """
    if keep:
        return keep_plan(face, what)
    from pancode.interfaces.cli.main import run

    body = {"what": what, "cwd": find_folder(), "node": node, "goes_on": goes_on, "by": find_user()}
    there = face.client(works=True).post(PLAN, body)
    options = (*(("--once",) if once else ()), *(("--json",) if face.as_json else ()))
    if there.run:
        if once:
            fix = f'pancode sessions attach --once {there.run} "..."'
            raise UsageError(f"the planning session has already started: {there.run}", fix=fix)
        return run(["sessions", "attach", there.run])
    name = there.workspace
    face.note(f"plan {name}: to write the plan to {there.file}: pancode issue plan --keep {name}")
    chosen = {"--model": model, "--runtime": runtime, "--node": node}
    flags = [word for flag, value in chosen.items() if value is not None for word in (flag, value)]
    place = ("--agent", PLANNER, "--workspace", there.workspace)
    return run(["chat", *options, *place, *flags, "--", there.task])


def keep_plan(face: Face, name: str) -> int:
    client, name = face.client(works=True), name.lower()
    newest = client.get(WORKSPACE.at(name))["runs"]
    if not newest:
        raise UsageError(
            f"{name} has no plan yet", fix=f"make a plan: pancode issue plan {name}", code="no_plan"
        )
    suspend_session(face, client, newest[-1]["run"])
    talk = format_markdown(fetch_conversation(client, newest[-1]["run"]))[-MOST_QUESTIONS:]
    done = client.post(KEEP_PLAN.at(name), {"questions": talk, "by": find_user()})
    there = f"docs/{escape_line(name)}-plan.md"
    then = f'pancode dispatch --workspace {escape_line(name)} "carry out {there}"'
    words = f"{done['run']}  writes {there}\n  then: {then}\n"
    return face.end(ExitCode.DONE, done, lambda: words)
