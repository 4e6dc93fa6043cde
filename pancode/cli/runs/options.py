"""The options of a dispatch."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from pancode.cli import completions
from pancode.cli.commands import RichHelpCommand
from pancode.cli.params import Label, duration, label, many, money, option, size_of

Task = Annotated[str | None, Argument()]
Require = Annotated[
    list[Label], many("Use only machines with this label; may be repeated.", "KEY=VALUE", parser=label)
]
Verify = Annotated[list[str], many("Gate: must exit 0 afterwards; may be repeated.", "CMD")]
Reports = Annotated[
    list[str],
    many("JUnit or SARIF file that a gate writes, for the receipt; may be repeated.", "FILE", "--report"),
]
File = Annotated[
    str | None,
    option("Read TASK from this file; - is standard input, as TASK - is, too.", "-f", "--file", "FILE"),
]
Agent = Annotated[
    str | None,
    option(
        "Agent definition (default: chosen by the task; see pancode agents).",
        "A",
        complete=completions.agents,
    ),
]
Node = Annotated[str | None, option("Only this machine.", "N", complete=completions.nodes)]
Mode = Annotated[
    str | None, option("admin, plan, build (default) or review.", "M", complete=completions.modes)
]
Safety = Annotated[
    str | None,
    option(
        "auto-edit (default) or full-auto; suggest starts no run.",
        "S",
        complete=completions.levels,
    ),
]
Model = Annotated[
    str | None, option("Model: NAME, PROVIDER/NAME or NODE/PROVIDER/NAME.", "M", complete=completions.models)
]
Reasoning = Annotated[
    str | None,
    option("How hard it thinks: off, minimal, low, medium, high or xhigh (default: the runtime's own).", "L"),
]
Preset = Annotated[
    str | None,
    option(
        "Use the settings of this preset; none: use no preset (see pancode presets).",
        "P",
        complete=completions.presets,
    ),
]
Runtime = Annotated[
    str | None,
    option("Program that runs it; shell runs TASK as a script.", "R", complete=completions.runtimes),
]
Workspace = Annotated[
    str | None, option("A snapshot of this repository (default), or an empty folder.", "git|none")
]
Budget = Annotated[
    str | None, option("The most that the run may cost with all its attempts.", "USD", parser=money)
]
Timeout = Annotated[int | None, option("At most this long, as in 15m.", "D", parser=duration)]
IdleTimeout = Annotated[
    int | None, option("At most this long without a sign of life, as in 5m.", "D", parser=duration)
]
MaxTurns = Annotated[int | None, option("At most this many answers of its model.", "N", min=1)]
MaxRequests = Annotated[int | None, option("At most this many model calls in an attempt.", "N", min=1)]
MaxTokens = Annotated[int | None, option("At most this many tokens in an attempt.", "N", min=1)]
MaxOutput = Annotated[int | None, option("At most this much output, as in 64MiB.", "S", parser=size_of)]
MaxMemory = Annotated[int | None, option("At most this much memory, as in 4GiB.", "S", parser=size_of)]
MaxProcesses = Annotated[int | None, option("At most this many processes.", "N", min=1)]
MaxDisk = Annotated[int | None, option("At most this much in its checkout and home.", "S", parser=size_of)]
WrapUp = Annotated[
    bool | None,
    option(
        "Let one last, short answer through at a limit of tokens, dollars or calls (turns: native only).",
        "--wrap-up/--no-wrap-up",
    ),
]
NoVerify = Annotated[bool, option("Leave out the project's gates.", "--no-verify")]
Priority = Annotated[int, option("Higher is served first.", "P", min=-1000, max=1000)]
Attempts = Annotated[
    int | None,
    option(
        "Most attempts after any failure (default: by the cause; see the reference page on failures).",
        "N",
        min=1,
        max=10,
    ),
]
VerifyRetries = Annotated[
    int | None,
    option(
        "Tries after a failed gate, with its output (default: 1 for agents that write, else 0).",
        "N",
        min=0,
        max=9,
    ),
]
VerifyOn = Annotated[
    str | None,
    option(
        "Have another machine run the gates on the result and sign the verdict: other, a name, or none.",
        "N",
        complete=completions.nodes,
    ),
]
Network = Annotated[
    str | None,
    option(
        "The most that the run may reach: nothing, its model alone, or what the machine reaches (default).",
        "none|gateway|machine",
    ),
]
OnLost = Annotated[str | None, option("What happens when the machine is lost.", "ask|retry")]
ToldOnly = Annotated[
    bool,
    option(
        "Accept that rules which cannot be enforced are only told to the agent.",
        "--allow-told-only",
        "--told-only",
    ),
]
SecretFiles = Annotated[
    bool,
    option(
        "Send untracked files such as .env and *.pem, too, which are left out because of their names.",
        "--with-secret-files",
    ),
]
Untested = Annotated[bool, option("Use a local model without its test.", "--untested")]
Detach = Annotated[bool, option("Do not wait for the result.", "--detach/--wait")]
DryRun = Annotated[bool, option("Show the ten gates and what would happen; start nothing.", "--dry-run")]
Yes = Annotated[bool, option("Say yes for an agent that asks a person before each dispatch.", "--yes")]
Ask = Annotated[
    bool,
    option(
        "Let a person approve it before it starts, also as an exception from a budget or rule.",
        "--ask",
    ),
]
Land = Annotated[
    bool, option("Land the change when the run is done, even when nobody waits for it.", "--land")
]
HEADINGS = {
    "Who works": (
        *("agent", "model", "reasoning", "runtime", "preset", "mode", "safety", "told_only", "untested"),
        *("agents", "models", "runtimes", "best_of"),
    ),
    "Where": (
        *("node", "nodes", "require", "workspace", "network", "secret_files", "priority", "on_lost"),
        *("concurrency", "stagger"),
    ),
    "Limits": (
        *("budget", "total", "timeout", "idle_timeout", "attempts", "wrap_up", "max_turns", "max_requests"),
        *("max_tokens", "max_output", "max_memory", "max_processes", "max_disk", "fail_fast"),
    ),
    "Gates and landing": (
        *("verify", "no_verify", "reports", "verify_retries", "verify_on", "by", "score", "land", "ask"),
    ),
}
"""Heading of the help to options: of all commands that take those of a dispatch."""


class WorkCommand(RichHelpCommand):
    """A command with these options, below their headings."""

    headings = HEADINGS
