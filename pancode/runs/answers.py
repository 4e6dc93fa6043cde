"""A run as scripts may rely on it: what it is, what it used, how far it is verified. Additions only."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict


class VerdictOfNode(TypedDict):
    """What another node said of a result. `state`: verified or disputed; `receipt`: where it swore that."""

    state: str
    why: str
    run: str | None
    node: str | None
    receipt: str | None
    waits: bool


class VerificationShape(VerdictOfNode):
    """`state`: verified (gates passed on two machines), partly (on its own alone), unverified (it has no
    gates) or disputed (they failed on the other one). `run`, `node`, `receipt`: those of the other node.

    `waits`: another node is asked, and has not answered yet. `earlier`: the verdicts before, oldest first.
    """

    earlier: list[VerdictOfNode]


class LandingShape(TypedDict, total=False):
    """The result of the landing: `waiting`, `landed`, `nothing to land`, `conflict`, `gate failed` ...

    `recovered`: an earlier landing had been cut off, and was completed first. `how`: as which commits.
    """

    status: str
    why: str
    fix: str
    files: list[str]
    tree: str
    branch: str | None
    commit: str
    made: bool
    yes: list[str]
    held: int
    gate: Json | None
    already: str
    conflicts: list[Json]
    recovered: str | None
    error: str
    how: str


Json = dict[str, Any]


class UsageShape(TypedDict):
    """The usage of a run; `cost_usd` is a decimal string, None while it is not known.

    `disputed_usd`: what the node claims beyond the limit of its order; `cost_usd` does not have it.
    """

    input_tokens: int
    output_tokens: int
    cost_usd: str | None
    cost_source: str
    disputed_usd: str | None


class CallsShape(TypedDict):
    """The calls through the node's model gateway; `unread` answers did not report their tokens to the end."""

    requests: int
    failed: int
    refused: int
    unread: int
    wrap_up: int
    subscription: bool
    sent_bytes: int
    received_bytes: int
    waited_ms: int


class RunShape(TypedDict):
    """A run as `runs`, `runs show` and `dispatch --wait` tell it. Times are ISO 8601 UTC.

    `stage`: how far the run is. `waits`: what holds it up; null: nothing. `reason`: the same in words.
    """

    run: str
    state: str
    stage: str
    waits: str | None
    attempt: int
    fence: int
    node: str | None
    agent: str
    runtime: str
    model: str | None
    task: str
    outcome: str | None
    reason: str
    exit_code: int | None
    commit: str | None
    files_changed: list[str]
    receipt: str | None
    usage: UsageShape
    notes: list[str]
    created_at: str
    started_at: str | None
    finished_at: str | None
    retry_of: str | None
    continues: str | None
    """The run from whose result this one goes on."""
    continued_by: list[str]
    parent: str | None
    landed: str | None
    landing: LandingShape | None
    verification: VerificationShape | None
    """How far the run's result is verified; null: it has none."""
    workflow: str | None
    """The workflow to which the run belongs, and `step`, its step there; null: none."""
    step: str | None


class RunDetail(RunShape):
    """What `runs show` tells: all other facts about one run."""

    argv: list[str] | None
    mode: str
    reasoning: str | None
    safety: str
    isolation: str | None
    priority: int
    project: str | None
    workspace: Json
    folder: str | None
    in_workspace: str | None
    """The workspace by whose name the run was dispatched."""
    setup: list[list[str]]
    cache: list[str]
    verify: list[str]
    gates: list[Json]
    reports: list[Json]
    """The files in which the run's gates reported; as in the receipt."""
    skills: list[str]
    """The names of the skills that the run is given; the receipt has their digests."""
    limits: Json
    estimate_usd: str
    created_by: str
    answer: str
    findings: list[str]
    calls: CallsShape | None
    claimed: UsageShape | None
    attempts: list[Json]
    fences: list[Json]
    chain: list[str]
    """The runs that this one goes on from, newest first."""
    told: list[Json]
    """What people said: by, at, text, and how it was delivered: `with its task`, a run; empty: not yet."""
    answered: str
    """Who has answered the question from which the run goes on, in words; empty: it goes on from none."""
    session: str
    """`same`: the run goes on with the conversation of the run before; else `new`."""
    model_from: str | None
    """Who chose the run's model, in words."""
    inbox: Json | None
    """What of the run waits for a person: its kind, the command that answers, the choices."""
    served: Json | None
    """The run's model server: node, endpoint, model, context, slots and test when it was placed."""


class HandedRun(TypedDict):
    """A run that waits on a node for a slot. `there`: the node has said that it has the order."""

    run: str
    node: str
    why: str
    there: bool


class StayingRun(TypedDict):
    """A run that waits for its coordinator, and why."""

    run: str
    why: str
    task: str


class LaterSteps(TypedDict):
    """How many steps, or items of a lane, begin only once the coordinator is here. `name`: empty for none."""

    workflow: str
    name: str
    steps: int


class HandoverShape(TypedDict):
    """What goes on without the coordinator, and what does not. `at_work`: how many runs have begun."""

    at_work: int
    handed: list[HandedRun]
    stays: list[StayingRun]
    later: list[LaterSteps]
