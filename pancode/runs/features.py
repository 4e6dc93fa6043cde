"""Extension points of the engine: functions that features register for the steps of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, TypeAlias

from node_agent.wire.receipt import Claims
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run
from pancode.kernel.rows import Record
from pancode.kernel.threads import BackgroundThread
from pancode.runs.admission.plan import LaidInput, Plan
from pancode.runs.answers import LaterSteps, Need
from pancode.runs.begun_later import LaterWork
from pancode.runs.core import Core
from pancode.runs.extension import Extensions, Hook
from pancode.runs.facts import Lineage
from pancode.runs.request import DispatchRequest, PromptParts
from pancode.runs.retention.rules import FilesNeed
from pancode.runs.unit_of_work import Work
from pancode.runs.user_environment import Around, Surroundings


@dataclass(frozen=True, slots=True)
class Joining:
    """A run that is about to be admitted, with the run that it continues. `budget`: the ceiling of a new
    session."""

    run: Run
    continued: Run | None = None
    budget: Decimal | None = None

    @property
    def is_in_workspace(self) -> bool:
        """Whether the run was dispatched with a workspace's name."""
        return bool(Lineage.of(self.run).in_workspace)

    @property
    def follows_step(self) -> bool:
        """Whether the run continues a run of a workflow."""
        return self.continued is not None and self.continued.workflow is not None


@dataclass(frozen=True, slots=True)
class HeldThing:
    """Something pending that a hold concerns. `usd`: the most that it may cost; None: unknown. `drop` and
    `release` take the user's name; `release` is called before the thing is released."""

    name: str
    kind: str
    what: str
    since_ms: int
    drop: Callable[[str], object]
    usd: Decimal | None = None
    release: Callable[[str], object] = lambda by: None
    has_steps: bool = False
    """Whether it is made of runs, some of which a restored ledger may lack."""


CompleteRequest: TypeAlias = Callable[[Core, Surroundings, DispatchRequest, bool], DispatchRequest]
GiveParts: TypeAlias = Callable[[Core, Surroundings, DispatchRequest, tuple[str, ...]], PromptParts]


@dataclass(frozen=True, slots=True)
class Features(Extensions):
    """The functions that features register, each in calling order. The engine does not know the features:
    `pancode.app.features` lists them all, and passes this value to `Core`."""

    complete: tuple[Hook[DispatchRequest, CompleteRequest], ...] = ()
    """Complete a request; with the flag it is only judged now, and begins later."""
    prompt_parts: tuple[Hook[DispatchRequest, GiveParts], ...] = ()
    """Return additions to an agent's prompt; the names are those of the agent's skills."""
    inputs: tuple[Hook[Plan, Callable[[Core, Plan, str], LaidInput | None]], ...] = ()
    """Add files to the checkout of the run with this id; None: there are none."""
    join: tuple[Hook[Joining, Callable[[Work, Joining], Run]], ...] = ()
    """Write the rows of a feature in the transaction that admits a run, and return the run."""
    accepted: tuple[Hook[Claims, Callable[[Work, Claims], None]], ...] = ()
    """Store data from a receipt, in the transaction that accepts the receipt."""
    needs: tuple[Callable[[Core, Transaction, Run], FilesNeed | None], ...] = ()
    """Return why the files of an ended run are retained; None: no reason."""
    needs_user: tuple[Callable[[Core, Transaction], Iterable[Need]], ...] = ()
    """Return what needs a user, however old it is."""
    dismiss: tuple[Callable[[Core, str, str, bool], None], ...] = ()
    """Record that a user, by name, is done with an ended run; with True, take that back. Idempotent."""
    later: tuple[Callable[[Transaction], Iterable[LaterSteps]], ...] = ()
    """Return work of the feature that begins runs later, and needs the coordinator for it."""
    planned: tuple[Hook[str, Callable[[Mapping[str, Any], str, Mapping[str, Any]], LaterWork]], ...] = ()
    """Read work of this kind from its row, as requested by a name, with the caller's settings."""
    approved: tuple[Callable[[Transaction], Iterable[str]], ...] = ()
    """Return the SHA-256 of files whose text a user has approved."""
    begun_by: tuple[Callable[[Transaction, str], Iterable[str]], ...] = ()
    """Return the ids of open things that the token with this name began."""
    revoked: tuple[Callable[[Work, str], list[str]], ...] = ()
    """Pause what a revoked token has created; return the names of what was paused."""
    held: tuple[Callable[[Core, Transaction], Iterable[HeldThing]], ...] = ()
    """Return what a feature has as pending, for the hold of a restored ledger."""
    threads: tuple[Callable[[Core, Around], Iterable[BackgroundThread]], ...] = ()
    """Return threads of a feature, which the coordinator starts and stops."""
    tables: tuple[type[Record], ...] = ()
    """The tables of the feature."""


def features_of(core: Core) -> Features:
    """Return the functions with which the core was made."""
    if not isinstance(core.extensions, Features):
        raise TypeError("a Core needs Features")
    return core.extensions


def join_features(*features: Features) -> Features:
    """Return one value with the functions of all these features, in the order of the features."""
    together = {
        one.name: tuple(function for feature in features for function in getattr(feature, one.name))
        for one in fields(Features)
    }
    return Features(**together)
