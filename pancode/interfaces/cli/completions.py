"""Returns the values that Tab completes: fixed ones, and names from a coordinator that already runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from typer import Context

from pancode.interfaces.client.caller import folder_here
from pancode.interfaces.client.client import home_of, try_get
from pancode.interfaces.client.remote.place import remote_of
from pancode.kernel.errors import PancodeError
from pancode.kernel.formatting import format_title
from pancode.runs.answers import RunShape

MOST_RUNS = 50

PATIENCE_S = 2.0
"""How long the completion waits at most for a coordinator's answer."""


def _make_completer(
    what: str, key: str = "name", path: str = "", here: bool = False
) -> Callable[[str], list[str]]:
    """Return a completer that offers nothing if the coordinator is down. `here`: only this folder's names."""

    def names(incomplete: str) -> list[str]:
        try:
            query = {"cwd": folder_here()} if here else {}
            return [str(one[key]) for one in _list_known(what, path or what, **query)]
        except (PancodeError, KeyError, TypeError):
            return []

    return names


def _list_known(what: str, path: str, **query: object) -> list[Any]:
    if remote_of(os.environ) is not None:  # Tab must not start a login, which may ask for a password
        return []
    answer = try_get(home_of(os.environ), f"/v1/{path}?{urlencode(query)}", PATIENCE_S) or {}
    return list(answer.get(what, []))


nodes, presets = _make_completer("nodes", path="fleet"), _make_completer("presets")
runtimes = _make_completer("runtimes")
agents, models = _make_completer("agents", here=True), _make_completer("models", "ref", here=True)
workflows = _make_completer("workflows", "workflow")
schedules = _make_completer("schedules", "schedule")
workspaces = _make_completer("workspaces", "workspace")
lanes = _make_completer("lanes", "lane")
projects = _make_completer("projects")
settings = _make_completer("settings", "key", path="config")
_FITS: Mapping[str, Callable[[RunShape], bool]] = {
    **dict.fromkeys(("stop", "tell"), lambda run: run["outcome"] is None),
    **dict.fromkeys(
        ("approve", "deny", "answer"), lambda run: run["status"] == "asks_you" or run["waits"] is not None
    ),
    "land": lambda run: run["status"] in ("to_land", "conflict"),
}
"""By command: the runs on which it can act."""


def complete_runs(ctx: Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the latest runs that the command can act on, newest first, with status and task; then `last`."""
    try:
        runs: list[RunShape] = _list_known("runs", "runs", limit=MOST_RUNS)
    except PancodeError:
        return []
    if (fits := _FITS.get(ctx.info_name or "")) is not None:
        runs = list(filter(fits, runs))
    names = [(run["run"], f"{run['status']}: {format_title(run['task'])}") for run in runs]
    return [*names, ("last", "the newest run of this repository")] if names else []


def complete_modes(incomplete: str) -> list[str]:
    """Return the values of `--mode`."""
    from node_agent.wire.policy import Mode

    return [mode.value for mode in Mode]


def complete_levels(incomplete: str) -> list[str]:
    """Return the values of `--safety`."""
    from node_agent.wire.policy import Safety

    return [level.value for level in Safety]


def complete_policies(incomplete: str) -> list[str]:
    """Return what `policy show` accepts: `modes`, modes, safety levels and runtimes."""
    return ["modes", *complete_modes(incomplete), *complete_levels(incomplete), *runtimes(incomplete)]
