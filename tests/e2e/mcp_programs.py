"""Agent programs that ask our MCP server: command line, environment and what each calls a tool of ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TASK = "hand it over"
_CODEX = """\
model = "gpt-5-codex"
model_provider = "scripted"

[model_providers.scripted]
name = "scripted"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "MODEL_KEY"
"""


@dataclass(frozen=True)
class Asking:
    """One program. `name`: how its model calls a tool of the server `pancode`."""

    words: tuple[str, ...]
    env: Callable[[str], dict[str, str]]
    name: Callable[[str], dict[str, str]]
    configure: Callable[[Path, str], None] = lambda home, url: None
    """(home, address of the model server): write the program's own settings."""


def _claude(url: str) -> dict[str, str]:
    quiet = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}
    return {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "k", **quiet}


def _opencode(url: str) -> dict[str, str]:
    options = {"baseURL": f"{url}/v1", "apiKey": "k"}
    provider = {"npm": "@ai-sdk/openai-compatible", "options": options, "models": {"m": {}}}
    return {
        "OPENCODE_CONFIG_CONTENT": json.dumps({"model": "scripted/m", "provider": {"scripted": provider}})
    }


def _set_up_codex(home: Path, url: str) -> None:
    (home / ".codex").mkdir()
    (home / ".codex/config.toml").write_text(_CODEX.format(url=url))


def _set_up_gemini(home: Path, url: str) -> None:
    (home / ".gemini").mkdir()
    settings = {"security": {"auth": {"selectedType": "gemini-api-key"}}}
    (home / ".gemini/settings.json").write_text(json.dumps(settings))


ASKING = {
    "claude": Asking(
        ("-p", TASK, "--allowedTools", "mcp__pancode", "--output-format", "json"),
        _claude,
        lambda tool: {"name": f"mcp__pancode__{tool}"},
    ),
    "codex": Asking(
        (
            *("-c", 'mcp_servers.pancode.default_tools_approval_mode="approve"'),
            # It asks its model at once, without the tools of a server that still starts, unless it must wait.
            *("-c", "mcp_servers.pancode.required=true", "-c", "mcp_servers.pancode.startup_timeout_sec=90"),
            *("exec", "--json", "--skip-git-repo-check", TASK),
        ),
        lambda url: {"MODEL_KEY": "k"},
        lambda tool: {"name": tool, "namespace": "mcp__pancode"},
        _set_up_codex,
    ),
    "gemini": Asking(
        ("-p", TASK, "-m", "gemini-2.5-flash", "--approval-mode", "yolo", "--skip-trust"),
        lambda url: {"GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": "k"},
        lambda tool: {"name": f"mcp_pancode_{tool}"},
        _set_up_gemini,
    ),
    "opencode": Asking(
        ("run", "--format", "json", TASK), _opencode, lambda tool: {"name": f"pancode_{tool}"}
    ),
}
