"""Shows the safety rules of one folder, and how they judge a command or a path; needs no coordinator."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node_agent.policy.commands.programs import Use
from node_agent.policy.deciding import ALWAYS
from node_agent.policy.judging import Judgement, Where, judge_command, judge_path, to_ask
from node_agent.wire.policy import BUILT_IN, CommandRule, Policy, Safety, compile_policy
from pancode.config.user_environment import FileSurroundings
from pancode.kernel.errors import UsageError
from pancode.kernel.names import find_nearest

NOTE = "a node's owner may have more rules: pansafety.yaml in the node's home, next to ceiling.json"


@dataclass(frozen=True, slots=True)
class Deed:
    """What to judge: a command, or a path and its use; and the safety level."""

    command: str | None
    path: str | None
    use: str
    level: str | None
    read_only: bool


def rules_here(home: Path, cwd: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return every rule with its origin, the files read, and warnings. ConfigError with file and line."""
    around = FileSurroundings(home, environ)
    loaded = around.loaded_rules(around.project_of(str(cwd)))
    paths = [{"kind": "path", "leaves": _LEAVES[r.access], **_make_row(r)} for r in loaded.rules.paths]
    commands = [{"kind": "command", "leaves": _format_left(r), **_make_row(r)} for r in loaded.rules.commands]
    rules = [_make_landing_row(pattern, why) for pattern, why in ALWAYS.items()]
    extra = {"files": list(loaded.files), "warnings": list(loaded.warnings), "note": NOTE}
    return {"rules": [*paths, *commands, *rules], **extra}


def judged_here(home: Path, cwd: Path, environ: Mapping[str, str], deed: Deed) -> dict[str, Any]:
    """Return whether a run in this folder may do `deed`, and which rules or which level forbid it."""
    around = FileSurroundings(home, environ)
    project = around.project_of(str(cwd))
    level = _parse_level(deed.level) if deed.level else around.defaults(project).safety
    policy = compile_policy(level, deed.read_only, rules=around.rules(project))
    found = _judge_deed(policy, deed, Where(project or str(cwd), environ.get("HOME", "~")), cwd)
    because = [{"words": one.words, "ends_the_run": one.ends} for one in found.offences]
    return {
        "allowed": not found.offences,
        "asks": bool(to_ask(policy, found)),
        "action": found.action.value,
        "safety": f"{level.value}, read-only" if deed.read_only else level.value,
        "because": because,
    }


def _judge_deed(policy: Policy, deed: Deed, where: Where, cwd: Path) -> Judgement:
    if deed.command is not None:
        return judge_command(policy, deed.command, where)
    path = deed.path or ""
    here = path if path.startswith("~") else os.path.join(os.path.realpath(cwd), path)
    return judge_path(policy, here, Use(deed.use), where)


def _make_landing_row(pattern: str, why: str) -> dict[str, Any]:
    """Return the row for a file that determines what runs later: its changes land only after approval."""
    row = {"pattern": pattern, "origin": BUILT_IN, "reason": why}
    return {"kind": "landing", "leaves": "all, but landing needs approval", **row}


def _parse_level(text: str) -> Safety:
    try:
        return Safety(text)
    except ValueError:
        levels = [level.value for level in Safety]
        near = find_nearest(text, levels)
        fix = f"did you mean --safety {near}?" if near else f"valid levels: {', '.join(levels)}"
        raise UsageError(f"safety level {text!r} not found", fix=fix) from None


def _format_left(rule: CommandRule) -> str:
    return "only what a user approves" if rule.ask else "nothing"


def _make_row(rule: Any) -> dict[str, Any]:
    return {"pattern": rule.pattern, "origin": rule.origin, "reason": rule.reason}


_LEAVES = {"none": "nothing", "read": "reading", "no-delete": "all except deleting"}
