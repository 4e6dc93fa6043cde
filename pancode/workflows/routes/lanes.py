"""Routes of lanes: create, list, show, pause, resume and remove lanes; add and skip their items."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from pancode.interfaces.http.access.rights import DISPATCHES, DROPS, OPERATES
from pancode.interfaces.http.bodies import ActBody, By, CallerSettings, ReasonBody, Usd, WorkBody, has_true
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Verb
from pancode.kernel.values import replace
from pancode.runs.options import OPTIONS
from pancode.workflows import answers
from pancode.workflows import lane_service as lanes
from pancode.workflows.routes.workflows import lands_on

Item = Annotated[str, Field(min_length=1, max_length=200)]
_OF_WORK = ("task", "argv", *OPTIONS)


class LaneBody(ActBody):
    """A lane to create. `defaults`: values for items that do not set their own.

    `cwd`: a directory in the repository where the items work. `budget`: the maximum cost of all its runs.
    """

    name: str
    cwd: Annotated[str, Field(max_length=4096)] | None = None
    defaults: WorkBody = Field(default_factory=WorkBody)
    budget: Usd | None = None
    goes_on: bool = False
    """Whether the lane continues after an item that did not succeed."""


class LaneItemBody(WorkBody, CallerSettings):
    """An item to add, which is a dispatch. `key`: unique; a second item with the same key is not added."""

    by: By = "api"
    key: Item | None = None
    expires_ms: int | None = Field(default=None, ge=1)
    """Milliseconds after which the item may no longer start."""
    yes: bool = False
    """A user has approved this item."""


class ResumeLaneBody(ActBody):
    """`budget`: a new ceiling for all the lane's runs."""

    budget: Usd | None = None


class ItemBody(ActBody):
    """`item`: the item's number or key; null: the item at which the lane is stopped, or else the next one."""

    item: Item | None = None


class RemoveLaneBody(ActBody):
    """`item`: remove only this item, which has not started. `force`: remove the lane even with items left."""

    item: Item | None = None
    force: bool = False


@Verb(answers.LANES, command="lane ls")
def _list(context: ApiContext, call: ApiCall) -> answers.LanesAnswer:
    """List all lanes."""
    return {"lanes": lanes.list_lanes(context.core)}


@Verb(answers.CREATE_LANE, LaneBody, "lane create", status=201, right=OPERATES)
def _create(context: ApiContext, call: ApiCall[LaneBody]) -> answers.LaneShape:
    """Create a lane."""
    body = call.body
    given = _dump_body(body.defaults)
    lanes.create_lane(
        context.core, lanes.AskedLane(body.name, body.by, body.cwd, given, body.budget, body.goes_on)
    )
    return lanes.get_lane(context.core, body.name)


@Verb(answers.LANE, command="lane show")
def _show(context: ApiContext, call: ApiCall) -> answers.LaneShape:
    """Return a lane with its items."""
    return lanes.get_lane(context.core, call.path["lane"])


def _dump_body(body: WorkBody) -> dict[str, Any]:
    """Return those fields of the body that describe the work, as JSON."""
    return body.model_dump(mode="json", include=body.model_fields_set & set(_OF_WORK))


def _merge_body(context: ApiContext, call: ApiCall) -> WorkBody:
    """Return the item's work, with missing fields from its lane's defaults."""
    found = lanes.get_defaults(context.core, call.path["lane"])
    return WorkBody.model_validate({**found, **_dump_body(call.body)})


def _adds_landing(context: ApiContext, call: ApiCall) -> bool:
    return has_true(_merge_body(context, call), "land")


@Verb(answers.ADD_ITEM, LaneItemBody, "lane add", pokes=True, right=DISPATCHES, lands=_adds_landing)
def _add(context: ApiContext, call: ApiCall[LaneItemBody]) -> answers.LaneAddedAnswer:
    """Add an item to a lane."""
    body = call.body
    request = replace(_merge_body(context, call).asked(body.by), confirmed=body.yes, preset=body.preset or "")
    settings: dict[str, object] = dict(body.settings.items())
    around = context.coordinator.around(settings, body.preset)
    new_item = lanes.AskedItem(
        request, {"settings": settings, "preset": body.preset}, body.key, body.expires_ms
    )
    item, added = lanes.add_item(context.core, around, call.path["lane"], new_item)
    shape = lanes.get_lane(context.core, call.path["lane"])
    found = next(one for one in shape["items"] if one["item"] == item)
    return {
        "lane": shape["lane"],
        "added": added,
        "item": found,
        "left": shape["left"],
        "state": shape["state"],
    }


@Verb(answers.PAUSE_LANE, ReasonBody, command="lane create", pokes=True, right=OPERATES)
def _pause(context: ApiContext, call: ApiCall[ReasonBody]) -> answers.LaneShape:
    """Pause a lane: start no further items."""
    lanes.pause_lane(context.core, call.path["lane"], call.body.by, call.body.reason)
    return _show(context, call)


@Verb(
    answers.RESUME_LANE,
    ResumeLaneBody,
    command="lane create",
    pokes=True,
    right=OPERATES,
    lands=lambda context, call: lands_on(context, _show(context, call)["workflow"]),
)
def _resume(context: ApiContext, call: ApiCall[ResumeLaneBody]) -> answers.LaneShape:
    """Resume a lane, optionally with another ceiling."""
    lanes.resume_lane(context.core, call.path["lane"], call.body.by, call.body.budget)
    return _show(context, call)


@Verb(answers.SKIP_ITEM, ItemBody, "lane skip", pokes=True, right=DROPS)
def _skip(context: ApiContext, call: ApiCall[ItemBody]) -> answers.LaneShape:
    """Skip an item of a lane."""
    lanes.skip_item(context.core, call.path["lane"], call.body.item, call.body.by)
    return _show(context, call)


@Verb(answers.REMOVE_LANE, RemoveLaneBody, "lane rm", pokes=True, right=DROPS)
def _remove(context: ApiContext, call: ApiCall[RemoveLaneBody]) -> answers.LaneShape:
    """Remove an item, or end the lane."""
    body = call.body
    if body.item is None:
        return lanes.remove_lane(context.core, call.path["lane"], body.by, body.force)
    lanes.drop_item(context.core, call.path["lane"], body.item, body.by)
    return _show(context, call)
