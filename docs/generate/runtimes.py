"""Writes the page of runtimes: what each does by itself, and which rule it holds without a
sandbox around it."""

from __future__ import annotations

from dataclasses import fields

from docs.generate.markdown import code, listed, page, table, words, yes
from node_agent.runtimes.base import Capabilities, Runtime
from node_agent.runtimes.registry import RUNTIMES
from node_agent.wire.job import Reasoning
from node_agent.wire.policy import Isolation, Mode, Safety
from pancode.agents.runtimes import is_listed

TOLD = {
    "stream": "Live events",
    "usage": "Tokens",
    "cost": "Price",
    "resume": "Resumes",
    "tool_list": "Named tools",
    "turn_limit": "Limit of turns",
    "budget_limit": "Limit of money",
    "tells_ran": "Tells which calls it let through",
    "asks_first": "Asks before a command",
    "prompted": "Takes instructions",
    "narrows": "Holds an agent's own list of tools",
    "tells_turns": "Tells its turns",
    "hears": "Hears words while it works",
    "asks_users": "Asks a user while it works",
    "takes_turns": "Takes turns",
}
LEFT_OUT = {"needs_model", "own", "read_only_enforced", "reasoning"}
RULES = (("read-only", Safety.AUTO_EDIT, True), *((level.value, level, False) for level in Safety))


def runtimes_page() -> str:
    every = [kind for kind in RUNTIMES.values() if is_listed(kind.name)]
    shown = [name for name in (field.name for field in fields(Capabilities)) if name not in LEFT_OUT]
    can = [(code(r.name), *(yes(getattr(r.capabilities, name)) for name in shown)) for r in every]
    return page(
        "Runtimes",
        "`node_agent/runtimes/`",
        words("The programs that run agents. `pancode runtimes` says where each is ready, and what helps."),
        "## Programs",
        words(
            "Another version than the measured one runs, with a warning in `pancode runtimes`. The variables "
            "are taken from `secrets.json` of the node. A key stays with the node's model gateway, the run "
            "has a placeholder; a vendor's own login is seen by the agent's process alone."
        ),
        table(("Runtime", "Package", "Measured with", "Variables"), [_program(r) for r in every]),
        "## What each tells and does by itself",
        words(
            "By itself: where model calls go through the [gateway](../howto/model-calls.md), tokens, "
            "price and limits are the node's for all alike. Where a price is missing, the cost of a run is "
            "unknown, and what was held for it stays until `pancode budget settle`. Limits of time, silence "
            "and output are kept by the node for all; without the gateway one of tokens or money as far as "
            "the program tells them while it works."
        ),
        table(("Runtime", *(TOLD[name] for name in shown)), can),
        "## How hard a model thinks",
        words(
            "`pancode dispatch --reasoning LEVEL` (or `reasoning` of an agent) is refused where the runtime "
            "does not take that level; `dispatch.reasoning` in the settings is a wish for all runs, left out "
            "with a warning there. What a level means is the model's own: some know fewer than their "
            "program takes."
        ),
        table(("Runtime", *(level.value for level in Reasoning)), [_levels(r) for r in every]),
        "## Who is asked before a command",
        words(
            "The programs that have `yes` above ask the run's policy before each command, and before each "
            "use of a file where rules speak of paths: Claude Code, Codex, Gemini CLI and Copilot "
            "by a hook, OpenCode by a plugin, our own workers by themselves. What the level or a rule of "
            "`pansafety.yaml` forbids is not run; the model is told why. A hook that fails lets "
            "nothing through. It takes about a quarter of a second for each command. In the sandbox the "
            "agent cannot change what tells its program to ask. Of a program without a hook, and of "
            "`shell`, commands are looked at afterwards, or not at all."
        ),
        words(
            "At auto-edit an agent has a shell where the node's sandbox stands around it: so it can run "
            "tests. Destructive commands, deletions, pushes and what nobody can read before it runs "
            "(`python -c`, a script from a pipe) need full-auto. Without a sandbox only `codex` has a shell "
            "at auto-edit, in its own; a dispatch says so."
        ),
        "## Who holds a rule",
        words(
            "A node's sandbox holds every rule, for every runtime. On a node without one it is as below. "
            "`pancode policy show --matrix` prints both, and [the safety matrix](safety-matrix.md) has what "
            "tests found in the real programs. `told only` means that nothing but the agent's good will "
            "holds the rule, `impossible` that not even that does: such a dispatch is refused, unless you "
            "say `--allow-told-only`."
        ),
        table(("Runtime", *(name for name, _, _ in RULES)), [_held(r) for r in every]),
    )


def _program(runtime: Runtime) -> tuple[str, ...]:
    program = runtime.program
    if program is None:
        return code(runtime.name), "part of PanCode", "", ""
    package = f"{code(program.package)} ({'pip' if program.environment else 'npm'})"
    return code(runtime.name), package, f"{program.known}x", listed(runtime.credentials)


def _levels(runtime: Runtime) -> tuple[str, ...]:
    return code(runtime.name), *(yes(level in runtime.capabilities.reasoning) for level in Reasoning)


def _held(runtime: Runtime) -> tuple[str, ...]:
    grades = (
        runtime.enforcement(Mode.BUILD, level, read_only, Isolation.NONE) for _, level, read_only in RULES
    )
    return code(runtime.name), *(grade.value for grade in grades)
