"""What a decision changes, as a value: rows, book entries, story, audit, messages to nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from node_agent.wire.control import ControlBody
from node_agent.wire.failure import FailureKind, OrderRefusal
from node_agent.wire.logs import OrderStage
from pancode.core.records import Action, ActionKind, Attempt, BookEntry, Fence, Record, Run
from pancode.core.values import replace
from pancode.life.case import Now, RunCase

Domain = Literal["budget", "config", "dispatch", "fleet", "land", "people", "receipt", "schedule", "trust"]
"""What an entry of the audit is about."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a run's story (`pancode why`)."""

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
    """A control message for a node, by name. A node that has no key is sent nothing."""

    node: str
    body: ControlBody


@dataclass(frozen=True, slots=True)
class PassOver:
    """A node is offered this run (None: any run) no more for a while."""

    node: str
    run: str | None
    cause: OrderRefusal | FailureKind
    why: str


@dataclass(frozen=True, slots=True)
class Staged:
    """An order has come so far."""

    stage: OrderStage
    fence: Fence
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """What follows from one signal or several. Frozen: each step gives a new value with more in it."""

    before: RunCase
    case: RunCase
    """The run as it is now, for the next step."""
    fresh: bool = False
    """The run itself is new."""
    rows: tuple[Record, ...] = ()
    """New rows of other kinds."""
    story: tuple[Line, ...] = ()
    audit: tuple[AuditLine, ...] = ()
    controls: tuple[Send, ...] = ()
    passed_over: tuple[PassOver, ...] = ()
    stages: tuple[Staged, ...] = ()

    @classmethod
    def of(cls, case: RunCase) -> Changes:
        """Nothing yet."""
        return cls(case, case)

    # -- what the next step looks at --------------------------------------------------------------

    @property
    def run(self) -> Run:
        return self.case.run

    @property
    def attempt(self) -> Attempt:
        return self.case.attempt

    @property
    def fence(self) -> Fence:
        return self.case.fence

    @property
    def now(self) -> Now:
        return self.case.now

    # -- what it adds -----------------------------------------------------------------------------

    def put(self, *rows: Run | Attempt | Fence) -> Changes:
        """These rows of the run are new, or have changed."""
        case = self.case
        for row in rows:
            case = case.with_row(row)
        return replace(self, case=case)

    def follow(self, kind: ActionKind, by: str, detail: Mapping[str, object] | None = None) -> Changes:
        """This is to be done next."""
        action = Action(self.now.new_id(), kind, self.run.id, self.now.ms, by, dict(detail or {}))
        return replace(self, case=replace(self.case, actions=(*self.case.actions, action)))

    def advance(self) -> Changes:
        """The workflow of the run, where it has one, is to be looked at next."""
        run = self.run
        if run.workflow is None:
            return self
        return self.add(
            Action(self.now.new_id(), ActionKind.ADVANCE, run.workflow, self.now.ms, run.created_by)
        )

    def done(self, action: Action | None) -> Changes:
        """It is not to be done any more."""
        left = tuple(one for one in self.case.actions if one != action)
        return replace(self, case=replace(self.case, actions=left))

    def add(self, *rows: Record) -> Changes:
        """These rows of another kind are new."""
        return replace(self, rows=(*self.rows, *rows))

    def book(self, entries: Iterable[BookEntry]) -> Changes:
        """These are new in the books."""
        return replace(self, case=replace(self.case, entries=(*self.case.entries, *entries)))

    def tell(self, kind: str, what: str, verdict: str, detail: str = "") -> Changes:
        """One more line of the run's story."""
        return replace(self, story=(*self.story, Line(self.run.id, kind, what, verdict, detail)))

    def record(self, domain: Domain, level: str, what: str, **detail: object) -> Changes:
        """One more line of the audit."""
        return replace(self, audit=(*self.audit, AuditLine(domain, level, what, self.run.id, detail)))

    def stage(self, stage: OrderStage, detail: str = "") -> Changes:
        """The order of this fence has come so far."""
        return replace(self, stages=(*self.stages, Staged(stage, self.fence, detail)))

    def send(self, node: str, body: ControlBody) -> Changes:
        """One more message for a node."""
        return replace(self, controls=(*self.controls, Send(node, body)))

    def pass_over(self, run: str | None, cause: OrderRefusal | FailureKind, why: str) -> Changes:
        """The fence's node could not take it: it is not offered it again for a while."""
        return replace(self, passed_over=(*self.passed_over, PassOver(self.fence.node, run, cause, why)))

    # -- what `apply` writes ----------------------------------------------------------------------

    @property
    def new(self) -> list[Record]:
        """Rows that were not there."""
        run, actions = [self.run] if self.fresh else [], set(self.case.actions) - set(self.before.actions)
        return [*run, *self._beyond(known=False), *actions, *self.rows]

    @property
    def gone(self) -> list[Action]:
        """Actions that are not to be done any more."""
        return [action for action in self.before.actions if action not in self.case.actions]

    @property
    def changed(self) -> list[Record]:
        """Rows that were there, and are others now."""
        moved = self.run is not self.before.run and not self.fresh
        return [*([self.run] if moved else ()), *self._beyond(known=True)]

    def _beyond(self, known: bool) -> Iterator[Attempt | Fence]:
        was, case = self.before, self.case
        yield from (a for n, a in case.attempts.items() if _differs(a, was.attempts.get(n), known))
        yield from (f for n, f in case.fences.items() if _differs(f, was.fences.get(n), known))

    @property
    def booked(self) -> tuple[BookEntry, ...]:
        """The new entries."""
        return self.case.entries[len(self.before.entries) :]

    @property
    def closed(self) -> list[Fence]:
        """Fences that were open, or lost, and are closed otherwise now."""
        known, fences = self.before.fences, self.case.fences
        return [f for n, f in fences.items() if f.closed and (n not in known or known[n].closed != f.closed)]

    @property
    def placed(self) -> list[Fence]:
        """Fences that are new."""
        return [fence for number, fence in self.case.fences.items() if number not in self.before.fences]

    @property
    def ended(self) -> bool:
        """Whether the run has come to an end, or to another one."""
        return self.case.run.outcome is not None and self.case.run.outcome != self.before.run.outcome


def _differs(row: Record, before: Record | None, known: bool) -> bool:
    return row is not before and (before is not None) is known
