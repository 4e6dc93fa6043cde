"""Notes of runs and answers of scouts as the API shows them."""

from __future__ import annotations

from typing_extensions import TypedDict

from pancode.kernel.route import Route


class NoteShape(TypedDict):
    """What a run decided, did and left open. `source`: where it is from and how old, in words; `parts`: by
    their names in the form of the run's report.
    """

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
    """A question and what a scout has found. `state`: answered, under way, failed, refused.

    `earlier`: the answer was known of these very files before it was asked now; `age`: since then, in words.
    `cut`: the answer was longer than its depth hands on. `reason`: how the run stands or why it failed, in
    words.
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
    """`repository` null: the notes are of all, or of a lane that has none."""

    repository: str | None
    notes: list[NoteShape]


class ForgottenAnswer(TypedDict):
    """The runs whose notes were forgotten."""

    forgotten: list[str]


class RememberedShape(TypedDict):
    """A note as a new run is given it: material, with its source and its age."""

    run: str
    text: str
    tokens: int


class RememberedAnswer(TypedDict):
    """What a new run in that place would be told of earlier ones. `budget`, `used`: tokens."""

    repository: str | None
    workspace: str | None
    lane: str | None
    budget: int
    used: int
    given: list[RememberedShape]


class ExploreAnswer(TypedDict):
    """One row for each question, in order."""

    scouts: list[ScoutShape]


HISTORY = Route[HistoryAnswer]("GET /v1/history")
REMEMBERED = Route[RememberedAnswer]("GET /v1/context")
NOTE = Route[NoteShape]("GET /v1/history/{run}")
FORGET = Route[ForgottenAnswer]("POST /v1/history/forget")
EXPLORE = Route[ExploreAnswer]("POST /v1/explore")
SCOUT = Route[ScoutShape]("GET /v1/explore/{run}")
