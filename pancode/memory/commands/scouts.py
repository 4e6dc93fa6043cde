"""`pancode workflow explore`: send scouts out with questions, and show what they found."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from pancode.interfaces.cli.follow import post_with_progress
from pancode.interfaces.cli.parameters import Argument, Face, Json, completions, find_user, option, verb
from pancode.interfaces.cli.terminal import escape_line, safe_block
from pancode.interfaces.client.caller import describe_parent, work_folder
from pancode.interfaces.client.client import Client
from pancode.kernel.errors import ExitCode, UsageError
from pancode.kernel.formatting import count_noun
from pancode.memory.answers import EXPLORE, SCOUT, ScoutShape

MOST = 4
LOOK_S = 0.5
UNDER_WAY = "under way"


_EXPLORE_MODEL = "Model (default: models.scout, else the cheapest that passed its test)."
ExploreModel = Annotated[str | None, option(_EXPLORE_MODEL, "M", complete=completions.models)]


@verb(
    "workflow explore",
    'pancode workflow explore "where is the rate limiter, and which tests cover it?"',
    'pancode workflow explore "how are tokens checked?" "what reads pancode.yaml?" --depth shallow',
)
def explore(
    questions: Annotated[list[str], Argument(metavar="QUESTION...", show_default=False)],
    *,
    depth: Annotated[
        Literal["shallow", "medium", "deep"],
        option("How far each scout looks: shallow, medium (default) or deep.", "D", show_default=False),
    ] = "medium",
    node: Annotated[str | None, option("Only this machine.", "N", complete=completions.nodes)] = None,
    model: ExploreModel = None,
    runtime: Annotated[
        str | None, option("Runtime of the scouts.", "R", complete=completions.runtimes)
    ] = None,
    again: Annotated[bool, option("Ask again even if the answer is already known.", "--again")] = False,
    detach: Annotated[bool, option("Do not wait for the answers.", "-d", "--detach")] = False,
    face: Json,
) -> int:
    """Have read-only scouts answer 1 to 4 questions about this repository in parallel.

    shallow allows 4 model calls and 500 tokens of answer, medium 12 and 2,000, deep 20 and 5,000. A question
    that was already answered for exactly these files (including uncommitted changes) from this folder is
    answered at once, with its age; if you name a model, a runtime or a node, only if that one was named then.
    """
    more = {"node": node, "model": model, "runtime": runtime, "again": again}
    if len(questions) > MOST or not all(one.strip() for one in questions):
        what = f"pancode workflow explore requires 1 to {MOST} questions that are not empty"
        fix = "put each question in quotes, and ask the rest with another pancode workflow explore"
        raise UsageError(what, fix=fix)
    body: dict[str, object] = {"questions": questions, "look": depth, "cwd": work_folder(), "by": find_user()}
    body |= {**describe_parent(), **{name: value for name, value in more.items() if value}}
    rows = post_with_progress(face, face.client(works=True), EXPLORE, body)["scouts"]
    if not detach:
        rows = _await_scouts(face, face.client(), rows)
    face.show({"scouts": rows}, lambda: "\n".join(map(_format_scout, rows)))
    if any(row["state"] == UNDER_WAY for row in rows):
        return ExitCode.DONE if detach else ExitCode.DETACHED
    answered = [row["state"] == "answered" for row in rows]
    return ExitCode.DONE if all(answered) else ExitCode.PARTIAL if any(answered) else ExitCode.ERROR


def _await_scouts(face: Face, client: Client, rows: list[ScoutShape]) -> list[ScoutShape]:
    """Wait until all scouts end or the user interrupts, which does not stop the scouts."""
    out = [row["run"] for row in rows if row["state"] == UNDER_WAY and row["run"] is not None]
    if not out:
        return rows
    face.note(f"{count_noun(len(out), 'scout')} under way: {', '.join(out)}")
    try:
        while any(row["state"] == UNDER_WAY for row in rows):
            time.sleep(LOOK_S)
            rows = [client.get(SCOUT.at(row["run"])) if row["run"] in out else row for row in rows]
    except KeyboardInterrupt:
        face.note("\nthe scouts continue; run the same command again for their answers")
    return rows


def _format_scout(row: ScoutShape) -> str:
    known = f", known {row['age']} ago" if row["earlier"] else ""
    about = f"{row['run']}, {row['depth']}{known}" if row["run"] else row["depth"]
    words = row["answer"] or f"{row['state']}: {row['reason']}"
    return f"{escape_line(row['question'])}  ({escape_line(about)})\n{safe_block(words)}\n"
