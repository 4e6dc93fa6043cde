"""The hook with which a program checks a tool call against the run's policy: a file of rules and a command.
The sandbox shows these files of the run's home read-only, so that an agent cannot change them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from typing import Any

from node_agent.runtimes.base import LaunchRequest, Place
from node_agent.wire.identity import ApprovalChannel, AttemptId
from node_agent.wire.model import WireModel
from node_agent.wire.policy import Policy

FOLDER = "hooks"
"""The hook's folder in the run's home."""
GUARDED = (FOLDER, "copilot/hooks", "config/opencode/plugin")
"""Existing folders of the home that the sandbox shows read-only, in addition to the launch's files."""
RULES = f"{FOLDER}/rules.json"
PROGRAM = "hooks/program.py"
"""The hook's program in the node agent's own code."""
REFUSED = "PanCode did not let this through"
"""The beginning of the answer that a model gets for a denied call."""
TIMEOUT_S = 60
"""Seconds. Most programs allow a call if their hook takes too long, so our hook ends before that."""
MOST_TIMEOUT_S = 2_000_000
"""The maximum time limit of a hook in seconds; a larger number overflows the timers of some programs."""
_SLACK_S = 31
"""A hook that asks a user needs its own time twice: before the question, and after the answer."""
MOST_WAIT_MS = (MOST_TIMEOUT_S - TIMEOUT_S - _SLACK_S) * 1000
"""The maximum wait of a hook for a user; then it denies the call, before its program stops waiting."""


class HookRules(WireModel):
    """The input of the hook's program. `top`, `folder`: the checkout, and the run's folder below it. `desk`:
    where users are asked; None: users cannot be asked, so a rule that requires approval denies."""

    runtime: str
    policy: Policy
    top: str
    folder: str = ""
    desk: ApprovalChannel | None = None


def build_files(runtime: str, request: LaunchRequest, place: Place) -> dict[str, bytes]:
    """Return the file of rules; empty if the run has no policy or the hook's program is missing."""
    if not has_hook(request, place) or request.policy is None:
        return {}
    rules = HookRules(
        runtime=runtime,
        policy=request.policy,
        top=request.workspace,
        folder=request.folder,
        desk=request.channel,
    )
    return {RULES: rules.model_dump_json().encode()}


def has_hook(request: LaunchRequest, place: Place) -> bool:
    """Whether a hook can check this run's calls before they are executed."""
    return request.policy is not None and bool(place.package and place.libraries)


def build_argv(request: LaunchRequest, place: Place) -> tuple[str, ...]:
    """Return the hook's command. It reads the call as JSON on standard input; status 0 allows the call, 2
    denies it."""
    optimised = (f"-{'O' * sys.flags.optimize}",) if sys.flags.optimize else ()
    program = (place.python, "-I", "-S", *optimised, f"{place.package}/{PROGRAM}")
    return (*program, place.package, place.libraries, f"{request.home}/{RULES}")


def build_command(request: LaunchRequest, place: Place) -> str:
    """Return the hook's command as a shell line in which any other end, even by a signal, becomes status 2.

    Stopping a run signals all its processes. The shell must survive that signal, because most programs
    execute the tool call if their hook's shell dies.
    """
    return f"trap : HUP INT TERM; {shlex.join(build_argv(request, place))} || exit 2"


def select_tools(request: LaunchRequest, shell: Iterable[str], files: Iterable[str]) -> tuple[str, ...]:
    """Return the tools for which the hook is called; file tools only if users' rules are about paths. A
    hook's call takes a quarter of a second, and the program's own flags keep file tools in the checkout."""
    paths = request.policy is not None and bool(request.policy.paths)
    return (*shell, *(files if paths else ()))


def approval_channel_of(home: str, identity: AttemptId, key: str, wall_ms: int) -> ApprovalChannel:
    """Return where calls wait for a user, up to the run's time limit and for less than the program waits."""
    return ApprovalChannel(home=home, identity=identity, key=key, wait_ms=min(wall_ms, MOST_WAIT_MS))


def timeout_s(request: LaunchRequest) -> int:
    """Return the seconds that the program waits for its hook: longer than the hook waits for a user."""
    asking = 0 if request.channel is None else request.channel.wait_ms // 1000 + _SLACK_S
    return min(asking + TIMEOUT_S, MOST_TIMEOUT_S)


def build_matcher(names: Iterable[str]) -> str:
    """Return the regular expression that matches these tools."""
    return f"^({'|'.join(names)})$"


def build_entry(names: Iterable[str], line: str, timeout: int = TIMEOUT_S) -> list[dict[str, Any]]:
    """Return the hook's settings in the form that most programs share."""
    return [
        {"matcher": build_matcher(names), "hooks": [{"type": "command", "command": line, "timeout": timeout}]}
    ]
