"""The coordinator's table of runtimes: names, costs, and the rules that each enforces by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from node_agent.wire.endpoint import REMOVED_RUNTIMES, is_other
from node_agent.wire.job import Reasoning
from node_agent.wire.policy import MODE_WRITES, Enforcement, Isolation, Mode, Safety, is_on_the_machine
from pancode.agents.models import PROVIDERS, ModelRef
from pancode.kernel.errors import NotFoundError
from pancode.kernel.names import find_nearest, not_found

READ_ONLY = "read-only"
RULES = (READ_ONLY, Safety.AUTO_EDIT.value, Safety.FULL_AUTO.value)
"""The rules to which a run can be held; the level `suggest` is read-only."""
_ALL_BUT_OPEN = frozenset({READ_ONLY, Safety.SUGGEST.value, Safety.AUTO_EDIT.value})
_EVERY = frozenset(Reasoning)


@dataclass(frozen=True, slots=True)
class RuntimeKind:
    """One runtime.

    `own`: it runs the user's own message as a program: no model, no cost. `plays`: that program plays an
    agent and says what it would have cost. `holds`: rules that its own flags enforce without a sandbox
    (measured). `provider`: the only model provider that it can use, None for any. `needs_model`: it has no
    default model. `reaches`: it asks each vendor in the cloud by itself.
    """

    name: str
    own: bool = False
    plays: bool = False
    holds: frozenset[str] = frozenset()
    provider: str | None = None
    needs_model: bool = False
    reaches: bool = False
    reasons: frozenset[Reasoning] = frozenset()
    """The reasoning efforts that the runtime's model takes (measured)."""
    hears: bool = False
    """Whether an agent at work is given the messages of a user, with its next turn."""
    asks_users: bool = False
    """Whether a command of an agent at work waits for a user's approval."""
    takes_turns: bool = False
    """Whether it can wait for a message after an answer, so that its run can be an interactive run."""
    chosen: bool = False
    """Whether it is a program of a node owner's choice, whose runs are chats, in a sandbox."""
    skills: bool = False
    """Whether it reads skills (SKILL.md) that are laid for it."""
    installable: bool = False
    """Whether `pancode node install` brings it."""

    def asks(self, interactive_run: bool) -> bool:
        """Whether a command waits for a user's approval; in an interactive run it does with every runtime."""
        return self.asks_users or (interactive_run and self.takes_turns)

    @property
    def resumes(self) -> bool:
        """Whether it can continue with a session: agent programs can, a user's own program has none."""
        return not self.own


OUR_OWN = "native"
"""Our own worker, which every node has; runs the model of an endpoint where no runtime is named."""
_PROGRAM = RuntimeKind(
    "", holds=_ALL_BUT_OPEN, reasons=_EVERY, takes_turns=True, skills=True, installable=True
)
"""What most agent programs have in common, the vendors' and ours."""
_WORKER = replace(_PROGRAM, needs_model=True, reaches=True, hears=True, asks_users=True)
_CLAUDES = _EVERY - {Reasoning.MINIMAL}
_TABLE: dict[str, RuntimeKind] = {
    kind.name: kind
    for kind in (
        RuntimeKind("shell", own=True),
        RuntimeKind("scripted", own=True, plays=True, holds=frozenset({READ_ONLY})),
        replace(_PROGRAM, name="claude", provider="anthropic", reasons=_CLAUDES, asks_users=True),
        replace(
            _PROGRAM, name="claude-sdk", provider="anthropic", reasons=_CLAUDES, hears=True, asks_users=True
        ),
        replace(_PROGRAM, name="codex", holds=_ALL_BUT_OPEN | {Safety.FULL_AUTO.value}, provider="openai"),
        replace(
            _PROGRAM, name="gemini", provider="google", reasons=_EVERY - {Reasoning.OFF, Reasoning.XHIGH}
        ),
        replace(_PROGRAM, name="opencode", needs_model=True, asks_users=True),
        replace(
            _PROGRAM,
            name="copilot",
            needs_model=True,
            reasons=_EVERY - {Reasoning.OFF},
            asks_users=True,
        ),
        replace(_WORKER, name="openai-agents"),
        replace(_WORKER, name=OUR_OWN, installable=False),
    )
}


class _Kinds(Mapping[str, RuntimeKind]):
    """The table of runtimes. Any name that begins with `acp:` is a program of some node owner's choice.

    A stored run finds the kind of a runtime that is gone, although that one is no longer in the table.
    """

    def __getitem__(self, name: str) -> RuntimeKind:
        if name in REMOVED_RUNTIMES:
            return RuntimeKind(name, takes_turns=True)
        if name not in _TABLE and is_other(name):
            return RuntimeKind(name, reasons=_EVERY, takes_turns=True, chosen=True)
        return _TABLE[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in _TABLE or is_other(name))

    def __iter__(self) -> Iterator[str]:
        return iter(_TABLE)

    def __len__(self) -> int:
        return len(_TABLE)


RUNTIMES: Mapping[str, RuntimeKind] = _Kinds()
ALIASES: dict[str, str] = {
    "cli:claude-code": "claude",
    "claude-code": "claude",
    "cli:claude": "claude",
    "cli:codex": "codex",
    "cli:gemini": "gemini",
    "cli:gemini-cli": "gemini",
    "cli:opencode": "opencode",
    "cli:copilot": "copilot",
    "cli:copilot-cli": "copilot",
    "pi": "native",
}
"""The names that the original's files use, with ours."""


@dataclass(frozen=True, slots=True)
class EnforcementRequest:
    """The facts that decide who holds a run to its rule. `workspace`: git or none.

    `may_allow`: whether the caller may accept that nothing holds it; a run that is itself held may not.
    """

    mode: Mode
    safety: Safety
    read_only: bool
    told_only: bool
    workspace: str
    depth: int
    may_allow: bool = True


def resolve_alias(name: str) -> str:
    """Return the runtime's own name for any of its names."""
    return ALIASES.get(name, name)


def known_runtime(name: str) -> str:
    """Return the name unchanged; ValueError with the nearest one for an unknown runtime."""
    if name in REMOVED_RUNTIMES:
        removed = no_runtime(name)
        raise ValueError(f"{removed}: {removed.fix}")
    if resolve_alias(name) not in RUNTIMES:
        near = find_nearest(name, (*RUNTIMES, *ALIASES))
        words = f"did you mean {near}?" if near else f"there are {', '.join(sorted(RUNTIMES))}"
        raise ValueError(f"runtime {name!r} not found; {words}")
    return name


def no_runtime(
    name: str, fix: str = "pancode agents runtimes", known: Iterable[str] = RUNTIMES
) -> NotFoundError:
    """Return the error for an unknown runtime. `fix`: the command that lists the known ones."""
    if name in REMOVED_RUNTIMES:
        words = f"runtime {name!r} no longer exists"
        return NotFoundError(words, fix=REMOVED_RUNTIMES[name], code="runtime_not_found")
    return not_found("runtime", name, known, fix)


def runtime_for(ref: ModelRef | None) -> str | None:
    """Return the vendor's own runtime for a model of that provider, or ours; None where none is named."""
    if ref is None or ref.provider is None:
        return None
    own = next((kind.name for kind in RUNTIMES.values() if kind.provider == ref.provider), None)
    return own or ("native" if ref.provider in PROVIDERS else None)


def model_for(ref: ModelRef, kind: RuntimeKind) -> str:
    """Return the model's name as the runtime takes it."""
    theirs = ref.is_cloud and kind.provider is None
    return ref.without_node().text if theirs else ref.model


def foreign_provider(ref: ModelRef | None, kind: RuntimeKind) -> str | None:
    """Return the provider that the model names and the runtime cannot use; None: there is no conflict."""
    if ref is None or kind.provider in (None, ref.provider):
        return None
    return ref.provider


@dataclass(frozen=True, slots=True)
class EnforcedRule:
    """The rule of a run, and whether telling the agent is enough. `outside`: it works on the node itself."""

    kind: RuntimeKind
    rule: str
    told_only: bool
    outside: bool = False
    may_allow: bool = True

    def by(self, isolation: Isolation | None) -> Enforcement:
        """Return who holds the rule on a node so isolated: the sandbox, the runtime, or instructions."""
        if isolation is Isolation.SANDBOX and not self.outside:
            return Enforcement.SANDBOX
        if self.rule in self.kind.holds:
            return Enforcement.RUNTIME
        script = self.kind.own and self.rule == READ_ONLY
        return Enforcement.IMPOSSIBLE if script else Enforcement.TOLD_ONLY

    def has_shell(self, isolation: Isolation | None) -> bool:
        """Whether an agent that may write can run commands: at auto-edit only where something bounds them."""
        bounded = isolation is Isolation.SANDBOX or Safety.FULL_AUTO.value in self.kind.holds
        return bounded or self.kind.own or self.rule != Safety.AUTO_EDIT.value

    def enough(self, isolation: Isolation | None) -> bool:
        """Whether the run may work there: held, or the user allows it, or their own and not full-auto."""
        how = self.by(isolation)
        if how in (Enforcement.SANDBOX, Enforcement.RUNTIME) or not self.may_allow:
            return how in (Enforcement.SANDBOX, Enforcement.RUNTIME)
        if self.told_only:
            return True
        return self.kind.own and how is Enforcement.TOLD_ONLY and self.rule != Safety.FULL_AUTO.value


def find_rule(kind: RuntimeKind, request: EnforcementRequest) -> EnforcedRule:
    """Return the rule of a run, and what is enough for it."""
    rule = rule_of(request.mode, request.safety, request.read_only)
    writes = rule == request.safety.value
    outside = is_on_the_machine(kind.name, request.workspace, request.safety, writes, request.depth)
    return EnforcedRule(kind, rule, request.told_only, outside, request.may_allow)


def is_listed(name: str) -> bool:
    """Whether lists for users name the runtime: a program that plays an agent serves demos and tests."""
    kind = RUNTIMES.get(name)
    return kind is None or not kind.plays


def build_matrix() -> list[tuple[str, str, Enforcement, Enforcement]]:
    """Return, for each runtime and rule, who holds it on a node with a sandbox, and on one without."""
    rows = []
    for kind in RUNTIMES.values():
        for rule in RULES:
            needs = EnforcedRule(kind, rule, told_only=False)
            rows.append((kind.name, rule, needs.by(Isolation.SANDBOX), needs.by(Isolation.NONE)))
    return rows


def rule_of(mode: Mode, safety: Safety, read_only: bool) -> str:
    """Return the one rule that a run must be held to: read-only, or its safety level."""
    may_write = mode in MODE_WRITES and safety is not Safety.SUGGEST and not read_only
    return safety.value if may_write else READ_ONLY
