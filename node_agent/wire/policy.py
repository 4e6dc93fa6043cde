"""Modes, safety levels, action classes: what a run may do, as one table and one typed policy."""

from __future__ import annotations

from enum import StrEnum

from node_agent.wire.model import WireModel


class Mode(StrEnum):
    """What the user is doing: the outer gate."""

    ADMIN = "admin"
    PLAN = "plan"
    BUILD = "build"
    REVIEW = "review"


class Safety(StrEnum):
    """How much a run may do by itself: the inner gate."""

    SUGGEST = "suggest"
    AUTO_EDIT = "auto-edit"
    FULL_AUTO = "full-auto"


SAFETY_RANK = {Safety.SUGGEST: 0, Safety.AUTO_EDIT: 1, Safety.FULL_AUTO: 2}


class ActionClass(StrEnum):
    """What a tool call does."""

    FILE_READ = "file_read"
    NETWORK = "network"
    FILE_WRITE = "file_write"
    SHELL = "shell"
    DISPATCH = "dispatch"
    FILE_DELETE = "file_delete"
    SHELL_DESTRUCTIVE = "shell_destructive"
    GIT_PUSH = "git_push"
    GIT_DESTRUCTIVE = "git_destructive"
    SYSTEM = "system"
    UNKNOWN = "unknown"


class Enforcement(StrEnum):
    """How a rule of the policy is held."""

    SANDBOX = "sandbox"
    RUNTIME = "runtime flag"
    TOLD_ONLY = "told only"
    IMPOSSIBLE = "impossible"


class Isolation(StrEnum):
    """What stands between the agent and the node's owner."""

    NONE = "none"
    SANDBOX = "sandbox"
    OWN_UID = "own uid"


_ALWAYS = frozenset({ActionClass.FILE_READ, ActionClass.NETWORK})
_AUTO_EDIT = _ALWAYS | {ActionClass.FILE_WRITE, ActionClass.SHELL, ActionClass.DISPATCH}
_FULL_AUTO = _AUTO_EDIT | {ActionClass.FILE_DELETE, ActionClass.SHELL_DESTRUCTIVE, ActionClass.GIT_PUSH}

ALLOWED: dict[Safety, frozenset[ActionClass]] = {
    Safety.SUGGEST: _ALWAYS,
    Safety.AUTO_EDIT: _AUTO_EDIT,
    Safety.FULL_AUTO: _FULL_AUTO,
}
"""Safety level to the actions that it allows; what is in none is never allowed."""

MODE_DISPATCHES: frozenset[Mode] = frozenset({Mode.ADMIN, Mode.BUILD, Mode.REVIEW})
MODE_WRITES: frozenset[Mode] = frozenset({Mode.BUILD})
"""Modes in which an agent that changes files may be dispatched."""


def is_on_the_machine(runtime: str, workspace: str, safety: Safety, writes: bool, depth: int) -> bool:
    """Whether a run is a person's own command that is about the node itself: no wall, which would hide it.

    `writes`: what it may, by mode, level and agent. `depth`: of a person's own it is 0.
    """
    own = runtime == "shell" and workspace == "none" and depth == 0
    return own and writes and safety is Safety.AUTO_EDIT


class Policy(WireModel):
    """What this run may do, after mode, level and agent were folded into one."""

    allowed: tuple[ActionClass, ...]
    told_only: bool = False
    """The user accepted that rules which cannot be enforced are only told to the agent."""


def compile_policy(safety: Safety, read_only: bool, told_only: bool = False) -> Policy:
    """The allowed action classes, sorted; a read-only agent keeps only what changes nothing."""
    allowed = _ALWAYS if read_only else ALLOWED[safety]
    return Policy(allowed=tuple(sorted(allowed)), told_only=told_only)
