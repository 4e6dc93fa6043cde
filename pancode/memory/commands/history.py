"""`pancode history` and `workflow explore`: notes of earlier runs, and questions for scouts."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from pancode.interfaces.cli.follow import post_with_progress
from pancode.interfaces.cli.parameters import Argument, Face, Json, Run, find_user, option, verb
from pancode.interfaces.cli.terminal import escape_line, escape_lines, safe_block
from pancode.interfaces.client.caller import describe_parent, find_folder, work_folder
from pancode.interfaces.client.client import Client
from pancode.kernel.errors import ExitCode, UsageError
from pancode.kernel.formatting import clip_columns, count_noun
from pancode.memory import answers

_LINE = 110
_TOLD = "Show which notes the next run there would get; the words are its task."


@verb("history find", "pancode history rate limit", "--told --lane night 'fix the form'")
def find(
    words: Annotated[list[str] | None, Argument(metavar="[WORD]...", show_default=False)] = None,
    *,
    everywhere: Annotated[bool, option("Search the notes of all repositories.")] = False,
    lane: Annotated[str | None, option("Search the notes of this lane's items.")] = None,
    workspace: Annotated[str | None, option("Search the notes of runs in this workspace.", "NAME")] = None,
    told: Annotated[bool, option(_TOLD)] = False,
    number: Annotated[int, option("Show at most this many.", min=1, max=1_000)] = 10,
    face: Json,
) -> None:
    """Search the notes of this repository for words; without words, list the newest.

    Outside of a repository it searches all notes. A note is what an earlier run decided, did and left open,
    taken from its accepted receipt. The next run in the repository gets the notes that fit its task, up to
    `history.tokens` of the settings; 0 disables this. With --told: the previous run's note in the lane or
    workspace is complete; the others have only decisions and open points. Notes are written by models: a run
    gets them as marked material, and never as its task.
    """
    text, here = " ".join(words or ()) or None, find_folder()
    if told:
        given = face.get(answers.REMEMBERED, text=text, lane=lane, workspace=workspace, cwd=here)
        return face.show_result(given, format_notes)
    whole = "1" if everywhere else None
    answer = face.get(
        answers.HISTORY, text=text, limit=number, all=whole, lane=lane, workspace=workspace, cwd=here
    )
    leaves = "a run leaves one when it completes here and ends with the report that its prompt requires"
    none = f"no note contains {text!r}" if text else f"no run has left a note yet: {leaves}"
    return face.show(answer, lambda: "".join(map(in_short, answer["notes"])) or f"{escape_line(none)}\n")


def format_notes(answer: answers.RememberedAnswer) -> str:
    """Return the notes that a run would get, closest relation first, and their share of the token budget."""
    if not answer["budget"]:
        return "history.tokens is 0: runs get no notes of earlier runs\n"
    runs = count_noun(len(answer["given"]), "run")
    head = f"{answer['used']} of {answer['budget']} tokens (history.tokens), {runs}\n"
    return head + "".join("\n" + safe_block(one["text"]) for one in answer["given"])


def in_short(note: answers.NoteShape) -> str:
    """Return a note's source and one line of each of its parts."""
    lines = [f"  {name}: {text}" for name, text in note["parts"].items()]
    return "".join(f"{clip_columns(escape_line(line), _LINE)}\n" for line in (note["source"], *lines))


@verb("history show", "last")
def show(run: Run, face: Json) -> None:
    """Show the complete note of a run."""
    note = face.get(answers.NOTE.at(run))
    text = escape_lines((note["source"], note["repository"], f"receipt {note['receipt'] or 'unknown'}"))
    text += "".join("\n" + safe_block(f"{name}: {part}") for name, part in note["parts"].items())
    face.show(note, lambda: text)


@verb("history forget", "r-k3v9xq", "--before 30d", "--before 0s --everywhere")
def forget(
    runs: Annotated[list[str] | None, Argument(metavar="[RUN]...", show_default=False)] = None,
    *,
    before: Annotated[
        str | None, option("Also delete all notes of this repository that are older than this.", "TIME")
    ] = None,
    everywhere: Annotated[bool, option("With --before: the notes of all repositories.")] = False,
    face: Json,
) -> None:
    """Delete the notes of these RUNs, or all older than a time. The runs and their receipts remain."""
    body = {"runs": runs or [], "before": before, "everywhere": everywhere, "cwd": find_folder()}
    answer = face.post(answers.FORGET, body)
    face.show(answer, lambda: f"forgotten: {count_noun(len(answer['forgotten']), 'note')}\n")


MOST = 4
LOOK_S = 0.5
UNDER_WAY = "under way"


@verb(
    "workflow explore",
    '"where is the rate limiter, and which tests cover it?"',
    'pancode workflow explore "how are tokens checked?" "what reads pancode.yaml?" --depth shallow',
)
def explore(
    questions: Annotated[list[str], Argument(metavar="QUESTION...", show_default=False)],
    *,
    depth: Annotated[
        Literal["shallow", "medium", "deep"],
        option("How far each scout looks: shallow, medium (default) or deep.", "D", show_default=False),
    ] = "medium",
    node: Annotated[str | None, option("Use only this node.")] = None,
    model: Annotated[
        str | None, option("Model (default: models.scout, else the cheapest that passed its test).")
    ] = None,
    runtime: Annotated[str | None, option("Runtime of the scouts.")] = None,
    again: Annotated[bool, option("Ask again even if the answer is already known.")] = False,
    detach: Annotated[bool, option("Do not wait for the answers.")] = False,
    face: Json,
) -> int:
    """Have read-only scouts answer 1 to 4 questions about this repository in parallel.

    shallow allows 4 model calls and 500 tokens of answer, medium 12 and 2,000, deep 20 and 5,000. A question
    that was already answered for exactly these files (including uncommitted changes) from this folder gets
    that answer, with its age; if you name a model, a runtime or a node, only an answer found with the same.
    """
    more = {"node": node, "model": model, "runtime": runtime, "again": again}
    if len(questions) > MOST or not all(one.strip() for one in questions):
        what = f"pancode workflow explore requires 1 to {MOST} nonempty questions"
        fix = "quote each question, and ask the others with another pancode workflow explore"
        raise UsageError(what, fix=fix)
    body: dict[str, object] = {"questions": questions, "look": depth, "cwd": work_folder(), "by": find_user()}
    body |= {**describe_parent(), **{name: value for name, value in more.items() if value}}
    rows = post_with_progress(face, face.client(works=True), answers.EXPLORE, body)["scouts"]
    if not detach:
        rows = _await_scouts(face, face.client(), rows)
    face.show({"scouts": rows}, lambda: "\n".join(map(_format_scout, rows)))
    if any(row["state"] == UNDER_WAY for row in rows):
        return ExitCode.DONE if detach else ExitCode.DETACHED
    answered = [row["state"] == "answered" for row in rows]
    return ExitCode.DONE if all(answered) else ExitCode.PARTIAL if any(answered) else ExitCode.ERROR


def _await_scouts(face: Face, client: Client, rows: list[answers.ScoutShape]) -> list[answers.ScoutShape]:
    """Wait until all scouts end or the user interrupts, which does not stop the scouts."""
    out = [row["run"] for row in rows if row["state"] == UNDER_WAY and row["run"] is not None]
    if not out:
        return rows
    face.note(f"{count_noun(len(out), 'scout')} under way: {', '.join(out)}")
    try:
        while any(row["state"] == UNDER_WAY for row in rows):
            time.sleep(LOOK_S)
            rows = [client.get(answers.SCOUT.at(row["run"])) if row["run"] in out else row for row in rows]
    except KeyboardInterrupt:
        face.note("\nthe scouts continue; run the same command again for their answers")
    return rows


def _format_scout(row: answers.ScoutShape) -> str:
    known = f", known {row['age']} ago" if row["earlier"] else ""
    about = f"{row['run']}, {row['depth']}{known}" if row["run"] else row["depth"]
    words = row["answer"] or f"{row['state']}: {row['reason']}"
    return f"{escape_line(row['question'])}  ({escape_line(about)})\n{safe_block(words)}\n"
