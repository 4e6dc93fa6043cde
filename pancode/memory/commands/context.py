"""`pancode context`: what a new run would be told of those before it, and what all of them have left."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from pancode.interfaces.cli.commands import Commands
from pancode.interfaces.cli.parameters import Json, option
from pancode.interfaces.cli.terminal import safe_block
from pancode.interfaces.client.caller import find_folder
from pancode.kernel.formatting import count_noun
from pancode.memory.answers import HISTORY, REMEMBERED, RememberedAnswer
from pancode.memory.commands.history import in_short

app = Commands()
Lane = Annotated[str | None, option("Of the items of this lane.", "--lane", "LANE")]
Workspace = Annotated[str | None, option("Of the runs in this workspace.", "--workspace", "NAME")]


@app.group("context", "pancode context", "pancode context state --lane night", default="state")
def context() -> None:
    """What runs remember: what those before them in a lane, workspace or repository decided and left open.

    It is text of models: a new run gets it as material between marks, and never as its task. `history.tokens`
    of the settings says how much; 0 there gives nothing. `pancode history forget` forgets.

    How full the window of a session is, says `pancode sessions context`.
    """


@context.verb("state", "pancode context state", 'pancode context state --workspace login "fix the form"')
def state(
    task: Annotated[str, Argument(metavar="[TASK]", show_default=False)] = "",
    *,
    lane: Lane = None,
    workspace: Workspace = None,
    face: Json,
) -> None:
    """What the next run there would be told, nearest first, and how much of its room that takes.

    The one before in the lane or workspace comes whole; of the others what was decided and left open.
    """
    answer = face.client().get(
        REMEMBERED, text=task or None, lane=lane, workspace=workspace, cwd=find_folder()
    )
    face.show(answer, lambda: _told(answer))


def _told(answer: RememberedAnswer) -> str:
    if not answer["budget"]:
        return "history.tokens is 0: runs are told nothing of those before them\n"
    runs = count_noun(len(answer["given"]), "run")
    head = f"{answer['used']} of {answer['budget']} tokens (history.tokens), {runs}\n"
    return head + "".join("\n" + safe_block(one["text"]) for one in answer["given"])


@context.verb("history", "pancode context history --lane night")
def history(
    *,
    lane: Lane = None,
    workspace: Workspace = None,
    number: Annotated[int, option("Show at most this many.", "-n", "--number", min=1, max=1_000)] = 20,
    face: Json,
) -> None:
    """What all runs there have left, the newest first, each with its source and its age."""
    answer = face.client().get(HISTORY, lane=lane, workspace=workspace, limit=number, cwd=find_folder())
    face.show(answer, lambda: "".join(map(in_short, answer["notes"])) or "no run has left a note there\n")
