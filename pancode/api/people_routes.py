"""Routes with which people have a say: runs are continued."""

from __future__ import annotations

from typing import Any

from pancode.api.bodies import ContinueBody
from pancode.api.context import ApiContext
from pancode.api.routing import ApiCall, Verb
from pancode.control.dispatch import Dispatched
from pancode.control.people.continuing import continue_run
from pancode.control.query.run import find_run, queued
from pancode.domain.records import Run


def _meant(context: ApiContext, call: ApiCall) -> Run:
    with context.core.ports.ledger.transaction() as tx:
        return find_run(tx, call.path["run"])


def _queued(done: Dispatched) -> Any:
    return {**queued(done.run, done.chosen), "warnings": list(done.warnings)}


def _continue(context: ApiContext, call: ApiCall) -> Any:
    body: ContinueBody = call.body
    around = context.coordinator.around({})
    return _queued(continue_run(context.core, around, _meant(context, call), body.text, body.by))


PEOPLE_VERBS: tuple[Verb, ...] = (
    Verb("POST", "/v1/runs/{run}/continue", _continue, ContinueBody, pokes=True, status=201),
)
