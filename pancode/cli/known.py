"""Values that Tab may complete: fixed words, and what a coordinator knows, if one runs already."""

from __future__ import annotations

import os

import click

from pancode.errors import PancodeError

MOST_RUNS = 50


def runs(_ctx: click.Context, _param: click.Parameter, start: str) -> list[str]:
    """The last runs, newest first, and the word that names the newest."""
    answer = _asked("/v1/runs", limit=MOST_RUNS)
    names = [str(run["run"]) for run in answer.get("runs", [])]
    return _beginning(start, [*names, "last"] if names else [])


def nodes(_ctx: click.Context, _param: click.Parameter, start: str) -> list[str]:
    """The machines of the inventory."""
    return _beginning(start, [str(node["name"]) for node in _asked("/v1/fleet").get("nodes", [])])


def agents(_ctx: click.Context, _param: click.Parameter, start: str) -> list[str]:
    """Those that are defined for this folder."""
    return _names(start, "agents", here=True)


def presets(_ctx: click.Context, _param: click.Parameter, start: str) -> list[str]:
    """Those that can be applied."""
    return _names(start, "presets")


def runtimes(_ctx: click.Context, _param: click.Parameter, start: str) -> list[str]:
    """Those that a fleet knows, whether a machine has them or not."""
    return _names(start, "runtimes")


def models(_ctx: click.Context, _param: click.Parameter, start: str) -> list[str]:
    """Those of the fleet's own model servers, as a dispatch takes them."""
    return _names(start, "models", "ref", here=True)


def modes(_ctx: click.Context, _param: click.Parameter, start: str) -> list[str]:
    """What `--mode` takes."""
    from node_agent.wire.policy import Mode

    return _beginning(start, [mode.value for mode in Mode])


def levels(_ctx: click.Context, _param: click.Parameter, start: str) -> list[str]:
    """What `--safety` takes."""
    from node_agent.wire.policy import Safety

    return _beginning(start, [level.value for level in Safety])


def _names(start: str, what: str, key: str = "name", here: bool = False) -> list[str]:
    return _beginning(start, [str(one[key]) for one in _asked(f"/v1/{what}", here=here).get(what, [])])


def _asked(path: str, here: bool = False, **query: object) -> dict[str, list[dict[str, object]]]:
    """Nothing where nobody can tell: a shell that completes shows no errors. `here`: as in this folder."""
    from pancode.cli import face
    from pancode.client import Client
    from pancode.connection import home_of

    try:
        query |= {"cwd": face.here()} if here else {}
        found: dict[str, list[dict[str, object]]] = Client(home_of(os.environ), starts=False).get(
            path, **query
        )
    except PancodeError:
        return {}
    return found


def _beginning(start: str, words: list[str]) -> list[str]:
    return [word for word in words if word.startswith(start)]
