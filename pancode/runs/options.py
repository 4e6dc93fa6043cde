"""The options of a dispatch, each declared once: the command line, the API and file formats derive from it.

Standard library only, so that `pancode dispatch` starts without loading pydantic. Each interface looks up the
name of an option's type (such as `Money`) in its own table of parsers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from decimal import Decimal

    from node_agent.wire.job import Reasoning
    from node_agent.wire.policy import Mode, NetworkAccess, Safety

    Money: TypeAlias = Decimal
Name: TypeAlias = str
ModelName: TypeAlias = str
RuntimeName: TypeAlias = str
Count: TypeAlias = int
Duration: TypeAlias = int
"""Milliseconds."""
Size: TypeAlias = int
"""Bytes."""
Gpus: TypeAlias = str
"""A whole number, or `all`; 0: reserve none, although a default asks for some."""
Labels: TypeAlias = Mapping[str, str]
Commands: TypeAlias = tuple[str, ...]
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
MOST_MS, MOST_BYTES = 365 * 86_400_000, 2**50
"""The longest duration in milliseconds, and the largest size in bytes, that a user may give."""
_BOUNDS = {"Count": (1, 10**9), "Duration": (1, MOST_MS), "Size": (1, MOST_BYTES)}
_SPOKEN = {MOST_MS: "365d", MOST_BYTES: "1048576GiB"}


@dataclass(frozen=True, slots=True)
class Option:
    """The declaration of one option of a dispatch."""

    name: str
    """The option's key in the API, and in a request."""
    kind: str
    """The name of the option's type."""
    default: Any
    help: str
    value: str
    """The placeholder for the option's value in the help."""
    under: str
    """The option's heading in the help."""
    example: str = ""
    """An example of a value, as it is typed."""
    flags: tuple[str, ...] = ()
    """The option's names on the command line; empty: derived from `key`."""
    key: str = ""
    """The option's key in workflow files, if it differs from the name."""
    least: int | None = None
    most: int | None = None
    words: tuple[str, ...] = ()
    """The only allowed values; empty: any."""
    complete: str = ""
    """The function of `interfaces/cli/completions.py` that completes the option's value."""
    commands: tuple[str, ...] = EVERY
    kept: str | None = None
    """The path of its value in a run or its facet `GateTerms`, for `runs retry`; None: its name; empty: it is
    computed there."""
    is_common: bool = False
    """Whether the short help includes the option."""
    tool: str = ""
    """The description for models that use the MCP server; empty: none of its tools has the option."""

    @property
    def word(self) -> str:
        """Return the option's name in workflow files, also its parameter name on the command line."""
        return self.key or self.name

    @property
    def flag(self) -> str:
        return self.flags[0] if self.flags else f"--{self.word.replace('_', '-')}"

    @property
    def bounds(self) -> tuple[int, int] | None:
        """Return the lowest and the highest allowed number; None: the option is not a number."""
        if self.kind not in _BOUNDS:
            return None
        least, most = _BOUNDS[self.kind]
        return least if self.least is None else self.least, most if self.most is None else self.most

    @property
    def most_spoken(self) -> str:
        """Return the highest allowed number, as a user would write it."""
        most = self.bounds[1] if self.bounds is not None else 0
        return _SPOKEN.get(most, f"{most}")


def option(help: str, value: str = "", *, under: str = LIMITS, default: object = None, **more: Any) -> Any:
    """Return a field of `WorkOptions` with the metadata of an `Option`."""
    about = {"default": default, "help": help, "value": value, "under": under, **more}
    return field(metadata=about, **({"default_factory": dict} if default == {} else {"default": default}))


_who, _where = partial(option, under=WHO), partial(option, under=WHERE)
_limit, _gate = partial(option, commands=ALONE), partial(option, under=GATES, commands=TASKS)


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
    budget: Money | None = option(
        "The most USD that the run may cost in all its attempts; for a chat, the session.",
        "USD",
        kept="limits.usd",
        tool="most USD of a run: 0.75",
        is_common=True,
    )
    timeout_ms: Duration | None = option(
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
    max_tokens: Count | None = option(
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
    attempts: Count | None = option(
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
    land: bool = option(
        "Land the change when the run is done, even if nobody waits for the result.",
        default=False,
        kept="",
        commands=ALONE,
        under=GATES,
        is_common=True,
    )
    ask: bool = option(
        "Require a user's approval before the run starts; this can also grant an exception from a "
        "budget or rule.",
        default=False,
        kept="",
        commands=STEPS,
        under=GATES,
        tool="approval by a user first",
    )


OPTIONS: Mapping[str, Option] = {
    one.name: Option(one.name, str(one.type).partition(" ")[0], **one.metadata) for one in fields(WorkOptions)
}
"""All options by name, in the order of the help."""
