"""The types of the API's answers about landings."""

from typing_extensions import TypedDict

from pancode.kernel.route import Route
from pancode.runs.answers import QueuedAnswer, RunShape


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


LANDINGS = Route[LandingsAnswer]("GET /v1/landings")
GREEN = Route[GreenAnswer]("GET /v1/landings/green")
RESOLVE = Route[QueuedAnswer]("POST /v1/runs/{run}/land/resolve")
PULL_REQUEST = Route[PullRequestShape]("POST /v1/runs/{run}/pull-request")
DROP = Route[RunShape]("POST /v1/runs/{run}/land/drop")
