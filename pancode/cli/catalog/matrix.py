"""Draws which runtime is ready on which machine, what each enforces by itself, and the fixes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pancode.cli.output.render import safe
from pancode.cli.output.tables import table


def matrix(runtimes: Sequence[dict[str, Any]], walls: Sequence[dict[str, Any]] = ()) -> str:
    """A row for each runtime, a row for each fix, and the wall around runs, each with its machines."""
    if not any(runtime["nodes"] for runtime in runtimes):
        return "no machine has reported yet\n"
    rows = [(r["name"], _on(r["nodes"], ready=True), _on(r["nodes"], ready=False)) for r in runtimes]
    parts = [table(("RUNTIME", "READY", "NOT READY"), rows)]
    if any(by_subscription(fact) for runtime in runtimes for fact in runtime["nodes"]):
        parts.append("subscription: the vendor's own login, not metered; the program's own figures count\n")
    parts += ["".join(_fixes(runtimes))] if any(_fixes(runtimes)) else []
    if walls:
        around: dict[tuple[str, str], list[str]] = {}
        for wall in walls:
            around.setdefault((_shown(wall["isolation"]), wall["holds"]), []).append(wall["node"])
        held = [(", ".join(nodes), *wall) for wall, nodes in around.items()]
        parts.append(table(("NODE", "WALL", "HOLDS"), held))
    return "\n".join([*parts, "flags, reasoning and logins of one: pancode runtimes show NAME\n"])


def _on(facts: Sequence[dict[str, Any]], *, ready: bool) -> str:
    """The machines that have it, or have it not; those with the same version or state stand together."""
    found: dict[str, list[str]] = {}
    for fact in facts:
        if (fact["state"] == "ok" or is_local_only(fact)) is ready:
            found.setdefault(_cell(fact), []).append(fact["node"])
    return "; ".join(f"{cell} on {', '.join(nodes)}" for cell, nodes in found.items())


def _shown(value: str | None) -> str:
    return value or "-"


def does(fact: dict[str, Any]) -> str:
    """The flags of a runtime as a node told them."""
    return ", ".join(fact.get("can", ()))


def _cell(fact: dict[str, Any]) -> str:
    if is_local_only(fact):
        return f"{fact['version'] or 'ok'} (own servers)"
    found = fact["version"] or "ok" if fact["state"] == "ok" else str(fact["state"]).replace("_", " ")
    return f"{found} (subscription)" if fact["state"] == "ok" and by_subscription(fact) else found


def is_local_only(fact: dict[str, Any]) -> bool:
    """Whether it is no vendor's own program, has no key, and asks model servers of the machine's own."""
    return bool(fact.get("served"))


def by_subscription(fact: dict[str, Any]) -> bool:
    """Whether its runs go by a vendor's own login there."""
    return fact.get("login") == "subscription"


def _fixes(runtimes: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Each fix once, whole and in a line of its own; machines with the same need stand together."""
    for runtime in runtimes:
        needs: dict[tuple[str, str], list[str]] = {}
        for fact in runtime["nodes"]:
            said = str(fact.get("says") or "").removeprefix(f"{fact['node']} says: ") or fact["fix"]
            if said:
                hint = said.replace(f" {fact['node']} ", " NODE ")
                needs.setdefault((_need(fact), hint), []).append(fact["node"])
        for (word, hint), nodes in needs.items():
            fix = hint if len(nodes) > 1 else hint.replace(" NODE ", f" {nodes[0]} ")
            yield safe(f"{runtime['name']}: {word} on {', '.join(nodes)}") + f"\n  {safe(fix)}\n"


def _need(fact: dict[str, Any]) -> str:
    if is_local_only(fact):
        return f"for {', '.join(fact['endpoints'])}; for others"
    return "another version" if fact["state"] == "ok" else fact["state"].replace("_", " ")


def evidence_of(answer: dict[str, Any]) -> str:
    """The holder of each rule and the number of breaches, as text; for one runtime also each act."""
    heads = ("RUNTIME", "VERSION", "RULE", "WITH A SANDBOX", "HAPPENED", "WITHOUT", "HAPPENED")
    parts = [table(heads, list(map(_evidence_row, answer["matrix"])))]
    if acts := [tuple(one.values())[1:] for one in answer.get("acts", ()) if any(tuple(one.values())[2:])]:
        rules = [rule.upper() for rule in list(answer["acts"][0])[2:]]
        parts.append(table(("ACT", *rules), acts))
    return "\n".join([*parts, f"measured {answer['measured']}; see docs/reference/safety-matrix.md\n"])


def _evidence_row(row: dict[str, Any]) -> tuple[str, ...]:
    counts = [
        f"{len(row[key])} of {row['tried']}" if row["tried"] else "-"
        for key in ("happened_with", "happened_without")
    ]
    version = row["version"] or "-"
    return row["runtime"], version, row["rule"], row["with_sandbox"], counts[0], row["without"], counts[1]
