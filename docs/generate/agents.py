"""Writes the page of agents: the shipped ones, every key of a definition, how one is chosen and told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_type_hints

import yaml

from docs.generate.markdown import block, code, listed, page, table, words, yes
from docs.generate.settings import kind_of
from pancode.agents import prompts
from pancode.agents.agents import BY_MODE, DEFAULT_AGENT
from pancode.agents.prompts import Category
from pancode.config.agents.definitions import shipped_text
from pancode.config.agents.format import PRESETS, AgentEntry, LimitsEntry, SamplingEntry

INTRO = """
An agent is a definition: who does a kind of work, with which tools, within which bounds. Eight are shipped;
`panagents.yaml` in `PANCODE_HOME` is laid over them key by key, and adds your own. A repository defines none.
Every key below is enforced, or refused by its name with file and line (exit status 3): none is read and
forgotten. [How to write your own](../howto/agents.md).
"""
MEANINGS: Mapping[str, str] = {
    "description": "for users; and who the agent is, where it has no `system_prompt`",
    "system_prompt": "who the agent is: the first part of every prompt of it, never the whole",
    "prompt": "`default`, or NAME: the file `prompts/NAME.md` in `PANCODE_HOME` takes the place of "
    "`system_prompt`; both of your own for one agent are refused",
    "role": "the form of its final report; left out, an agent that writes is a `worker`, one that reads is a "
    "`scout` when its speed is `fast` and a `reviewer` otherwise. A `lead` is talked with (`pancode chat`): "
    "no task is given to it, and a dispatch to it is refused",
    "tools": "what it may use: told in its prompt and held by the flags of its program; Codex has one tool "
    "for all of them, its shell, so there they are only told, and the receipt says so",
    "readonly": "`true`: it changes nothing in any mode at any level; a writing tool is refused beside it",
    "tier": "how able a model the work needs, at least: one that is known to be below is told in a "
    "warning, or refused with `models.strict_tiers` (`PANCODE_STRICT_TIERS=1`), as is then one of which "
    "nothing is known. A model of the fleet's own is judged by what its server and its test tell, "
    "not by its name",
    "speed": "`fast`: a quarter of `limits.wall` and half of `limits.idle`; `thorough`: twice `limits.idle`; "
    "and reasoning `low` or `high`, in a vendor's own program that takes it, if nothing else says so; "
    "limits of its own and flags go first",
    "autonomy": "`autonomous`: `--land` may be asked for; `supervised`: `--land` is refused, a user lands; "
    "`confirmatory`: so, and each dispatch asks on a terminal first, or needs `--yes`, else it is refused "
    "(exit status 5); a run can never say that yes. `runs retry` is a yes for that run",
    "network": "what a run of it reaches at most: `none`, `gateway` (its model alone; set-up and gates "
    "nothing) or `machine`; anything but `machine` runs only on a machine with a sandbox, which holds it",
    "isolation": "`worktree`: only with a checkout of a repository; `container`: only on a machine with a "
    "sandbox, which its node makes sure of once more; `none`: no more than every run has, which is "
    "a checkout of its own",
    "runtime": "which program runs it; names as `cli:claude-code` are known. Left out: by the model, else "
    "`dispatch.runtime`, else what is ready",
    "runtime_args": "refused, but for an empty list: a flag could lift a run's limits",
    "node": "the machine on which all its runs are; `--node` counts more. Left out: any machine that fits",
    "gpus": "how many GPUs of its machine each of its runs holds alone until it ends, or `all`; `--gpus` "
    "counts more. Left out: `dispatch.gpus`, or none",
    "gpu_memory": "the least memory of each of them; alone it asks for one GPU",
    "model": "its model; `${VARIABLES}` are filled in here and nowhere else, and one alone that is not set "
    "is no model",
    "reasoning": "how hard its model thinks; a runtime that cannot be asked for that level refuses it",
    "sampling": f"a preset ({listed(PRESETS)}), or keys, perhaps with `preset:` under them; only the "
    "runtime `native` takes it, all others refuse it by name",
    "token_budget": "the same as `limits.tokens`: tokens of an attempt, without what comes from a cache",
    "max_turns": "the same as `limits.turns`: how often its model may answer in an attempt; the node ends "
    "it there as `turn_limit`, and programs that have a flag for it get it",
    "retry_on_failure": "`true`: tried once more, whatever went wrong; `false`: once and not again, for a "
    "fault of ours neither; left out: as `dispatch.max_attempts` says",
    "limits": "its own limits, as `limits` of the settings; `turns` and `usd` beside them",
    "max_attempts": "as `dispatch.max_attempts`, for it alone",
    "env": "names of variables of the node that its runs see",
    "secrets": "names of secrets of the node that its runs are given",
    "skills": "names of skills ([`pancode skills`](../howto/skills.md)) that its runs are given, beside "
    "those of the project",
    "tags": "words: `pancode agents --tag T` lists by them, and a task that names one is given to that "
    "agent, when it is one of yours",
    "enabled": "`false`: it is there, and every dispatch to it is refused",
}
CHOICE = f"""
Without `--agent`, and without `dispatch.agent` in your settings, the task decides. The first that fits
counts, and `dispatch`, `--dry-run` and `pancode why` say which it was:

1. An agent of yours with a tag that is a word of the task; the one with most of them.
2. How the task begins, words of courtesy left out: "review ..." goes to the reviewer, "plan ..." to the
planner, "where is ..." to the scout, "document ..." to the documenter, "attack ..." or "audit ... security"
to the red team, "review the plan" to the plan reviewer. A task that begins by looking and continues with a
change ("explain this and fix it") is a change. With a gate on the command line (`--verify`), only agents that
may write are considered for these two.
3. `{DEFAULT_AGENT}`.

In the modes {listed(BY_MODE)} only read-only agents are chosen; where the task says no more it is
{", ".join(f"`{name}` in {code(mode)}" for mode, name in BY_MODE.items())}. What a program of your own runs
(`--runtime shell`) is no task in words: there it is `{DEFAULT_AGENT}`.
"""
PROMPTS = """
Every agent's prompt is compiled, part by part, in this order, and is the same to the byte for the same
definition, mode, level, runtime, rules and notes. `pancode agents prompt NAME` prints it for a folder with
its digest and an estimate of its tokens (a token for four characters), and `pancode agents prompt RUN` prints
the one that a run was given.

Where the window of the model is known, prompt and task together take at most half of it. What does not fit
is left out in this order: notes of earlier runs, the last one first; then the agent's own prompt, in whose
place its name and description stand; then the explanations in the form of its report. The task is never left
out, nor are mode, rules and tools. `dispatch --dry-run`, `agents prompt` and `why` say what was left out.

On the node the repository's `AGENTS.md` comes under the prompt, marked as material; the receipt has the
digest of all of it as `prompt_digest`.
"""
PARTS: Mapping[Category, str] = {
    Category.IDENTITY: "`system_prompt`, or the prompt's file, or name and description",
    Category.CONSTITUTION: "what holds for every agent, and what its role keeps to",
    Category.MODE: "what the mode means for this run: who is read-only is told so in mode build, too",
    Category.SAFETY: "what the run is held to: read-only, or its safety level",
    Category.RULES: "the safety rules of the workspace, where there are some",
    Category.TOOLS: "what it may use, by the names that its program gives them",
    Category.CONTEXT: "notes of earlier runs in the repository, marked as material, where there are some",
    Category.REPORT: "the form of the final report, by its role",
}


def agents_page() -> str:
    shipped: dict[str, Any] = yaml.safe_load(shipped_text("panagents.yaml"))["agents"]
    hints = get_type_hints(AgentEntry, include_extras=True)
    keys = [(code(n), _kind(n, hints[n]), _default(n), MEANINGS[n]) for n in AgentEntry.model_fields]
    presets = [(code(name), ", ".join(f"{k} {v}" for k, v in said.items())) for name, said in PRESETS.items()]
    return page(
        "Agents",
        "`pancode/config/agents/format.py` and `pancode/agents/prompts`",
        words(INTRO),
        "## Shipped",
        table(
            ("Agent", "Changes files", "Tier", "Speed", "What for"), [_row(n, a) for n, a in shipped.items()]
        ),
        "The name `dev` stands for `builder`.",
        "## Keys of an agent",
        table(("Key", "Type", "Default", "What it does"), keys),
        table(("Sampling preset", "Values"), presets),
        "## Which agent a task is given to",
        CHOICE.strip(),
        "## Prompts",
        words(PROMPTS),
        table(("Part", "What it says"), [(code(part), PARTS[part]) for part in Category]),
        "## Reports",
        *(part for role, text in prompts.REPORTS.items() for part in (f"### {role}", block(text, "text"))),
        "## panagents.yaml",
        "The shipped agents, as `pancode init` writes them, commented out, into your home:",
        block(shipped_text("panagents.yaml"), "yaml"),
    )


def _row(name: str, agent: dict[str, Any]) -> tuple[str, ...]:
    return code(name), yes(not agent["readonly"]), agent["tier"], agent["speed"], agent["description"]


def _kind(name: str, hint: Any) -> str:
    if name == "limits":
        return f"keys {listed(LimitsEntry.model_fields)}"
    if name == "sampling":
        return f"a preset, or keys {listed(SamplingEntry.model_fields)}"
    return kind_of(hint)


def _default(name: str) -> str:
    value = AgentEntry.model_fields[name].default
    if isinstance(value, LimitsEntry | SamplingEntry) or value == "":
        return ""
    if isinstance(value, tuple):
        return code(f"[{', '.join(value)}]")
    if isinstance(value, bool):
        return code(str(value).lower())
    return code("null" if value is None else value)
