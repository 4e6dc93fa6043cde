"""Modes, safety levels and action classes: the permissions of a run, as one table and one policy."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from node_agent.wire.model import WireModel

MOST_RULES = 200
"""The maximum number of path rules, and of command rules, in one policy."""
BUILT_IN = "built-in"
"""The source of a rule that is in no file."""
MOST_PATTERN = 300
MOST_REASON = 300


class Mode(StrEnum):
    """The user's mode of work, which is the outer of the two permission checks."""

    ADMIN = "admin"
    PLAN = "plan"
    BUILD = "build"
    REVIEW = "review"


class Safety(StrEnum):
    """The safety level of a run, which is the inner of the two permission checks."""

    SUGGEST = "suggest"
    AUTO_EDIT = "auto-edit"
    FULL_AUTO = "full-auto"


SAFETY_RANK = {Safety.SUGGEST: 0, Safety.AUTO_EDIT: 1, Safety.FULL_AUTO: 2}


class ActionClass(StrEnum):
    """The kind of action of a tool call."""

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
    """The component that enforces a rule of the policy."""

    SANDBOX = "sandbox"
    RUNTIME = "runtime flag"
    ASKED = "asked before"
    """The agent's program checks the policy before each command, itself or by a hook."""
    CHECKED = "checked after"
    """Nothing enforces the rule during the agent's work; the node checks the result against it."""
    TOLD_ONLY = "told only"
    IMPOSSIBLE = "impossible"


class Isolation(StrEnum):
    """The isolation between the agent and the node's owner."""

    NONE = "none"
    SANDBOX = "sandbox"
    LANDLOCK = "landlock"
    """A weaker protection: it keeps a run from other files; runs whose rules need isolation are refused."""
    OWN_UID = "own uid"


_ALWAYS = frozenset({ActionClass.FILE_READ, ActionClass.NETWORK})
_AUTO_EDIT = _ALWAYS | {ActionClass.FILE_WRITE, ActionClass.SHELL, ActionClass.DISPATCH}
_FULL_AUTO = _AUTO_EDIT | {ActionClass.FILE_DELETE, ActionClass.SHELL_DESTRUCTIVE, ActionClass.GIT_PUSH}

ALLOWED: dict[Safety, frozenset[ActionClass]] = {
    Safety.SUGGEST: _ALWAYS,
    Safety.AUTO_EDIT: _AUTO_EDIT,
    Safety.FULL_AUTO: _FULL_AUTO,
}
"""The actions that each safety level allows; an action that no level lists is never allowed."""

MODE_DISPATCHES: frozenset[Mode] = frozenset({Mode.ADMIN, Mode.BUILD, Mode.REVIEW})
MODE_WRITES: frozenset[Mode] = frozenset({Mode.BUILD})
"""The modes in which an agent that changes files may be dispatched."""
MODE_HANDS_ON: dict[Mode, frozenset[Mode]] = {
    Mode.ADMIN: frozenset({Mode.ADMIN, Mode.REVIEW}),
    Mode.PLAN: frozenset(),
    Mode.BUILD: frozenset({Mode.BUILD, Mode.REVIEW}),
    Mode.REVIEW: frozenset({Mode.REVIEW}),
}
"""The modes that a run may give to the runs that it dispatches, by its own mode; never a wider one."""


def is_on_the_machine(runtime: str, workspace: str, safety: Safety, writes: bool, depth: int) -> bool:
    """Whether a run is a user's own command about the node itself, which a sandbox would hide from the run.
    `writes`: whether mode, level and agent let the run write. `depth`: 0 for a run that a user dispatched."""
    own = runtime == "shell" and workspace == "none" and depth == 0
    return own and writes and safety is Safety.AUTO_EDIT


class PathAccess(StrEnum):
    """The access to a path that a rule leaves."""

    NONE = "none"
    READ = "read"
    NO_DELETE = "no-delete"


Pattern = Annotated[str, Field(min_length=1, max_length=MOST_PATTERN)]
Reason = Annotated[str, Field(max_length=MOST_REASON)]


class PathRule(WireModel):
    """The access to the paths that match a pattern (`policy/patterns.py`)."""

    pattern: Pattern
    access: PathAccess
    reason: Reason = ""
    origin: Reason = ""
    """The file and line of a rule."""


class CommandRule(WireModel):
    """Forbids a run to execute a shell command that matches this regular expression (RE2).

    `ask`: the run waits for a user's decision instead; if its program cannot wait, the rule denies.
    `classes`: the rule applies to every command of these classes, and its pattern is only its name.
    """

    pattern: Pattern
    reason: Reason = ""
    origin: Reason = ""
    ask: bool = False
    classes: tuple[ActionClass, ...] = Field(default=(), max_length=len(ActionClass))

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Return the JSON form without unset `ask` and `classes`, since an older node agent refuses a job
        with these fields."""
        values: dict[str, Any] = write(self)
        return {name: value for name, value in values.items() if value or name not in ("ask", "classes")}


def rule_words(rule: PathRule | CommandRule) -> str:
    """Return the rule as text for users: its pattern, its file and line, and its reason."""
    kind = f"{rule.access}: " if isinstance(rule, PathRule) else "ask: " if rule.ask else "command: "
    where = f" ({rule.origin})" if rule.origin else ""
    return f"rule {kind}{rule.pattern}{where}" + (f": {rule.reason}" if rule.reason else "")


class NetworkAccess(StrEnum):
    """The network that the phases of a run may reach; the sandbox enforces it.

    `none`: no network. `gateway`: an agent program reaches its model through the node's gateway; set-up,
    gates and a user's own program have none. `machine`: those three reach everything that the node reaches.
    """

    NONE = "none"
    GATEWAY = "gateway"
    MACHINE = "machine"


_WIDTH = {access: width for width, access in enumerate(NetworkAccess)}


def find_narrowest(*networks: NetworkAccess | None) -> NetworkAccess:
    """Return the strictest of these networks; the node's full network (`machine`) if none is given."""
    return min(
        (one for one in networks if one is not None), key=_WIDTH.__getitem__, default=NetworkAccess.MACHINE
    )


class Rules(WireModel):
    """The users' rules. A rule can only forbid, so additional rules never allow more."""

    network: NetworkAccess | None = None

    paths: tuple[PathRule, ...] = Field(default=(), max_length=MOST_RULES)
    commands: tuple[CommandRule, ...] = Field(default=(), max_length=MOST_RULES)


class Policy(WireModel):
    """The permissions of this run: mode, level, agent and rules in one value."""

    allowed: tuple[ActionClass, ...]
    paths: tuple[PathRule, ...] = Field(default=(), max_length=MOST_RULES)
    commands: tuple[CommandRule, ...] = Field(default=(), max_length=MOST_RULES)
    told_only: bool = False
    """Whether the user accepted that rules which nothing can enforce are only part of the agent's prompt."""
    walled: bool = False
    """Whether the run needs the node's sandbox."""
    network: NetworkAccess = NetworkAccess.MACHINE


NO_RULES = Rules()


def with_rules(policy: Policy, rules: Rules) -> Policy:
    """Return the policy with more rules, such as those of the node's owner; their number is not limited."""
    more = {"paths": (*policy.paths, *rules.paths), "commands": (*policy.commands, *rules.commands)}
    return policy.model_copy(update={**more, "network": find_narrowest(policy.network, rules.network)})


def compile_policy(
    safety: Safety,
    read_only: bool,
    told_only: bool = False,
    *,
    mode: Mode = Mode.BUILD,
    rules: Rules = NO_RULES,
    sandboxed: bool = False,
) -> Policy:
    """Return the policy: the action classes that the level allows, sorted, and the rules. A run without write
    access gets only the classes that read."""
    writes = mode in MODE_WRITES and not read_only
    return Policy(
        allowed=tuple(sorted(ALLOWED[safety] if writes else _ALWAYS)),
        paths=rules.paths,
        commands=rules.commands,
        told_only=told_only,
        walled=sandboxed,
        network=find_narrowest(rules.network),
    )


CallId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
MOST_COMMAND = 2_000
"""The most characters of a command that needs approval: the user must be able to read all of it."""
MOST_NO = 2_000
"""The most characters of a user's reason for a denial."""
MOST_FILE = 64 << 10
ASKED, ANSWERED = ".json", ".answer"
Command = Annotated[str, Field(min_length=1, max_length=MOST_COMMAND)]


class CallAsked(WireModel):
    """An approval request for a call: a command, and the pattern of the rule that requires approval.

    Any program of the run may write such a request, so it is not trusted: the answer contains the command and
    the pattern that the user saw.
    """

    call: CallId
    command: Command
    pattern: Pattern


_UNASKED = frozenset(
    {
        "acceptall",
        "agentfullaccess",
        "allowall",
        "auto",
        "autoapprove",
        "autopilot",
        "bypass",
        "bypasspermissions",
        "dangerfullaccess",
        "dontask",
        "fullaccess",
        "fullauto",
        "yolo",
    }
)
"""Modes in which a program asks no user for approval, or lets a model decide. Names have no separators."""


def is_bypass_mode(mode: str) -> bool:
    """Whether a mode of this name in a program would bypass the policy."""
    return "".join(filter(str.isalnum, mode.rpartition("#")[2])).lower() in _UNASKED
