"""Routes of reports: what a user needs now, briefs, the inbox, the feed, breakers, metrics, records."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pancode.budget.answers import RECORDS, WORKERS, TrackRecordsAnswer, WorkersAnswer
from pancode.config.fleet_settings import reset_breaker
from pancode.fleet.answers import BREAKERS, RESET_BREAKER, BreakersAnswer
from pancode.interfaces.http.access.rights import CHANGES, NOTES, OPERATES
from pancode.interfaces.http.bodies import ActBody, BreakerBody
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, EventStream, Verb
from pancode.interfaces.http.streams import QUIET_S, format_event, make_event_stream
from pancode.kernel.errors import PancodeError, UsageError
from pancode.kernel.names import not_found
from pancode.kernel.pages import MOST_ROWS
from pancode.kernel.records import EventKind, FeedEvent
from pancode.kernel.visitors import OWNER
from pancode.reports import answers
from pancode.reports.brief import make_brief, make_report, record_look
from pancode.reports.budget_report import Configured, report_budget
from pancode.reports.figures import FIGURES, MEDIA_TYPE, Sample, collect_samples, format_exposition
from pancode.reports.needs import dismiss_need, take_back
from pancode.reports.now import see_now
from pancode.reports.timeline import describe_event as shape_of
from pancode.reports.timeline import explain_run
from pancode.reports.track_records import track_records
from pancode.reports.workers import list_workers
from pancode.runs.answers import INBOX, InboxAnswer
from pancode.runs.inbox_answers import list_inbox
from pancode.runs.placement.breaker_service import list_breakers
from pancode.runs.views import get_run


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter of events; an empty field or None matches all."""

    kinds: tuple[str, ...] = ()
    run: str | None = None
    node: str | None = None
    workflow: str | None = None

    @classmethod
    def of(cls, context: ApiContext, call: ApiCall) -> Wanted:
        """Read the filter. `kind`: one or several kinds (comma), or the part before a dot. NotFoundError."""
        kinds = tuple(filter(None, call.query.get("kind", "").split(",")))
        every = sorted({*(kind.value for kind in EventKind), *(k.value.partition(".")[0] for k in EventKind)})
        for kind in kinds:
            if kind not in every:
                raise not_found("kind of event", kind, every, f"one of {', '.join(every)}")
        run = call.query.get("run")
        if run is not None:
            run = get_run(context.core, run).id
        known = context.known(call.query)
        return cls(kinds, run, known.get("node"), known.get("workflow"))

    def fits(self, one: FeedEvent) -> bool:
        group = one.kind.value.partition(".")[0]
        if self.kinds and one.kind.value not in self.kinds and group not in self.kinds:
            return False
        if self.workflow not in (None, one.data.get("workflow")):
            return False
        return self.run in (None, one.run) and self.node in (None, one.node)


@Verb("GET /v1/events", command="audit", query=("kind", "run", "node", "workflow", "since", "tail", "end"))
def events(context: ApiContext, call: ApiCall) -> EventStream:
    """Stream the events that match the filter."""
    wanted, tail = Wanted.of(context, call), call.number("tail", 0, context.core.feed.most)
    since = call.last_event or call.query.get("since", "")
    if since and not (since.isascii() and since.isdigit() and len(since) <= 18):
        raise UsageError(f"{since[:40]!r} is not an event number", fix="omit it", code="bad_value")
    return make_event_stream(
        _stream_events(context, wanted, (int(since) if since else None, tail), call.flag("end"))
    )


async def _stream_events(
    context: ApiContext, wanted: Wanted, begin: tuple[int | None, int], ends: bool
) -> AsyncIterator[str]:
    """Yield events. `begin`: after which event, else how many of the newest first; `ends`: then stop."""
    feed, (since, tail) = context.core.feed, begin
    place, found = _find_begin(context, wanted, tail) if since is None else (since, [])
    while True:
        seen = context.bell.count
        news = feed.since(place)
        if news is None:
            place = feed.last
            yield format_event("reset", {"last": place}, str(place))
        for one in [*found, *(news or ())]:
            place = max(place, one.number)
            if wanted.fits(one):
                yield format_event(one.kind.value, shape_of(one), str(one.number))
        found = []
        if ends or context.closing.is_set():
            return
        await context.bell.wait(seen, QUIET_S)


def _find_begin(context: ApiContext, wanted: Wanted, tail: int) -> tuple[int, list[FeedEvent]]:
    """Return the newest event's number, and up to `tail` of the newest matching events."""
    known = context.core.feed.newest(context.core.feed.most)
    fitting = [one for one in known if wanted.fits(one)]
    return (known[-1].number if known else 0), fitting[max(0, len(fitting) - tail) :]


PATH = "/metrics"


def _collect_samples(context: ApiContext) -> list[Sample]:
    return collect_samples(context.core, context.running(), context.coordinator.process_figures())


@Verb(BREAKERS, command="admin breakers")
def _breakers(context: ApiContext, call: ApiCall) -> BreakersAnswer:
    """Return the circuit breakers."""
    return {"breakers": list_breakers(context.core)}


@Verb(RESET_BREAKER, BreakerBody, "admin breakers", right=OPERATES)
def _reset(context: ApiContext, call: ApiCall[BreakerBody]) -> BreakersAnswer:
    """Close a circuit breaker, so that it blocks no dispatch."""
    reset_breaker(context.core, call.body.name, call.body.by)
    return _breakers(context, call)


@Verb(answers.METRICS, command="status")
def _figures(context: ApiContext, call: ApiCall) -> answers.FiguresAnswer:
    """Return the fleet's metrics."""
    samples = _collect_samples(context)
    shown: list[answers.FigureShape] = [
        {"name": s.name, "labels": dict(s.labels), "value": s.value} for s in samples
    ]
    return {"figures": shown, "text": format_exposition(FIGURES, samples)}


def figures_app(context: ApiContext) -> Starlette:
    """Return a read-only web application with the metrics; its error pages contain no internal text."""

    place = context.coordinator.figures_at

    async def page(request: Request) -> Response:
        if place is not None and not place.is_called(request.headers.get("host", "")):
            return PlainTextResponse("add this host to the setting metrics.hosts\n", 421)
        try:
            text = await run_in_threadpool(lambda: format_exposition(FIGURES, _collect_samples(context)))
        except PancodeError:
            return PlainTextResponse("the ledger cannot be read at the moment\n", 503)
        return Response(text, media_type=MEDIA_TYPE)

    return Starlette(routes=[Route(PATH, page, methods=["GET"])])


@Verb(WORKERS, command="agents record")
def _workers(context: ApiContext, call: ApiCall) -> WorkersAnswer:
    """List each agent on each runtime and node: its current work and its record."""
    return {"workers": list_workers(context.core)}


@Verb(RECORDS, command="agents record", query=("agent", "rankings", "limit"))
def _records(context: ApiContext, call: ApiCall) -> TrackRecordsAnswer:
    """Show how well each agent does each kind of work."""
    agent, limit = context.known(call.query).get("agent"), call.number("limit", 50, MOST_ROWS)
    return {"records": track_records(context.core, agent, call.flag("rankings"), limit)}


@Verb(INBOX, command="inbox ls", query=("by",), for_item=True)  # clients of 0.1.0 send `by`
def _inbox(context: ApiContext, call: ApiCall) -> InboxAnswer:
    """List everything that waits for a user."""
    found = list_inbox(context.core)
    token = None if call.visitor is None else call.visitor.token
    if token is not None and token.item is not None:
        found = [item for item in found if item["id"] == token.item]
    return {"items": found}


def _person(call: ApiCall) -> str:
    """Return whose visit it is: at the unix socket and in a browser the owner's, else that of the token."""
    return OWNER if call.visitor is None else call.visitor.person


@Verb(answers.NOW, command="status", query=("by", "since"))  # clients of 0.1.0 send `by`
def _now(context: ApiContext, call: ApiCall) -> answers.NowAnswer:
    """Show what a user needs first: what waits for them, what works, what is in trouble, what has ended."""
    money = report_budget(context.core, Configured.of(context.coordinator.around({})), False)
    return see_now(context.core, _person(call), money, call.query.get("since"))


@Verb(answers.NEED_DONE, ActBody, "inbox review", right=CHANGES)
def _dismiss(context: ApiContext, call: ApiCall) -> answers.NeedAnswer:
    """Dismiss a need that is not a question: no list shows it. A run is dropped; its change is kept."""
    need = call.path["need"]
    dismiss_need(context.core, need, call.body.by)
    return answers.NeedAnswer(need)


@Verb(answers.NEED_UNDO, ActBody, "inbox review", right=CHANGES)
def _take_back(context: ApiContext, call: ApiCall) -> answers.NeedAnswer:
    """Take back that a need was dismissed, or that a run was dropped."""
    take_back(context.core, call.path["need"], call.body.by)
    return answers.NeedAnswer(call.path["need"])


def _look_for_reverts(context: ApiContext) -> None:
    for part in context.coordinator.parts:
        part.look_for_reverts()


@Verb(answers.BRIEFING, command="status", query=("by", "since"))
def _brief(context: ApiContext, call: ApiCall) -> answers.BriefShape:
    """Show what happened since the user last looked."""
    _look_for_reverts(context)
    return make_brief(context.core, _person(call), call.query.get("since"))


@Verb(answers.LOOKED, ActBody, "status", right=NOTES)
def _record_looked(context: ApiContext, call: ApiCall[ActBody]) -> answers.LookedAnswer:
    """Record that a user has looked now."""
    record_look(context.core, _person(call))
    return {"by": _person(call)}


@Verb(answers.REPORT, command="status", query=("by", "since"))
def _report(context: ApiContext, call: ApiCall) -> answers.ReportShape:
    """Show a brief of a longer period, with costs."""
    _look_for_reverts(context)
    return make_report(context.core, _person(call), call.query.get("since", "7d"))


@Verb(answers.WHY, command="why")
def _why(context: ApiContext, call: ApiCall) -> answers.WhyShape:
    """Return every decision about a run."""
    return explain_run(context.core, call.path["run"])
