"""The coordinator's table of runtimes: names, costs, and the rules that each can enforce itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from node_agent.wire.job import Reasoning
from node_agent.wire.other_runtimes import REMOVED_RUNTIMES, is_other
from node_agent.wire.policy import MODE_WRITES, Enforcement, Isolation, Mode, Safety, is_on_the_machine
from pancode.agents.models import PROVIDERS, ModelRef
from pancode.kernel.errors import NotFoundError
from pancode.kernel.names import find_nearest, not_found

READ_ONLY = "read-only"
RULES = (READ_ONLY, Safety.AUTO_EDIT.value, Safety.FULL_AUTO.value)
"""The rules that a run can be subject to; the level `suggest` counts as read-only."""
_ALL_BUT_OPEN = frozenset({READ_ONLY, Safety.SUGGEST.value, Safety.AUTO_EDIT.value})
_EVERY = frozenset(Reasoning)


@dataclass(frozen=True, slots=True)
class RuntimeKind:
    """One runtime.

    `own`: runs the user's message as a program, without a model or costs. `plays`: that program simulates an
    agent and reports a simulated cost. `holds`: rules that the runtime's own flags enforce without a sandbox
    (measured). `provider`: the only model provider that it can use, None for any. `needs_model`: it has no
    default model. `reaches`: it calls the cloud vendors directly.
    """

    name: str
    own: bool = False
    plays: bool = False
    holds: frozenset[str] = frozenset()
    provider: str | None = None
    needs_model: bool = False
    reaches: bool = False
    reasons: frozenset[Reasoning] = frozenset()
    """The reasoning efforts that the runtime's model supports (measured)."""
    hears: bool = False
    """Whether a working agent gets a user's messages with its next turn."""
    asks_users: bool = False
    """Whether a working agent's command can wait for a user's approval."""
    takes_turns: bool = False
    """Whether the runtime can wait for another message after an answer, as an interactive run requires."""
    chosen: bool = False
    """Whether it is a program that the node's owner chose (`acp:`); its runs are sandboxed chats."""
    skills: bool = False
    """Whether the runtime reads skills (SKILL.md) that the node provides."""
    installable: bool = False
    """Whether `pancode node install` can install it."""

    def asks(self, interactive_run: bool) -> bool:
        """Whether commands can wait for a user's approval; in interactive runs every runtime supports it."""
        return self.asks_users or (interactive_run and self.takes_turns)

    @property
    def resumes(self) -> bool:
        """Whether the runtime can resume a session: agent programs can, a user's own program cannot."""
        return not self.own


OUR_OWN = "native"
"""PanCode's own runtime, which every node has; the default for a model of an endpoint."""
_PROGRAM = RuntimeKind(
    "", holds=_ALL_BUT_OPEN, reasons=_EVERY, takes_turns=True, skills=True, installable=True
)
"""What most agent programs have in common, both the vendors' and ours."""
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
            _PROGRAM, name="copilot", needs_model=True, reasons=_EVERY - {Reasoning.OFF}, asks_users=True
        ),
        replace(_WORKER, name="openai-agents"),
        replace(_WORKER, name=OUR_OWN, installable=False),
    )
}


class _Kinds(Mapping[str, RuntimeKind]):
    """The table of runtimes. Any name that begins with `acp:` is a program that a node's owner chose. A
    removed runtime is not listed, but lookup still finds it for stored runs."""

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
"""Runtime names in files of the original PanCode, mapped to ours."""


@dataclass(frozen=True, slots=True)
class EnforcementRequest:
    """The facts that decide what enforces a run's rule. `workspace`: git or none. `may_allow`: whether the
    caller may accept that nothing enforces it; a restricted run may not. `walled`: it needs a sandbox."""

    mode: Mode
    safety: Safety
    read_only: bool
    told_only: bool
    workspace: str
    depth: int
    may_allow: bool = True
    walled: bool = False


def resolve_alias(name: str) -> str:
    """Return the canonical name of a runtime."""
    return ALIASES.get(name, name)


def known_runtime(name: str) -> str:
    """Return the name unchanged. Raises ValueError, with the nearest name, for an unknown runtime."""
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
    """Return the vendor's own runtime for the model's provider, or `native`; None if no provider is named."""
    if ref is None or ref.provider is None:
        return None
    own = next((kind.name for kind in RUNTIMES.values() if kind.provider == ref.provider), None)
    return own or ("native" if ref.provider in PROVIDERS else None)


def model_for(ref: ModelRef, kind: RuntimeKind) -> str:
    """Return the model's name in the form that the runtime expects."""
    theirs = ref.is_cloud and kind.provider is None
    return ref.without_node().text if theirs else ref.model


def foreign_provider(ref: ModelRef | None, kind: RuntimeKind) -> str | None:
    """Return the model's provider if the runtime cannot use it; None: no conflict."""
    if ref is None or kind.provider in (None, ref.provider):
        return None
    return ref.provider


@dataclass(frozen=True, slots=True)
class EnforcedRule:
    """The rule that applies to a run. `told_only`: instructions suffice; `outside`: it works unsandboxed."""

    kind: RuntimeKind
    rule: str
    told_only: bool
    outside: bool = False
    may_allow: bool = True

    def by(self, isolation: Isolation | None) -> Enforcement:
        """Return what enforces the rule under this isolation: the sandbox, the runtime, or instructions."""
        if isolation is Isolation.SANDBOX and not self.outside:
            return Enforcement.SANDBOX
        if self.rule in self.kind.holds:
            return Enforcement.RUNTIME
        script = self.kind.own and self.rule == READ_ONLY
        return Enforcement.IMPOSSIBLE if script else Enforcement.TOLD_ONLY

    def has_shell(self, isolation: Isolation | None) -> bool:
        """Whether a writing agent can run commands; at auto-edit only if something confines them."""
        bounded = isolation is Isolation.SANDBOX or Safety.FULL_AUTO.value in self.kind.holds
        return bounded or self.kind.own or self.rule != Safety.AUTO_EDIT.value

    def enough(self, isolation: Isolation | None) -> bool:
        """Whether the run may work under this isolation: the rule is enforced, or instructions suffice."""
        how = self.by(isolation)
        if how in (Enforcement.SANDBOX, Enforcement.RUNTIME) or not self.may_allow:
            return how in (Enforcement.SANDBOX, Enforcement.RUNTIME)
        if self.told_only:
            return True
        return self.kind.own and how is Enforcement.TOLD_ONLY and self.rule != Safety.FULL_AUTO.value


def find_rule(kind: RuntimeKind, request: EnforcementRequest) -> EnforcedRule:
    """Return the rule of a run, and what suffices to enforce it."""
    rule = rule_of(request.mode, request.safety, request.read_only)
    writes = rule == request.safety.value
    outside = is_on_the_machine(kind.name, request.workspace, request.safety, writes, request.depth)
    return EnforcedRule(kind, rule, request.told_only, outside and not request.walled, request.may_allow)


def is_listed(name: str) -> bool:
    """Whether to list the runtime for users; one that simulates an agent is for demos and tests only."""
    kind = RUNTIMES.get(name)
    return kind is None or not kind.plays


def build_matrix() -> list[tuple[str, str, Enforcement, Enforcement]]:
    """Return (runtime, rule, enforcement with a sandbox, enforcement without) for all their combinations."""
    rows = []
    for kind in RUNTIMES.values():
        for rule in RULES:
            needs = EnforcedRule(kind, rule, told_only=False)
            rows.append((kind.name, rule, needs.by(Isolation.SANDBOX), needs.by(Isolation.NONE)))
    return rows


def rule_of(mode: Mode, safety: Safety, read_only: bool) -> str:
    """Return the one rule that applies to a run: read-only, or its safety level."""
    may_write = mode in MODE_WRITES and safety is not Safety.SUGGEST and not read_only
    return safety.value if may_write else READ_ONLY
