"""Prints, before a chat's first message, what was found and what is missing, with the commands that help."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pancode.agents.answers import MODELS, ModelShape
from pancode.budget.answers import BUDGET, BudgetShape
from pancode.conversation.answers import TRY_CHAT
from pancode.fleet.answers import FLEET, FleetShape, NodeShape
from pancode.interfaces.cli.output import describe_caller, find_user
from pancode.interfaces.client.caller import find_folder
from pancode.interfaces.client.client import Client
from pancode.kernel.errors import ConfigError, PancodeError, UsageError
from pancode.kernel.formatting import first_few, format_usd
from pancode.reports.answers import NOW
from pancode.runs.answers import DryRunAnswer

LOOKS, LOOK_S = 20, 0.4
"""How many times, and how many seconds apart, a node is queried that has not yet reported its programs."""
SHOWN = 4
EMPTIED = ("draining", "drained")
HEARD = ("online", *EMPTIED)
"""States of nodes that send heartbeats."""
SIGNS = {"verified": "ok", "asks": "?", "error": "!", "waiting": "..."}
"""The prefix of a line by its state, when no screen is drawn."""
BLOCKED = "Dispatch blocked: "
"""The beginning of a refusal's message, which the line omits."""
Json = dict[str, Any]
Note = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class FoundLine:
    """One line about what was found. `state`: a key of the screen's GLYPHS."""

    state: str
    text: str

    def __str__(self) -> str:
        return f"{SIGNS.get(self.state, '-'):<4}{self.text}"


@dataclass(frozen=True, slots=True)
class Found:
    """The API's answers about the fleet. `waits`: text about what needs the user; `plan`: how the session
    would start, or the error why it cannot."""

    fleet: FleetShape
    models: list[ModelShape]
    budget: BudgetShape
    waits: str
    plan: DryRunAnswer | PancodeError
    preset: str = ""


def found_lines(found: Found) -> list[FoundLine]:
    """Return at most eight lines; the last ones show whether the agent can answer, or how to fix it."""
    nodes = found.fleet["nodes"]
    lines = [_check_nodes(nodes), _check_programs(nodes), _check_models(found.models)]
    lines += [_check_budget(found.budget)]
    if found.waits:
        lines += [FoundLine("asks", f"{found.waits}: pancode inbox")]
    lines += [*_check_project(found.plan), _check_agent(found.plan, found.preset)]
    programs = [one for node in nodes for one in node["runtimes"]]
    scripts = any(one["name"] == "shell" and one["state"] == "ok" for one in programs)
    meanwhile = FoundLine(
        "not begun", "until then, you can run scripts: pancode dispatch --runtime shell 'uname -a'"
    )
    return [*lines, meanwhile] if scripts and lines[-1].state == "error" else lines


def _check_nodes(nodes: list[NodeShape]) -> FoundLine:
    online = [one["name"] for one in nodes if one["state"] == "online"]
    emptied = [one["name"] for one in nodes if one["state"] in EMPTIED]
    others = [f"{one['name']} ({one['state']})" for one in nodes if one["state"] not in HEARD]
    if not nodes:
        return FoundLine("error", "nodes     no nodes: pancode fleet up")
    parts = [first_few(online, SHOWN) if online else "no node takes work" if emptied else "no node is online"]
    parts += [f"drained: {first_few(emptied, SHOWN)}; to resume: pancode fleet resume"] if emptied else []
    parts += [f"unreachable: {', '.join(others[:SHOWN])}: pancode node ls"] if others else []
    return FoundLine("verified" if online else "error", f"nodes     {'; '.join(parts)}")


def _check_programs(nodes: list[NodeShape]) -> FoundLine:
    programs = [one for node in nodes for one in node["runtimes"] if one["name"] != "shell"]
    # `served` means: by a model server on the node itself.
    able = [*dict.fromkeys(one["name"] for one in programs if one["state"] == "ok" or one.get("served"))]
    if not able:
        return FoundLine("not begun", "programs  no agent program is ready: pancode agents runtimes")
    return FoundLine("verified", f"programs  {first_few(able, 2 * SHOWN)}")


def _check_models(models: list[ModelShape]) -> FoundLine:
    able = [one["ref"] for one in models if not one["embedding"]]
    if not able:
        return FoundLine("not begun", "models    no local models: pancode models")
    return FoundLine("verified", f"models    {first_few(able, SHOWN)}")


def _check_budget(budget: BudgetShape) -> FoundLine:
    day = next((one for one in budget["scopes"] if one["scope"].startswith("day:")), None)
    if day is None or day["ceiling_usd"] is None:
        return FoundLine("not begun", "budget    no daily ceiling: pancode budget set 10")
    left = f"budget    {format_usd(day['remaining_usd'])} of {format_usd(day['ceiling_usd'])} left today"
    over = day["over"] or float(day["remaining_usd"] or 0) <= 0
    return (
        FoundLine("error", f"{left}; to raise it: pancode budget set")
        if over
        else FoundLine("verified", left)
    )


def _check_project(plan: DryRunAnswer | PancodeError) -> list[FoundLine]:
    if isinstance(plan, PancodeError):
        return []
    if plan["project"] is None:
        return [FoundLine("not begun", "project   not in a repository: agents get an empty directory")]
    return [FoundLine("verified", f"project   {Path(plan['project']).name}")]


def _check_agent(plan: DryRunAnswer | PancodeError, preset: str) -> FoundLine:
    """Return the line that shows whether an agent can answer, and if not, how to fix it."""
    if isinstance(plan, PancodeError):
        fix = f"; {plan.fix}" if plan.fix else ""
        what = str(plan).removeprefix(BLOCKED)
        return FoundLine("error", f"no agent can answer yet: {what}{fix}")
    name = plan["agent"].capitalize()
    refused = None if plan["admitted"] else next((one for one in plan["gates"] if not one["passed"]), None)
    if refused is not None:
        words = refused["words"].removeprefix(BLOCKED)
        fix = f"; {refused['fix']}" if refused["fix"] else ""
        return FoundLine("error", f"{name} cannot answer yet: {words}{fix}")
    by = f"{plan['model']} ({plan['runtime']})" if plan["model"] else plan["runtime"]
    means = ", ".join(filter(None, (by, f"{plan['mode']}, {plan['safety']}", preset and f"preset {preset}")))
    if not any(node["ready"] for node in plan["nodes"]):
        why = "; ".join(f"{node['node']} {node['why']}" for node in plan["nodes"] if node["fits"])
        return FoundLine("waiting", f"{name} will answer later, with {means}: {why}")
    return FoundLine("verified", f"{name} listens, with {means}")


def prepare_session(client: Client, body: Mapping[str, Any], note: Note) -> list[FoundLine]:
    """Make this computer a node if there is none, check, and return what was found. ConfigError, and
    UsageError for invalid values in the request; any other problem becomes a line."""
    bring_in(client, note)
    plan: DryRunAnswer | PancodeError
    try:
        plan = client.post(TRY_CHAT, {**body, "dry_run": True})
    except (ConfigError, UsageError):
        raise
    except PancodeError as problem:
        if problem.code == "preset_not_found":
            raise
        plan = problem
    now, fleet = client.get(NOW, by=find_user()), client.get(FLEET)
    models, budget = client.get(MODELS, cwd=find_folder())["models"], client.get(BUDGET)
    return found_lines(Found(fleet, models, budget, now.summary, plan, str(body.get("preset", ""))))


def bring_in(client: Client, note: Note) -> None:
    """Make this computer a node if the fleet has none; wait briefly for nodes that sent no heartbeat yet.

    A failure is only reported with `note`.
    """
    if not client.get(FLEET)["nodes"]:
        note("the fleet has no nodes: this computer becomes a node ...")
        try:
            for event in client.events("POST", "/v1/fleet/up", {**describe_caller(), "nodes": []}):
                if event.kind == "result":
                    for one in event.data["results"]:
                        for problem in one["problems"] if not one["ok"] else ():
                            note(f"{one['node']}: {problem['what']}; {problem['fix']}")
        except PancodeError as problem:
            note(f"{problem}; {problem.fix or 'pancode fleet up'}")
    for _ in range(LOOKS):
        if not _is_looking(client.get(FLEET)["nodes"]):
            return
        time.sleep(LOOK_S)


def _is_looking(nodes: list[NodeShape]) -> bool:
    """Whether a node has not reported its programs, or none sent heartbeats since the coordinator began."""
    states = [runtime["state"] for node in nodes for runtime in node["runtimes"]]
    quiet = bool(nodes) and not any(node["state"] in HEARD for node in nodes)
    return quiet or "looking" in states or any(node["state"] == "new" for node in nodes)
