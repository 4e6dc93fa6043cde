"""Changes or removes existing rows: reads them, calls a pure function and writes the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pancode.kernel.ports import Transaction
from pancode.kernel.records import ControlMessage, Record

R = TypeVar("R", bound=Record)


def edit_row(tx: Transaction, kind: type[R], *key: str | int, change: Callable[[R], R]) -> None:
    """Replace a row by the result of `change`, if the row exists."""
    row = tx.get(kind, *key)
    if row is not None:
        tx.put(change(row))


def take_controls(
    tx: Transaction, tag: str | None, fits: Callable[[ControlMessage], bool] = lambda _: True
) -> list[ControlMessage]:
    """Remove and return the matching control messages of one node, or of all nodes (`tag` None)."""
    where = None if tag is None else {"tag": tag}
    removed = [message for message in tx.find(ControlMessage, where) if fits(message)]
    for message in removed:
        tx.delete(ControlMessage, message.tag, message.seq)
    return removed
