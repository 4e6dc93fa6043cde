"""Adapters: npm programs with which Claude Code and Codex support ACP, and so interactive runs. Each adapter
starts the user's own program, and has its own way to forward settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from node_agent.runtimes.acp import AcpWay, wrap_launch
from node_agent.runtimes.base import LaunchRequest, Place, ProcessSpec, Program
from node_agent.runtimes.hooks import REFUSED
from node_agent.wire.policy import Isolation

CLAUDE = Program(
    "claude-agent-acp",
    "@agentclientprotocol/claude-agent-acp",
    version=r"(\d+\.\d+\.\d+)\b",
    node=22,
    known="0.101.",
    login="",
    adapts="claude",
)
"""The adapter also works with Node.js 20 (measured)."""
CODEX = Program(
    "codex-acp",
    "@agentclientprotocol/codex-acp",
    version=r"(?:@agentclientprotocol/codex-acp )?(\d+\.\d+\.\d+)\b",
    known="2.6.",
    login="",
    adapts="codex",
)


def _make_way(
    adapter: Program, variable: str, memory: str, denials: tuple[str, ...], behind: str = ""
) -> AcpWay:
    """Return how to use an adapter: `variable` has its program's path; `memory` is a folder in its home."""
    return AcpWay(
        name=adapter.name,
        argv=(adapter.name,),
        install=adapter.install,
        memory=(memory,),
        denials=denials,
        known=adapter.known,
        behind=behind,
        programs={variable: adapter.adapts},
    )


CLAUDE_WAY = _make_way(
    CLAUDE, "CLAUDE_CODE_EXECUTABLE", "claude/projects", (REFUSED, "No such tool available")
)
CODEX_WAY = _make_way(CODEX, "CODEX_PATH", "codex/sessions", (), "/.")
"""If the hook denies a call, only the model is notified, so there are no `denials`."""


def codex_talked(
    settings: Mapping[str, object], request: LaunchRequest, place: Place, headless: ProcessSpec
) -> ProcessSpec:
    """Return the launch of the adapter, with the safety level as its mode: each turn gets the rights of the
    mode, whatever the settings are. A mode with questions would build its own sandbox, which fails inside
    PanCode's."""
    own = "workspace-write" if request.may_write else "read-only"
    mode = "agent-full-access" if place.isolation is Isolation.SANDBOX else own
    model = {"model": request.model} if request.model else {}
    around = {
        **headless.env,
        "CODEX_CONFIG": json.dumps(_nest_settings({**settings, **model, "bypass_hook_trust": True})),
        "INITIAL_AGENT_MODE": mode,
        "NO_BROWSER": "1",
        "MODEL_PROVIDER": str(settings["model_provider"]),
    }
    # this one has effect in the file alone; without it the model gets AGENTS.md of the repository unmarked
    files = {**headless.files, "codex/config.toml": b"project_doc_max_bytes = 0\n"}
    made = ProcessSpec(headless.argv, around, headless.stdin, files, headless.login)
    return wrap_launch(CODEX_WAY.model_copy(update={"mode": mode}), request, place, made)


def _nest_settings(settings: Mapping[str, object]) -> dict[str, Any]:
    """Return command-line settings such as `a.b = c` as nested objects: `a` contains `b`."""
    made: dict[str, Any] = {}
    for name, value in settings.items():
        *folders, last = name.split(".")
        at = made
        for folder in folders:
            at = at.setdefault(folder, {})
        at[last] = value
    return made
