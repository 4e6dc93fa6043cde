"""Shared by both runtimes of Claude's program: its login, its reasoning effort and its settings against
unneeded traffic."""

from __future__ import annotations

from collections.abc import Mapping

from node_agent.runtimes.base import LaunchRequest
from node_agent.wire.job import Reasoning

CREDENTIALS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_BASE_URL")
"""Variables that log in the program or select its model server; a run gets only those that its job names."""
LOGINS = CREDENTIALS[:3]
LOGIN = (
    "by subscription: pancode node login NODE claude; else by a key: pancode node secret NODE "
    "ANTHROPIC_API_KEY (stored in ~/.pancode-node/*/secrets.json there)"
)
LEVELS: Mapping[Reasoning, tuple[str, int]] = {
    Reasoning.OFF: ("", 0),
    Reasoning.LOW: ("low", 4096),
    Reasoning.MEDIUM: ("medium", 10_000),
    Reasoning.HIGH: ("high", 20_000),
    Reasoning.XHIGH: ("xhigh", 31_999),
}
"""Each effort as the flag of newer models and the token count of older ones; a model uses what it knows."""


def quiet_env(request: LaunchRequest, env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the run's own settings and without traffic that the work does not need."""
    quiet = {
        **env,
        "CLAUDE_CONFIG_DIR": f"{request.home}/claude",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }
    if request.reasoning:
        quiet["MAX_THINKING_TOKENS"] = str(LEVELS[request.reasoning][1])
    # by default Claude Code retries ten times, for more than 100 s, and looks stalled meanwhile
    quiet.setdefault("CLAUDE_CODE_MAX_RETRIES", "3")
    return quiet
