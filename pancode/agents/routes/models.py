"""Routes of models: the servers that nodes reach, their models, and a model's test."""

from __future__ import annotations

from typing import Any

from pancode.agents import answers
from pancode.agents.answers import EndpointsAnswer, ModelsAnswer
from pancode.fleet.acts import Progress
from pancode.fleet.model_service import ModelFilter, list_endpoints, list_models
from pancode.fleet.model_tests import find_endpoints, run_test
from pancode.interfaces.http.access.rights import TESTS
from pancode.interfaces.http.bodies import ExamBody
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, EventStream, Verb
from pancode.interfaces.http.streams import make_event_stream, stream_steps


@Verb("POST /v1/models/test", ExamBody, "models test", right=TESTS)
def _test(context: ApiContext, call: ApiCall[ExamBody]) -> EventStream:
    """Test a model on its node."""
    body = call.body
    places = find_endpoints(context.core, body.model, body.node)
    ends = context.closing.wait

    def work(progress: Progress) -> Any:
        tests = [run_test(context.core, one, body.again, progress, context.poke, ends) for one in places]
        return {"tests": tests}

    return make_event_stream(stream_steps(work))


@Verb(answers.ENDPOINTS, command="models ls", query=("node",))
def _endpoints(context: ApiContext, call: ApiCall) -> EndpointsAnswer:
    """List the model servers of the nodes.

    Includes every node that has reported, or only one.
    """
    return {"endpoints": list_endpoints(context.core, call.query.get("node"))}


@Verb(answers.MODELS, command="models ls", query=("cwd", "node", "tier"))
def _models(context: ApiContext, call: ApiCall) -> ModelsAnswer:
    """List the models of these servers, with their tiers."""
    tiers = context.coordinator.around({}).tiers(context.project_of(call.query.get("cwd")))
    wanted = ModelFilter(call.query.get("node"), call.query.get("tier"))
    return {"models": list_models(context.core, wanted, tiers)}
