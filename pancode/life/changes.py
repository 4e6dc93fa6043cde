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
    """A control message for a node, by name. A node without a key is sent nothing."""

    node: str
    body: ControlBody


@dataclass(frozen=True, slots=True)
class PassOver:
    """For a while the node is not offered this run (None: any run)."""

    node: str
    run: str | None
    cause: OrderRefusal | FailureKind
    why: str


@dataclass(frozen=True, slots=True)
class Staged:
    """An order has reached this stage."""

    stage: OrderStage
    fence: Fence
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes of one signal or several. Frozen: each step returns a new value with more changes."""

    before: RunCase
    case: RunCase
    """The run as it is now, for the next step."""
    fresh: bool = False
    """Whether the run itself is new."""
    rows: tuple[Record, ...] = ()
    """New rows of other kinds."""
    story: tuple[Line, ...] = ()
    audit: tuple[AuditLine, ...] = ()
    controls: tuple[Send, ...] = ()
    passed_over: tuple[PassOver, ...] = ()
    stages: tuple[Staged, ...] = ()

    @classmethod
    def of(cls, case: RunCase) -> Changes:
        """The beginning: no change yet."""
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
        """Put these new or changed rows of the run."""
        case = self.case
        for row in rows:
            case = case.with_row(row)
        return replace(self, case=case)

    def follow(self, kind: ActionKind, by: str, detail: Mapping[str, object] | None = None) -> Changes:
        """Add this follow-up action."""
        action = Action(self.now.new_id(), kind, self.run.id, self.now.ms, by, dict(detail or {}))
        return replace(self, case=replace(self.case, actions=(*self.case.actions, action)))

    def advance(self) -> Changes:
        """Look at the run's workflow next, if it has one."""
        run = self.run
        if run.workflow is None:
            return self
        return self.add(
            Action(self.now.new_id(), ActionKind.ADVANCE, run.workflow, self.now.ms, run.created_by)
        )

    def done(self, action: Action | None) -> Changes:
        """Remove this follow-up action."""
        left = tuple(one for one in self.case.actions if one != action)
        return replace(self, case=replace(self.case, actions=left))

    def add(self, *rows: Record) -> Changes:
        """Add these new rows of another kind."""
        return replace(self, rows=(*self.rows, *rows))

    def book(self, entries: Iterable[BookEntry]) -> Changes:
        """Add these entries to the books."""
        return replace(self, case=replace(self.case, entries=(*self.case.entries, *entries)))

    def tell(self, kind: str, what: str, verdict: str, detail: str = "") -> Changes:
        """Add a line to the run's story."""
        return replace(self, story=(*self.story, Line(self.run.id, kind, what, verdict, detail)))

    def record(self, domain: Domain, level: str, what: str, **detail: object) -> Changes:
        """Add a line to the audit."""
        return replace(self, audit=(*self.audit, AuditLine(domain, level, what, self.run.id, detail)))

    def stage(self, stage: OrderStage, detail: str = "") -> Changes:
        """Record that this fence's order has reached the stage."""
        return replace(self, stages=(*self.stages, Staged(stage, self.fence, detail)))

    def send(self, node: str, body: ControlBody) -> Changes:
        """Add a message for a node."""
        return replace(self, controls=(*self.controls, Send(node, body)))

    def pass_over(self, run: str | None, cause: OrderRefusal | FailureKind, why: str) -> Changes:
        """The fence's node could not take the run, and is not offered it again for a while."""
        return replace(self, passed_over=(*self.passed_over, PassOver(self.fence.node, run, cause, why)))

    # -- what `apply` writes ----------------------------------------------------------------------

    @property
    def new(self) -> list[Record]:
        """The rows that did not exist before."""
        run, actions = [self.run] if self.fresh else [], set(self.case.actions) - set(self.before.actions)
        return [*run, *self._beyond(known=False), *actions, *self.rows]

    @property
    def gone(self) -> list[Action]:
        """The actions that are removed."""
        return [action for action in self.before.actions if action not in self.case.actions]

    @property
    def changed(self) -> list[Record]:
        """The existing rows that have changed."""
        moved = self.run is not self.before.run and not self.fresh
        return [*([self.run] if moved else ()), *self._beyond(known=True)]

    def _beyond(self, known: bool) -> Iterator[Attempt | Fence]:
        was, case = self.before, self.case
        yield from (a for n, a in case.attempts.items() if _differs(a, was.attempts.get(n), known))
        yield from (f for n, f in case.fences.items() if _differs(f, was.fences.get(n), known))

    @property
    def booked(self) -> tuple[BookEntry, ...]:
        """The new entries of the books."""
        return self.case.entries[len(self.before.entries) :]

    @property
    def closed(self) -> list[Fence]:
        """The fences that were open, or lost, and are now closed in another way."""
        known, fences = self.before.fences, self.case.fences
        return [f for n, f in fences.items() if f.closed and (n not in known or known[n].closed != f.closed)]

    @property
    def placed(self) -> list[Fence]:
        """The new fences."""
        return [fence for number, fence in self.case.fences.items() if number not in self.before.fences]

    @property
    def ended(self) -> bool:
        """Whether the run has ended now, or has got another end."""
        return self.case.run.outcome is not None and self.case.run.outcome != self.before.run.outcome


def _differs(row: Record, before: Record | None, known: bool) -> bool:
    return row is not before and (before is not None) is known
