"""Bring-up by another tool: the same steps as `fleet up`, as data, for one node. Each function makes one
message of the exchange with a tool that has its own access to the node."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import assert_never

from pancode.fleet.place import Reach
from pancode.fleet.ssh import steps
from pancode.fleet.ssh.bringup import BringUp, bundle_for, format_marker
from pancode.fleet.ssh.probe import PROBE_TIMEOUT_S, NodeProbe, parse_probe
from pancode.fleet.ssh.readiness import find_unready, select_blocking
from pancode.fleet.ssh.scripts.link import PROBE
from pancode.fleet.ssh.steps import (
    RESTARTING,
    Act,
    BringUpStep,
    Command,
    HomeFile,
    NodeLocation,
    Put,
    RemoteScript,
)
from pancode.kernel.errors import UnavailableError, UsageError
from pancode.kernel.records import Node
from pancode.runs.answers import Json


def step_json(step: BringUpStep, again: BringUpStep | None = None) -> Json:
    """Return the step as JSON. `again`: used instead if an earlier step changed files that the node agent has
    read."""
    acts = [act_json(act) for act in step.acts]
    entry: Json = {"name": step.name.value, "says": step.says, "acts": acts}
    if again is None:
        return entry
    return {**entry, "again": [act_json(act) for act in again.acts], "again_after": sorted(RESTARTING)}


def act_json(act: Act) -> Json:
    match act:
        case Put():
            return _put_json(act)
        case RemoteScript():
            entry = {"kind": "script", "text": act.text, "args": list(act.args), "timeout_s": act.timeout_s}
            return {**entry, "look": act.look}
        case Command():
            return {"kind": "command", "argv": list(act.argv), "timeout_s": act.timeout_s}
        case _:
            assert_never(act)


def _put_json(act: Put) -> Json:
    entry: Json = {
        "kind": "put",
        "path": act.path,
        "sha256": act.sha256,
        "mode": f"{act.mode:o}",
        "keep": act.keep,
        "secret": _is_secret(act.path),
    }
    if isinstance(act.source, Path):
        return {**entry, "source": str(act.source)}
    return {**entry, "content": base64.b64encode(act.source).decode("ascii")}


def _is_secret(path: str) -> bool:
    """Whether the file must not be shown: all files in the home's `key` folder except public keys."""
    return "/key/" in path and not path.endswith(".pub")


def make_probe(bringup: BringUp, node: Node | None) -> Json:
    """Return the probe, which another tool runs on the node as the user of the node agent."""
    home = Reach.of(node).node_home if node is not None else None
    probe = RemoteScript(PROBE, (bringup.core.fleet, home or ""), PROBE_TIMEOUT_S, PROBE)
    return {"look": act_json(probe)}


def plan_removal(bringup: BringUp, probe: str) -> Json:
    """Return the steps that remove everything of this fleet from the login that the probe describes."""
    fleet = bringup.core.fleet
    place = NodeLocation.of(fleet, _read_probe(probe))
    return {"steps": [step_json(step) for step in steps.remove_steps(place, format_marker(fleet))]}


def plan_steps(bringup: BringUp, node: Node, probe: str) -> Json:
    """Return the steps of a bring-up without changing anything; if the node's key is unknown, only those up
    to the step that makes the key."""
    found = _require_fit(node.name, _read_probe(probe), bringup.core.wall_ms())
    bringup.note_reached(node)
    bundle, python = bundle_for(bringup.bundles, found)
    place = NodeLocation.of(bringup.core.fleet, found)
    wanted = [step_json(step) for step in steps.first_steps(place, found, bundle, python)]
    if node.public_key is None or not found.has_key:
        return {"steps": wanted, "key": None}
    later = _list_later_steps(bringup, node, found, python.path, bringup.home_files(node, found.path))
    return {"steps": wanted + later, "key": node.public_key}


def enrol_key(bringup: BringUp, node: Node, probe: str, key: str) -> Json:
    """Trust the key that the node has made, and return the remaining steps."""
    found = _read_probe(probe)
    _, python = bundle_for(bringup.bundles, found)
    files = bringup.enrol(node.name, key, found)
    return {"steps": _list_later_steps(bringup, node, found, python.path, files), "key": key}


def _list_later_steps(
    bringup: BringUp, node: Node, found: NodeProbe, python: str, files: list[HomeFile]
) -> list[Json]:
    place = NodeLocation.of(bringup.core.fleet, found)
    rows = [step_json(step) for step in steps.enrolled_steps(place, found, python, files)]
    start = steps.start_step(place, found, python, restart=False)
    rows.append(step_json(start, steps.start_step(place, found, python, restart=True)))
    if Reach.of(node).fleet_key:
        rows.append(step_json(bringup.key_step()))
    return rows


def _read_probe(probe: str) -> NodeProbe:
    try:
        return parse_probe(probe)
    except ValueError as error:
        raise UsageError(
            "the given text is not output of the probe", why=str(error), code="no_probe"
        ) from error


def _require_fit(name: str, found: NodeProbe, now_ms: int) -> NodeProbe:
    """Return the parsed probe; UnavailableError if a problem prevents the bring-up."""
    if wrong := select_blocking(find_unready(found, now_ms)):
        first = wrong[0]
        raise UnavailableError(
            f"cannot bring up {name}: {first.what}",
            fix=first.fix,
            code="node_unfit",
            details={"problems": "; ".join(problem.what for problem in wrong)},
        )
    return found
