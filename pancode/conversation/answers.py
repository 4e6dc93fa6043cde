"""The JSON of sessions that interfaces may rely on. Fields are only ever added."""

from typing_extensions import TypedDict

from pancode.kernel.route import Route
from pancode.runs.answers import (
    CheckShape,
    DryRunAnswer,
    Json,
    QueuedAnswer,
    RunShape,
    UsageShape,
    VerdictShape,
)


class InteractiveRunShape(TypedDict):
    """One interactive run of a session. `turns`: how many turns have ended. `begins`: the interactive run
    from which it continues, the previous one or an earlier one that a user restored; null for the first."""

    run: str
    begins: str | None
    state: str
    outcome: str | None
    reason: str
    turns: int
    commit: str | None
    created_at: str
    finished_at: str | None


class SessionQuestion(TypedDict):
    """A run's open question. `call`: the number of the call that an answer names; null: the whole run.
    `plan`: the digest that an approval names for a run not yet started; null: it has. `whole`: the rule that
    an approval for the rest of the run adds; empty: none. `yes`: flags that an approval requires."""

    run: str
    kind: str
    words: str
    choices: list[str]
    call: int | None
    plan: str | None
    command: str
    whole: str
    yes: list[str]


class SessionMoney(TypedDict):
    """Amounts in dollars; null: no such limit. `ceiling`: for all interactive runs; `left`: the ceiling less
    spending and reservations for unknown costs; `sitting`: the most that the newest interactive run may cost.
    `runs`: the cost of the runs that an orchestrator started, which `usage` excludes; null if it is not an
    orchestrator."""

    ceiling_usd: str | None
    left_usd: str | None
    sitting_usd: str | None
    runs_usd: str | None


class NextTerms(TypedDict):
    """The terms of a session's next interactive run, and who chose them. `memory`: whether the run keeps its
    program's memory; false if its model is on another node, where the agent gets a summary instead."""

    mode: str
    safety: str
    model: str | None
    reasoning: str | None
    program_mode: str
    memory: bool
    by: str


class SessionShape(TypedDict):
    """A session. `run`: its newest run; `waiting`: messages that no turn received; `takes_turns`: whether
    that run is interactive. `heard`: false while one of its programs runs on a node that sends no heartbeats.

    `mode`, `safety`, `model`, `reasoning`, `program_mode` (the program's own name for the mode): of that run;
    `next`: those of the next interactive run, if a user chose others.

    `last_words`: the beginnings of a user's newest messages.

    `turn`: the last ended turn of that run: number, stop, why, tokens, cost_usd and cost_source (`metered` by
    the node's gateway, `reported` by the program ...). `goes_on`: whether the next run starts automatically.
    """

    session: str
    state: str
    reason: str
    run: str
    node: str | None
    heard: bool
    agent: str
    runtime: str
    model: str | None
    mode: str
    safety: str
    reasoning: str | None
    program_mode: str
    next: NextTerms | None
    project: str | None
    title: str
    last_words: str
    takes_turns: bool
    turn: Json | None
    waiting: int
    goes_on: bool
    asks: SessionQuestion | None
    usage: UsageShape
    money: SessionMoney
    interactive_runs: list[InteractiveRunShape]
    created_by: str
    created_at: str
    changed_at: str


class InteractiveRunVerdict(TypedDict):
    """The verification result of one interactive run. `receipt`: its receipt's digest; null while none."""

    run: str
    state: str
    outcome: str | None
    receipt: str | None
    verdict: str
    checks: list[CheckShape]


class SessionVerdictShape(VerdictShape):
    """The verification result of all interactive runs of a session, oldest first; BROKEN if a run does not
    continue the previous one. For a run without a session: its own result, and no interactive runs."""

    interactive_runs: list[InteractiveRunVerdict]


class CheckpointShape(TypedDict):
    """A named point of a session: the interactive run that ended there. `commit`: its files; null: none."""

    name: str
    run: str
    commit: str | None
    by: str
    at: str


class CheckpointsShape(TypedDict):
    """A session's checkpoints, oldest first. `next`: the checkpoint from which the next message continues;
    null: it continues from the newest interactive run."""

    session: str
    next: str | None
    checkpoints: list[CheckpointShape]


class TasksShape(TypedDict):
    """The runs that a session has dispatched, newest first."""

    session: str
    runs: list[RunShape]


class WindowPart(TypedDict):
    """What one category uses of a model's context window, in tokens; null: unknown."""

    name: str
    tokens: int | None


class ContextShape(TypedDict):
    """The context window of the model of a session's newest run, in tokens; null: unknown.

    `used`: tokens of the last call and its answer, counted by the model server; `left`: the rest of `window`.
    `parts`: estimates for the prompt; its `turns` are the remainder of `used`. `compacted`: how the
    conversation was last shortened; empty if the end of the output does not show it.
    """

    session: str
    run: str
    runtime: str
    model: str | None
    window: int | None
    used: int | None
    left: int | None
    parts: list[WindowPart]
    compacted: str


class SessionsAnswer(TypedDict):
    sessions: list[SessionShape]


class SaidAnswer(TypedDict):
    """A sent message. `how`: when the agent gets it: `begins` (in the next run), `sent`, `with its task`,
    `kept`. `number`: its number in this run's output; 0: it is part of the task."""

    run: str
    state: str
    how: str
    number: int
    warnings: list[str]


CHAT = Route[QueuedAnswer | DryRunAnswer]("POST /v1/sessions")
BEGIN_CHAT, TRY_CHAT = Route[QueuedAnswer](CHAT), Route[DryRunAnswer](CHAT)
SESSIONS = Route[SessionsAnswer]("GET /v1/sessions")
SESSION = Route[SessionShape]("GET /v1/sessions/{run}")
WORDS = Route[SaidAnswer]("POST /v1/sessions/{run}/words")
TURN = Route[SessionShape]("POST /v1/sessions/{run}/turn")
TERMS = Route[SessionShape]("POST /v1/sessions/{run}/terms")
END = Route[SessionShape]("POST /v1/sessions/{run}/end")
SESSION_VERDICT = Route[SessionVerdictShape]("GET /v1/sessions/{run}/verify")
CHECKPOINTS = Route[CheckpointsShape]("GET /v1/sessions/{run}/checkpoints")
CHECKPOINT = Route[CheckpointsShape]("POST /v1/sessions/{run}/checkpoints")
RESTORE = Route[CheckpointsShape]("POST /v1/sessions/{run}/restore")
TASKS = Route[TasksShape]("GET /v1/sessions/{run}/tasks")
CONTEXT = Route[ContextShape]("GET /v1/sessions/{run}/context")
