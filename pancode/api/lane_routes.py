"""Routes of lanes: create, add, look, move, pause, go on, skip, begin again, remove."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from pancode.access.rights import DISPATCHES, DROPS, OPERATES
from pancode.agents.options import OPTIONS
from pancode.api.context import ApiContext
from pancode.api.document.answers import LaneAddedAnswer, LanesAnswer, LaneShape
from pancode.api.request.bodies import ActBody, By, CallerSettings, ReasonBody, Usd, WorkBody, says
from pancode.api.routing import ApiCall, Verb
from pancode.api.run_routes import around_workflow
from pancode.core.values import replace
from pancode.work.workflow import lanes
from pancode.work.workflow.asked import lands

LaneName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Item = Annotated[str, Field(min_length=1, max_length=200)]
_OF_WORK = ("task", "argv", *OPTIONS)


class LaneBody(ActBody):
    """A lane to create. `defaults`: what counts for each item that does not say it itself.

    `cwd`: its items work in the repository around it. `budget`: the most that all its runs may cost.
    """

    name: LaneName
    cwd: Annotated[str, Field(max_length=4096)] | None = None
    defaults: WorkBody = Field(default_factory=WorkBody)
    budget: Usd | None = None
    goes_on: bool = False
    """Also after an item that did not end well."""


class LaneItemBody(WorkBody, CallerSettings):
    """An item: a dispatch. `key`: another item with the same key is not added."""

    by: By = "api"
    key: Item | None = None
    expires_ms: int | None = Field(default=None, ge=1)
    """After so long it does not begin any more."""
    yes: bool = False
    """A person has said yes to this very item."""


class ResumeLaneBody(ActBody):
    """`budget`: another ceiling for all its runs."""

    budget: Usd | None = None


class MoveItemBody(ActBody):
    """`before`: the number or key of another item. Neither: behind all."""

    item: Item
    before: Item | None = None
    first: bool = False


class ItemBody(ActBody):
    """`item`: its number or key; null: the one at which the lane stands, else the next one."""

    item: Item | None = None


class RetryItemBody(ActBody):
    """`item`: as for a skip. `yes`: a person agrees to what begins now."""

    item: Item | None = None
    yes: bool = False


class RemoveLaneBody(ActBody):
    """`item`: only this one, which has not begun. `force`: the lane, although items are left."""

    item: Item | None = None
    force: bool = False


def _list(context: ApiContext, call: ApiCall) -> Any:
    return {"lanes": lanes.lanes(context.core)}


def _show(context: ApiContext, call: ApiCall) -> Any:
    return lanes.show(context.core, call.path["lane"])


def _create(context: ApiContext, call: ApiCall) -> Any:
    body: LaneBody = call.body
    given = _said(body.defaults)
    lanes.create(
        context.core, lanes.AskedLane(body.name, body.by, body.cwd, given, body.budget, body.goes_on)
    )
    return lanes.show(context.core, body.name)


def _said(body: WorkBody) -> dict[str, Any]:
    """What was said of a work, as JSON."""
    return body.model_dump(mode="json", include=body.model_fields_set & set(_OF_WORK))


def _whole(context: ApiContext, call: ApiCall) -> WorkBody:
    """The work of an item, with what its lane says for all."""
    found = lanes.defaults(context.core, call.path["lane"])
    return WorkBody.model_validate({**found, **_said(call.body)})


def _add(context: ApiContext, call: ApiCall) -> Any:
    body: LaneItemBody = call.body
    request = replace(_whole(context, call).asked(body.by), confirmed=body.yes, preset=body.preset or "")
    settings: dict[str, object] = dict(body.settings.items())
    around = context.coordinator.around(settings, body.preset)
    asked = lanes.AskedItem(request, {"settings": settings, "preset": body.preset}, body.key, body.expires_ms)
    item, added = lanes.add(context.core, around, call.path["lane"], asked)
    shape = lanes.show(context.core, call.path["lane"])
    found = next(one for one in shape["items"] if one["item"] == item)
    return {
        "lane": shape["lane"],
        "added": added,
        "item": found,
        "left": shape["left"],
        "state": shape["state"],
    }


def _adds_landing(context: ApiContext, call: ApiCall) -> bool:
    return says(_whole(context, call), "land")


def _move(context: ApiContext, call: ApiCall) -> Any:
    body: MoveItemBody = call.body
    lanes.move(context.core, call.path["lane"], body.item, body.before, body.first, body.by)
    return _show(context, call)


def _pause(context: ApiContext, call: ApiCall) -> Any:
    lanes.pause(context.core, call.path["lane"], call.body.by, call.body.reason)
    return _show(context, call)


def _resume(context: ApiContext, call: ApiCall) -> Any:
    lanes.resume(context.core, call.path["lane"], call.body.by, call.body.budget)
    return _show(context, call)


def _skip(context: ApiContext, call: ApiCall) -> Any:
    lanes.skip(context.core, call.path["lane"], call.body.item, call.body.by)
    return _show(context, call)


def _retry(context: ApiContext, call: ApiCall) -> Any:
    body: RetryItemBody = call.body
    lanes.retry(context.core, call.path["lane"], body.item, body.by, body.yes)
    return _show(context, call)


def _retries_landing(context: ApiContext, call: ApiCall) -> bool:
    workflow = lanes.workflow_of(context.core, call.path["lane"])
    return lands(context.core, workflow, around_workflow(context, workflow))


def _remove(context: ApiContext, call: ApiCall) -> Any:
    body: RemoveLaneBody = call.body
    if body.item is None:
        return lanes.remove(context.core, call.path["lane"], body.by, body.force)
    lanes.drop(context.core, call.path["lane"], body.item, body.by)
    return _show(context, call)


def _act(word: str, do: Any, body: type[Any], right: Any = OPERATES, **more: Any) -> Verb:
    path = f"/v1/lanes/{{lane}}/{word}"
    return Verb("POST", path, do, body, pokes=True, right=right, answers=LaneShape, **more)


LANE_VERBS: tuple[Verb, ...] = (
    Verb("GET", "/v1/lanes", _list, answers=LanesAnswer),
    Verb("POST", "/v1/lanes", _create, LaneBody, status=201, right=OPERATES, answers=LaneShape),
    Verb("GET", "/v1/lanes/{lane}", _show, answers=LaneShape),
    Verb(
        "POST",
        "/v1/lanes/{lane}/add",
        _add,
        LaneItemBody,
        pokes=True,
        right=DISPATCHES,
        lands=_adds_landing,
        answers=LaneAddedAnswer,
    ),
    _act("move", _move, MoveItemBody),
    _act("pause", _pause, ReasonBody),
    _act("resume", _resume, ResumeLaneBody),
    _act("skip", _skip, ItemBody, DROPS),
    _act("retry", _retry, RetryItemBody, DISPATCHES, lands=_retries_landing),
    _act("remove", _remove, RemoveLaneBody, DROPS),
)
