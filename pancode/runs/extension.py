"""Functions of features that the core and each unit of work call; they know neither `Core` nor `Work`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from pancode.budget.books import Ceilings
from pancode.kernel.ports import Transaction
from pancode.kernel.records import FeedEvent, Run
from pancode.runs.life.changes import Changes
from pancode.runs.life.inbox import InboxItem

S = TypeVar("S")
F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Hook(Generic[S, F]):
    """A function of a feature. `concerns`: whether to call it for a request, run or change. It looks only at
    the value, so that no file of an unused feature is imported."""

    concerns: Callable[[S], bool]
    act: F


def accept_all(value: object) -> bool:
    """Accept every value, for a function that is always called."""
    return True


@dataclass(frozen=True, slots=True)
class LargerWork:
    """The work of several runs, such as a workflow. `stays_open`: further runs may be added at any time, so
    its runs are results of their own. `retry_of`: the larger work that it repeats. `start_again`: the command
    that starts its failed runs again."""

    id: str
    title: str
    state: str
    reason: str
    is_open: bool
    is_done: bool
    has_failed: bool
    stays_open: bool
    retry_of: str | None
    start_again: str
    list_results: Callable[[bool], tuple[str, ...]]
    """Return the runs with its results; with True, also that with the newest change, if the work failed."""


@dataclass(frozen=True, slots=True)
class RunSeries:
    """A named series of runs, such as a lane or a session. `project`: its repository; None: that of the
    folder `cwd`."""

    id: str
    project: str | None = None
    cwd: str | None = None


@dataclass(frozen=True, slots=True)
class Extensions:
    """The functions of features that need no `Core`. `pancode.runs.features.Features` has all functions."""

    changed: tuple[Hook[Changes, Callable[[Transaction, Changes], Changes]], ...] = ()
    """Add changes to those already decided for a run, in the transaction that writes them."""
    ceilings: tuple[Hook[str, Callable[[Transaction, str], Ceilings | None]], ...] = ()
    """Return the ceilings of a budget scope of the feature; None: the usual ones count."""
    facts: tuple[Callable[[Transaction, FeedEvent, Run | None], Mapping[str, str]], ...] = ()
    """Return what the feature knows of an event or its run, by which users choose events."""
    stays: tuple[Hook[Run, Callable[[Transaction, Run], str]], ...] = ()
    """Return why the run waits with the coordinator and is not handed over to a node; empty: it may be."""
    larger: tuple[Callable[[Transaction, str], LargerWork | None], ...] = ()
    """Return the larger work with this id, of which runs are part; None: the feature has none with it."""
    series: tuple[Hook[str, Callable[[Transaction, str], RunSeries]], ...] = ()
    """Return the series of a kind, such as `lane`, with this name. NotFoundError."""
    items: tuple[Callable[[Transaction], Iterable[InboxItem]], ...] = ()
    """Return inbox items that wait for a user and are no question of a run."""
