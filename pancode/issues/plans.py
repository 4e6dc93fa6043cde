"""Plans: talks with a planner in a workspace, and the two files it writes for the agent that builds there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from pancode.issues.answers import PlanAnswer
from pancode.issues.model import ISSUE, Trackers, mark_untrusted
from pancode.issues.service import fetch_issue
from pancode.kernel.errors import NotFoundError, UsageError
from pancode.kernel.names import PLANNER, plan_file, questions_file
from pancode.kernel.records import Run
from pancode.runs.core import Core
from pancode.runs.project_rules import moved_project_error
from pancode.runs.receipts.answer import whole_answer
from pancode.runs.request import DispatchRequest
from pancode.runs.user_environment import Surroundings
from pancode.workspaces.rules import find_workspace, get_workspace_row, runs_in, workspace_name
from pancode.workspaces.service import create_if_missing

STEPS = "## Steps"
MOST_NAME, MOST_PLAN, MOST_QUESTIONS = 40, 60_000, 200_000
"""The most characters of a workspace name from a text, of a plan, and of the conversation about it."""
_ORDER = """\
Plan this work with me. Read what it touches first. Then ask me, one question at a time and only where the
code does not answer it: what is in scope, which approach of the ones you see, which edge cases count, how it
is tested, and what is out of scope. {begin}When all is answered, or I say so, write the whole plan as one
answer in Markdown: a title, then the heads "## Scope", "## Approach", "## Edge cases", "## Tests",
"## Out of scope" and "{steps}". Under the last head is a numbered list. Each step stands by itself: whoever
carries it out reads that step and the code, and asks nobody. Write nothing behind the list. The plan is kept
as {file}.

The work:

{work}
"""


def ensure_workspace(
    core: Core,
    around: Surroundings,
    trackers: Trackers,
    what: str,
    top: Callable[[], str],
    by: str,
    node: str | None,
    continues: bool,
) -> PlanAnswer:
    """Return the workspace of an issue, of a plan by its name, or of a task as text; create it if missing.

    `top`: returns the repository for work that is not an issue; raises UsageError. `continues`: use the plan
    that is already in the repository. ConflictError if another repository has a workspace of that name.
    """
    if ISSUE.fullmatch(what):
        project, issue = fetch_issue(around, trackers, what)
        name, title, path, work = issue.ref.lower(), issue.title, project.path, mark_untrusted(issue)
        if around.project_of(path) is None:
            raise moved_project_error(project.name, path)
    else:
        words = re.sub(r"[^a-z0-9]+", "-", what.lower()).strip("-")[:MOST_NAME].strip("-")
        name_of = workspace_name(words or what)
        name, title, path, work = name_of, "", top(), what
    with core.ports.ledger.transaction() as tx:
        there = find_workspace(tx, name)
        run = None if there is None else _find_talk(runs_in(tx, there))
    file, begin = plan_file(name), ""
    if continues and run is None:
        if not Path(path, file).is_file():
            fix = f'pull the branch that has it, or start one: pancode issue plan "{what}"'
            raise NotFoundError(f"plan not found: {file}", why=path, fix=fix, code="no_plan")
        begin = (
            f"There is a plan already: begin with {file} and with {questions_file(name)}, which has what was "
            "asked and answered. "
        )
    create_if_missing(core, name, path, title, node, by)
    return PlanAnswer(
        name,
        file,
        _ORDER.format(begin=begin, steps=STEPS, file=file, work=work),
        "" if run is None else run.id,
    )


def _find_talk(runs: list[Run]) -> Run | None:
    """Return the newest of a workspace's runs if that run is part of a planning session, else None."""
    return runs[-1] if runs and runs[-1].takes_turns and runs[-1].agent == PLANNER else None


def newest_plan(core: Core, name: str, questions: str) -> dict[str, str]:
    """Return the files of the planner's last plan, by path. `questions`: the conversation, as Markdown.
    Raises UsageError if the planner's last answer is not a plan."""
    with core.ports.ledger.transaction() as tx:
        run = _find_talk(runs_in(tx, get_workspace_row(tx, name)))
        plan = "" if run is None else whole_answer(core, tx, run).strip()
    if f"\n{STEPS}" not in plan or len(plan) > MOST_PLAN:
        raise UsageError(
            f"the newest answer in {name} is not a plan",
            why=f"a plan must have the heading {STEPS} and at most {MOST_PLAN} characters",
            fix=f'return to the planner: pancode issue plan {name}; then send: "write the whole plan"',
            code="no_plan",
        )
    return {plan_file(name): f"{plan}\n", questions_file(name): f"{questions}\n"}


def request_keeping(core: Core, name: str, files: Mapping[str, str], by: str) -> DispatchRequest:
    """Return the request for a run of a script that writes the files of a plan into its workspace."""
    end = f"END_{core.ports.ids.token(8)}"
    writes = "".join(f"cat >{path} <<'{end}'\n{text}{end}\n" for path, text in files.items())
    script = f"# keeps the plan of {name}\nset -eu\nmkdir -p docs\n{writes}"
    return DispatchRequest(script, by, runtime="shell", workspace=name, verify=())
