"""The JSON of the account: the cost of work, the workers, the events since the last look."""

from __future__ import annotations

from typing_extensions import TypedDict


class VerdictOfNode(TypedDict):
    """What another node has said of a result. `state`: verified or disputed; `receipt`: where it swore it."""

    state: str
    why: str
    run: str | None
    node: str | None
    receipt: str | None
    waits: bool


class VerificationShape(TypedDict):
    """`state`: verified (gates passed on two machines), partly (on its own alone), unverified (it has no
    gates) or disputed (they failed on the other one). `run`, `node`, `receipt`: those of the other node.

    `waits`: another node is asked, and has not answered yet. `earlier`: the verdicts before, oldest first.
    """

    state: str
    why: str
    run: str | None
    node: str | None
    receipt: str | None
    waits: bool
    earlier: list[VerdictOfNode]


class CostRow(TypedDict):
    """The common cost of a group of runs. `key` null: they have no such property.

    `disputed_usd`: what nodes claim beyond the limits of their orders. It is not in `usd`.
    """

    key: str | None
    runs: int
    usd: str
    disputed_usd: str
    unknown_runs: int
    tokens: int
    agent_minutes: float
    about: str


class CostTable(TypedDict):
    """`by`: the property; `left_out`: so many rows more; `total` is of all."""

    by: str
    since: str | None
    rows: list[CostRow]
    total: CostRow
    left_out: int


class WorkerNow(TypedDict):
    """A run that a worker has now."""

    run: str
    stage: str
    since: str | None
    task: str


class WorkerShape(TypedDict):
    """One agent on one runtime and node. `done`, `stopped`: of its last `runs`, which cost `usd`."""

    agent: str
    runtime: str
    node: str | None
    now: list[WorkerNow]
    runs: int
    done: int
    stopped: int
    usd: str
    unknown_runs: int
    minutes: float


class BriefLine(TypedDict):
    """One thing, and the command that goes on with it."""

    run: str | None
    what: str
    task: str
    command: str


class BriefShape(TypedDict):
    """A summary of a period. `outcomes`: the number of runs by outcome; `waits`: for a person."""

    by: str
    since: str
    until: str
    outcomes: dict[str, int]
    ran: list[BriefLine]
    waits: list[BriefLine]
    landed: list[BriefLine]
    cost: CostRow
    by_agent: list[CostRow]
    running: int
    queued: int


class ReportShape(TypedDict):
    """A brief of a longer time, with the cost of each day and each repository."""

    brief: BriefShape
    by_day: list[CostRow]
    by_repository: list[CostRow]


class TrackRecordRow(TypedDict):
    """An agent's success at one kind of work in one place. `rate` is smoothed, `low` to `high` its interval.

    `kind` and `repository` are null in rankings; what each landed change cost is null while it is not known.
    """

    agent: str
    model: str | None
    runtime: str
    kind: str | None
    repository: str | None
    runs: int
    good: int
    landed: int
    reverted: int
    """Landed changes that were taken back later; they are no good runs."""
    rate: float
    low: float
    high: float
    usd_each_landed: float | None
    minutes_each_landed: float | None
    unknown_runs: int


class PullRequestShape(TypedDict):
    """Of a run that has landed on a branch. `fresh` false: it was open already."""

    run: str
    url: str
    number: int
    forge: str
    branch: str
    base: str
    fresh: bool
