"""Routes of figures, JSON for the owner and Prometheus' text on a port; and of circuit breakers."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from typing_extensions import TypedDict

from pancode.access.rights import OPERATES
from pancode.api.context import ApiContext
from pancode.api.request.bodies import BreakerBody
from pancode.api.routing import ApiCall, Verb
from pancode.control.breakers import BreakerShape, listed
from pancode.core.figures import MEDIA_TYPE, Sample, exposition
from pancode.errors import PancodeError
from pancode.reports.figures import FIGURES, figures
from pancode.runs.fleet_settings import reset_breaker

PATH = "/metrics"


class BreakersAnswer(TypedDict):
    breakers: list[BreakerShape]


class FigureShape(TypedDict):
    name: str
    labels: dict[str, str]
    value: float


class FiguresAnswer(TypedDict):
    figures: list[FigureShape]
    text: str


def _samples(context: ApiContext) -> list[Sample]:
    facts = {**context.facts, "trouble": context.trouble.shape()}
    return figures(context.core, facts, context.coordinator.process_figures())


@Verb("GET /v1/breakers", command="breakers")
def _breakers(context: ApiContext, call: ApiCall) -> BreakersAnswer:
    """Circuit breakers."""
    return {"breakers": listed(context.core)}


@Verb("POST /v1/breakers/reset", BreakerBody, "breakers reset", right=OPERATES)
def _reset(context: ApiContext, call: ApiCall) -> BreakersAnswer:
    """Close one."""
    body: BreakerBody = call.body
    reset_breaker(context.core, body.name, body.by)
    return _breakers(context, call)


@Verb("GET /v1/metrics", command="metrics")
def _figures(context: ApiContext, call: ApiCall) -> FiguresAnswer:
    """The fleet in figures."""
    samples = _samples(context)
    shown: list[FigureShape] = [{"name": s.name, "labels": dict(s.labels), "value": s.value} for s in samples]
    return {"figures": shown, "text": exposition(FIGURES, samples)}


def figures_app(context: ApiContext) -> Starlette:
    """An application of one page, which changes nothing; whatever fails has no words of ours in it."""

    place = context.coordinator.figures_at

    async def page(request: Request) -> Response:
        if place is not None and not place.is_called(request.headers.get("host", "")):
            return PlainTextResponse("name this host in the setting metrics.hosts\n", 421)
        try:
            text = await run_in_threadpool(lambda: exposition(FIGURES, _samples(context)))
        except PancodeError:
            return PlainTextResponse("the ledger cannot be read now\n", 503)
        return Response(text, media_type=MEDIA_TYPE)

    return Starlette(routes=[Route(PATH, page, methods=["GET"])])
