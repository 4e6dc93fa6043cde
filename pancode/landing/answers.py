"""The types of the API's answers about landings."""

from typing import NotRequired

from typing_extensions import TypedDict

from pancode.kernel.route import Route
from pancode.runs.answers import LandingShape, QueuedAnswer, RunShape


class LandingRow(TypedDict):
    """A waiting or current landing. `place`: how many landings of the same repository are before it. `branch`
    null: it changes the user's files."""

    run: str
    project: str | None
    place: int
    by: str
    branch: str | None
    how: str | None
    since: str | None
    under_way: bool


class LandAnswer(LandingShape):
    """How a landing ended, or its place in the queue. `tracker`: what the run's issue now shows."""

    run: str
    tracker: NotRequired[str]
    place: NotRequired[int]


class TrackerAnswer(TypedDict):
    """What the tracker shows of the issue whose change has landed; empty: there is no issue."""

    tracker: str


class CalledOffRow(LandingShape):
    """How a canceled landing ended. `queued`: the landing had not begun."""

    queued: NotRequired[bool]


class CalledOffAnswer(TypedDict):
    run: str
    landings: list[CalledOffRow]


class LandingsAnswer(TypedDict):
    landings: list[LandingRow]


class GreenAnswer(TypedDict):
    runs: list[RunShape]


class PullRequestShape(TypedDict):
    """The pull request of a run that has landed on a branch. `fresh` false: it was already open.
    `repository`: the host, owner and name on the forge."""

    run: str
    url: str
    number: int
    forge: str
    repository: str
    branch: str
    base: str
    fresh: bool


TRACKER = Route[TrackerAnswer]("GET /v1/runs/{run}/land/tracker")
LANDINGS = Route[LandingsAnswer]("GET /v1/landings")
GREEN = Route[GreenAnswer]("GET /v1/landings/green")
REVIEW = Route[GreenAnswer]("GET /v1/landings/review")
LAND = Route[LandAnswer]("POST /v1/runs/{run}/land")
RESOLVE = Route[QueuedAnswer]("POST /v1/runs/{run}/land/resolve")
PULL_REQUEST = Route[PullRequestShape]("POST /v1/runs/{run}/pull-request")
DROP = Route[RunShape]("POST /v1/runs/{run}/land/drop")
CALL_OFF = Route[CalledOffAnswer]("POST /v1/runs/{run}/land/cancel")
