"""The JSON of sessions that faces may rely on. Additions only."""

from __future__ import annotations

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
    """One run of a session. `turns`: how many have ended. `begins`: the interactive run at whose end it
    began: the one before it, or an earlier one to which a user went back; null: it is the first.
    """

    run: str
    begins: str | None
    state: str
    outcome: str | None
    reason: str
    turns: int
    commit: str | None
    created_at: str
    finished_at: str | None


class AskedShape(TypedDict):
    """The question that waits. `call`: the number that an answer names; null: it is about the whole run.
    `plan`: the digest that a yes names to a run that has not begun; null: the run has begun. `whole`: what a
    yes for the rest of the run allows, where that is a rule. `yes`: the flags that an approval must carry.
    """

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
    """Money in dollars. `ceiling`: for all interactive runs; `left` of it, beside what is held for unknown
    costs; `interactive_run`: the most that the newest interactive run may cost. None: there is no such limit.
    `runs`: the cost of the runs that an orchestrator has begun, which is not in `usage`; None: this is no
    orchestrator.
    """

    ceiling_usd: str | None
    left_usd: str | None
    sitting_usd: str | None
    runs_usd: str | None


class NextTerms(TypedDict):
    """The terms of a session's next interactive run, and who has chosen them. `memory`: it begins with its
    program's own memory; false: its model is on another node, where its agent is told the story instead."""

    mode: str
    safety: str
    model: str | None
    reasoning: str | None
    program_mode: str
    memory: bool
    by: str


class SessionShape(TypedDict):
    """A session. `run`: its newest run; `waiting`: words that no turn got; `takes_turns`: that run is a
    interactive run. `heard`: false while a program of it is at work on a machine that is not heard.

    `mode`, `safety`, `model`, `reasoning`, `program_mode` (by the program's own name): of that run; `next`:
    those of the next interactive run, where a user has chosen others.

    `last_words`: how the newest messages of a user begin.

    `turn`: the newest turn of that run that has ended: number, stop, why, tokens, cost_usd and cost_source
    (`metered` by the gateway of its node, `reported` by the program itself ...). `goes_on`: the next
    interactive run begins by itself, with the words that wait.
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
    asks: AskedShape | None
    usage: UsageShape
    money: SessionMoney
    interactive_runs: list[InteractiveRunShape]
    created_by: str
    created_at: str
    changed_at: str


class InteractiveRunVerdict(TypedDict):
    """The verdict on one interactive run. `receipt`: its digest; None: there is none, as while the
    interactive run is at work.
    """

    run: str
    state: str
    outcome: str | None
    receipt: str | None
    verdict: str
    checks: list[CheckShape]


class SessionVerdictShape(VerdictShape):
    """One verdict over all interactive runs of a session, oldest first; BROKEN where one does not continue
    the one before. Of a run that is not a session: its own verdict, and no interactive runs."""

    interactive_runs: list[InteractiveRunVerdict]


class CheckpointShape(TypedDict):
    """A named point of a session: the interactive run that rested there. `commit` null: it has no files."""

    name: str
    run: str
    commit: str | None
    by: str
    at: str


class CheckpointsShape(TypedDict):
    """The points of a session, oldest first. `next`: where its next message continues; null: after its newest
    interactive run.
    """

    session: str
    next: str | None
    checkpoints: list[CheckpointShape]


class TasksShape(TypedDict):
    """What a session has dispatched, the newest first."""

    session: str
    runs: list[RunShape]


class WindowPart(TypedDict):
    """What one category takes of a model's window, in tokens; null: nobody knows it."""

    name: str
    tokens: int | None


class ContextShape(TypedDict):
    """The window of the model that a session's newest run talks with. Tokens; null: nobody knows it.

    `used`: the tokens of the last call and its answer, as the model's server counted them; `left`: of
    `window`. `parts`: estimates from the prompt as it was dispatched; `turns` is what `used` has beyond them.
    `compacted`: how the talk was last shortened; empty: it was not, as far as the end of the output tells.
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
    """`how` the words reach an agent: `begins` (the next run, with them), `sent`, `with its task`, `kept`.

    `number`: the message's number in this run, as the run's output has it; 0: the words are in the task.
    """

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
