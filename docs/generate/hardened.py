"""Writes the page of what our units let a service do, and why not less."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from docs.generate.markdown import code, page, table, words
from pancode.fleet.systemd import hardening

COORDINATOR = "The coordinator's"
NODE = "The node agent's"


def units_page() -> str:
    return page(
        "Units",
        "`pancode/fleet/systemd/hardening.py`",
        words(
            "What systemd takes away from each of our units, and for all that `systemd-analyze security` "
            "would have taken away too, why it is not. A test asks systemd itself. `pancode service print` "
            "shows the units as they are ([how to](../howto/services.md))."
        ),
        f"## {COORDINATOR}",
        _taken(hardening.COORDINATOR, "both units"),
        "Only the system's unit:",
        _taken(hardening.SYSTEM_COORDINATOR, "system"),
        "Not taken away:",
        _reasons(hardening.NOT_COORDINATOR),
        f"## {NODE}",
        words(
            "All that a node agent starts inherits what is taken away from it, so that nothing is taken from "
            "the user's unit. What closes runs in is [the sandbox](../howto/sandbox.md), around each. "
            "Only the system's unit:"
        ),
        _taken(hardening.SYSTEM_NODE, "system"),
        "Not taken away:",
        _reasons(hardening.NOT_NODE),
        "## What a user's manager cannot do",
        words(
            "It has no right to these, or only where every user may make namespaces, and a unit asking for "
            f"them would not start elsewhere: {_listed(hardening.NOT_BY_A_USER)}."
        ),
    )


def _taken(taken: Mapping[str, str], where: str) -> str:
    return table(("Directive", f"Value, {where}"), [(code(n), code(v or "(none)")) for n, v in taken.items()])


def _reasons(reasons: Mapping[str, str]) -> str:
    return table(("Directive", "Why not"), [(code(name), why) for name, why in reasons.items()])


def _listed(names: Iterable[str]) -> str:
    return ", ".join(code(name) for name in names)
