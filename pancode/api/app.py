"""The HTTP application: every route of the API over one coordinator."""

from __future__ import annotations

import sys
from functools import cache

from starlette.applications import Starlette

from pancode.api import (
    account_routes,
    agent_routes,
    checkout_routes,
    choice_routes,
    config_routes,
    figure_routes,
    fleet_routes,
    history_routes,
    issue_routes,
    land_routes,
    lane_routes,
    model_routes,
    people_routes,
    project_routes,
    queue_routes,
    receipt_routes,
    recover_routes,
    run_routes,
    session_routes,
    token_routes,
    workflow_routes,
    workspace_routes,
)
from pancode.api.context import ApiContext
from pancode.api.problems import HANDLERS
from pancode.api.routing import ApiCall, Object, Verb, verbs_of
from pancode.notices import routes as outgoing_routes
from pancode.schedules import routes as schedule_routes


@Verb("GET /v1/openapi.json")
def _openapi(context: ApiContext, call: ApiCall) -> Object:
    """This API as an OpenAPI document."""
    return openapi()


_MODULES = (
    *(run_routes, recover_routes, land_routes, people_routes, session_routes, workflow_routes, lane_routes),
    *(schedule_routes, outgoing_routes, fleet_routes, figure_routes, queue_routes),
    *(receipt_routes, model_routes, choice_routes),
    *(history_routes, account_routes, config_routes, workspace_routes, project_routes),
    *(issue_routes, agent_routes, token_routes, checkout_routes),
)
VERBS: tuple[Verb, ...] = tuple(
    verb for module in (*_MODULES, sys.modules[__name__]) for verb in verbs_of(module)
)


@cache
def openapi() -> Object:
    """Return the OpenAPI document of all routes; made when it is first asked for."""
    from pancode.api.openapi import document

    return document(VERBS)


def build_app(context: ApiContext) -> Starlette:
    """Return the application; whoever may connect to its socket may do everything."""
    return Starlette(routes=[verb.route(context) for verb in VERBS], exception_handlers=HANDLERS)
