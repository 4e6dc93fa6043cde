"""The route that a webhook of another program calls, and the address of that route for a person."""

from __future__ import annotations

from typing import cast

from pancode.access.door import HOOKS
from pancode.access.rights import DISPATCHES
from pancode.api.context import ApiContext
from pancode.api.request.bodies import SignedBody
from pancode.api.routing import ApiCall, AtDoor, Verb
from pancode.control.shapes import HookShape, ScheduleShape
from pancode.errors import ConfigError
from pancode.notices.asked import fresh_secret
from pancode.notices.webhook import called
from pancode.work.schedule.triggers import WEBHOOK, secret_name

CLOSED = (
    "no webhook reaches the schedule: the API is not open over TCP; set "
    "api.listen: 127.0.0.1:7433 in pancode.yaml, "
    "then: pancode fleet down, pancode fleet up"
)


def placed(context: ApiContext, shown: ScheduleShape) -> ScheduleShape:
    """The schedule with its address, if it begins on a webhook and the API is open."""
    if shown["trigger"]["kind"] != WEBHOOK:
        return shown
    base = _base(context)
    if base is None:
        return {**shown, "warnings": [*shown["warnings"], CLOSED]}
    return {**shown, "url": f"{base}{HOOKS}{shown['schedule']}"}


def with_secret(context: ApiContext, made: ScheduleShape) -> ScheduleShape:
    """A schedule that was just made; its secret is kept, and is in this answer alone."""
    if made["trigger"]["kind"] != WEBHOOK:
        return made
    secret = fresh_secret(context.core)
    context.coordinator.keep_secret(secret_name(made["schedule"]), secret)
    return {**made, "secret": secret}


def forget_secret(context: ApiContext, removed: ScheduleShape) -> None:
    if removed["trigger"]["kind"] == WEBHOOK:
        context.coordinator.keep_secret(secret_name(removed["schedule"]), None)


def _base(context: ApiContext) -> str | None:
    """The public address, else that of this machine; None: the API is closed."""
    opened = context.facts.get("api")
    if opened is None:
        return None
    try:
        public = context.coordinator.notify_rules().console
    except ConfigError:
        public = None
    return (public or cast("str", opened)).rstrip("/")


@Verb("POST /v1/hooks/{schedule}", SignedBody, status=202, right=DISPATCHES, at_door=AtDoor.SIGNED)
def _called(context: ApiContext, call: ApiCall) -> HookShape:
    """A signed webhook from elsewhere begins its work."""
    body: SignedBody = call.body
    return called(context.core, call.path["schedule"], body.signed(), context.coordinator.kept_secret)
