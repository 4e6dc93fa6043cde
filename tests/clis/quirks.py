"""Where the real programs differ in what they do alike: data for the tests that run over all of them."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from node_agent.runtimes.workerspec import TOOLS
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.policy import ActionClass as A

_TOLD = {
    "401": F.MODEL_AUTH,
    "429": F.MODEL_BUSY,
    "500": F.MODEL_FAILED,
    "bad-json": F.MODEL_FAILED,
    "cut": F.MODEL_FAILED,
}


def _but(*names: str) -> dict[str, F]:
    return {name: failure for name, failure in _TOLD.items() if name not in names}


@dataclass(frozen=True)
class Quirks:
    """Of one program.

    `login`: a variable that logs it in. `failures`: of its model's server, which it tells by itself; in
    `hangs` it asks again without a word until a limit of ours. `signals`: by which it ends while it waits,
    and the exit status; None: any. `usd`: what it says that one short answer costs. `mentions`: an `@` in a
    task is kept.
    """

    login: str
    failures: Mapping[str, F] = field(default_factory=_but)
    hangs: tuple[str, ...] = ()
    signals: Mapping[signal.Signals, int | None] = field(default_factory=lambda: {signal.SIGTERM: None})
    edits_by: Mapping[A, int] = field(default_factory=lambda: {A.FILE_READ: 1, A.FILE_WRITE: 1})
    auth: str = "authorization"
    usd: Decimal | None = None
    offered: frozenset[str] | None = None
    """The tools at auto-edit, where they are few enough to be named."""
    tells_version: bool = False
    mentions: bool = False
    takes_along: bool = False
    """What it had started ends with it; of the others it is left to the node."""


QUIRKS = {
    "claude": Quirks(
        "ANTHROPIC_API_KEY",
        failures={**_TOLD, "refuse": F.AGENT_FAILED},
        signals={signal.SIGTERM: 143, signal.SIGINT: 0},
        auth="x-api-key",
        usd=Decimal("0.00426"),
        offered=frozenset({"Read", "Grep", "Glob", "Edit", "Write"}),
        tells_version=True,
    ),
    "claude-sdk": Quirks(
        "ANTHROPIC_API_KEY",
        failures={**_TOLD, "refuse": F.AGENT_FAILED},
        signals={signal.SIGTERM: 143, signal.SIGINT: 130},
        auth="x-api-key",
        offered=frozenset(f"mcp__pancode__{one}" for one in TOOLS),
        tells_version=True,
        takes_along=True,
    ),
    "codex": Quirks(
        "OPENAI_API_KEY",
        failures={**_TOLD, "refuse": F.AGENT_FAILED},
        signals={signal.SIGTERM: -15, signal.SIGINT: 1},
        edits_by={A.SHELL: 1, A.FILE_WRITE: 1},
        takes_along=True,
    ),
    # With a server that fails it waits 15 s in all: the end-to-end tests let it.
    "copilot": Quirks("COPILOT_PROVIDER_BASE_URL", failures=_but("500"), mentions=True),
    "gemini": Quirks("GEMINI_API_KEY", signals={signal.SIGTERM: 0}, auth="x-goog-api-key", mentions=True),
    "native": Quirks(
        "OPENAI_BASE_URL",
        failures={**_TOLD, "refuse": F.AGENT_FAILED, "stream-error": F.MODEL_FAILED},
        signals={signal.SIGTERM: 143, signal.SIGINT: 130},
        offered=frozenset({"read", "write", "edit", "bash", "grep", "find", "ls"}),
        tells_version=True,
        mentions=True,
        takes_along=True,
    ),
    "openai-agents": Quirks(
        "OPENAI_BASE_URL",
        failures={**_TOLD, "refuse": F.AGENT_FAILED, "stream-error": F.MODEL_FAILED},
        signals={signal.SIGTERM: 143, signal.SIGINT: 130},
        offered=frozenset({"read", "write", "edit", "bash", "grep", "find", "ls"}),
        tells_version=True,
        mentions=True,
        takes_along=True,
    ),
    # Between two tries it does not always hear anything milder; bad answers it asks for without end.
    "opencode": Quirks(
        "OPENAI_BASE_URL",
        failures=_but("500", "bad-json", "cut"),
        hangs=("500",),
        signals={signal.SIGKILL: -9},
        offered=frozenset({"read", "grep", "glob", "edit", "write"}),
    ),
}
