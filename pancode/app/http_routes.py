"""The HTTP application: all routes of the API for one coordinator."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from starlette.applications import Starlette

from pancode.agents.routes import agents as agent_routes
from pancode.agents.routes import choices as choice_routes
from pancode.agents.routes import models as model_routes
from pancode.backups import routes as backup_routes
from pancode.budget import routes as account_routes
from pancode.checkouts import routes as checkout_routes
from pancode.config import routes as config_routes
from pancode.drills import routes as drill_routes
from pancode.fleet import routes as fleet_routes
from pancode.fleet.answers import CHECKS, HomeChecksAnswer
from pancode.interfaces.http.access import routes as token_routes
from pancode.interfaces.http.access.rights import SEES_ALL
from pancode.interfaces.http.bodies import Body
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.problems import HANDLERS
from pancode.interfaces.http.routing import ApiCall, Object, Verb, verbs_of
from pancode.issues import routes as issue_routes
from pancode.kernel.threads import BackgroundThread
from pancode.kernel.values import replace
from pancode.landing import routes as land_routes
from pancode.memory import routes as history_routes
from pancode.notices import routes as outgoing_routes
from pancode.people import routes as people_routes
from pancode.pull_requests import routes as pull_routes
from pancode.reports import routes as figure_routes
from pancode.reviews import routes as review_routes
from pancode.runs.routes import held as held_routes
from pancode.runs.routes import queue as queue_routes
from pancode.runs.routes import receipts as receipt_routes
from pancode.runs.routes import recovery as recover_routes
from pancode.runs.routes import runs as run_routes
from pancode.schedules import routes as schedule_routes
from pancode.sessions.routes import sessions as session_routes
from pancode.skills import routes as tool_routes
from pancode.workflows.routes import lanes as lane_routes
from pancode.workflows.routes import workflows as workflow_routes
from pancode.workflows.routes.bodies import WorkflowBody
from pancode.workspaces.routes import projects as project_routes
from pancode.workspaces.routes import workspaces as workspace_routes


@Verb("GET /v1/openapi.json")
def _get_openapi(context: ApiContext, call: ApiCall) -> Object:
    """Return this API as an OpenAPI document."""
    return build_openapi()


@Verb(CHECKS, command="doctor", right=SEES_ALL)
def _check_home(context: ApiContext, call: ApiCall) -> HomeChecksAnswer:
    """Check the coordinator's machine."""
    from pancode.app.doctor import run_checks

    return {"checks": run_checks(Path(context.facts["home"]), os.environ)}


_MODULES = (
    *(run_routes, recover_routes, land_routes, people_routes, session_routes, workflow_routes, lane_routes),
    *(schedule_routes, outgoing_routes, fleet_routes, figure_routes, queue_routes, held_routes),
    *(receipt_routes, model_routes, choice_routes),
    *(history_routes, account_routes, config_routes, workspace_routes, project_routes, tool_routes),
    *(
        issue_routes,
        agent_routes,
        token_routes,
        checkout_routes,
        backup_routes,
        pull_routes,
        review_routes,
        drill_routes,
    ),
)
BODIES: Mapping[type[Body], type[Body]] = {
    schedule_routes.ScheduleBody: schedule_routes.make_body(WorkflowBody)
}
"""The bodies in which a feature takes work of another feature, each with the type for that work."""
VERBS: tuple[Verb, ...] = tuple(
    replace(verb, body=BODIES.get(verb.body, verb.body))
    for module in (*_MODULES, sys.modules[__name__])
    for verb in verbs_of(module)
)


def execute_fleet_calls(context: ApiContext) -> BackgroundThread:
    """Return the thread that executes the calls of fleet tools; it loads MCP, which others do not need."""
    from pancode.sessions.routes.fleet_tools import FleetCalls

    return FleetCalls(context, VERBS)


THREADS: tuple[Callable[[ApiContext], BackgroundThread], ...] = (execute_fleet_calls,)
"""The threads of features that use the routes."""


def make_threads(context: ApiContext) -> list[BackgroundThread]:
    """Return the threads that run in the coordinator's process next to its API."""
    return [make(context) for make in THREADS]


@cache
def build_openapi() -> Object:
    """Return the OpenAPI document of all routes; built on first use."""
    from pancode.interfaces.http.openapi import build_document

    return build_document(VERBS)


def build_app(context: ApiContext) -> Starlette:
    """Return the application. Anyone who can connect to its socket has all rights."""
    return Starlette(routes=[verb.route(context) for verb in VERBS], exception_handlers=HANDLERS)
