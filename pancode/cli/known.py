"""Values that Tab may complete: fixed words, and what a coordinator knows, if one runs already."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlencode

from pancode.cli import face
from pancode.connection import ask, home_of
from pancode.errors import PancodeError

MOST_RUNS = 50
PATIENCE_S = 2.0
"""So long a shell waits at most for a coordinator to say what there is."""


def runs(incomplete: str) -> list[str]:
    """The last runs, newest first, and the word that names the newest."""
    names = _asked("runs", "run", limit=MOST_RUNS)
    return [*names, "last"] if names else []


def nodes(incomplete: str) -> list[str]:
    """The machines of the inventory."""
    return _asked("nodes", path="fleet")


def agents(incomplete: str) -> list[str]:
    """Those that are defined for this folder."""
    return _asked("agents", here=True)


def presets(incomplete: str) -> list[str]:
    """Those that can be applied."""
    return _asked("presets")


def runtimes(incomplete: str) -> list[str]:
    """Those that a fleet knows, whether a machine has them or not."""
    return _asked("runtimes")


def models(incomplete: str) -> list[str]:
    """Those of the fleet's own model servers, as a dispatch takes them."""
    return _asked("models", "ref", here=True)


def modes(incomplete: str) -> list[str]:
    """What `--mode` takes."""
    from node_agent.wire.policy import Mode

    return [mode.value for mode in Mode]


def levels(incomplete: str) -> list[str]:
    """What `--safety` takes."""
    from node_agent.wire.policy import Safety

    return [level.value for level in Safety]


def _asked(what: str, key: str = "name", path: str = "", here: bool = False, **query: Any) -> list[str]:
    """Nothing where nobody can tell: a shell that completes shows no errors. `here`: as in this folder."""
    try:
        query |= {"cwd": face.here()} if here else {}
        told = ask(home_of(os.environ), f"/v1/{path or what}?{urlencode(query)}", PATIENCE_S) or {}
        return [str(one[key]) for one in told.get(what, [])]
    except (PancodeError, KeyError, TypeError):
        return []
