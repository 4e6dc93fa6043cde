"""Notes of runs and answers of scouts, as the API returns them."""

from typing_extensions import TypedDict

from pancode.kernel.route import Route


class NoteShape(TypedDict):
    """The note of a run: what it decided, did and left open. `source`: origin and age, as text; `parts`: text
    by name of the part in the run's report."""

    run: str
    agent: str
    repository: str
    at: str
    source: str
    commit: str | None
    landed: bool
    receipt: str | None
    task: str
    parts: dict[str, str]


class ScoutShape(TypedDict):
    """A question and what a scout has found. `state`: answered, under way, failed or refused.

    `earlier`: an earlier scout answered it for exactly these files, `age` ago (text). `cut`: the answer was
    longer than its depth allows. `reason`: the state of the run, or why it failed, as text.
    """

    question: str
    depth: str
    state: str
    run: str | None
    earlier: bool
    at: str | None
    age: str
    model: str | None
    answer: str
    cut: bool
    reason: str


class HistoryAnswer(TypedDict):
    """Notes of runs. `repository` null: notes of all repositories, or of a lane without a repository."""

    repository: str | None
    notes: list[NoteShape]


class ForgottenAnswer(TypedDict):
    """The runs whose notes were deleted."""

    forgotten: list[str]


class RememberedShape(TypedDict):
    """A note as a new run gets it: marked as material, with its source and age."""

    run: str
    text: str
    tokens: int


class RememberedAnswer(TypedDict):
    """The notes of earlier runs that a new run in a given place would get. `budget`, `used`: in tokens."""

    repository: str | None
    workspace: str | None
    lane: str | None
    budget: int
    used: int
    given: list[RememberedShape]


class ExploreAnswer(TypedDict):
    """The answers of scouts: one row for each question, in the order of the questions."""

    scouts: list[ScoutShape]


HISTORY = Route[HistoryAnswer]("GET /v1/history")
REMEMBERED = Route[RememberedAnswer]("GET /v1/context")
NOTE = Route[NoteShape]("GET /v1/history/{run}")
FORGET = Route[ForgottenAnswer]("POST /v1/history/forget")
EXPLORE = Route[ExploreAnswer]("POST /v1/explore")
SCOUT = Route[ScoutShape]("GET /v1/explore/{run}")
