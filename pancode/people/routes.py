"""Routes for users' decisions: the inbox, answers, approvals and messages."""

from __future__ import annotations

from itertools import compress
from typing import Annotated, Literal, cast

from pydantic import Field

from node_agent.wire.model import MOST
from node_agent.wire.policy import MOST_NO
from pancode.config.proposals import PREFIX, approve_change, deny_change
from pancode.config.routes import change_makers
from pancode.fleet.part import land_change
from pancode.git.landings import LandStatus
from pancode.interfaces.http.access.rights import ANSWERS, DECIDES, SETS_UP
from pancode.interfaces.http.bodies import ActBody, AnswerBody, TellBody
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Object, Verb
from pancode.kernel.errors import RefusedError, UsageError
from pancode.kernel.records import Run
from pancode.kernel.visitors import must_allow
from pancode.people.answers import ANSWER, DENY, TELL, ToldAnswer
from pancode.people.service import (
    answer_run,
    approve_start,
    deny_run,
    leave_message,
    may_start,
    must_be_approvable,
    permit_run,
    signal_run,
    still_waits,
    waits_for_call,
)
from pancode.runs.answers import QueuedAnswer, RunShape
from pancode.runs.dispatch import describe_queued
from pancode.runs.facts import Caller, Messages
from pancode.runs.life.approvals import CallDecided
from pancode.runs.life.conversation import WITH_TASK
from pancode.runs.life.inbox import ItemKind, kind_of
from pancode.runs.messages import find_sent_message, may_land_next, send_message, turn_down
from pancode.runs.request import LandWay
from pancode.runs.views import get_run, get_run_shape

CallNumber = Annotated[int | None, Field(ge=1, le=MOST)]


class ApproveBody(ActBody):
    """An approval. `with_commands`, `with_secret`, `anyway`: exactly the flags that the inbox shows (`yes`).

    `call`: the number of the call in the inbox; required if a call waits. `plan`: the digest of the plan in
    the inbox; the approval is refused if the plan has changed since.
    """

    call: CallNumber = None
    plan: Annotated[str, Field(max_length=64)] | None = None
    with_commands: bool = False
    with_secret: bool = False
    anyway: bool = False
    scope: Literal["once", "run"] = "once"
    """`once`, or `run`: the approval also counts for the same kind for the rest of the run."""

    def yes(self) -> tuple[str, ...]:
        given = (self.with_commands, self.with_secret, self.anyway)
        return tuple(compress(("--with-commands", "--with-secret", "--anyway"), given))


class DenyBody(ActBody):
    """A denial. `text`: a message for the agent whose call is denied; `call`: as for an approval."""

    text: Annotated[str, Field(max_length=MOST_NO)] = ""
    call: CallNumber = None


def _tells_landing(context: ApiContext, call: ApiCall) -> bool:
    """Whether this message may begin a run that lands; of all messages, only one to a session can."""
    run = get_run(context.core, call.path["run"])
    return run.takes_turns and may_land_next(context.core, run)


@Verb(ANSWER, AnswerBody, "answer", pokes=True, status=201, right=ANSWERS, for_item=True)
def _answer(context: ApiContext, call: ApiCall) -> QueuedAnswer:
    """Answer the question of a run."""
    body: AnswerBody = call.body
    core, around = context.core, context.coordinator.around({})
    done = answer_run(
        core, around, get_run(core, call.path["run"]), body.text, body.by, body.program, call.inside
    )
    return {**describe_queued(done), "answer": Messages.of(done.run).answers}


@Verb(
    "POST /v1/runs/{run}/approve",
    ApproveBody,
    "approve",
    pokes=True,
    right=DECIDES,
    for_item=True,
    starts=True,
)
def _approve_item(context: ApiContext, call: ApiCall) -> Object:
    """Approve what a run waits for.

    Start a run that waits to start, continue a run that ended for a permission, or else land the change.
    """
    body: ApproveBody = call.body
    core, whole = context.core, body.scope == "run"
    if call.path["run"].startswith(PREFIX):
        _must_set_up(call)
        effect = approve_change(core, change_makers(context), call.path["run"], body.by)
        return {"run": call.path["run"], "approved": "once", "change": effect.shape()}
    run = get_run(core, call.path["run"])
    # The digest of a plan can only approve the start of a run.
    if body.plan or (body.call is None and may_start(core, run)):
        approve_start(core, run.id, body.by, whole, body.plan or "")
        return {**get_run_shape(core, run.id), "approved": body.scope}
    if body.call is not None or waits_for_call(core, run):
        signal_run(core, run.id, CallDecided(body.by, allow=True, whole=whole, number=body.call))
        return {**get_run_shape(core, run.id), "approved": body.scope}
    if kind_of(run) is ItemKind.PERMISSION and still_waits(core, run):
        return {**describe_queued(permit_run(core, context.coordinator.around({}), run, body.by, whole))}
    if whole:
        fix = f"pancode approve {run.id}"
        raise UsageError(
            f"a landing of {run.id} cannot be approved for the whole run", fix=fix, code="bad_value"
        )
    return _land_run(context, run, body)


def _must_set_up(call: ApiCall) -> None:
    """Raise AccessError if the caller's token may not change the configuration."""
    token = None if call.visitor is None else call.visitor.token
    if token is not None:
        must_allow(token, SETS_UP.scope, "a change of the configuration")


def _land_run(context: ApiContext, run: Run, body: ApproveBody) -> Object:
    """Land the run if the approval has exactly the flags that are needed and no user denies it meanwhile."""
    must_be_approvable(context.core, run, body.yes())
    way = LandWay(
        body.by,
        with_commands=body.with_commands,
        with_secret=body.with_secret,
        approves=True,
        anyway=body.anyway,
    )
    done = land_change(context.coordinator.parts, run, way)
    if done["status"] != LandStatus.LANDED and get_run(context.core, run.id).landed is not None:
        why = "another user or command landed the change first"
        raise RefusedError(
            f"{run.id} was already landed", why=why, fix=f"pancode why {run.id}", code="approved"
        )
    return {"run": run.id, **done}


@Verb(DENY, DenyBody, "deny", right=DECIDES, for_item=True)
def _deny_item(context: ApiContext, call: ApiCall) -> RunShape:
    """Deny what a run waits for."""
    body: DenyBody = call.body
    core = context.core
    if (name := call.path["run"]).startswith(PREFIX):
        _must_set_up(call)
        asker, what = deny_change(core, name, body.by)
        if asker is not None:
            turn_down(core, asker, what, body.by)
        return cast("RunShape", {"run": name, "reason": "denied: nothing was changed"})
    run = get_run(core, call.path["run"])
    call_waits = waits_for_call(core, run)
    if body.text and body.call is None and not call_waits and still_waits(core, run):
        raise UsageError(
            f"{run.id} is not waiting for approval of a command, but for: {kind_of(run)}",
            fix=f"pancode deny {run.id}",
            code="no_words",
        )
    if body.call is not None or body.text or call_waits:
        decision = CallDecided(body.by, allow=False, number=body.call, words=body.text)
        signal_run(core, run.id, decision)
        return get_run_shape(core, run.id)
    landing = kind_of(run) is ItemKind.LANDING and still_waits(core, run)
    if landing:
        for part in context.coordinator.parts:
            part.call_off(run)  # Another user may just have approved the landing.
    deny_run(core, run.id, body.by)
    if landing and (session := Caller.of(run).charged_to):
        turn_down(core, session, f"to land the change of {run.id}", body.by)
    return get_run_shape(core, run.id)


@Verb(TELL, TellBody, "tell", pokes=True, right=ANSWERS, lands=_tells_landing)
def _tell(context: ApiContext, call: ApiCall) -> ToldAnswer:
    """Send a message to a run's agent.

    A session gets it in any state; for any other run, a message that its agent cannot get now is stored.
    """
    body: TellBody = call.body
    run = get_run(context.core, call.path["run"])
    if run.takes_turns:
        token = None if call.visitor is None else call.visitor.token
        answer = send_message(context.core, context.coordinator.around({}), run.id, body.text, body.by, token)
    else:
        answer = find_sent_message(context.core, leave_message(context.core, run.id, body.text, body.by))
    return {
        "run": answer.run.id,
        "state": answer.run.state.value,
        "delivered": WITH_TASK if answer.how in ("begins", WITH_TASK) else None,
        "sent": answer.how == "sent",
    }
