"""Has a node test one of its models, and waits for the result; the test continues if the caller leaves."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node_agent.wire.control import Examine
from node_agent.wire.endpoint import AskFact, AskState, PassportFact, Residence
from pancode.agents.answers import PassportShape
from pancode.agents.endpoints import costs_nothing
from pancode.agents.model_profiles import COSTS, ModelPlace, fact_of, places_of
from pancode.fleet.acts import Progress, ProgressLine
from pancode.fleet.fleet import must_exist
from pancode.fleet.model_service import passport_shape
from pancode.kernel.errors import UnavailableError
from pancode.kernel.node import NodeState, NodeView, with_words
from pancode.kernel.records import Node
from pancode.runs.core import Core, hold_lock
from pancode.runs.unit_of_work import unit_of_work


class ExamShape(PassportShape):
    """A test of a model on a node. `state`: done or given up; `words`: the reason if given up."""

    node: str
    endpoint: str
    model: str
    state: str
    words: str
    fix: str
    earlier: bool
    """Whether the model had already been tested, at `taken_at`, so that it was not tested again."""


START_MS = 30_000
"""How many ms a node may take to acknowledge the test."""
LAST_MS = 900_000
"""How many ms slot, loading and questions may take; after that the node has dropped the test."""
LOOK_S = 0.2
_OVER = (AskState.DONE, AskState.GIVEN_UP)


class NotTested(UnavailableError):
    """The node was not online for the test, or has not reported its result."""

    code = "not_tested"


@dataclass(frozen=True, slots=True)
class ExamRequest:
    """A test requested from a node. `at_ms`: the time of the request, by the coordinator's boot clock."""

    place: ModelPlace
    id: str
    at_ms: int
    before_ms: int | None = None
    """When the model's last test result (passport) was made; None: it has none."""


@hold_lock
def find_endpoints(core: Core, model: str, node: str | None) -> list[ModelPlace]:
    """Return the endpoints of a model; with `node`, only the node's. NotFoundError."""
    if node is not None:
        must_exist(core, (node,))
    return places_of(model, _list_views(core), node)


def run_test(
    core: Core,
    place: ModelPlace,
    again: bool,
    progress: Progress,
    act: Callable[[], None],
    pause: Callable[[float], bool],
) -> ExamShape:
    """Have a node test a model and wait for the end. `act`: sends the request to the node at once. `pause`
    sleeps, and returns True when the coordinator stops, which raises UnavailableError."""
    progress(ProgressLine(place.node, place.model, "started", describe_wait(core, place)))
    try:
        request = request_test(core, place, again)
        act()
        return wait_for_test(core, request, progress, pause)
    except NotTested as error:  # the other places are tested nevertheless
        return given_up(place, error)


def request_test(core: Core, place: ModelPlace, again: bool) -> ExamRequest:
    """Request the test from the node. NotTested if it is offline: it would test later, when no caller
    waits."""
    with unit_of_work(core) as work:
        node = work.tx.get(Node, place.node)
        view = core.view_of(node) if node is not None else None
        if node is None or view is None or view.state is not NodeState.ONLINE:
            state = view.state if view is not None else "gone"
            raise NotTested(f"{place.node} is {state}", fix=f"pancode fleet up {place.node}")
        known = fact_of(place, (view,))
        before = known[1].passport if known is not None else None
        before_ms = before.taken_ms if before is not None else None
        request = ExamRequest(place, core.ports.ids.token(8), core.ports.clock.boot_ms(), before_ms)
        start_by = core.now().plus(START_MS)
        body = Examine(
            ask=request.id, endpoint=place.endpoint, model=place.model, again=again, start_by=start_by
        )
        work.send(node.name, body)
    return request


def wait_for_test(
    core: Core, request: ExamRequest, progress: Progress, pause: Callable[[float], bool]
) -> ExamShape:
    """Wait until the node reports the end of the test. `pause`: sleeps, True when the coordinator stops.

    NotTested if the node does not begin the test, restarts during it, or stops reporting; UnavailableError
    when the coordinator stops.
    """
    place, reported, begun_in = request.place, "", ""
    while True:
        (fact, session), silent_ms = _read_fact(core, request), core.ports.clock.boot_ms() - request.at_ms
        if fact is not None and fact.state in _OVER:
            return _shape(core, request, fact)
        if fact is not None and fact.words != reported:
            reported = fact.words
            progress(ProgressLine(place.node, place.model, "note", reported))
        if fact is not None:
            begun_in = session
        elif begun_in and session not in ("", begun_in):
            raise _make_lost_error(place, "restarted during the test")
        if (fact is None and silent_ms > START_MS) or silent_ms > LAST_MS:
            raise _make_lost_error(place, "does not report progress: it restarted, or has an older version")
        if pause(LOOK_S):
            raise UnavailableError(
                "the coordinator is stopping; the test continues", fix="run the same command again"
            )


def _make_lost_error(place: ModelPlace, words: str) -> NotTested:
    again = f"pancode models test {shlex.quote(place.text)}"
    return NotTested(f"{place.node} {words}", fix=f"pancode node ls; then: {again}")


def given_up(place: ModelPlace, why: NotTested) -> ExamShape:
    """Return the result for a model that the node did not test."""
    return _exam_shape(place, AskState.GIVEN_UP, (str(why), why.fix), None)


def describe_wait(core: Core, place: ModelPlace) -> str:
    """Return the message for a user before the wait: how long it takes, and whether it costs money."""
    with core.lock:
        views = _list_views(core)
    found = fact_of(place, views)
    costs = "" if costs_nothing(views, place.endpoint, place.model) else f"; {COSTS}"
    is_there = found is None or found[1].residence in (Residence.LOADED, None)
    how_long = "up to 60 s" if is_there else "it will be loaded first, which may take minutes"
    return f"testing {place.model} on {place.node} ({place.endpoint}), {how_long}{costs}"


def _list_views(core: Core) -> Sequence[NodeView]:
    with core.ports.ledger.transaction() as tx:
        return core.views(tx)


def _read_fact(core: Core, request: ExamRequest) -> tuple[AskFact | None, str]:
    """Return the node's report on the test, and the node agent's session; a new one has no older tests."""
    with core.lock, core.ports.ledger.transaction() as tx:
        node = tx.get(Node, request.place.node)
        last = core.view_of(node).last if node is not None else None
    if last is None:
        return None, ""
    facts, session = last.heartbeat.facts.asks, last.heartbeat.session
    return next((one for one in facts if one.ask == request.id), None), session


def _shape(core: Core, request: ExamRequest, fact: AskFact) -> ExamShape:
    """Return the test's shape, with the passport from the same heartbeat."""
    place = request.place
    with core.lock:
        found = fact_of(place, _list_views(core))
    passport = found[1].passport if found is not None and fact.state is AskState.DONE else None
    earlier = passport is not None and passport.taken_ms == request.before_ms
    return _exam_shape(place, fact.state, (with_words(fact.words, fact.fix), ""), passport, earlier)


def _exam_shape(
    place: ModelPlace,
    state: AskState,
    words: tuple[str, str],
    passport: PassportFact | None,
    earlier: bool = False,
) -> ExamShape:
    return ExamShape(
        node=place.node,
        endpoint=place.endpoint,
        model=place.model,
        state=state.value,
        words=words[0],
        fix=words[1],
        earlier=earlier,
        **passport_shape(passport),
    )
