"""Routes of the configuration: every setting with its origin, and changes that a person makes of it."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from pydantic import Field

from pancode.access.rights import SETS_UP, TELLS
from pancode.api.account_routes import budget_scope
from pancode.api.context import ApiContext
from pancode.api.document.answers import ChangeAnswer, ProposedAnswer, SettingsAnswer
from pancode.api.request.bodies import ActBody, Line, SetSettingBody, SettingBody
from pancode.api.routing import ApiCall, Verb
from pancode.work.people.changes import AskedChange, ChangeKind, ChangeMakers, make_change, undo
from pancode.work.people.makers import makers_of
from pancode.work.people.proposals import propose


def change_makers(context: ApiContext) -> ChangeMakers:
    """One for each kind of change, over the files and books of this coordinator."""
    place = context.coordinator
    scope = partial(budget_scope, context)
    around, own = place.around({}), place.own_agents
    return makers_of(context.core, around, place.chosen, place.applied_preset, scope, own)


class ProposeBody(ActBody):
    """A change for a person to confirm. `target`: a key, a budget scope (`day`), `preset`, an agent's name.

    `value`: as a file has it, dollars, a preset's name, or fields (`{from: builder, runtime: codex}`); null
    takes out what was set. `why`: a line for the person.
    """

    kind: ChangeKind
    target: Annotated[Line, Field(min_length=1, max_length=200)]
    value: Annotated[str, Field(max_length=4_000)] | None = None
    why: Line = ""


def _propose(context: ApiContext, call: ApiCall) -> Any:
    """Nothing is changed before a person says yes."""
    body: ProposeBody = call.body
    change = AskedChange(body.kind, body.target, body.value)
    return propose(context.core, change_makers(context), change, body.why, body.by, call.inside)


def _config(context: ApiContext, call: ApiCall) -> Any:
    return {"settings": context.coordinator.around({}).origins(context.project_of(call.query.get("cwd")))}


def _set(context: ApiContext, call: ApiCall) -> Any:
    body: SetSettingBody = call.body
    change = AskedChange(ChangeKind.SETTING, body.key, body.value)
    return make_change(context.core, change_makers(context), change, body.by).shape()


def _unset(context: ApiContext, call: ApiCall) -> Any:
    body: SettingBody = call.body
    change = AskedChange(ChangeKind.SETTING, body.key, None)
    return make_change(context.core, change_makers(context), change, body.by).shape()


def _undo(context: ApiContext, call: ApiCall) -> Any:
    body: ActBody = call.body
    return undo(context.core, change_makers(context), body.by).shape()


CONFIG_VERBS: tuple[Verb, ...] = (
    Verb("GET", "/v1/config", _config, query=("cwd",), answers=SettingsAnswer),
    Verb("POST", "/v1/config/set", _set, SetSettingBody, pokes=True, right=SETS_UP, answers=ChangeAnswer),
    Verb("POST", "/v1/config/unset", _unset, SettingBody, pokes=True, right=SETS_UP, answers=ChangeAnswer),
    Verb(
        "POST",
        "/v1/config/propose",
        _propose,
        ProposeBody,
        status=201,
        for_runs=True,
        right=TELLS,
        answers=ProposedAnswer,
    ),
    Verb("POST", "/v1/config/undo", _undo, ActBody, pokes=True, right=SETS_UP, answers=ChangeAnswer),
)
