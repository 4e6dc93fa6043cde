"""`pancode agents runtimes`, `policy show` and `policy check`: show the choices of a dispatch."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from node_agent.wire.other_runtimes import OTHER, OTHER_HELD
from pancode.agents import answers
from pancode.config.answers import JUDGED, RULES, RulesAnswer, RuleShape
from pancode.interfaces.cli.parameters import Argument, Face, Json, completions, option, verb
from pancode.interfaces.cli.terminal import RowColumns, escape_line, escape_lines, format_rows, format_table
from pancode.interfaces.client.caller import find_folder, folder_here
from pancode.interfaces.client.client import Client, home_of
from pancode.kernel.errors import ExitCode, UnavailableError, UsageError
from pancode.kernel.names import not_found
from pancode.kernel.route import check_name


@verb("agents runtimes", "", "claude")
def runtimes(
    *, name: Annotated[str | None, Argument(autocompletion=completions.runtimes)] = None, face: Json
) -> None:
    """List runtimes: the nodes that have each, how to fix it on other nodes, and each node's sandbox.

    With NAME, show one runtime, node by node.
    """
    answer = face.get(answers.RUNTIMES, cwd=find_folder(), name=name)
    if name is None:
        return face.show(answer, lambda: runtime_rows(answer["runtimes"], answer["isolations"]))
    one = answer["runtimes"][0]
    text = format_rows(one["nodes"], _FOUND, f"{one['name']} is not on any node")
    text += f"reasoning: {', '.join(one['reasoning'])}\n" if one["reasoning"] else ""
    text += f"{OTHER_HELD}\n" if one["name"].startswith(OTHER) else ""
    return face.show(one, lambda: text)


def _format_state(fact: answers.NodeRuntime) -> str:
    return "own servers only" if is_local_only(fact) else fact["state"].replace("_", " ")


def _login(fact: answers.NodeRuntime) -> str:
    if by_subscription(fact):
        return "subscription, not metered"
    if fact["endpoints"]:
        return f"none for {', '.join(fact['endpoints'])}"
    return "key, metered" if fact["login"] == "key" else "-"


_FOUND: RowColumns[answers.NodeRuntime] = {
    **{"NODE": "node", "VERSION": "version", "STATE": _format_state, "LOGIN": _login},
    "DOES ITSELF": lambda fact: ", ".join(fact["can"]),
    "FIX": lambda fact: fact["says"] or fact["fix"],
}


def _format_default(one: answers.ModeShape | answers.LevelShape) -> str:
    return "default" if one["default"] else ""


_DISPATCHES = {(True, True): "all agents", (True, False): "read-only agents", (False, False): "only scouts"}
_MODES: RowColumns[answers.ModeShape] = {
    **{"MODE": "name", "DISPATCHES": lambda one: _DISPATCHES[one["dispatches"], one["writes"]]},
    "": _format_default,
}
_LEVELS: RowColumns[answers.LevelShape] = {"SAFETY": "name", "": _format_default, "ALLOWS": "allows"}
_LEVEL = "Judge by this safety level (default: the level in your settings)."


@verb("policy show", "", "modes", "auto-edit", "--matrix claude")
def show_policy(
    *,
    name: Annotated[str | None, Argument(autocompletion=completions.complete_policies)] = None,
    matrix: Annotated[bool, option("Show what enforces each rule, for each runtime or for NAME.")] = False,
    face: Json,
) -> None:
    """Show the modes, the safety levels, and the rules in force in this folder with the source of each.

    `modes` shows the modes with the fleet tools that Panos has in each, and the safety levels.
    With --matrix: what enforces each rule: the sandbox, the runtime's own flags, or only instructions.
    HAPPENED: how many of the forbidden acts that a hostile model tried were not prevented. With a runtime:
    the result of each act. The level `suggest` is read-only. `impossible`: requires a sandbox.
    """
    if matrix:
        evidence = face.ask_running(answers.EVIDENCE, name=name)
        if evidence is None:
            from pancode.agents.safety_evidence import matrix_here

            evidence = matrix_here(name)
        return face.show_result(evidence, evidence_of)
    if name is None:
        return show_rules(face)
    modes, levels = find_choices(face.client())
    if name == "modes":
        text = f"{_format_tools(modes)}\n{format_rows(levels, _LEVELS)}"
        return face.show({"modes": modes, "safety": levels}, lambda: text)
    for mode in (one for one in modes if one["name"] == name):
        return face.show_result(mode, lambda one: _format_tools([one]))
    for level in (one for one in levels if one["name"] == name):
        return face.show_result(level, lambda one: format_rows([one], _LEVELS))
    known = [one["name"] for one in (*modes, *levels)]
    raise not_found("mode or safety level", name, known, "pancode policy show")


def _format_tools(modes: list[answers.ModeShape]) -> str:
    """Return the modes with the tools that only some modes have, and below them the tools of all modes."""
    tools = {one["name"]: one.get("tools", []) for one in modes}  # An earlier coordinator does not name them.
    shared = [tool for tool in tools[modes[0]["name"]] if all(tool in one for one in tools.values())]

    def rest(one: answers.ModeShape) -> str:
        return ", ".join(tool for tool in tools[one["name"]] if tool not in shared) or "none"

    return f"{format_rows(modes, {**_MODES, 'MORE TOOLS OF PANOS': rest})}in all modes: {', '.join(shared)}\n"


def find_choices(client: Client) -> tuple[list[answers.ModeShape], list[answers.LevelShape]]:
    """Return the modes and the safety levels, with the default of this folder marked."""
    here = find_folder()
    return client.get(answers.MODES, cwd=here)["modes"], client.get(answers.SAFETY, cwd=here)["safety"]


def _read_rules(face: Face, folder: Path) -> RulesAnswer:
    """Return the rules in force in a folder; this needs no coordinator. ConfigError names file and line."""
    home, answer = home_of(os.environ), face.ask_running(RULES, cwd=folder)
    if answer is None:
        from pancode.config.folder_safety import rules_here

        answer = rules_here(home, folder, os.environ)
    return answer


def show_rules(face: Face) -> None:
    """Show the rules; also modes and levels if a coordinator runs."""
    answer = _read_rules(face, Path(folder_here()))
    modes, levels = list[answers.ModeShape](), list[answers.LevelShape]()
    with suppress(UnavailableError):
        modes, levels = find_choices(face.client(starts=False))
    face.warn(answer["warnings"])
    held = [r for r in answer["rules"] if r["kind"] == "landing"]
    rules = [r for r in answer["rules"] if r["kind"] != "landing"]
    columns = {"RULE": "kind", "PATTERN": "pattern", "LEAVES": "leaves", "FROM": "origin", "WHY": "reason"}
    text = f"{format_rows(modes, _MODES)}\n{format_rows(levels, _LEVELS)}\n" if modes else ""
    text += format_rows(rules, columns) + _format_held(held) + "\n"
    text += escape_lines(f"read: {name}" for name in answer["files"]) + f"{answer['note']}\n"
    face.show({"modes": modes, "safety": levels, **answer}, lambda: text)


def check_rules(face: Face, file: str | None) -> int:
    """Check that the rules in force here or in FILE's folder can be read; ConfigError names file and line."""
    path = None if file is None else Path(folder_here(), file).expanduser()
    answer = _read_rules(face, path.parent if path else Path(folder_here()))
    if path is not None and str(path) not in answer["files"]:
        fix = "name the file pansafety.yaml, in your PANCODE_HOME or at the root of a repository"
        raise UsageError(f"{file} is not a rules file in force", fix=fix)
    report = {"files": answer["files"], "warnings": answer["warnings"]}
    lines = [*(f"warning: {one}" for one in answer["warnings"]), f"{len(answer['rules'])} rules, no errors"]
    return face.end(ExitCode.DONE, report, lambda: escape_lines(lines))


def _format_held(held: list[RuleShape]) -> str:
    """Return the files whose changes land only after approval, one paragraph per reason."""
    by_reason: dict[str, list[str]] = {}
    for rule in held:
        by_reason.setdefault(rule["reason"], []).append(rule["pattern"])
    lines = (f"needs approval to land ({why}): {' '.join(names)}" for why, names in by_reason.items())
    return "".join("\n" + textwrap.fill(one, 110, subsequent_indent="  ") + "\n" for one in lines)


@verb("policy check", "'git push --force'", "--path .env --as write")
def check_deed(
    *,
    command: Annotated[str | None, Argument()] = None,
    path: Annotated[str | None, option("Judge access to a path instead of a command.")] = None,
    use: Annotated[
        Literal["read", "write", "delete"] | None, option("The kind of access to the path.", "--as")
    ] = None,
    level: Annotated[str | None, option(_LEVEL, "--safety", "S")] = None,
    read_only: Annotated[bool, option("Judge as for a read-only agent.")] = False,
    face: Json,
) -> int:
    """Show whether a run in this folder may run COMMAND or access --path. Exit code 18 if it may not.

    Nothing is run. A command that cannot be analyzed is `unknown`, which no level allows.
    """
    if (command is None) == (path is None):
        fix = "pancode policy check 'rm -rf build'"
        raise UsageError("exactly one of COMMAND and --path is required", fix=fix)
    for value in (command, path, level):
        if value is not None:
            check_name(value)
    home, here, use = home_of(os.environ), folder_here(), use or "write"
    answer = face.ask_running(
        JUDGED, cwd=here, command=command, file=path, use=use, level=level, read_only=read_only
    )
    if answer is None:
        from pancode.config.folder_safety import Deed, judged_here

        answer = judged_here(home, Path(here), os.environ, Deed(command, path, use, level, read_only))
    verdict = "asks a user" if answer["asks"] else "allowed" if answer["allowed"] else "not allowed"
    lines = [f"{verdict}: {answer['action']} at {answer['safety']}", *(o["words"] for o in answer["because"])]
    face.show(answer, lambda: escape_lines(lines))
    return ExitCode.DONE if answer["allowed"] else ExitCode.POLICY_VIOLATION


def runtime_rows(
    runtimes: Sequence[answers.RuntimeShape], isolations: Sequence[answers.IsolationShape] = ()
) -> str:
    """Return a row per runtime, the fixes, and a row per kind of sandbox, each with its nodes."""
    if not any(runtime["nodes"] for runtime in runtimes):
        return "no node has reported yet\n"
    rows = [(r["name"], _on(r["nodes"], ready=True), _on(r["nodes"], ready=False)) for r in runtimes]
    parts = [format_table(("RUNTIME", "READY", "NOT READY"), rows)]
    if any(by_subscription(fact) for runtime in runtimes for fact in runtime["nodes"]):
        figures = "costs are the program's own figures"
        parts.append(f"subscription: the vendor's own login, not metered; {figures}\n")
    if any(runtime["name"].startswith(OTHER) for runtime in runtimes):
        parts.append(f"{OTHER}NAME: {OTHER_HELD}\n")
    parts += filter(None, ["".join(_format_fixes(runtimes))])
    if isolations:
        around: dict[tuple[str, str], list[str]] = {}
        for one in isolations:
            around.setdefault((one["isolation"] or "-", one["holds"]), []).append(one["node"])
        held = [(", ".join(nodes), *isolation) for isolation, nodes in around.items()]
        parts.append(format_table(("NODE", "ISOLATION", "ENFORCES"), held))
    return "\n".join(
        [*parts, "for flags, reasoning and logins of one runtime: pancode agents runtimes NAME\n"]
    )


def _on(facts: Sequence[answers.NodeRuntime], *, ready: bool) -> str:
    """Return the nodes that have the runtime (`ready`) or lack it, grouped by version or state."""
    found: dict[str, list[str]] = {}
    for fact in facts:
        if (fact["state"] == "ok" or is_local_only(fact)) is ready:
            found.setdefault(_format_cell(fact), []).append(fact["node"])
    return "; ".join(f"{cell} on {', '.join(nodes)}" for cell, nodes in found.items())


def _format_cell(fact: answers.NodeRuntime) -> str:
    if is_local_only(fact):
        return f"{fact['version'] or 'ok'} (own servers)"
    found = fact["version"] or "ok" if fact["state"] == "ok" else fact["state"].replace("_", " ")
    return f"{found} (subscription)" if fact["state"] == "ok" and by_subscription(fact) else found


def is_local_only(fact: answers.RuntimeFacts) -> bool:
    """Whether the runtime works without a login on that node, since it uses only the node's model servers."""
    return fact["served"]


def by_subscription(fact: answers.RuntimeFacts) -> bool:
    """Whether the runtime's runs on that node use a vendor's subscription login."""
    return fact["login"] == "subscription"


def _format_fixes(runtimes: Sequence[answers.RuntimeShape]) -> Iterator[str]:
    """Yield each distinct fix once, with all the nodes that need it."""
    for runtime in runtimes:
        needs: dict[tuple[str, str], list[str]] = {}
        for fact in runtime["nodes"]:
            problem = fact["says"].removeprefix(f"{fact['node']} says: ") or fact["fix"]
            if problem:
                hint = problem.replace(f" {fact['node']} ", " NODE ")
                needs.setdefault((_need(fact), hint), []).append(fact["node"])
            if lacks := fact["no_turns"]:
                needs.setdefault(("no chats", lacks), []).append(fact["node"])
        for (word, hint), nodes in needs.items():
            fix = escape_line(hint if len(nodes) > 1 else hint.replace(" NODE ", f" {nodes[0]} "))
            if runtime["installable"] and word == "missing":
                problem = "the node says" if len(nodes) == 1 else "the nodes say"
                command = escape_line(f"pancode node install {' '.join(nodes)} {runtime['name']}")
                fix = f"{command}\n  {problem}: {fix}"
            yield escape_line(f"{runtime['name']}: {word} on {', '.join(nodes)}") + f"\n  {fix}\n"


def _need(fact: answers.NodeRuntime) -> str:
    if is_local_only(fact):
        return f"for {', '.join(fact['endpoints'])}; for other models"
    return "another version" if fact["state"] == "ok" else fact["state"].replace("_", " ")


def evidence_of(answer: answers.EvidenceAnswer) -> str:
    """Return what enforces each rule and how many hostile acts succeeded; for one runtime also each act."""
    heads = ("RUNTIME", "VERSION", "RULE", "WITH A SANDBOX", "HAPPENED", "WITHOUT", "HAPPENED")
    rows = []
    for row in answer["matrix"]:
        happened = [row["happened_with"], row["happened_without"]]
        inside, outside = (f"{len(one)} of {row['tried']}" if row["tried"] else "-" for one in happened)
        cells = (row["runtime"], row["version"] or "-", row["rule"], row["with_sandbox"])
        rows.append((*cells, inside, row["without"], outside))
    parts = [format_table(heads, rows)]
    if acts := [tuple(one.values())[1:] for one in answer.get("acts", ()) if any(tuple(one.values())[2:])]:
        parts.append(format_table(("ACT", *[rule.upper() for rule in list(answer["acts"][0])[2:]]), acts))
    return "\n".join([*parts, f"measured {answer['measured']}; see docs/reference/safety-matrix.md\n"])
