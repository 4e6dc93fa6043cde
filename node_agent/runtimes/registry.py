"""The table of runtimes, by name."""

from __future__ import annotations

from collections.abc import Mapping

from node_agent.runtimes.base import Runtime
from node_agent.runtimes.claude.runtime import RUNTIME as CLAUDE
from node_agent.runtimes.claude_sdk.runtime import RUNTIME as CLAUDE_SDK
from node_agent.runtimes.codex.runtime import RUNTIME as CODEX
from node_agent.runtimes.copilot.runtime import RUNTIME as COPILOT
from node_agent.runtimes.gemini.runtime import RUNTIME as GEMINI
from node_agent.runtimes.native.runtime import RUNTIME as NATIVE
from node_agent.runtimes.openai_agents.runtime import RUNTIME as OPENAI_AGENTS
from node_agent.runtimes.opencode.runtime import RUNTIME as OPENCODE
from node_agent.runtimes.scripted.runtime import RUNTIME as SCRIPTED
from node_agent.runtimes.shell.runtime import RUNTIME as SHELL

_ALL = (CLAUDE, CLAUDE_SDK, CODEX, COPILOT, GEMINI, NATIVE, OPENAI_AGENTS, OPENCODE, SCRIPTED, SHELL)

RUNTIMES: Mapping[str, Runtime] = {runtime.name: runtime for runtime in _ALL}
