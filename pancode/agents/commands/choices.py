"""`pancode runtimes`, `modes`, `safety`: the choices of a dispatch."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from typer import Argument

from pancode.agents.answers import (
    MODES,
    RUNTIMES,
    SAFETY,
    IsolationShape,
    LevelShape,
    ModeShape,
    NodeRuntime,
    RuntimeFacts,
    RuntimesAnswer,
    RuntimeShape,
)
from pancode.interfaces.cli import completions
from pancode.interfaces.cli.commands import Commands
from pancode.interfaces.cli.parameters import Json, option
from pancode.interfaces.cli.terminal import Columns, RowColumns, escape_line, format_rows, format_table
from pancode.interfaces.client.caller import find_folder, folder_here
from pancode.interfaces.client.client import home_of
from pancode.kernel.errors import ExitCode, UsageError
from pancode.kernel.route import check_name

app = Commands()


@app.group("runtimes", "pancode runtimes", default="ls")
def runtimes() -> None:
    """The programs that run agents."""


@runtimes.verb("ls", "pancode runtimes")
def list_runtimes(face: Json) -> None:
    """All that PanCode knows: the nodes that have each, the fix for the others, and the sandbox
    of each node."""
    answer = face.client().get(RUNTIMES, cwd=find_folder())
    face.show(answer, lambda: runtime_rows(answer["runtimes"], answer["isolations"]))


@runtimes.verb("show", "pancode runtimes show claude")
def show_runtime(name: str, face: Json) -> None:
    """One runtime, node by node."""
    answer = face.client().get(RUNTIMES, cwd=find_folder(), name=name)
    face.show(answer["runtimes"][0], lambda: _found(answer))


def _found(answer: RuntimesAnswer) -> str:
    rows = [node for runtime in answer["runtimes"] for node in runtime["nodes"]]
    levels = [f"reasoning: {', '.join(one['reasoning'])}\n" for one in answer["runtimes"] if one["reasoning"]]
    named = answer["runtimes"][0]["name"]
    from node_agent.wire.endpoint import OTHER, OTHER_HELD

    held = f"{OTHER_HELD}\n" if named.startswith(OTHER) else ""
    return format_rows(rows, _FOUND, f"{named} is on no node") + "".join(levels) + held


_FOUND: RowColumns[NodeRuntime] = {
    **{"NODE": "node", "VERSION": "version", "STATE": lambda fact: _state(fact)},
    **{"LOGIN": lambda fact: _login(fact), "DOES ITSELF": lambda fact: ", ".join(fact["can"])},
    "FIX": lambda fact: fact["says"] or fact["fix"],
}


def _state(fact: NodeRuntime) -> str:
    return "own servers only" if is_local_only(fact) else fact["state"].replace("_", " ")


def _login(fact: NodeRuntime) -> str:
    if by_subscription(fact):
        return "subscription, not metered"
    if fact["endpoints"]:
        return f"none for {', '.join(fact['endpoints'])}"
    return "key, metered" if fact["login"] == "key" else "-"


def _one(what: str, name: str, found: Sequence[Named]) -> Named:
    """Return the entry with this name. NotFoundError, with the nearest name, where there is none."""
    from pancode.kernel.names import not_found

    one = next((one for one in found if one["name"] == name), None)
    if one is None:
        raise not_found(what, name, [one["name"] for one in found], f"pancode {what}s".replace("ys", "y"))
    return one


Named = TypeVar("Named", ModeShape, LevelShape)


def _modes(found: list[ModeShape]) -> str:
    return format_rows(found, _MODES)


def _levels(found: list[LevelShape]) -> str:
    return format_rows(found, {"SAFETY": "name", "": _default, "ALLOWS": "allows"})


def _default(one: ModeShape | LevelShape) -> str:
    return "default" if one["default"] else ""


_MODES: RowColumns[ModeShape] = {
    **{"MODE": "name", "DISPATCHES": lambda mode: _yes(mode["dispatches"])},
    **{"WRITING AGENTS": lambda mode: _yes(mode["writes"]), "": _default},
}


@app.group("modes", "pancode modes", default="ls")
def modes() -> None:
    """What you are doing: the outer gate."""


@modes.verb("ls", "pancode modes")
def list_modes(face: Json) -> None:
    """List all modes; the default is marked."""
    answer = face.client().get(MODES, cwd=find_folder())
    face.show(answer, lambda: _modes(answer["modes"]))


@modes.verb("show", "pancode modes show review")
def show_mode(name: str, face: Json) -> None:
    """One mode."""
    mode = _one("mode", name, face.client().get(MODES, cwd=find_folder())["modes"])
    face.show(mode, lambda: _modes([mode]))


@app.group("safety", "pancode safety", default="ls")
def safety() -> None:
    """Show how much a run may do by itself, and the rules of your pansafety.yaml."""


@safety.verb("ls", "pancode safety")
def list_levels(face: Json) -> None:
    """List all safety levels; the default is marked."""
    answer = face.client().get(SAFETY, cwd=find_folder())
    face.show(answer, lambda: _levels(answer["safety"]))


@safety.verb("matrix", "pancode safety matrix", "pancode safety matrix claude")
def show_matrix(
    *, runtime: Annotated[str | None, Argument(autocompletion=completions.runtimes)] = None, face: Json
) -> None:
    """Who holds a run to its rule: the sandbox, the runtime's own flags, or nobody (told only).

    HAPPENED: of the forbidden acts that a hostile model tried in the real program, how many nobody held. With
    a RUNTIME: each act, and who holds it. The level `suggest` is read-only. `impossible`: only where there is
    a sandbox.
    """
    from pancode.agents.safety_evidence import matrix_here

    answer = matrix_here(runtime)
    face.show(answer, lambda: evidence_of(answer))


@safety.verb("show", "pancode safety show", "pancode safety show auto-edit")
def show_safety(*, level: Annotated[str | None, Argument()] = None, face: Json) -> None:
    """The safety rules in force in this folder, and where each of them is written; or one LEVEL."""
    if level is not None:
        found = _one("safety", level, face.client().get(SAFETY, cwd=find_folder())["safety"])
        face.show(found, lambda: _levels([found]))
    else:
        from pancode.config.folder_safety import rules_here

        answer = rules_here(home_of(os.environ), Path(folder_here()), os.environ)
        for warning in answer["warnings"]:
            face.note(f"warning: {warning}")
        held = [r for r in answer["rules"] if r["kind"] == "landing"]
        rules = [r for r in answer["rules"] if r["kind"] != "landing"]
        columns: Columns = {
            "RULE": "kind",
            "PATTERN": "pattern",
            "LEAVES": "leaves",
            "FROM": "origin",
            "WHY": "reason",
        }
        files = "".join(f"read: {escape_line(name)}\n" for name in answer["files"]) + f"{answer['note']}\n"
        face.show(answer, lambda: format_rows(rules, columns) + _asked(held) + "\n" + files)


def _asked(held: list[dict[str, Any]]) -> str:
    """The files whose change is landed after an approval, in one paragraph for each reason."""
    by_reason: dict[str, list[str]] = {}
    for rule in held:
        by_reason.setdefault(rule["reason"], []).append(rule["pattern"])
    said = (f"landed after an approval ({why}): {' '.join(names)}" for why, names in by_reason.items())
    return "".join("\n" + textwrap.fill(one, 110, subsequent_indent="  ") + "\n" for one in said)


@safety.verb(
    "check", "pancode safety check 'git push --force'", "pancode safety check --path .env --as write"
)
def check_deed(
    *,
    command: Annotated[str | None, Argument()] = None,
    path: Annotated[str | None, option("Judge the use of a path instead of a command.")] = None,
    use: Annotated[Literal["read", "write", "delete"] | None, option("How the path is used.", "--as")] = None,
    level: Annotated[
        str | None, option("Judge by this level (default: the level in your settings).", "--safety", "S")
    ] = None,
    read_only: Annotated[
        bool, option("Judge as for an agent that may change nothing.", "--read-only")
    ] = False,
    face: Json,
) -> int:
    """What a run in this folder may do: a COMMAND, or --path. Exit code 18 for what it may not.

    Nothing is run. A command that cannot be seen through is `unknown`, which no level allows.
    """
    from pancode.config.folder_safety import Deed, judged_here

    if (command is None) == (path is None):
        raise UsageError(
            "exactly one of COMMAND and --path is required", fix="pancode safety check 'rm -rf build'"
        )
    for value in (command, path, level):
        if value is not None:
            check_name(value)
    deed = Deed(command, path, use or "write", level, read_only)
    answer = judged_here(home_of(os.environ), Path(folder_here()), os.environ, deed)
    verdict = "asks a user" if answer["asks"] else "allowed" if answer["allowed"] else "not allowed"
    lines = [f"{verdict}: {answer['action']} at {answer['safety']}", *(o["words"] for o in answer["because"])]
    face.show(answer, lambda: "".join(f"{escape_line(line)}\n" for line in lines))
    return ExitCode.DONE if answer["allowed"] else ExitCode.POLICY_VIOLATION


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def runtime_rows(runtimes: Sequence[RuntimeShape], isolations: Sequence[IsolationShape] = ()) -> str:
    """A row for each runtime, a row for each fix, and the sandbox around runs, each with its machines."""
    if not any(runtime["nodes"] for runtime in runtimes):
        return "no node has reported yet\n"
    rows = [(r["name"], _on(r["nodes"], ready=True), _on(r["nodes"], ready=False)) for r in runtimes]
    parts = [format_table(("RUNTIME", "READY", "NOT READY"), rows)]
    if any(by_subscription(fact) for runtime in runtimes for fact in runtime["nodes"]):
        parts.append("subscription: the vendor's own login, not metered; the program's own figures count\n")
    from node_agent.wire.endpoint import OTHER, OTHER_HELD

    if any(runtime["name"].startswith(OTHER) for runtime in runtimes):
        parts.append(f"{OTHER}NAME: {OTHER_HELD}\n")
    parts += ["".join(_fixes(runtimes))] if any(_fixes(runtimes)) else []
    if isolations:
        around: dict[tuple[str, str], list[str]] = {}
        for isolation in isolations:
            around.setdefault(((isolation["isolation"] or "-"), isolation["holds"]), []).append(
                isolation["node"]
            )
        held = [(", ".join(nodes), *isolation) for isolation, nodes in around.items()]
        parts.append(format_table(("NODE", "WALL", "HOLDS"), held))
    return "\n".join([*parts, "flags, reasoning and logins of one: pancode runtimes show NAME\n"])


def _on(facts: Sequence[NodeRuntime], *, ready: bool) -> str:
    """Return the machines that have the runtime (`ready`) or lack it, grouped by version or state."""
    found: dict[str, list[str]] = {}
    for fact in facts:
        if (fact["state"] == "ok" or is_local_only(fact)) is ready:
            found.setdefault(_cell(fact), []).append(fact["node"])
    return "; ".join(f"{cell} on {', '.join(nodes)}" for cell, nodes in found.items())


def _cell(fact: NodeRuntime) -> str:
    if is_local_only(fact):
        return f"{fact['version'] or 'ok'} (own servers)"
    found = fact["version"] or "ok" if fact["state"] == "ok" else fact["state"].replace("_", " ")
    return f"{found} (subscription)" if fact["state"] == "ok" and by_subscription(fact) else found


def is_local_only(fact: RuntimeFacts) -> bool:
    """Whether it is no vendor's own program, has no key, and asks model servers of the machine's own."""
    return fact["served"]


def by_subscription(fact: RuntimeFacts) -> bool:
    """Whether its runs go by a vendor's own login there."""
    return fact["login"] == "subscription"


def _fixes(runtimes: Sequence[RuntimeShape]) -> Iterator[str]:
    """Yield each fix once, whole and on a line of its own; machines that need the same are named together."""
    for runtime in runtimes:
        needs: dict[tuple[str, str], list[str]] = {}
        for fact in runtime["nodes"]:
            said = fact["says"].removeprefix(f"{fact['node']} says: ") or fact["fix"]
            if said:
                hint = said.replace(f" {fact['node']} ", " NODE ")
                needs.setdefault((_need(fact), hint), []).append(fact["node"])
            if lacks := fact["no_turns"]:
                needs.setdefault(("no chats", lacks), []).append(fact["node"])
        for (word, hint), nodes in needs.items():
            fix = escape_line(hint if len(nodes) > 1 else hint.replace(" NODE ", f" {nodes[0]} "))
            if runtime["installable"] and word == "missing":
                said = "the machine says" if len(nodes) == 1 else "the machines say"
                fix = (
                    escape_line(f"pancode node install {' '.join(nodes)} {runtime['name']}")
                    + f"\n  {said}: {fix}"
                )
            yield escape_line(f"{runtime['name']}: {word} on {', '.join(nodes)}") + f"\n  {fix}\n"


def _need(fact: NodeRuntime) -> str:
    if is_local_only(fact):
        return f"for {', '.join(fact['endpoints'])}; for others"
    return "another version" if fact["state"] == "ok" else fact["state"].replace("_", " ")


def evidence_of(answer: dict[str, Any]) -> str:
    """The holder of each rule and the number of breaches, as text; for one runtime also each act."""
    heads = ("RUNTIME", "VERSION", "RULE", "WITH A SANDBOX", "HAPPENED", "WITHOUT", "HAPPENED")
    parts = [format_table(heads, list(map(_evidence_row, answer["matrix"])))]
    if acts := [tuple(one.values())[1:] for one in answer.get("acts", ()) if any(tuple(one.values())[2:])]:
        rules = [rule.upper() for rule in list(answer["acts"][0])[2:]]
        parts.append(format_table(("ACT", *rules), acts))
    return "\n".join([*parts, f"measured {answer['measured']}; see docs/reference/safety-matrix.md\n"])


def _evidence_row(row: dict[str, Any]) -> tuple[str, ...]:
    counts = [
        f"{len(row[key])} of {row['tried']}" if row["tried"] else "-"
        for key in ("happened_with", "happened_without")
    ]
    version = row["version"] or "-"
    return row["runtime"], version, row["rule"], row["with_sandbox"], counts[0], row["without"], counts[1]
