"""Decides whether a runtime's own login can be opened on a machine, by the machine's facts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pancode.agents.runtimes import RUNTIMES
from pancode.core.names import not_found
from pancode.errors import NotFoundError
from pancode.nodes.node_advice import with_words


def check_login(node: Mapping[str, Any], runtime: str) -> None:
    """NotFoundError for a runtime that there is not, or that the machine says it has not.

    What a machine that was not heard yet has, it says itself when it is asked.
    """
    if runtime not in RUNTIMES:
        raise not_found("runtime", runtime, RUNTIMES, "pancode runtimes")
    fact = next((one for one in node["runtimes"] if one["name"] == runtime), None)
    if fact is not None and fact["state"] == "missing":
        raise NotFoundError(
            f"{runtime} is not on {node['name']}",
            why=with_words("its node agent looked along its PATH", fact["says"]),
            fix=f"install it there; pancode node show {node['name']}",
            code="runtime_missing",
        )
