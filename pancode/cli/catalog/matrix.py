"""Draws which runtime is ready on which machine, what each enforces by itself, and the fixes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pancode.cli.output.tables import table

_CELLS = {
    **{"missing": "-", "looking": "looking"},
    **{"not_logged_in": "not logged in", "unknown_version": "unknown version", "too_old": "too old"},
}


def matrix(runtimes: Sequence[dict[str, Any]], walls: Sequence[dict[str, Any]] = ()) -> str:
    """Machines by runtimes, the runtimes' flags, the fixes, each once, and what stands around runs."""
    nodes = list(dict.fromkeys(fact["node"] for runtime in runtimes for fact in runtime["nodes"]))
    facts = {(fact["node"], runtime["name"]): fact for runtime in runtimes for fact in runtime["nodes"]}
    names = [runtime["name"] for runtime in runtimes]
    ready = [(node, *(_cell(facts.get((node, name))) for name in names)) for node in nodes]
    parts = [table(("NODE", *names), ready)] if nodes else ["no machine has reported yet\n"]
    flags = [(runtime["name"], _flags(runtime)) for runtime in runtimes if _flags(runtime)]
    if flags:
        parts.append(table(("RUNTIME", "DOES ITSELF"), flags))
    levels = [(r["name"], ", ".join(r["reasoning"])) for r in runtimes if r["reasoning"]]
    if levels:
        parts.append(table(("RUNTIME", "REASONING"), levels))
    if any(by_subscription(fact) for fact in facts.values()):
        parts.append("subscription: the vendor's own login, not metered; the program's own figures count\n")
    if fixes := list(_fixes(runtimes)):
        parts.append(table(("RUNTIME", "ON", "IS", "FIX"), fixes))
    if walls:
        parts.append(table(("NODE", "WALL", "HOLDS"), [tuple(map(_shown, wall.values())) for wall in walls]))
    return "\n".join(parts)


def _shown(value: str | None) -> str:
    return value or "-"


def does(fact: dict[str, Any]) -> str:
    """The flags of a runtime as a node told them."""
    return ", ".join(fact.get("can", ()))


def _flags(runtime: dict[str, Any]) -> str:
    return next((words for fact in runtime["nodes"] if (words := does(fact))), "")


def _cell(fact: dict[str, Any] | None) -> str:
    if fact is None:
        return "-"
    if is_local_only(fact):
        return f"{fact['version'] or 'ok'} (own servers)"
    found = _CELLS.get(fact["state"]) or fact["version"] or "ok"
    return f"{found} (subscription)" if fact["state"] == "ok" and by_subscription(fact) else found


def is_local_only(fact: dict[str, Any]) -> bool:
    """Whether it is no vendor's own program, has no key, and asks model servers of the machine's own."""
    return bool(fact.get("served"))


def by_subscription(fact: dict[str, Any]) -> bool:
    """Whether its runs go by a vendor's own login there."""
    return fact.get("login") == "subscription"


def _fixes(runtimes: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    """Machines with the same need stand together."""
    for runtime in runtimes:
        needs: dict[tuple[str, str], list[str]] = {}
        for fact in runtime["nodes"]:
            if hint := fact.get("says") or fact["fix"]:
                needs.setdefault((_need(fact), hint), []).append(fact["node"])
        for (word, fix), nodes in needs.items():
            yield runtime["name"], ", ".join(nodes), word, fix


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
