"""Says by a number how a node's home is laid out: what an older node agent left is made ours, or refused."""

from __future__ import annotations

from pathlib import Path

from node_agent.durable import from_json, read_framed, to_json, write_atomic
from node_agent.records import folded, opened
from node_agent.settings import Home, SettingsError
from node_agent.shelf import FileShelf
from node_agent.wire.clock import Clock
from node_agent.wire.node import HOME_LAYOUT

LAYOUT = HOME_LAYOUT
"""1: a receipt in a file of its own, and a folder for the work (never released, without a number).
2: ADR 17.
3: ADR 30. What 2 has is read as it is, also of a shim of it that still runs.
Whoever changes where or how a home's things lie counts on, and says below what becomes of it."""
_OLD_RECEIPT, _OLD_WORK = "receipt", "work"
_ENDED = "the node agent was replaced by a newer one that keeps its records otherwise: what ran was ended"
_FIX = (
    "bring this fleet up with the version of PanCode that was here last, or a newer one; "
    "or take the node out (pancode node rm NAME) and add it anew"
)


def take_over(home: Home, clock: Clock) -> None:
    """Before anything else of the home is read. SettingsError, and nothing was touched, for one of later."""
    number = _number(home)
    if number > LAYOUT:
        raise SettingsError(
            f"{home.root} is of layout {number}, as a newer node agent writes it; "
            f"this one knows layout {LAYOUT} and none above\n  fix: {_FIX}"
        )
    if number < 2:
        _from_first(home.journal, clock)
    if number != LAYOUT or not home.layout.exists():
        write_atomic(home.layout, f"{LAYOUT}\n".encode())


def _number(home: Home) -> int:
    try:
        text = home.layout.read_text("ascii", "replace").strip()
    except FileNotFoundError:
        return 1 if [*home.journal.glob(f"*/{_OLD_RECEIPT}")] else LAYOUT
    if not text.isdigit():
        raise SettingsError(f"{home.layout} holds no number of a layout: {text[:40]!r}\n  fix: {_FIX}")
    return int(text)


def _from_first(journal: Path, clock: Clock) -> None:
    """Entry by entry, each until its old receipt is gone: may be cut short anywhere, and begun again.

    A receipt stands. What has none is not started again and not gone on with: its processes, in records that
    nobody reads any more, are ended as those of a damaged entry are, and it is told.
    """
    shelf = FileShelf(journal)
    for name in shelf.names():
        old = journal / name / _OLD_RECEIPT
        if not old.exists():
            continue
        sealed = read_framed(old)
        if sealed is not None and shelf.receipt(name) is None:
            shelf.put_back(name, sealed)
        elif sealed is None and _is_under_way(shelf, name):
            shelf.append(name, to_json({"w": clock.wall_ms(), "x": True, "f": [_ENDED]}))
        (journal / name / _OLD_WORK / "plan.json").unlink(missing_ok=True)  # values of secrets may be in it
        old.unlink()


def _is_under_way(shelf: FileShelf, name: str) -> bool:
    """What makes no sense is left to the journal, which sets it aside."""
    try:
        first, *more = map(from_json, shelf.read(name))
        entry = opened(first)
        for record in more:
            entry = folded(entry, record)
    except (ValueError, KeyError, TypeError):
        return False
    return not entry.final
