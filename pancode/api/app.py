"""The HTTP application: every route of the API over one coordinator."""

from __future__ import annotations

from functools import cache
from typing import Any

from starlette.applications import Starlette

from pancode.api.account_routes import ACCOUNT_VERBS
from pancode.api.agent_routes import AGENT_VERBS, MODEL_VERBS, PRESET_VERBS
from pancode.api.config_routes import CONFIG_VERBS
from pancode.api.context import ApiContext
from pancode.api.explore_routes import EXPLORE_VERBS
from pancode.api.feed_routes import FEED_VERBS
from pancode.api.figure_routes import FIGURE_VERBS
from pancode.api.fleet_routes import FLEET_VERBS
from pancode.api.history_routes import HISTORY_VERBS
from pancode.api.hook_routes import HOOK_VERBS
from pancode.api.land_routes import LAND_VERBS
from pancode.api.outgoing_routes import OUTGOING_VERBS
from pancode.api.people_routes import PEOPLE_VERBS
from pancode.api.problems import HANDLERS
from pancode.api.project_routes import PROJECT_VERBS
from pancode.api.record_routes import RECORD_VERBS
from pancode.api.recover_routes import RECOVER_VERBS
from pancode.api.routing import ApiCall, Verb
from pancode.api.run_routes import RUN_VERBS
from pancode.api.schedule_routes import SCHEDULE_VERBS
from pancode.api.session_routes import SESSION_VERBS
from pancode.api.token_routes import TOKEN_VERBS
from pancode.api.workflow_routes import WORKFLOW_VERBS
from pancode.api.workspace_routes import WORKSPACE_VERBS


def _openapi(context: ApiContext, call: ApiCall) -> Any:
    return openapi()


VERBS: tuple[Verb, ...] = (
    *RUN_VERBS,
    *RECOVER_VERBS,
    *LAND_VERBS,
    *PEOPLE_VERBS,
    *SESSION_VERBS,
    *WORKFLOW_VERBS,
    *SCHEDULE_VERBS,
    *HOOK_VERBS,
    *OUTGOING_VERBS,
    *FLEET_VERBS,
    *FEED_VERBS,
    *FIGURE_VERBS,
    *MODEL_VERBS,
    *RECORD_VERBS,
    *HISTORY_VERBS,
    *EXPLORE_VERBS,
    *ACCOUNT_VERBS,
    *PRESET_VERBS,
    *CONFIG_VERBS,
    *WORKSPACE_VERBS,
    *PROJECT_VERBS,
    *AGENT_VERBS,
    *TOKEN_VERBS,
    Verb("GET", "/v1/openapi.json", _openapi),
)


@cache
def openapi() -> dict[str, Any]:
    """The OpenAPI document of all routes; made when it is first asked for."""
    from pancode.api.document.openapi import document

    return document(VERBS)


def build_app(context: ApiContext) -> Starlette:
    """The application; whoever may connect to its socket may do everything."""
    return Starlette(routes=[verb.route(context) for verb in VERBS], exception_handlers=HANDLERS)
