"""The changes that signals make in a run, as a value; feed events and audit entries are derived from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from node_agent.wire.control import ControlBody
from node_agent.wire.event import EventBody
from node_agent.wire.failure import FailureKind, JobRefusal, Outcome
from node_agent.wire.logs import JobStage
from pancode.budget import books
from pancode.kernel import records
from pancode.kernel.formatting import first_few
from pancode.kernel.values import replace
from pancode.runs.facts import SessionTurn
from pancode.runs.life import inbox
from pancode.runs.life.case import Now, RunCase
from pancode.runs.life.inbox import ItemKind, item_of

Domain = Literal["budget", "config", "dispatch", "fleet", "land", "people", "receipt", "schedule", "trust"]
"""The subject of an audit entry."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a run's timeline (`pancode why`)."""

    run: str
    kind: str
    what: str
    verdict: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One line of the audit (`pancode audit`)."""

    domain: Domain
    level: str
    what: str
    run: str | None
    detail: dict[str, object]


@dataclass(frozen=True, slots=True)
class Send:
    """A control message for a node, given by its name. A node without a key gets no messages."""

    node: str
    body: ControlBody


@dataclass(frozen=True, slots=True)
class PassOver:
    """A node that for some time gets no job of this run (`run` None: of any run)."""

    node: str
    run: str | None
    cause: JobRefusal | FailureKind
    why: str


@dataclass(frozen=True, slots=True)
class Staged:
    """The stage that the job of a lease has reached."""

    stage: JobStage
    lease: records.Lease
    detail: str = ""


class Signal(ABC):
    """An event in a run's life. Each signal class is defined in the module that decides its effect."""

    __slots__ = ()

    @abstractmethod
    def apply(self, made: Changes) -> Changes:
        """Return the changes plus those that this signal makes. Pure: it reads only the case."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes that signals make. Frozen: each step returns a new value with more changes."""

    before: RunCase
    case: RunCase
    """The state of the run after these changes, for the next step."""
    fresh: bool = False
    """Whether the run itself is new in these changes."""
    rows: tuple[records.Record, ...] = ()
    """New rows that are not rows of the run."""
    timeline: tuple[Line, ...] = ()
    audit: tuple[AuditLine, ...] = ()
    controls: tuple[Send, ...] = ()
    passed_over: tuple[PassOver, ...] = ()
    stages: tuple[Staged, ...] = ()
    signals: tuple[Signal, ...] = ()
    """The signals whose effects these changes are."""
    left: tuple[EventBody, ...] = ()
    """Events of the node that a feature handles, and not the engine."""

    # -- read by the next step --------------------------------------------------------------------

    @property
    def run(self) -> records.Run:
        return self.case.run

    @property
    def attempt(self) -> records.Attempt:
        return self.case.attempt

    @property
    def lease(self) -> records.Lease:
        return self.case.lease

    @property
    def now(self) -> Now:
        return self.case.now

    # -- additions --------------------------------------------------------------------------------

    def put(
        self,
        *rows: records.Run | records.Attempt | records.Lease | records.SessionRow | records.StoredMessage,
    ) -> Changes:
        """Add these rows of the run, new or changed."""
        case = self.case
        for row in rows:
            case = case.with_row(row)
        return replace(self, case=case)

    def follow(
        self, kind: records.ActionKind, by: str, detail: Mapping[str, object] | None = None
    ) -> Changes:
        """Add this follow-up action."""
        action = records.Action(self.now.new_id(), kind, self.run.id, self.now.ms, by, dict(detail or {}))
        return replace(self, case=replace(self.case, actions=(*self.case.actions, action)))

    def advance(self) -> Changes:
        """Have the run's workflow, if any, examined after this."""
        run = self.run
        if run.workflow is None:
            return self
        return self.add(
            records.Action(
                self.now.new_id(), records.ActionKind.ADVANCE, run.workflow, self.now.ms, run.created_by
            )
        )

    def done(self, action: records.Action | None) -> Changes:
        """Remove this follow-up action."""
        left = tuple(one for one in self.case.actions if one != action)
        return replace(self, case=replace(self.case, actions=left))

    def note(self, action: records.Action, facts: Mapping[str, object]) -> Changes:
        """Add these facts to a pending follow-up action."""
        noted = replace(action, detail={**action.detail, **facts})
        actions = tuple(noted if one.id == action.id else one for one in self.case.actions)
        return replace(self, case=replace(self.case, actions=actions))

    def add(self, *rows: records.Record) -> Changes:
        """Add these new rows that are not rows of the run."""
        return replace(self, rows=(*self.rows, *rows))

    def book(self, entries: Iterable[records.BookEntry]) -> Changes:
        """Add these budget entries."""
        return replace(self, case=replace(self.case, entries=(*self.case.entries, *entries)))

    def tell(self, kind: str, what: str, verdict: str, detail: str = "") -> Changes:
        """Add a line to the run's timeline."""
        return replace(self, timeline=(*self.timeline, Line(self.run.id, kind, what, verdict, detail)))

    def record(self, domain: Domain, level: str, what: str, **detail: object) -> Changes:
        """Add an entry to the audit."""
        return replace(self, audit=(*self.audit, AuditLine(domain, level, what, self.run.id, detail)))

    def stage(self, stage: JobStage, detail: str = "") -> Changes:
        """Record that the job of the signal's lease has reached this stage."""
        return replace(self, stages=(*self.stages, Staged(stage, self.lease, detail)))

    def send(self, node: str, body: ControlBody) -> Changes:
        """Add a message for a node."""
        return replace(self, controls=(*self.controls, Send(node, body)))

    def pass_over(self, run: str | None, cause: JobRefusal | FailureKind, why: str) -> Changes:
        """Record that the node could not take the run (None: any run), and gets no such job for a while."""
        return replace(self, passed_over=(*self.passed_over, PassOver(self.lease.node, run, cause, why)))

    # -- written by `apply` ----------------------------------------------------------------------

    @property
    def new(self) -> list[records.Record]:
        """Return the rows that are new."""
        run, known = [self.run] if self.fresh else [], {one.id for one in self.before.actions}
        actions = [one for one in self.case.actions if one.id not in known]
        return [*run, *self._list_changed(known=False), *actions, *self.rows]

    @property
    def gone(self) -> list[records.Action]:
        """Return the removed actions."""
        left = {one.id for one in self.case.actions}
        return [one for one in self.before.actions if one.id not in left]

    @property
    def changed(self) -> list[records.Record]:
        """Return the existing rows that have changed."""
        moved = self.run is not self.before.run and not self.fresh
        session = self.case.session
        talks = [session] if session is not None and session is not self.before.session else []
        words = [one for one in self.case.words if one not in self.before.words]
        was = {one.id: one for one in self.before.actions}
        noted = [one for one in self.case.actions if one.id in was and one != was[one.id]]
        return [*([self.run] if moved else ()), *talks, *words, *noted, *self._list_changed(known=True)]

    def _list_changed(self, known: bool) -> Iterator[records.Attempt | records.Lease]:
        was, case = self.before, self.case
        yield from (a for n, a in case.attempts.items() if _is_changed(a, was.attempts.get(n), known))
        yield from (f for n, f in case.leases.items() if _is_changed(f, was.leases.get(n), known))

    @property
    def booked(self) -> tuple[records.BookEntry, ...]:
        """Return the new budget entries."""
        return self.case.entries[len(self.before.entries) :]

    @property
    def closed(self) -> list[records.Lease]:
        """Return the leases that these changes close, or close in another way than before."""
        known, leases = self.before.leases, self.case.leases
        return [f for n, f in leases.items() if f.closed and (n not in known or known[n].closed != f.closed)]

    @property
    def placed(self) -> list[records.Lease]:
        """Return the new leases."""
        return [lease for number, lease in self.case.leases.items() if number not in self.before.leases]

    @property
    def ended(self) -> bool:
        """Whether the run ends in these changes, or gets a different end."""
        return self.case.run.outcome is not None and self.case.run.outcome != self.before.run.outcome

    @property
    def is_at_end(self) -> bool:
        """Whether the run ends in these changes, or had ended before."""
        return self.ended or self.before.run.state is records.RunState.ENDED


def _is_changed(row: records.Record, before: records.Record | None, known: bool) -> bool:
    return row is not before and (before is not None) is known


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of the feed, before it has a number."""

    kind: records.EventKind
    run: str | None = None
    node: str | None = None
    data: dict[str, object] = field(default_factory=dict)


def events_of(made: Changes) -> Iterator[Happened]:
    """Yield the events of these changes, in the order of the feed."""
    run, was = made.run, made.before.run
    if made.fresh:
        yield _make_event(
            run, records.EventKind.RUN_QUEUED, agent=run.agent, task=run.task[:200], parent=run.parent
        )
    for lease in made.placed:
        yield _make_event(run, records.EventKind.RUN_PLACED, lease.node, fence=lease.lease)
    for staged in made.stages:
        data = {"fence": staged.lease.lease, "stage": staged.stage.value, "detail": staged.detail}
        yield _make_event(run, records.EventKind.RUN_STAGE, staged.lease.node, **data)
    if run.attempt > was.attempt:
        yield _make_event(run, records.EventKind.RUN_RETRY, reason=run.reason)
    yield from _by_state(made)
    yield from _list_inbox_events(made)
    landing = records.ActionKind.LAND
    action = made.case.action(landing)
    if action is not None and action != made.before.action(landing):
        yield _make_event(run, records.EventKind.RUN_LANDING, status="waiting", commit=None)
    elif (run.landing, run.landed) != (was.landing, was.landed):
        yield _make_event(
            run, records.EventKind.RUN_LANDING, status=run.landing.get("status"), commit=run.landed
        )
    turn = SessionTurn.of(run).turn
    if turn is not None and turn != SessionTurn.of(was).turn:
        yield _make_event(
            run, records.EventKind.RUN_TURN, _find_node(run), number=turn.number, stop=turn.stop
        )


def _list_inbox_events(made: Changes) -> Iterator[Happened]:
    """Yield the events that an inbox item appeared or was answered; both if another item replaces it."""
    question, was = made.case.action(records.ActionKind.USER), made.before.action(records.ActionKind.USER)
    if was is not None and question != was:
        yield Happened(records.EventKind.INBOX_ANSWERED, made.run.id, _find_node(made.run))
    if question is not None and question != was:
        item = item_of(made.run, question)
        data: dict[str, object] = {
            "kind": item.kind.value,
            "words": item.words[:200],
            "command": item.command,
        }
        yield Happened(records.EventKind.INBOX_ITEM, made.run.id, _find_node(made.run), data)


def _by_state(made: Changes) -> Iterator[Happened]:
    run, was = made.run, made.before.run
    if made.ended:
        usage = books.used_by(run.result.get("usage"))
        data: dict[str, object] = {"outcome": run.outcome, "failure": run.failure, "tokens": usage.tokens}
        if run.judges is not None:
            data["judges"] = run.judges
        yield _make_event(run, records.EventKind.RUN_ENDED, _find_node(run), **data, reason=run.reason)
        return
    if run.state is records.RunState.INTERRUPTING and was.state is not records.RunState.INTERRUPTING:
        yield _make_event(run, records.EventKind.RUN_STOPPING, reason=run.reason)
    if run.waits is not None and (run.waits, run.reason) != (was.waits, was.reason):
        yield _make_event(run, records.EventKind.RUN_WAITS, waits=run.waits.value, reason=run.reason)
    known = made.before.attempts.get(made.attempt.attempt)
    if known is not None and made.attempt.usage != known.usage:
        cost, used = books.known_cost(made.attempt.usage), books.used_by(made.attempt.usage)
        usd = None if cost is None else f"{cost:f}"
        yield _make_event(run, records.EventKind.RUN_USAGE, tokens=used.tokens, cost_usd=usd)


def _find_node(run: records.Run) -> str | None:
    node = run.result.get("node")
    return node if isinstance(node, str) else None


def _make_event(
    run: records.Run, kind: records.EventKind, node: str | None = None, **data: object
) -> Happened:
    """Make an event of the run, with its state, its attempt, and its workflow and step if it has any."""
    place: dict[str, object] = {"state": run.state.value, "attempt": run.attempt}
    if run.workflow is not None:
        place |= {"workflow": run.workflow, "step": run.step}
    return Happened(kind, run.id, node, {**place, **data})


MOST_CHARS = 300
"""The most characters of a text in an entry: the audit is kept forever, and nodes and runs write to it."""
_LEVELS = {Outcome.DONE: "info", Outcome.INTERRUPTED: "warning", Outcome.BLOCKED: "warning"}
"""The audit level of each outcome; unlisted outcomes are errors."""
_FOUND = ("warning", "error")
MOST_HEARD = 5_000
"""The number of a lease's events up to which the node's warnings become audit entries."""


def entries_of(made: Changes) -> Iterator[AuditLine]:
    """Yield audit entries, in the order of events; other modules write those of landings and answers."""
    run, was = made.run, made.before.run
    if made.fresh:
        yield _make_queued_line(run)
    yield from _list_questions(made)
    yield from _on_nodes(made)
    yield from _list_warnings(made)
    if run.stop_asked is not None and was.stop_asked is None:
        yield _make_line(run, "warning", "stop requested", why=run.stop_asked)
    if run.attempt > was.attempt:
        last = made.case.attempts.get(was.attempt)
        failure, why = (last.failure, last.reason) if last is not None else (None, "")
        yield _make_line(run, "warning", "tried again", attempt=run.attempt, failure=failure, why=why)
    if made.ended:
        yield _make_end_line(run)


def _on_nodes(made: Changes) -> Iterator[AuditLine]:
    """Yield audit entries of starts, refusals and losses on nodes; none for a node that is only busy now."""
    run = made.run
    for staged in made.stages:
        if staged.stage is JobStage.STARTED:
            yield _make_line(run, "info", "started", node=staged.lease.node, attempt=staged.lease.attempt)
    for lease in made.closed:
        where: dict[str, object] = {"node": lease.node, "attempt": lease.attempt}
        if lease.closed is records.Closed.REFUSED:
            yield _make_line(run, "warning", "refused by its node", **where, why=run.reason)
        elif lease.closed is records.Closed.LOST:
            attempt = made.case.attempts.get(lease.attempt)
            yield _make_line(
                run, "warning", "lost on its node", **where, why=attempt.reason if attempt else ""
            )


def _list_warnings(made: Changes) -> Iterator[AuditLine]:
    """Yield audit entries of a node's warnings, such as denied calls; their number is limited."""
    found = [one for one in made.timeline if one.kind == "node" and one.verdict in _FOUND]
    if found and made.lease.cursor <= MOST_HEARD:
        for one in found:
            where = {"node": one.what, "attempt": made.lease.attempt}
            yield _make_line(made.run, one.verdict, "finding", **where, finding=one.detail)


def _make_queued_line(run: records.Run) -> AuditLine:
    """Return the audit entry of a queued run. `held` is "told only" if nothing enforces the run's rules."""
    level, held = ("warning", "told only") if run.told_only else ("info", None)
    rules = {"mode": run.mode.value, "safety": run.safety.value, "held": held}
    of = {"workflow": run.workflow, "step": run.step, "parent": run.parent, "judges": run.judges}
    what = {"agent": run.agent, "runtime": run.runtime, "model": run.asked_model or run.model}
    return _make_line(run, level, "queued", by=run.created_by, **what, **rules, **of, retry_of=run.retry_of)


def _list_questions(made: Changes) -> Iterator[AuditLine]:
    """Yield audit entries of questions to a user, about the run or about a call of its agent."""
    run, question, kind = made.run, made.case.action(records.ActionKind.USER), ItemKind.CALL
    for row in inbox.calls_of(run)[len(inbox.calls_of(made.before.run)) :]:
        yield _make_question_line(run, kind, row["command"], rule=row["pattern"])
    if question is not None and question != made.before.action(records.ActionKind.USER):
        item = item_of(run, question)
        if item.kind is not kind:
            yield _make_question_line(run, item.kind, item.words)


def _make_question_line(run: records.Run, kind: ItemKind, words: str, **detail: object) -> AuditLine:
    line = _make_line(run, "info", "waiting for a user", kind=kind.value, words=words, **detail)
    return replace(line, domain="people")


def _make_end_line(run: records.Run) -> AuditLine:
    """Return the audit entry of the run's end, with the receipt's digest, so that the chain covers it."""
    result, found = run.result, run.result.get("findings")
    findings = first_few([str(one) for one in found], 3) if isinstance(found, list | tuple) else None
    detail = {"node": result.get("node"), "failure": run.failure, "why": run.reason}
    detail |= {"exit_code": run.exit_code, "held": result.get("isolation"), "findings": findings}
    level = _LEVELS.get(run.outcome, "error") if run.outcome is not None else "error"
    if run.judges is not None and run.outcome is Outcome.VERIFY_FAILED:
        level = "info"  # the entries of the run that it checks say what follows
    return _make_line(run, level, f"ended: {run.outcome}", **detail, receipt=result.get("receipt"))


def _make_line(run: records.Run, level: str, what: str, **detail: object) -> AuditLine:
    known = {name: _shorten_value(value) for name, value in detail.items() if value not in (None, "")}
    return AuditLine("dispatch", level, what, run.id, known)


def _shorten_value(value: object) -> object:
    return str(value)[:MOST_CHARS] if isinstance(value, str) else value


def decide(case: RunCase, *signals: Signal) -> Changes:
    """Return all changes that these signals make, in order. RefusedError if a ceiling has no room for an
    admission, or if a question was already answered."""
    made = Changes(case, case, signals=signals)
    for signal in signals:
        made = signal.apply(made)
    return made
