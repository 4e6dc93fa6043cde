"""API shapes of budgets, costs and track records of agents."""

from typing_extensions import TypedDict

from pancode.kernel.route import Route

BY = ("run", "session", "workflow", "agent", "model", "runtime", "node", "repository", "day")
"""The properties by which costs are grouped."""


class ScopeShape(TypedDict):
    scope: str
    ceiling_usd: str | None
    origin: str | None
    spent_usd: str
    held_usd: str
    remaining_usd: str | None
    disputed_usd: str
    unknown_runs: int
    tokens: int
    held_tokens: int
    ceiling_tokens: int | None
    agent_minutes: float
    held_minutes: float
    ceiling_minutes: float | None
    over: bool


class BudgetShape(TypedDict):
    """The books. `runs`: admitted today. `notes`: ceilings from a file that are without effect at present."""

    scopes: list[ScopeShape]
    estimate_next_usd: str
    runs: int
    notes: list[str]


class WorkerNow(TypedDict):
    """A run that is being worked on now."""

    run: str
    stage: str
    since: str | None
    task: str


class WorkerShape(TypedDict):
    """One agent on one runtime and node. `done`, `stopped`: counts in its last `runs`, which cost `usd`."""

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


class TrackRecordRow(TypedDict):
    """How well an agent does one kind of work. `rate` is smoothed; `low` to `high` is its confidence
    interval.

    `kind`, `size` and `repository` are null in rankings; costs per landed change are null while unknown.
    """

    agent: str
    model: str | None
    runtime: str
    kind: str | None
    size: str | None
    """The size of the task: small, medium, large."""
    repository: str | None
    runs: int
    good: int
    landed: int
    reverted: int
    """Landed changes that were reverted later; their runs do not count as good."""
    rate: float
    low: float
    high: float
    enough: bool
    """Whether the rate is based on enough runs to be meaningful."""
    usd_each_landed: float | None
    minutes_each_landed: float | None
    unknown_runs: int


class CostRow(TypedDict):
    """The total cost of a group of runs. `key` null: the runs that have no value for the property.
    `disputed_usd`: what nodes claim beyond the limits of their jobs; it is not part of `usd`."""

    key: str | None
    runs: int
    usd: str
    disputed_usd: str
    unknown_runs: int
    tokens: int
    agent_minutes: float
    about: str


class CostTable(TypedDict):
    """`by`: the property; `left_out`: number of omitted rows; `total`: of all runs, omitted rows included."""

    by: str
    since: str | None
    rows: list[CostRow]
    total: CostRow
    left_out: int


class SettledAnswer(TypedDict):
    run: str
    usd: str
    attempts: int


class WorkersAnswer(TypedDict):
    workers: list[WorkerShape]


class TrackRecordsAnswer(TypedDict):
    records: list[TrackRecordRow]


BUDGET = Route[BudgetShape]("GET /v1/budget")
SET_CEILING = Route[BudgetShape]("POST /v1/budget/ceiling")
UNSET_CEILING = Route[BudgetShape]("POST /v1/budget/ceiling/unset")
SETTLE = Route[SettledAnswer]("POST /v1/budget/settle")
COST = Route[CostTable]("GET /v1/cost")
WORKERS = Route[WorkersAnswer]("GET /v1/workers")
RECORDS = Route[TrackRecordsAnswer]("GET /v1/records")
