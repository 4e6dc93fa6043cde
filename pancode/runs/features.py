"""The extension points of the engine: what features add to the way of a run, as registered functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from pancode.kernel.ports import Transaction
from pancode.runs.life.changes import Changes

if TYPE_CHECKING:  # `Core` has the features, and their functions take a `Core` or a `Work`
    from pancode.runs.core import Core as Core
    from pancode.runs.unit_of_work import Work as Work

Changed: TypeAlias = Callable[[Transaction, Changes], Changes]
"""Adds to the decided changes of a run, in the transaction that writes them."""


@dataclass(frozen=True, slots=True)
class Features:
    """The functions that features register, each in the order of its calls.

    The engine knows no feature: `pancode.app.features` lists them all, and hands this value to `Core`.
    """

    changed: tuple[Changed, ...] = ()
