"""Routes of schedules: add, show, pause, resume, fire and remove them; and the webhook that fires one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, create_model

from pancode.interfaces.http.access.request_filter import HOOKS
from pancode.interfaces.http.access.rights import DISPATCHES, DROPS, OPERATES
from pancode.interfaces.http.access.tokens import count_failure
from pancode.interfaces.http.bodies import ActBody, Body, By, DispatchBody, LaterBody, ReasonBody, SignedBody
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, RemovedAnswer, TcpAccess, Verb
from pancode.kernel.errors import UsageError
from pancode.kernel.signature_check import fresh_secret, verify_call
from pancode.kernel.visitors import AccessError
from pancode.runs.declared_models import with_values
from pancode.schedules import answers
from pancode.schedules.model import WEBHOOK, secret_name
from pancode.schedules.request import AskedSchedule
from pancode.schedules.service import (
    add_schedule,
    fire_now,
    is_schedule_landing,
    pause_schedule,
    plan_schedule,
    remove_schedule,
    resume_schedule,
)
from pancode.schedules.terms import TERMS
from pancode.schedules.views import get_schedule, list_schedules, preview_schedule
from pancode.schedules.webhook import HookShape, accept_call, secret_for
from pancode.schedules.work import PlannedWork

Words = Annotated[str, Field(min_length=1, max_length=200)]


_TYPES: Mapping[str, Any] = {
    **{"Words": Words, "Missed": Literal[TERMS["missed"].words], "bool": bool},
    "Labels": Annotated[dict[Words, Words], Field(max_length=10)],
}


@with_values(TERMS, _TYPES)
class ScheduleBody(Body):
    """A schedule to add: trigger (`cron`, `at` or `on`) and work (`dispatch` or `workflow`).

    `zone` null: UTC.
    """

    name: Words
    by: By = "api"
    dispatch: DispatchBody | None = None
    workflow: LaterBody | None = None
    dry_run: bool = False

    def asked(self) -> AskedSchedule:
        """Return the requested schedule. UsageError unless it starts one dispatch or one workflow."""
        terms = {name: getattr(self, name) for name in TERMS}
        return AskedSchedule(name=self.name, by=self.by, work=self._work(), **terms)

    def without_yes(self) -> ScheduleBody:
        """Return the body without approvals, as no user approves each firing of a token's schedule."""
        parts = {"dispatch": self.dispatch, "workflow": self.workflow}
        kept = {
            name: part.model_copy(update={"yes": False}) for name, part in parts.items() if part is not None
        }
        return self.model_copy(update=kept)

    def _work(self) -> PlannedWork:
        work = self.dispatch if self.dispatch is not None else self.workflow
        if work is None or (self.dispatch is not None and self.workflow is not None):
            raise UsageError(
                "a schedule must start one dispatch or one workflow",
                fix="give either dispatch or workflow, not both",
                code="bad_value",
            )
        caller = {"settings": dict(work.settings), "preset": work.preset}
        if isinstance(work, LaterBody):
            return PlannedWork(plan=work.later(), caller={**caller, "land": work.land})
        request = work.request()
        return PlannedWork(request=request, caller={**caller, "land": request.land})


def make_body(larger: type[LaterBody]) -> type[ScheduleBody]:
    """Return the type of a schedule that may also start larger work of this type."""
    kind: Any = larger | None  # only known at run time
    about = ScheduleBody.__doc__
    return create_model("ScheduleBody", __base__=ScheduleBody, __doc__=about, workflow=(kind, None))


@Verb(answers.SCHEDULES, command="schedule ls")
def _list(context: ApiContext, call: ApiCall) -> answers.SchedulesAnswer:
    """List all schedules."""
    return {"schedules": [add_address(context, one) for one in list_schedules(context.core)]}


@Verb(answers.ADD_SCHEDULE, ScheduleBody, "schedule add", status=201, right=DISPATCHES)
def _add(context: ApiContext, call: ApiCall[ScheduleBody]) -> answers.ScheduleShape:
    """Create a schedule; with `dry_run` only preview it."""
    body: ScheduleBody = call.body if call.visitor is None else call.body.without_yes()
    request = body.asked()
    around = context.coordinator.around(request.work.caller["settings"], request.work.caller["preset"])
    core = context.core
    schedule, warnings = plan_schedule(core, around, request)
    if body.dry_run:
        return add_address(context, preview_schedule(core, schedule, warnings))
    add_schedule(core, schedule)
    return add_address(context, with_secret(context, get_schedule(core, schedule.name, warnings)))


@Verb(answers.SCHEDULE, command="schedule show")
def _show(context: ApiContext, call: ApiCall) -> answers.ScheduleShape:
    """Return one schedule with its firings."""
    return add_address(context, get_schedule(context.core, call.path["schedule"]))


@Verb(answers.PAUSE_SCHEDULE, ReasonBody, "schedule pause", right=OPERATES)
def _pause(context: ApiContext, call: ApiCall[ReasonBody]) -> answers.ScheduleShape:
    """Pause a schedule."""
    pause_schedule(context.core, call.path["schedule"], call.body.reason, call.body.by)
    return _show(context, call)


def _is_landing(context: ApiContext, call: ApiCall) -> bool:
    return is_schedule_landing(context.core, call.path["schedule"])


@Verb(answers.RESUME_SCHEDULE, ActBody, "schedule resume", right=OPERATES, lands=_is_landing)
def _resume(context: ApiContext, call: ApiCall[ActBody]) -> answers.ScheduleShape:
    """Resume a schedule."""
    resume_schedule(context.core, call.path["schedule"], call.body.by)
    return _show(context, call)


@Verb(answers.RUN_SCHEDULE, ActBody, "schedule run", right=DISPATCHES, lands=_is_landing)
def _fire_schedule(context: ApiContext, call: ApiCall[ActBody]) -> answers.ScheduleShape:
    """Fire a schedule now."""
    fire_now(context.core, call.path["schedule"], call.body.by)
    return _show(context, call)


@Verb("POST /v1/schedules/{schedule}/remove", ActBody, "schedule rm", right=DROPS)
def _remove(context: ApiContext, call: ApiCall[ActBody]) -> RemovedAnswer:
    """Remove a schedule."""
    removed = get_schedule(context.core, call.path["schedule"])
    remove_schedule(context.core, call.path["schedule"], call.body.by)
    if removed["trigger"]["kind"] == WEBHOOK:
        context.coordinator.keep_secret(secret_name(removed["schedule"]), None)
    return {"removed": call.path["schedule"]}


CLOSED = (
    "no webhook can reach the schedule: the API is not open over TCP; set api.listen: 127.0.0.1:7433 in "
    "pancode.yaml, then: pancode fleet down, pancode fleet up"
)


def add_address(context: ApiContext, shown: answers.ScheduleShape) -> answers.ScheduleShape:
    """Return the schedule with its webhook's address, or with a warning if the API is not open over TCP."""
    if shown["trigger"]["kind"] != WEBHOOK:
        return shown
    base = context.public_base()
    if base is None:
        return {**shown, "warnings": [*shown["warnings"], CLOSED]}
    return {**shown, "url": f"{base}{HOOKS}{shown['schedule']}"}


def with_secret(context: ApiContext, made: answers.ScheduleShape) -> answers.ScheduleShape:
    """Store a new schedule's webhook secret; only the returned schedule shows it."""
    if made["trigger"]["kind"] != WEBHOOK:
        return made
    secret = fresh_secret(context.core.ports.ids)
    context.coordinator.keep_secret(secret_name(made["schedule"]), secret)
    return {**made, "secret": secret}


@Verb("POST /v1/hooks/{schedule}", SignedBody, status=202, right=DISPATCHES, over_tcp=TcpAccess.SIGNED)
def _receive_webhook(context: ApiContext, call: ApiCall[SignedBody]) -> HookShape:
    """Start the schedule's work when a signed webhook arrives."""
    core, name = context.core, call.path["schedule"]
    secret = secret_for(core, name, context.coordinator.kept_secret)
    try:
        sure = verify_call(call.body.signed(), secret, core.wall_ms())
    except AccessError as error:
        count_failure(core, error)
        raise
    return accept_call(core, name, sure)
