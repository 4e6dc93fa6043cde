"""Opens each agent program's own login by subscription, and names the files that it leaves. Pure.

A runtime that is not here has none whose form was measured: its runs take a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from node_agent.runtimes import openai_login

FOLDER = "logins"
"""In the node's home: a folder for each runtime, of the node's user alone."""


@dataclass(frozen=True, slots=True)
class Login:
    """`argv`: the vendor's own login, with its configuration in the folder that the variable `home` names.

    `file`: what it leaves there, or what we keep there of a token that it only `prints`. `variable`: as which
    the node knows it.
    """

    argv: tuple[str, ...]
    home: str
    file: str
    variable: str
    prints: bool = False


LOGINS: Mapping[str, Login] = {
    "claude": Login(
        ("claude", "setup-token"), "CLAUDE_CONFIG_DIR", "token", "CLAUDE_CODE_OAUTH_TOKEN", prints=True
    ),
    "codex": Login(
        ("codex", "login", "--device-auth"), "CODEX_HOME", openai_login.FILE, openai_login.VARIABLE
    ),
    "opencode": Login(
        ("opencode", "auth", "login", "--provider", "openai", "--method", "ChatGPT Pro/Plus (headless)"),
        "XDG_DATA_HOME",
        f"opencode/{openai_login.FILE}",
        openai_login.OPENCODE,
    ),
}


def tokens(home: Path) -> dict[str, Path]:
    """The path of a login's files in a node's home, by the node's variable for it."""
    return {login.variable: home / FOLDER / name / login.file for name, login in LOGINS.items()}


def inner_secrets(values: Mapping[str, str]) -> dict[str, str]:
    """Secrets within the files of logins, by names for people: each of them may turn up alone."""
    found: dict[str, str] = {}
    for name in (openai_login.VARIABLE, openai_login.OPENCODE):
        found |= openai_login.secrets_in(values.get(name, ""), name)
    return found
