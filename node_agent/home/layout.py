"""Numbers the layout of a node's home, and refuses a home of another layout."""

from __future__ import annotations

from node_agent.files.durable import write_atomic
from node_agent.home.settings import NodeHome, SettingsError
from node_agent.wire.node import HOME_LAYOUT

LAYOUT = HOME_LAYOUT
"""4: ADR 17 and 39, one folder and one journal for each attempt. 1 to 3 were never released.
A change of where or how the files lie raises the number, and describes here how older homes are read."""
_FIX = (
    "bring this fleet up with the version of PanCode that was here last, or a newer one; "
    "or take the node out (pancode node rm NAME) and add it anew"
)


def take_over(home: NodeHome) -> None:
    """Before anything else of the home is read. SettingsError, nothing touched, for another layout."""
    number = _number(home)
    if number != LAYOUT:
        writer = "a newer" if number > LAYOUT else "an older"
        raise SettingsError(
            f"{home.root} is of layout {number}, as {writer} node agent writes it; "
            f"this one knows layout {LAYOUT} alone\n  fix: {_FIX}"
        )
    if not home.layout.exists():
        write_atomic(home.layout, f"{LAYOUT}\n".encode())


def _number(home: NodeHome) -> int:
    try:
        text = home.layout.read_text("ascii", "replace").strip()
    except FileNotFoundError:
        return LAYOUT
    if not text.isdigit():
        raise SettingsError(f"{home.layout} holds no number of a layout: {text[:40]!r}\n  fix: {_FIX}")
    return int(text)
