"""What features add to each change of a run. A unit of work calls it; it knows neither `Core` nor `Work`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from pancode.kernel.ports import Transaction
from pancode.runs.life.changes import Changes

S = TypeVar("S")
F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Hook(Generic[S, F]):
    """A function of a feature. `concerns`: whether to call it for a request, run or change. This is an
    `attrgetter` that looks only at the value, so that no file of an unused feature is imported."""

    concerns: Callable[[S], bool]
    act: F


def accept_all(value: object) -> bool:
    """Accept every value, for a function that is always called."""
    return True


AddChanges: TypeAlias = Callable[[Transaction, Changes], Changes]


@dataclass(frozen=True, slots=True)
class Extensions:
    """The functions of features that need no `Core`. `pancode.runs.features.Features` has all functions."""

    changed: tuple[Hook[Changes, AddChanges], ...] = ()
    """Add changes to those already decided for a run, in the transaction that writes them."""
