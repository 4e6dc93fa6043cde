"""`pancode history`: search, show and forget what runs here decided, did and left open."""

from __future__ import annotations

from typing import Annotated

from pancode.interfaces.cli.parameters import Argument, Json, Run, option, verb
from pancode.interfaces.cli.terminal import escape_line, escape_lines, safe_block
from pancode.interfaces.client.caller import find_folder
from pancode.kernel.formatting import clip_columns, count_noun
from pancode.memory.answers import FORGET, HISTORY, NOTE, REMEMBERED, NoteShape, RememberedAnswer

_LINE = 110
_TOLD = "Show which notes the next run there would get; the words are its task."


@verb("history find", "pancode history rate limit", "pancode history find --told --lane night 'fix the form'")
def find(
    words: Annotated[list[str] | None, Argument(metavar="[WORD]...", show_default=False)] = None,
    *,
    everywhere: Annotated[bool, option("Search the notes of all repositories.", "--everywhere")] = False,
    lane: Annotated[str | None, option("Search the notes of this lane's items.")] = None,
    workspace: Annotated[str | None, option("Search the notes of runs in this workspace.", "NAME")] = None,
    told: Annotated[bool, option(_TOLD, "--told")] = False,
    number: Annotated[int, option("Show at most this many.", "-n", "--number", min=1, max=1_000)] = 10,
    face: Json,
) -> None:
    """Search the notes of this repository for words; without words, list the newest.

    Outside of a repository it searches all notes. A note is what an earlier run decided, did and left open,
    taken from its accepted receipt. The next run in the repository gets the notes that fit its task, up to
    `history.tokens` of the settings; 0 disables this. With --told: the previous run's note in the lane or
    workspace is complete; of the others, only decisions and open points. Notes are text of models: a run gets
    them as marked material, and never as its task.
    """
    text = " ".join(words or ())
    if told:
        given = face.get(REMEMBERED, text=text or None, lane=lane, workspace=workspace, cwd=find_folder())
        return face.show_result(given, format_notes)
    whole = "1" if everywhere else None
    answer = face.get(
        HISTORY, text=text or None, limit=number, all=whole, lane=lane, workspace=workspace, cwd=find_folder()
    )
    leaves = "a run leaves one when it is done here and ends with the report that it was asked for"
    none = f"no note contains {text!r}" if text else f"no run has left a note yet: {leaves}"
    return face.show(answer, lambda: "".join(map(in_short, answer["notes"])) or f"{escape_line(none)}\n")


def format_notes(answer: RememberedAnswer) -> str:
    """Return the notes that a run would get, nearest first, and their share of the token budget."""
    if not answer["budget"]:
        return "history.tokens is 0: runs get no notes of earlier runs\n"
    runs = count_noun(len(answer["given"]), "run")
    head = f"{answer['used']} of {answer['budget']} tokens (history.tokens), {runs}\n"
    return head + "".join("\n" + safe_block(one["text"]) for one in answer["given"])


def in_short(note: NoteShape) -> str:
    """Return the source of a note, and one line of each part."""
    lines = [f"  {name}: {text}" for name, text in note["parts"].items()]
    return "".join(f"{clip_columns(escape_line(line), _LINE)}\n" for line in (note["source"], *lines))


@verb("history show", "pancode history show last")
def show(run: Run, face: Json) -> None:
    """Show the whole note of a run."""
    note = face.get(NOTE.at(run))
    text = escape_lines((note["source"], note["repository"], f"receipt {note['receipt'] or 'unknown'}"))
    text += "".join("\n" + safe_block(f"{name}: {part}") for name, part in note["parts"].items())
    face.show(note, lambda: text)


@verb(
    "history forget",
    "pancode history forget r-k3v9xq",
    "pancode history forget --before 30d",
    "pancode history forget --before 0s --everywhere",
)
def forget(
    runs: Annotated[list[str] | None, Argument(metavar="[RUN]...", show_default=False)] = None,
    *,
    before: Annotated[
        str | None, option("Also forget all notes of this repository that are older than this.", "TIME")
    ] = None,
    everywhere: Annotated[
        bool, option("With --before: the notes of all repositories.", "--everywhere")
    ] = False,
    face: Json,
) -> None:
    """Forget the notes of these RUNs, or all older than a time. The runs and their receipts remain."""
    body = {"runs": runs or [], "before": before, "everywhere": everywhere, "cwd": find_folder()}
    answer = face.post(FORGET, body)
    face.show(answer, lambda: f"forgotten: {count_noun(len(answer['forgotten']), 'note')}\n")
