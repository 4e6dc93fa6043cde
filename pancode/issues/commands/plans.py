"""`pancode plan`: talk with a planner about a piece of work, and keep the plan where the work is done."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from pancode.interfaces.cli import completions
from pancode.interfaces.cli.commands import Commands
from pancode.interfaces.cli.follow import suspend_session
from pancode.interfaces.cli.output import find_user
from pancode.interfaces.cli.parameters import Json, option
from pancode.interfaces.cli.terminal import escape_line
from pancode.interfaces.client.caller import find_folder
from pancode.issues.answers import KEEP_PLAN, PLAN
from pancode.kernel.errors import ExitCode, UsageError
from pancode.kernel.names import PLANNER
from pancode.sessions.commands.export import fetch_conversation, format_markdown
from pancode.workspaces.answers import WORKSPACE

app = Commands()
MOST_QUESTIONS = 200_000


@app.group(
    "plan",
    "pancode plan SHOP-12",
    'pancode plan "rate limiting for the search endpoint"',
    "pancode plan keep shop-12",
    default="on",
    free=True,
)
def plan() -> None:
    """Plan an issue or a task with a planner, in a workspace of its own, before anybody builds it.

    The planner only reads. It asks what is in scope, how, which edge cases count, how it is tested and what
    is out, and then writes the plan. `plan keep` puts it into the workspace as docs/NAME-plan.md, with the
    talk beside it. Whatever works there next has it: `work ISSUE`, `dispatch --workspace NAME`, or a chain
    that `workflow from-plan` makes of its steps. It lands with the change.
    """


@plan.verb("on", "pancode plan SHOP-12", "pancode plan --continue SHOP-12")
def on(
    what: Annotated[str, Argument(help="An issue, the name of a plan, or the task in words.")],
    *,
    goes_on: Annotated[
        bool, option("Go on with the plan that is in this repository, such as one you pulled.", "--continue")
    ] = False,
    once: Annotated[
        bool, option("Take one turn, print its answer, and let the session rest.", "--once")
    ] = False,
    model: Annotated[str | None, option("Model of the planner.", "M")] = None,
    runtime: Annotated[str | None, option("Runtime of the planner.", "R")] = None,
    node: Annotated[str | None, option("The machine.", "N", complete=completions.nodes)] = None,
    face: Json,
) -> int:
    """Begin the talk, or come back to it."""
    from pancode.interfaces.cli.main import run

    asked = {"what": what, "cwd": find_folder(), "node": node, "goes_on": goes_on, "by": find_user()}
    there = face.client(works=True).post(PLAN, asked)
    told = (*(("--once",) if once else ()), *(("--json",) if face.as_json else ()))
    if there["run"]:
        if once:
            raise UsageError(
                f"its planning session has already started: {there['run']}",
                fix=f'pancode attach --once {there["run"]} "..."',
            )
        return run(["attach", there["run"]])
    face.note(
        f"plan {there['workspace']}: it is kept as {there['file']} by: pancode plan keep {there['workspace']}"
    )
    chosen = {"--model": model, "--runtime": runtime, "--node": node}
    flags = [word for flag, value in chosen.items() if value is not None for word in (flag, value)]
    place = ("--agent", PLANNER, "--workspace", there["workspace"])
    return run(["chat", *told, *place, *flags, "--", there["task"]])


@plan.verb("keep", "pancode plan keep shop-12")
def keep(name: Annotated[str, Argument(help="The plan: its workspace, or its issue.")], face: Json) -> int:
    """Write the newest answer of the planner into the workspace, and the talk beside it."""
    client, name = face.client(works=True), name.lower()
    newest = client.get(WORKSPACE.at(name))["runs"]
    if not newest:
        raise UsageError(f"{name} has no plan yet", fix=f"pancode plan {name}", code="no_plan")
    suspend_session(face, client, newest[-1]["run"])
    talk = format_markdown(fetch_conversation(client, newest[-1]["run"]))[-MOST_QUESTIONS:]
    done = client.post(KEEP_PLAN.at(name), {"questions": talk, "by": find_user()})
    there = f"docs/{escape_line(name)}-plan.md"
    then = f'pancode dispatch --workspace {escape_line(name)} "carry out {there}"'
    words = f"{done['run']}  writes {there}\n  then: {then}\n"
    face.show(done, lambda: words)
    return ExitCode.DONE
