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
"""The node's variables for the text of each program's login file; no process environment ever has it."""
FILE = "auth.json"
_REFRESH = "refresh_token"
_GIVEN = ("id_token", "access_token", "account_id")
"""The fields that the program needs; further fields of a later version stay on the node."""
_PLAIN = frozenset({"auth_mode", "last_refresh", "type"})
_FAR_MS = 4_102_444_800_000


def for_run(text: str) -> bytes | None:
    """Return the login with the fields that a run needs, without the token that makes new ones: a run that
    used it up would lock the owner out. None: the text is no login.

    The access token is good for days; when it expires, the owner logs in again.
    """
    whole = _read(text)
    tokens = dict_of(whole.get("tokens"))
    if not (text_of(tokens.get("access_token")) and text_of(tokens.get("id_token"))):
        return None
    given = {name: whole[name] for name in ("auth_mode", "last_refresh") if name in whole}
    kept = {name: tokens[name] for name in _GIVEN if name in tokens}
    return json.dumps({**given, "OPENAI_API_KEY": None, "tokens": {**kept, _REFRESH: ""}}).encode()


def for_opencode(text: str) -> bytes | None:
    """As `for_run`, for OpenCode's file; logins at other vendors in the file stay on the node."""
    login = dict_of(_read(text).get("openai"))
    if login.get("type") != "oauth" or not text_of(login.get("access")):
        return None
    given: dict[str, Any] = {name: login[name] for name in ("type", "access", "accountId") if name in login}
    # It asks for a new token when its time is over, and has nothing to ask with: so its vendor is to say it.
    given |= {"refresh": "", "expires": _FAR_MS}
    return json.dumps({"openai": given}).encode()


def secrets_in(text: str, name: str = VARIABLE) -> dict[str, str]:
    """Return the secrets in the file by names for users; each may turn up alone. They are all texts of the
    file except those that reveal nothing.
    """
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
"""The folder in the node's home with a folder for each runtime; only the node's user can read it."""


@dataclass(frozen=True, slots=True)
class Login:
    """How a program is logged in. `argv`: the vendor's own login command; its configuration is in the folder
    that the variable `home` names.

    `file`: the file that the command leaves there, or in which we keep a token that it only `prints`.
    `variable`: the node's name for the login.
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


def list_token_paths(home: Path) -> dict[str, Path]:
    """Return the path of each login's file in a node's home, by the node's variable for it."""
    return {login.variable: home / FOLDER / name / login.file for name, login in LOGINS.items()}


def inner_secrets(values: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets inside the login files, by names for users; each of them may turn up alone."""
    found: dict[str, str] = {}
    for name in (VARIABLE, OPENCODE):
        found |= secrets_in(values.get(name, ""), name)
    return found
