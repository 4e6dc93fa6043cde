"""Which tools of the fleet an orchestrator has, by the mode of its sitting. One table, and plain data."""

from __future__ import annotations

from collections.abc import Mapping

from node_agent.wire.policy import Mode
from pancode.agents.agents import Agent

LOOKS = (
    *("fleet_status", "agents", "models", "budget", "inbox"),
    *("runs", "run_show", "why", "logs", "diff", "wait", "verify", "history", "config_show"),
    "workflow_show",
)
"""What changes nothing."""
BEGINS = ("dispatch", "dispatch_batch", "dispatch_chain", "dispatch_race", "run_workflow")
STEERS = ("tell", "stop", "workflow_stop")
WORKS = (*BEGINS, *STEERS, "continue_run", "answer", "land")
"""What begins or steers runs, all of them its own; `land` only asks a person."""
SCOUTS = "explore"
"""Sends read-only runs out with questions, which every mode allows."""
CHANGE = "propose_change"
"""Asks a person about a change of the settings; its route judges the kinds by the mode."""
FLEET_TOOLS: Mapping[Mode, tuple[str, ...]] = {
    Mode.BUILD: (*LOOKS, SCOUTS, *WORKS, CHANGE),
    Mode.REVIEW: (*LOOKS, SCOUTS, *BEGINS, *STEERS),
    Mode.PLAN: (*LOOKS, SCOUTS),
    Mode.ADMIN: (*LOOKS, SCOUTS, CHANGE),
}
"""By mode, names of tools of `pancode/mcp`. In review each run is begun in that mode, so it only reads."""
ABLE = frozenset({"native", "claude-sdk", "openai-agents", "opencode", "claude"})
"""The runtimes whose program was seen to ask for these tools. Codex hides a server's tools from its model,
and Copilot starts no such server. Gemini CLI and Qwen Code were not tried."""


def fleet_tools_of(agent: Agent, mode: Mode, runtime: str, talks: bool) -> tuple[str, ...]:
    """Their names for one run; none for an agent that does not lead, and where nobody talks with it."""
    return FLEET_TOOLS[mode] if agent.leads and talks and runtime in ABLE else ()
