"""`pancode issue plan`: talk with a planner about a task, and keep the plan."""

from __future__ import annotations

from typing import Annotated

from pancode.interfaces.cli.follow import suspend_session
from pancode.interfaces.cli.parameters import Argument, Face, Json, completions, find_user, option, verb
from pancode.interfaces.cli.terminal import escape_line
from pancode.interfaces.client.caller import find_folder
from pancode.issues.answers import KEEP_PLAN, PLAN
from pancode.kernel.errors import ExitCode, UsageError
from pancode.kernel.names import PLANNER
from pancode.sessions.commands.export import fetch_conversation, format_markdown
from pancode.workspaces.answers import WORKSPACE

MOST_QUESTIONS = 200_000
_GOES_ON = "Continue the plan that is in this repository, such as one you pulled."


@verb("issue plan", "pancode issue plan SHOP-12", "pancode issue plan --keep shop-12")
def on(
    what: Annotated[str, Argument(help="An issue, the name of a plan, or the task in words.")],
    *,
    goes_on: Annotated[bool, option(_GOES_ON, "--continue")] = False,
    once: Annotated[
        bool, option("Take one turn, print its answer, and suspend the session.", "--once")
    ] = False,
    model: Annotated[str | None, option("Model of the planner.", "M")] = None,
    runtime: Annotated[str | None, option("Runtime of the planner.", "R")] = None,
    node: Annotated[str | None, option("The machine.", "N", complete=completions.nodes)] = None,
    keep: Annotated[
        bool, option("Write the newest plan into its workspace, and the talk beside it.", "--keep")
    ] = False,
    face: Json,
) -> int:
    """Plan an issue or a task with a planner in a separate workspace, or return to that conversation.

    The planner only reads. It asks what is in scope, how to do it, which edge cases matter, how it is tested
    and what is excluded, and then writes the plan. --keep stores it in the workspace as docs/NAME-plan.md,
    where the next work finds it: `issue work ISSUE`, `dispatch --workspace NAME`, or a chain that `workflow
    plan` makes of its steps. It lands with the change.
    """
    if keep:
        return keep_plan(face, what)
    from pancode.interfaces.cli.main import run

    body = {"what": what, "cwd": find_folder(), "node": node, "goes_on": goes_on, "by": find_user()}
    there = face.client(works=True).post(PLAN, body)
    options = (*(("--once",) if once else ()), *(("--json",) if face.as_json else ()))
    if there["run"]:
        if once:
            fix = f'pancode sessions attach --once {there["run"]} "..."'
            raise UsageError(f"the planning session has already started: {there['run']}", fix=fix)
        return run(["sessions", "attach", there["run"]])
    name = there["workspace"]
    face.note(f"plan {name}: it is kept as {there['file']} by: pancode issue plan --keep {name}")
    chosen = {"--model": model, "--runtime": runtime, "--node": node}
    flags = [word for flag, value in chosen.items() if value is not None for word in (flag, value)]
    place = ("--agent", PLANNER, "--workspace", there["workspace"])
    return run(["chat", *options, *place, *flags, "--", there["task"]])


def keep_plan(face: Face, name: str) -> int:
    client, name = face.client(works=True), name.lower()
    newest = client.get(WORKSPACE.at(name))["runs"]
    if not newest:
        raise UsageError(f"{name} has no plan yet", fix=f"pancode issue plan {name}", code="no_plan")
    suspend_session(face, client, newest[-1]["run"])
    talk = format_markdown(fetch_conversation(client, newest[-1]["run"]))[-MOST_QUESTIONS:]
    done = client.post(KEEP_PLAN.at(name), {"questions": talk, "by": find_user()})
    there = f"docs/{escape_line(name)}-plan.md"
    then = f'pancode dispatch --workspace {escape_line(name)} "carry out {there}"'
    words = f"{done['run']}  writes {there}\n  then: {then}\n"
    return face.end(ExitCode.DONE, done, lambda: words)
