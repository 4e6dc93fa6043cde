"""The hook that lets a program ask the run's policy before a tool call: rules in a file, a command.

The files lie in places of the run's home that the sandbox shows read-only, so an agent cannot change them.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from typing import Any

from node_agent.runtimes.base import LaunchRequest, Place
from node_agent.wire.identity import AttemptId, CallDesk
from node_agent.wire.model import WireModel
from node_agent.wire.policy import Policy

FOLDER = "hooks"
"""The hook's folder in the run's home."""
GUARDED = (FOLDER, "copilot/hooks", "config/opencode/plugin")
"""Folders of the home that the sandbox shows read-only where they are there, beside the files of a launch."""
RULES = f"{FOLDER}/rules.json"
PROGRAM = "hooks/program.py"
"""The hook's program in the node agent's own code."""
REFUSED = "PanCode did not let this through"
"""The start of the answer that a model gets for such a call."""
TIMEOUT_S = 60
"""Most programs let a call through when their hook takes too long: ours ends itself before that."""
MOST_TIMEOUT_S = 2_000_000
"""A larger one is more than the timers of some programs hold."""
_SLACK_S = 31
"""A hook that asks has its time twice: before the question, and after the answer."""
MOST_WAIT_MS = (MOST_TIMEOUT_S - TIMEOUT_S - _SLACK_S) * 1000
"""The longest wait of a hook for a person: it says no before its program's patience ends."""


class HookRules(WireModel):
    """The input of the hook's program. `top`, `folder`: the checkout, and the run's folder below it.

    `desk`: where a person is asked; None: nobody is, and a rule that asks denies.
    """

    runtime: str
    policy: Policy
    top: str
    folder: str = ""
    desk: CallDesk | None = None


def files(runtime: str, request: LaunchRequest, place: Place) -> dict[str, bytes]:
    """The rules as a file; none where the run has no policy or the program of the hook cannot be found."""
    if not has_hook(request, place) or request.policy is None:
        return {}
    rules = HookRules(
        runtime=runtime,
        policy=request.policy,
        top=request.workspace,
        folder=request.folder,
        desk=request.desk,
    )
    return {RULES: rules.model_dump_json().encode()}


def has_hook(request: LaunchRequest, place: Place) -> bool:
    """Check whether this run's calls can be judged before they are made."""
    return request.policy is not None and bool(place.package and place.libraries)


def argv(request: LaunchRequest, place: Place) -> tuple[str, ...]:
    """The hook's program: the call as JSON on standard input; status 0 lets it through, 2 does not."""
    optimised = (f"-{'O' * sys.flags.optimize}",) if sys.flags.optimize else ()
    program = (place.python, "-I", "-S", *optimised, f"{place.package}/{PROGRAM}")
    return (*program, place.package, place.libraries, f"{request.home}/{RULES}")


def command(request: LaunchRequest, place: Place) -> str:
    """The same as a shell's line: any other end of the program, a signal too, is status 2.

    The stop of a run signals all its processes. The shell outlives that signal, because most programs run the
    command when their hook's shell dies.
    """
    return f"trap : HUP INT TERM; {shlex.join(argv(request, place))} || exit 2"


def tools(request: LaunchRequest, shell: Iterable[str], files: Iterable[str]) -> tuple[str, ...]:
    """The tools that are asked about. Those for files only where people's rules speak of paths: each
    question takes a quarter of a second, and a program's own flags keep its file tools in the checkout."""
    paths = request.policy is not None and bool(request.policy.paths)
    return (*shell, *(files if paths else ()))


def desk_of(home: str, identity: AttemptId, key: str, wall_ms: int) -> CallDesk:
    """The place where its calls wait for a person: up to its time limit, and shorter than its program
    waits."""
    return CallDesk(home=home, identity=identity, key=key, wait_ms=min(wall_ms, MOST_WAIT_MS))


def timeout_s(request: LaunchRequest) -> int:
    """The patience of the program with its hook: it ends after the hook's own wait for a person."""
    asking = 0 if request.desk is None else request.desk.wait_ms // 1000 + _SLACK_S
    return min(asking + TIMEOUT_S, MOST_TIMEOUT_S)


def matcher(names: Iterable[str]) -> str:
    """The regular expression of the tools."""
    return f"^({'|'.join(names)})$"


def entry(names: Iterable[str], line: str, timeout: int = TIMEOUT_S) -> list[dict[str, Any]]:
    """The hook in the words that most programs have in common."""
    return [{"matcher": matcher(names), "hooks": [{"type": "command", "command": line, "timeout": timeout}]}]
