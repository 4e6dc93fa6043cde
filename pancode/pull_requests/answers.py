"""The types of the API's answers about watched pull requests."""

from typing_extensions import TypedDict

from pancode.kernel.route import Route


class PullItemShape(TypedDict):
    """Something that waits for a user. `text`: as others wrote it; `sent`: the agent has it. `command`: the
    user's next step."""

    kind: str
    title: str
    text: str
    sent: bool
    command: str


class WatchedPullShape(TypedDict):
    """A watched pull request. `id`: names it in commands. `run`: whose change it has; `working`: the run that
    got the last message, while its result is not pushed. `rounds`: messages since a user's last word.
    `trouble`: why the last step failed; null: it did not. `looked_at` null: it was not read yet."""

    id: str
    run: str
    url: str
    number: int
    repository: str
    branch: str
    by: str
    follow: bool
    state: str
    head: str
    rounds: int
    working: str | None
    looked_at: str | None
    trouble: str | None
    items: list[PullItemShape]


class WatchedPullsAnswer(TypedDict):
    pulls: list[WatchedPullShape]


PULLS = Route[WatchedPullsAnswer]("GET /v1/pulls")
PULL = Route[WatchedPullShape]("POST /v1/pulls/{pull}")
