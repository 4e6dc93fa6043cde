"""The facts that the ten gates judge by, read at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from node_agent.wire.policy import NO_RULES, Mode, Rules, Safety
from pancode.core.books import NO_CEILING, Ceilings
from pancode.core.records import Balance
from pancode.nodes.breakers import EndedTries


@dataclass(frozen=True, slots=True)
class PathFact:
    """A path that the task names: where it is, links followed, and whether something is there."""

    word: str
    path: str
    inside: bool
    exists: bool


@dataclass(frozen=True, slots=True)
class ScopeView:
    """One scope of the budget."""

    balance: Balance
    ceilings: Ceilings = NO_CEILING


@dataclass(frozen=True, slots=True)
class Parent:
    """The run that asks for this one: what it may hand on. A run may only narrow."""

    run: str
    mode: Mode
    safety: Safety
    read_only: bool
    depth: int = 0
    unheld: bool = False
    """Nothing holds it to its rule, as its owner allowed: a program of one's own, or told only."""
    usd_left: Decimal | None = None
    """Of its own limit, after what its children have taken; None: it has none."""
    walled: bool = False
    """It runs behind a sandbox or not at all."""
    rules: Rules = NO_RULES
    """Those it is under: a child is under them too, whatever the files beside it say now."""


@dataclass(frozen=True, slots=True)
class AdmissionView:
    """Everything besides the resolution that a gate may look at."""

    scopes: tuple[ScopeView, ...]
    """In the order in which they are held: the day first."""
    max_depth: int = 2
    draining: str | None = None
    """The reason why the whole fleet takes no work; None when it does."""
    paths: tuple[PathFact, ...] = ()
    unknown: tuple[str, ...] = ()
    """Runs of today whose cost nobody could tell yet."""
    parent: Parent | None = None
    ended: EndedTries = EndedTries()
    """The newest attempts that ended: of them the loop breaker judges."""
