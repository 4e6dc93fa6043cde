"""Shows the safety rules of one folder, and how they judge a command or a path; needs no coordinator."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from node_agent.policy.commands.programs import Use
from node_agent.policy.deciding import ALWAYS
from node_agent.policy.judging import Judgement, Where, judge_command, judge_path, to_ask
from node_agent.wire.policy import BUILT_IN, CommandRule, Policy, Safety, compile_policy
from pancode.config.answers import JudgedAnswer, ReasonShape, RulesAnswer, RuleShape
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


def rules_here(home: Path, cwd: Path, environ: Mapping[str, str]) -> RulesAnswer:
    """Return every rule with its origin, the files read, and warnings. ConfigError with file and line."""
    around = FileSurroundings(home, environ)
    loaded = around.loaded_rules(around.project_of(str(cwd)))
    rules = [_make_row("path", _LEAVES[r.access], r.pattern, r.origin, r.reason) for r in loaded.rules.paths]
    rules += [
        _make_row("command", _format_left(r), r.pattern, r.origin, r.reason) for r in loaded.rules.commands
    ]
    # changes of files that determine what runs later
    held = "all, but landing needs approval"
    rules += [_make_row("landing", held, pattern, BUILT_IN, why) for pattern, why in ALWAYS.items()]
    return {"rules": rules, "files": list(loaded.files), "warnings": list(loaded.warnings), "note": NOTE}


def judged_here(home: Path, cwd: Path, environ: Mapping[str, str], deed: Deed) -> JudgedAnswer:
    """Return whether a run in this folder may do `deed`, and which rules or which level forbid it."""
    around = FileSurroundings(home, environ)
    project = around.project_of(str(cwd))
    level = _parse_level(deed.level) if deed.level else around.defaults(project).safety
    policy = compile_policy(level, deed.read_only, rules=around.rules(project))
    found = _judge_deed(policy, deed, Where(project or str(cwd), environ.get("HOME", "~")), cwd)
    because: list[ReasonShape] = [{"words": one.words, "ends_the_run": one.ends} for one in found.offences]
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


def _make_row(kind: str, leaves: str, pattern: str, origin: str, reason: str) -> RuleShape:
    return {"kind": kind, "leaves": leaves, "pattern": pattern, "origin": origin, "reason": reason}


_LEAVES = {"none": "nothing", "read": "reading", "no-delete": "all except deleting"}
