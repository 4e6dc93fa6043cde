"""Prevents the Gemini CLI from using instructions of the node's user and of the repository."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from node_agent.runtimes.starting import build_guard

GENERAL: Mapping[str, Any] = {
    "enableAutoUpdate": False,
    "enableAutoUpdateNotification": False,
    # by default Gemini retries for more than 100 s; this setting allows one retry, after some seconds
    "maxAttempts": 2,
}
# Folder trust stays on and is skipped by a flag, so that no settings of the repository (servers, hooks,
# commands) are merged into these. If it were off, everything would be trusted.
_SETTINGS: Mapping[str, Any] = {
    "security": {
        "auth": {"selectedType": "gemini-api-key"},
        "folderTrust": {"enabled": True},
        "environmentVariableRedaction": {
            "enabled": True,
            "blocked": ["GEMINI_API_KEY", "GOOGLE_CLOUD_ACCESS_TOKEN"],
        },
    },
    "privacy": {"usageStatisticsEnabled": False},
    "general": GENERAL,
    "telemetry": {"enabled": False},
    "context": {"memoryBoundaryMarkers": []},
    "advanced": {"ignoreLocalEnv": True},
    "hooksConfig": {"enabled": False},
    "skills": {"enabled": False},
}


# Gemini searches for `.gemini/.env` from the checkout up to the root of the disk, including the home of the
# node's user. No setting stops that, or stops it from reading the repository's GEMINI.md.
def build_isolation(
    more: Mapping[str, Any],
    by_account: bool = False,
    hooks: Mapping[str, Any] | None = None,
    skills: bool = False,
) -> dict[str, bytes]:
    """Return the settings files, with `more` settings. `by_account`: the login is a Google account, not a
    key. `hooks`: the only hooks. `skills`: read the skills of the home, but none of the repository's."""
    read = {"skills": {"enabled": True}} if skills else {}
    theirs = (".agents/skills", ".gemini/skills") if skills else ()
    ways = {"auth": {"selectedType": "oauth-personal"}} if by_account else {}
    security = {**_SETTINGS["security"], **ways}
    hook_settings = {"hooksConfig": {"enabled": True}, "hooks": hooks} if hooks else {}
    settings = json.dumps({**_SETTINGS, **read, **hook_settings, "security": security, **more}).encode()
    return {".gemini/settings.json": settings, **build_guard((".gemini/.env",), ("GEMINI.md",), theirs)}
