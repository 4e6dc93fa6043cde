"""Steps as plain JSON, for another tool that carries them out on a node in our place (pure)."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, assert_never

from pancode.fleet.ssh.steps import RESTARTING, Act, BringUpStep, Command, Put, RemoteScript

Json = dict[str, Any]


def step_json(step: BringUpStep, again: BringUpStep | None = None) -> Json:
    """`again`: the step to do instead, once an earlier step has changed files that a node agent has read."""
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
    """The home's `key` folder holds nothing that may be shown, but for public keys."""
    return "/key/" in path and not path.endswith(".pub")
