"""The options of a dispatch, each declared once: the command line, the API and file formats derive from it.

Standard library only, so that `pancode dispatch` starts without loading pydantic. Each interface looks up the
name of an option's type (such as `Money`) in its own table of parsers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from pancode.kernel.declared import (
    Commands,
    Count,
    Duration,
    Gpus,
    Labels,
    Money,
    Name,
    Size,
    Value,
    value,
    values_of,
)

if TYPE_CHECKING:
    from node_agent.wire.job import Reasoning
    from node_agent.wire.policy import Mode, NetworkAccess, Safety

ModelName: TypeAlias = str
RuntimeName: TypeAlias = str
Paths: TypeAlias = tuple[str, ...]

ALL_GPUS, NO_GPUS = "all", "0"


def is_gpu_count(value: object) -> bool:
    """Whether the value is a number of GPUs, or `all`, which means all GPUs of a node."""
    text = str(value)
    if text in (ALL_GPUS, NO_GPUS):
        return True
    return text.isascii() and text.isdecimal() and len(text) < 7 and not text.startswith("0")


WHO, WHERE, LIMITS, GATES = "Who works", "Where", "Limits", "Gates and landing"
ALONE, TASKS, STEPS = ("dispatch",), ("dispatch", "batch", "race"), ("dispatch", "batch", "race", "chain")
"""The commands that have an option; `schedule add` has the same options as `dispatch`."""
EVERY = (*STEPS, "chat")


@dataclass(frozen=True, slots=True)
class Option(Value):
    """The declaration of one option of a dispatch."""

    under: str = LIMITS
    """The option's heading in the help."""
    commands: tuple[str, ...] = EVERY
    kept: str | None = None
    """The path of its value in a run or its facet `GateTerms`, for `runs retry`; None: its name; empty: it is
    computed there."""
    is_common: bool = False
    """Whether the short help includes the option."""
    tool: str = ""
    """The description for models that use the MCP server; empty: none of its tools has the option."""


_who, _where = partial(value, under=WHO), partial(value, under=WHERE)
_limit, _gate = partial(value, commands=ALONE), partial(value, under=GATES, commands=TASKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOptions:
    """How to carry out a task. None: not given, so the default of the agent, project or fleet applies."""

    agent: Name | None = _who(
        "Agent definition (default: chosen by the task; see pancode agents).",
        "A",
        complete="agents",
        tool="scout, builder, reviewer ...",
        is_common=True,
    )
    node: Name | None = _where(
        "Use only this node.", "N", complete="nodes", tool="default: any", is_common=True
    )
    require: Labels = _where("Use only nodes with this label; may be repeated.", "KEY=VALUE", default={})
    gpus: Gpus | None = _where(
        "Reserve this many GPUs of its node exclusively until it ends; 0: none, despite a default.",
        "N|all",
        tool="to reserve: N or all",
    )
    gpu_memory: Size | None = _where(
        "Require at least this much memory on each reserved GPU; reserves one GPU if --gpus is omitted.",
        "S",
        example="24g",
        tool="least bytes per GPU",
    )
    mode: Mode | None = _who("admin, plan, build (default) or review.", "M", complete="complete_modes")
    safety: Safety | None = _who(
        "auto-edit (default) or full-auto; with suggest, no run can be started.",
        "S",
        complete="complete_levels",
    )
    model: ModelName | None = _who(
        "Model: NAME, PROVIDER/NAME or NODE/PROVIDER/NAME.",
        "M",
        complete="models",
        kept="asked_model",
        tool="default: the agent's",
        is_common=True,
    )
    reasoning: Reasoning | None = _who(
        "Reasoning effort: off, minimal, low, medium, high or xhigh (default: the runtime's own).", "L"
    )
    runtime: RuntimeName | None = _who(
        "Program that carries out the run; shell runs TASK as a script.",
        "R",
        complete="runtimes",
        tool="claude, codex, gemini, opencode, copilot, native, shell ...",
        is_common=True,
    )
    workspace: Name | None = _where(
        "A snapshot of this repository (default), an empty directory, or a workspace by its name.",
        "git|none|NAME",
        kept="workspace.kind",
        tool="git: the repository with its uncommitted changes; none: an empty directory; or, not in a "
        "batch or race, a workspace of the user by its name (see workspaces)",
    )
    budget: Money | None = value(
        "The most USD that the run may cost in all its attempts; for a chat, the session.",
        "USD",
        kept="limits.usd",
        tool="most USD of a run: 0.75",
        is_common=True,
    )
    timeout_ms: Duration | None = value(
        "Let the run last at most this long.",
        "D",
        example="15m",
        key="timeout",
        kept="limits.wall_ms",
        is_common=True,
    )
    idle_timeout_ms: Duration | None = _limit(
        "Let the run continue at most this long without a sign of life.",
        "D",
        example="5m",
        key="idle_timeout",
        kept="limits.idle_ms",
    )
    max_turns: Count | None = _limit(
        "Allow at most this many answers of the run's model.", "N", kept="limits.turns"
    )
    max_requests: Count | None = _limit(
        "Allow at most this many model calls in each attempt.", "N", kept="limits.requests"
    )
    max_tokens: Count | None = value(
        "Allow at most this many tokens in each attempt.",
        "N",
        most=10**12,
        kept="",
        commands=(*ALONE, "chat"),
    )
    max_output: Size | None = _limit(
        "Allow at most this much output.", "S", example="64MiB", kept="limits.output_bytes"
    )
    max_memory: Size | None = _limit(
        "Allow at most this much memory.", "S", example="4GiB", least=64 * 2**20, kept="limits.memory_bytes"
    )
    max_processes: Count | None = _limit(
        "Allow at most this many processes.", "N", least=32, most=2**22, kept="limits.processes"
    )
    max_disk: Size | None = _limit(
        "Allow at most this much disk space in the run's checkout and home.",
        "S",
        least=64 * 2**20,
        kept="limits.disk_bytes",
    )
    wrap_up: bool | None = _limit(
        "When a limit of tokens, dollars or calls is reached, allow one last, short answer (limit of "
        "turns: native only).",
        flags=("--wrap-up/--no-wrap-up",),
        kept="limits.wrap_up",
    )
    verify: Commands | None = _gate(
        "Gate: a command that must exit with status 0 after the agent's work; may be repeated.",
        "CMD",
        commands=(*TASKS, "chat"),
        kept="",
        tool="commands that must pass: pytest -q",
        is_common=True,
    )
    """None: the project's gates apply; empty: no gates."""
    reports: Paths | None = _gate(
        "JUnit file that a gate writes, to be included in the receipt; may be repeated.",
        "FILE",
        flags=("--report",),
        kept="GateTerms.reports",
    )
    """None: the project's report files apply, if the run uses the project's gates."""
    priority: Count = _where(
        "Priority; runs with a higher number begin first.",
        "P",
        default=0,
        least=-1000,
        most=1000,
        commands=STEPS,
    )
    attempts: Count | None = value(
        "The most attempts after any failures (default: by the cause; see the reference page on failures).",
        "N",
        most=10,
        kept="max_attempts",
        commands=STEPS,
    )
    verify_retries: Count | None = _gate(
        "How often a failed gate may be retried with its output (default: 1 for agents that write, else 0).",
        "N",
        least=0,
        most=9,
        kept="GateTerms.verify_retries",
    )
    check_gates_first: bool = _gate(
        "Begin only if the gates already pass on the unchanged tree.",
        default=False,
        kept="GateTerms.check_first",
        commands=ALONE,
    )
    network: NetworkAccess | None = _where(
        "The most that the run may reach over the network: nothing, only its model, or what the node "
        "can reach (default).",
        "none|gateway|machine",
        kept="rules.network",
    )
    on_lost: Name | None = _where(
        "What happens if the node is lost.", "ask|retry", words=("ask", "retry"), commands=STEPS
    )
    told_only: bool = _who(
        "Accept that rules which cannot be enforced are only stated in the agent's prompt.",
        default=False,
        flags=("--allow-told-only", "--told-only"),
    )
    secret_files: bool = _where(
        "Also send untracked files that are normally excluded because of their names, such as .env and "
        "*.pem.",
        default=False,
        key="with_secret_files",
        kept="",
    )
    show: Name | None = _where(
        "Give the run the change of another run, or of commits (A..B, or A for those since A), as "
        ".pancode/inputs/show.diff.",
        "RUN|RANGE",
        kept="",
        commands=ALONE,
    )
    untested: bool = _who("Use a local model that has not passed its test.", default=False)
    land: bool = value(
        "Land the change when the run is done, even if nobody waits for the result.",
        default=False,
        kept="",
        commands=ALONE,
        under=GATES,
        is_common=True,
    )
    ask: bool = value(
        "Require a user's approval before the run starts; this can also grant an exception from a "
        "budget or rule.",
        default=False,
        kept="",
        commands=STEPS,
        under=GATES,
        tool="approval by a user first",
    )


OPTIONS = values_of(WorkOptions, Option)
"""All options by name, in the order of the help."""
