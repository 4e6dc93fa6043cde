"""Checks a request before any node or model is considered; raises UsageError."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from decimal import Decimal
from itertools import islice

from node_agent.wire.job import checked_reports
from node_agent.wire.policy import NetworkAccess, find_narrowest, is_on_the_machine
from pancode.agents.agents import Agent, AgentIsolation
from pancode.agents.runtimes import OUR_OWN, READ_ONLY, RUNTIMES, RuntimeKind, rule_of
from pancode.kernel.errors import UsageError
from pancode.kernel.formatting import format_bytes
from pancode.kernel.names import not_found
from pancode.kernel.shell_words import split_words
from pancode.kernel.values import replace
from pancode.kernel.visitors import AccessScope, Confined, is_allowed, must_ask
from pancode.runs.options import NO_GPUS, OPTIONS, is_gpu_count
from pancode.runs.request import Catalogue, Defaults, DispatchRequest

WAITS_TO_LAND = "its change waits for a user's pancode land: the answering token may not land"


def as_allowed(request: DispatchRequest) -> DispatchRequest:
    """Return the request restricted to what the calling token allows, whichever route was used.

    AccessError for a landing, or for an approval that includes it. The approval of an earlier run is dropped
    unless the caller may give it. An answer lands nothing: the run continues and its change waits.
    """
    if request.land and request.is_answer and not is_allowed(AccessScope.OPERATE):
        request = replace(request, land=False)
    if request.confirmed and request.is_again and not is_allowed(AccessScope.ANSWER):
        request = replace(request, confirmed=False)
    must_ask("a run", lands=request.land, says_yes=request.confirmed)
    return request


def _is_amount(usd: Decimal) -> bool:
    """Whether the amount is valid in a job: at most a billion, with up to nine decimals."""
    return usd.is_finite() and 0 <= usd <= 10**9 and int(usd.as_tuple().exponent) >= -9


def check_options(request: DispatchRequest) -> None:
    """Raise UsageError for a number out of range, or a value that is not one of the allowed ones."""
    for one in OPTIONS.values():
        value, flag = getattr(request, one.name), one.flag
        if one.words and value not in (None, *one.words):
            fix = ", or ".join(f"{flag} {word}" for word in one.words)
            raise UsageError(f"{flag} {value!r} is not a known value", fix=fix)
        if one.kind == "Gpus" and value is not None and not is_gpu_count(value):
            raise UsageError(f"{flag} must be a whole number, or all, not {value!r}", fix=f"{flag} 1")
        if one.bounds is None or value is None:
            continue
        least, most = one.bounds
        if value < least:
            shown = format_bytes(least) if one.kind == "Size" else least
            words = "more than 0" if least == 1 else f"{shown} or more"
            raise UsageError(f"{flag} must be {words}", fix=f"use a larger value, or omit {flag}")
        if value > most:
            fix = f"use a smaller value, or omit {flag} to use the default"
            raise UsageError(f"{flag} must be at most {one.most_spoken}", fix=fix)
    if request.gpus == NO_GPUS and request.gpu_memory is not None:
        raise UsageError("--gpus 0 reserves no GPU, so --gpu-memory cannot apply", fix="omit one of them")
    if request.budget is not None and not _is_amount(request.budget):
        raise UsageError("--budget must be an amount of USD, 0 or more", fix="--budget 0.75")


def with_gpus(request: DispatchRequest, agent: Agent | None, defaults: Defaults) -> DispatchRequest:
    """Return the request with its own GPU needs, else those of its agent, else those of the project."""
    for one in (request, *(() if agent is None else (agent,)), defaults):
        if one.gpus is not None or one.gpu_memory is not None:
            return replace(request, gpus=one.gpus, gpu_memory=one.gpu_memory)
    return request


def verify_retries(request: DispatchRequest, agent: Agent, runtime: RuntimeKind, attempts: int | None) -> int:
    """Return how often failed gates are repaired: as requested, else `attempts` - 1 (writers: at least 1)."""
    if request.verify_retries is not None:
        return request.verify_retries
    writes = not agent.read_only and not runtime.own
    return max(int(writes), 0 if attempts is None else attempts - 1)


def choose_workspace(request: DispatchRequest) -> str:
    name = request.workspace
    if name == "git" and request.project is None:
        raise UsageError(
            f"{request.cwd or 'this directory'} is not in a git repository",
            why="--workspace git takes a snapshot of a repository",
            fix="change to the repository, run git init, or use --workspace none",
        )
    if name is None and request.project is None and request.cwd is not None:
        raise UsageError(
            f"{request.cwd} is not in a git working tree",
            why="the run would work in an empty directory on any node and see none of your files",
            fix=(
                "change to the repository (if it is bare: to a clone), or run git init; for an "
                "empty directory: --workspace none"
            ),
            code="no_repository",
        )
    kind = name or ("git" if request.project is not None else "none")
    if request.land and kind == "none":
        raise UsageError(
            "--land requires a git workspace",
            why="without a git workspace there is nothing to land",
            fix="change to the repository, or omit --land",
        )
    return kind


def check_worktree(agent: Agent, workspace: str) -> None:
    if agent.isolations is AgentIsolation.WORKTREE and workspace != "git":
        raise UsageError(
            f"agent {agent.name} requires a checkout of its own, and this run would not have one",
            why=f"isolation: worktree ({agent.origin or agent.name})",
            fix="change to the repository, omit --workspace none, or choose another agent with --agent",
            code="needs_worktree",
        )


def check_network(
    request: DispatchRequest, agent: Agent | None, catalogue: Catalogue, runtime: RuntimeKind
) -> None:
    """Raise UsageError if the network access is too restrictive for an agent to reach its model."""
    if (
        find_narrowest(*requested_networks(request, agent, catalogue)) is NetworkAccess.NONE
        and not runtime.own
    ):
        raise UsageError(
            f"{runtime.name} cannot reach its model with network none",
            why=("an agent program reaches its model through the node's gateway"),
            fix=(
                "use --network gateway; rules (pancode policy show), agents and dispatch.network can also "
                "set none"
            ),
        )


def requested_networks(
    request: DispatchRequest, agent: Agent | None, catalogue: Catalogue
) -> tuple[NetworkAccess | None, ...]:
    """Return the networks allowed by rules, mode, agent and dispatch; the most restrictive one applies."""
    mode = catalogue.defaults.network.get(request.mode or catalogue.defaults.mode)
    return catalogue.rules.network, mode, agent.network if agent is not None else None, request.network


def choose_gates(
    request: DispatchRequest, catalogue: Catalogue, workspace: str | None
) -> tuple[tuple[str, ...], ...]:
    if request.verify is not None:
        return tuple(split_words(text, "--verify") for text in request.verify)
    return catalogue.project.verify if workspace == "git" else ()


def choose_reports(
    request: DispatchRequest, catalogue: Catalogue, gates: tuple[tuple[str, ...], ...] | None
) -> tuple[str, ...]:
    """Return the gates' report files; the project's own only with the project's gates. UsageError."""
    named = request.reports
    if named is None:
        return catalogue.project.reports if gates and request.verify is None else ()
    if named and gates == ():
        raise UsageError("--report requires a gate", why="only gates write reports", fix="add --verify CMD")
    try:
        return checked_reports(named)
    except ValueError as wrong:
        raise UsageError(
            "--report must name a file in the workspace", why=str(wrong), fix="--report out/junit.xml"
        ) from wrong


def choose_score(request: DispatchRequest) -> tuple[str, ...]:
    """Return the arguments of the score command; empty: none."""
    return () if request.score is None else split_words(request.score, "--score")


def as_task(request: DispatchRequest) -> DispatchRequest:
    """Return the request with one argument after `--` as its task, so that a task may begin with a dash."""
    if request.argv is None or len(request.argv) != 1 or request.task.strip():
        return request
    return replace(request, task=request.argv[0], argv=None)


def check_calls(request: DispatchRequest, runtime: RuntimeKind) -> None:
    if request.scouts and runtime.own:
        raise UsageError(
            f"a scout requires a model, and runtime {runtime.name} does not use one", fix="--runtime native"
        )
    calls = {
        "--max-requests": request.max_requests,
        "--max-turns": request.max_turns,
        "--max-tokens": request.max_tokens,
        "--wrap-up": request.wrap_up,
    }
    for flag, value in calls.items():
        if value and runtime.own:
            raise UsageError(
                f"{flag} limits model calls, and runtime {runtime.name} does not make any", fix=f"omit {flag}"
            )


def check_turns(request: DispatchRequest, runtime: RuntimeKind) -> None:
    """Raise UsageError for an interactive run whose runtime exits after its first answer."""
    if runtime.chosen and not request.turns:
        raise UsageError(
            f"runtime {runtime.name} works only in chats",
            why="it is a program that the node's owner configured, and uses the Agent Client Protocol (ACP)",
            fix=f"pancode chat --runtime {runtime.name}",
            code="only_chats",
        )
    if request.turns and not runtime.takes_turns:
        able = [kind.name for kind in RUNTIMES.values() if kind.takes_turns]
        raise UsageError(
            f"runtime {runtime.name} does not support chats",
            why=f"its program exits after its answer; runtimes that support chats: {', '.join(able)}",
            fix=f"pancode chat --runtime {OUR_OWN} --model PROVIDER/NAME (models: pancode models); "
            "or one task without a chat: pancode dispatch",
            code="takes_no_turns",
        )


def check_lead(request: DispatchRequest, agent: Agent) -> None:
    """Raise UsageError for a task given to a chat-only agent, whose questions would not be answered."""
    if agent.leads and not request.turns:
        raise UsageError(
            f"{agent.name} works only in a chat and does not take tasks directly",
            why="it delegates work to other agents; without a chat it could only pass the same task on",
            fix=f"use pancode chat --agent {agent.name}; or choose an agent for the task: pancode agents",
            code="is_talked_with",
        )


def check_rounds(request: DispatchRequest, gates: tuple[tuple[str, ...], ...]) -> None:
    """Raise UsageError for an unattended session without gates, as nothing would determine its end."""
    if request.rounds and not gates:
        raise UsageError(
            "work until verified is not possible, because nothing verifies it",
            why="the project has no gates, and none were given",
            fix='add one: --verify "pytest -q"',
            code="no_gates",
        )


def check_argv(request: DispatchRequest, runtime: RuntimeKind) -> None:
    if request.argv is None:
        return
    if runtime.name != "shell":
        raise UsageError(
            f"an argument list after -- requires the runtime shell, not {runtime.name}",
            fix="add --runtime shell, or quote the task after -- as one argument",
        )
    if request.task.strip():
        raise UsageError("a task and an argument list after -- cannot be combined", fix="omit one of them")
    if not request.argv or not request.argv[0]:
        raise UsageError("a command is required after --", fix="pancode dispatch --runtime shell -- uname -a")


def check_node(request: DispatchRequest, catalogue: Catalogue) -> None:
    """Raise NotFoundError for a pinned node that the fleet does not have."""
    names = catalogue.node_names
    if request.node is not None and request.node not in names:
        raise not_found("node", request.node, names, "pancode node ls")


_TRIM = "\"'`()[]{}<>,;!?*"
_LINE = re.compile(r":\d+(:\d+)?$")
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_EXTENSION = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,7}$")
# A web route starts with a slash, too; these top-level folders mark file system paths.
_ROOTS = frozenset(
    "bin boot dev etc home lib lib64 media mnt opt proc root run sbin srv sys tmp usr var "
    "Applications Library System Users Volumes private".split()
)
_MOST = 200


def find_path_like_words(task: str, there: Callable[[str], bool] = lambda word: False) -> tuple[str, ...]:
    """Return the task's words that look like paths, unique, in order; at most 200. `there`: whether the
    project has a file of this name; if so, a word with a slash, such as `src/auth/`, is a path."""
    words = dict.fromkeys(_LINE.sub("", _strip_word(word)) for word in task.split())
    candidates = {word for word in islice(filter(_may_be_path, words), _MOST) if there(word)}
    return tuple(word for word in words if word in candidates or _is_path(word))[:_MOST]


def _strip_word(word: str) -> str:
    """Return the word without surrounding quotes, brackets and full stops."""
    return word.strip(_TRIM).rstrip(_TRIM + ".:")


def _may_be_path(word: str) -> bool:
    return word.find("/") > 0 and not _SCHEME.match(word) and "\0" not in word and not _is_path(word)


def _is_path(word: str) -> bool:
    if not word or _SCHEME.match(word) or "\0" in word:
        return False
    if word.startswith(("./", "../", "~/")):
        return True
    if word.startswith("/"):
        return is_rooted(word) or bool(_EXTENSION.search(word))
    return "/" in word and bool(_EXTENSION.search(word))


def is_rooted(word: str) -> bool:
    """Whether the word is an absolute path in a well-known top-level folder, and so not a web route."""
    parts = word.split("/")
    return len(parts) > 1 and parts[1] in _ROOTS


def resolve_path(word: str, cwd: str, home: str) -> str:
    """Return the word as an absolute path with `..` resolved; links are not resolved."""
    if word.startswith("~/"):
        word = posixpath.join(home, word[2:])
    return posixpath.normpath(posixpath.join(cwd, word))


def is_inside(path: str, project: str) -> bool:
    """Whether the path is the project's folder or below it; a sibling with a longer name is neither."""
    root = posixpath.normpath(project)
    return path == root or path.startswith(root.rstrip("/") + "/")


def wall_command(
    request: DispatchRequest, catalogue: Catalogue, agent: Agent, runtime: RuntimeKind, workspace: str
) -> DispatchRequest:
    """Return the request, for a sandbox only if its sender may not have a command for the node itself run
    outside. If no node is named, the node may be the coordinator's machine."""
    mode, safety = request.mode or catalogue.defaults.mode, request.safety or catalogue.defaults.safety
    writes = rule_of(mode, safety, agent.read_only) != READ_ONLY
    if not is_on_the_machine(runtime.name, workspace, safety, writes, request.depth):
        return request
    elsewhere = any(one.node.name == request.node and not one.opens_home for one in catalogue.nodes)
    held = request.confined & (Confined.COMMAND_ELSEWHERE if elsewhere else Confined.COMMAND_HERE)
    return replace(request, walled=request.walled or bool(held))
