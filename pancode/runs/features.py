"""The extension points of the engine: what features add to the way of a run, as registered functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from node_agent.wire.receipt import Claims
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run
from pancode.kernel.threads import BackgroundThread
from pancode.runs.answers import BriefLine
from pancode.runs.life.changes import Changes
from pancode.runs.retention.rules import FilesNeed
from pancode.runs.user_environment import Around

if TYPE_CHECKING:  # `Core` has the features, and their functions take a `Work`
    from pancode.runs.core import Core
    from pancode.runs.unit_of_work import Work

AddChanges: TypeAlias = Callable[[Transaction, Changes], Changes]
AcceptReceipt: TypeAlias = "Callable[[Work, Claims], None]"
CompleteOrder: TypeAlias = Callable[[Transaction, Run], Run]
FindNeed: TypeAlias = Callable[[Transaction, Run], FilesNeed | None]
FindLines: TypeAlias = "Callable[[Core, Transaction, int], Iterable[BriefLine]]"
FollowRevoked: TypeAlias = "Callable[[Work, str], list[str]]"
MakeThreads: TypeAlias = "Callable[[Core, Around], Iterable[BackgroundThread]]"


@dataclass(frozen=True, slots=True)
class Features:
    """The functions that features register, each in the order of its calls.

    The engine knows no feature: `pancode.app.features` lists them all, and hands this value to `Core`.
    """

    changed: tuple[AddChanges, ...] = ()
    """Add to the decided changes of a run, in the transaction that writes them."""
    accepted: tuple[AcceptReceipt, ...] = ()
    """Keep what an accepted receipt brings, in the transaction that accepts it."""
    ordered: tuple[CompleteOrder, ...] = ()
    """Return the run with what its order carries for a feature."""
    needs: tuple[FindNeed, ...] = ()
    """Return why the files of an ended run stay, or None."""
    brief: tuple[FindLines, ...] = ()
    """Return lines for a person's brief since that time, in Unix milliseconds."""
    revoked: tuple[FollowRevoked, ...] = ()
    """Pause what a revoked token, by its name, has made; return the names of that."""
    threads: tuple[MakeThreads, ...] = ()
    """Return the threads of a feature that the coordinator starts and stops."""
