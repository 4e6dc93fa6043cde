"""The JSON of the account: what work has cost, who works."""

from __future__ import annotations

from typing import TypedDict


class CostRow(TypedDict):
    """What the runs of one kind cost together. `key` null: they have no such property."""

    key: str | None
    runs: int
    usd: str
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
