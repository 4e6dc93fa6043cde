"""Opens each agent program's own login by subscription, and names the files that it leaves. Pure.

A runtime that is not here has none whose form was measured: its runs take a key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node_agent.runtimes.lines import dict_of, text_of

VARIABLE, OPENCODE = "CODEX_LOGIN", "OPENCODE_LOGIN"
"""The node's variables for the text of each program's file; no environment ever holds it."""
FILE = "auth.json"
_REFRESH = "refresh_token"
_GIVEN = ("id_token", "access_token", "account_id")
"""The fields that its program needs; others of a later version stay on the node."""
_PLAIN = frozenset({"auth_mode", "last_refresh", "type"})
_FAR_MS = 4_102_444_800_000


def for_run(text: str) -> bytes | None:
    """The fields that a run needs, and none that makes new tokens: a run that uses one up locks the owner
    out. None: it is no login.

    The access token is good for days; when it is over, the login is opened again.
    """
    whole = _read(text)
    tokens = dict_of(whole.get("tokens"))
    if not (text_of(tokens.get("access_token")) and text_of(tokens.get("id_token"))):
        return None
    given = {name: whole[name] for name in ("auth_mode", "last_refresh") if name in whole}
    kept = {name: tokens[name] for name in _GIVEN if name in tokens}
    return json.dumps({**given, "OPENAI_API_KEY": None, "tokens": {**kept, _REFRESH: ""}}).encode()


def for_opencode(text: str) -> bytes | None:
    """The same of OpenCode's file, which may hold logins at other vendors: those stay with the node."""
    login = dict_of(_read(text).get("openai"))
    if login.get("type") != "oauth" or not text_of(login.get("access")):
        return None
    given: dict[str, Any] = {name: login[name] for name in ("type", "access", "accountId") if name in login}
    # It asks for a new token when its time is over, and has nothing to ask with: so its vendor is to say it.
    given |= {"refresh": "", "expires": _FAR_MS}
    return json.dumps({"openai": given}).encode()


def secrets_in(text: str, name: str = VARIABLE) -> dict[str, str]:
    """The secrets by names for people; each may turn up alone. All words of the file, but for those that
    reveal nothing."""
    found: dict[str, str] = {}
    todo: list[tuple[str, Any]] = [(name, _read(text))]
    while todo:
        at, value = todo.pop()
        if isinstance(value, dict):
            todo += [(f"{at} {name}", one) for name, one in value.items() if name not in _PLAIN]
        elif isinstance(value, list):
            todo += [(f"{at} {number}", one) for number, one in enumerate(value)]
        elif isinstance(value, str) and value:
            found[at] = value
    return found


def _read(text: str) -> dict[str, Any]:
    try:
        return dict_of(json.loads(text))
    except (ValueError, RecursionError):
        return {}


FOLDER = "logins"
"""The folder in the node's home with a folder for each runtime, for the node's user alone."""


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
    "codex": Login(("codex", "login", "--device-auth"), "CODEX_HOME", FILE, VARIABLE),
    "opencode": Login(
        ("opencode", "auth", "login", "--provider", "openai", "--method", "ChatGPT Pro/Plus (headless)"),
        "XDG_DATA_HOME",
        f"opencode/{FILE}",
        OPENCODE,
    ),
}


def tokens(home: Path) -> dict[str, Path]:
    """The path of a login's files in a node's home, by the node's variable for it."""
    return {login.variable: home / FOLDER / name / login.file for name, login in LOGINS.items()}


def inner_secrets(values: Mapping[str, str]) -> dict[str, str]:
    """Secrets within the files of logins, by names for people: each of them may turn up alone."""
    found: dict[str, str] = {}
    for name in (VARIABLE, OPENCODE):
        found |= secrets_in(values.get(name, ""), name)
    return found
