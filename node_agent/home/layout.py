"""Gives the layout of a node's home a number, and refuses a home that a newer node agent wrote."""

from __future__ import annotations

from node_agent.files.durable import write_atomic
from node_agent.home.settings import Home, SettingsError
from node_agent.wire.node import HOME_LAYOUT

LAYOUT = HOME_LAYOUT
"""2: ADR 17 (1 was never released, and is not read).
3: ADR 30. Files of layout 2 are read as they are, also those of a shim that still runs.
A change of where or how the files lie raises the number, and describes here how older homes are read."""
_FIX = (
    "bring this fleet up with the version of PanCode that was here last, or a newer one; "
    "or take the node out (pancode node rm NAME) and add it anew"
)


def take_over(home: Home) -> None:
    """Before anything else of the home is read. SettingsError, and nothing was touched, for one of later."""
    number = _number(home)
    if number > LAYOUT:
        raise SettingsError(
            f"{home.root} is of layout {number}, as a newer node agent writes it; "
            f"this one knows layout {LAYOUT} and none above\n  fix: {_FIX}"
        )
    if number != LAYOUT or not home.layout.exists():
        write_atomic(home.layout, f"{LAYOUT}\n".encode())


def _number(home: Home) -> int:
    try:
        text = home.layout.read_text("ascii", "replace").strip()
    except FileNotFoundError:
        return LAYOUT
    if not text.isdigit():
        raise SettingsError(f"{home.layout} holds no number of a layout: {text[:40]!r}\n  fix: {_FIX}")
    return int(text)
