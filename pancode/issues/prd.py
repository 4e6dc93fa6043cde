"""A project's draft requirements document (PRD): the drafting run's task, and the draft in its answer."""

from __future__ import annotations

import re

from pancode.kernel.errors import UsageError
from pancode.kernel.names import LAST, PRD
from pancode.runs.core import Core
from pancode.runs.project_rules import NamedProject
from pancode.runs.receipts.answer import whole_answer
from pancode.runs.views import find_run

MOST_DRAFT = 60_000
"""The maximum number of characters of a draft."""
_FROM, _TO = f"--- {PRD}", f"--- end of {PRD}"
_DRAFT = re.compile(rf"^{re.escape(_FROM)}[ \t]*$\n(.*?)^{re.escape(_TO)}[ \t]*$", re.DOTALL | re.MULTILINE)
_ORDER = f"""\
Draft the product requirements of this repository, as {PRD}. Change no file: your answer has the text.

Read what is there first: what it says of itself, its entry points, its tests, its documents. Write in
Markdown, in at most 1,200 words: a title, then the heads "## Problem", "## Users", "## What it does",
"## What it does not", "## Requirements", "## How we know" and "## Open questions". Requirements are a
numbered list, and each can be checked. Say what the code shows; what you only guess is an open question, so
that a user decides it.

Put a line `{_FROM}` before the document and a line `{_TO}` behind it. Your report comes after that.
"""


def draft_task() -> str:
    """Return the task of the drafting run, identical for all projects."""
    return _ORDER


def read_draft(core: Core, project: NamedProject, text: str) -> str:
    """Return the document in this run's answer, with one line end at its end. UsageError for a run that is
    not a draft of this project, has no answer yet, or has no whole document in its answer.

    `text`: the name of a run as a user gives it; `last`: the last run of this project.
    """
    with core.ports.ledger.transaction() as tx:
        run = find_run(tx, f"{LAST}@{project.path}" if text == LAST else text)
        answer = whole_answer(core, tx, run)
    fix = f"make a new draft: pancode project prd {project.name}"
    if not run.task.startswith(_ORDER.rstrip()) or run.project != project.path:
        raise UsageError(f"{run.id} did not write the PRD of {project.name}", fix=fix, code="no_draft")
    found = _DRAFT.search(answer)
    if found is None or not found[1].strip() or len(found[1]) > MOST_DRAFT:
        what = f"the answer of {run.id} has no whole draft"
        why = f"the draft must be between the lines {_FROM!r} and {_TO!r}, at most {MOST_DRAFT} characters"
        raise UsageError(what, why=why, fix=f"try again: {fix}", code="no_draft")
    return f"{found[1].strip()}\n"
