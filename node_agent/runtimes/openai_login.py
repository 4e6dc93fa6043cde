"""Reads the file that Codex's own login leaves: what a run gets of it, what in it is secret. Pure."""

from __future__ import annotations

import json
from typing import Any

from node_agent.runtimes.lines import dict_of, text_of

VARIABLE = "CODEX_LOGIN"
"""As which the node knows the text of that file; no environment ever holds it."""
FILE = "auth.json"
_REFRESH = "refresh_token"
_FORMS = ("id_token", "access_token", _REFRESH)


def for_run(text: str) -> bytes | None:
    """The file without what makes new tokens: whoever uses that up locks the owner out. None: it is no login.

    The access token is good for days; when it is over, the login is opened again.
    """
    whole = _read(text)
    tokens = dict_of(whole.get("tokens"))
    if not (text_of(tokens.get("access_token")) and text_of(tokens.get("id_token"))):
        return None
    return json.dumps({**whole, "OPENAI_API_KEY": None, "tokens": {**tokens, _REFRESH: ""}}).encode()


def secrets_in(text: str) -> dict[str, str]:
    """By names for people; each may turn up alone."""
    tokens = dict_of(_read(text).get("tokens"))
    return {f"{VARIABLE} {name}": value for name in _FORMS if (value := text_of(tokens.get(name)))}


def _read(text: str) -> dict[str, Any]:
    try:
        return dict_of(json.loads(text))
    except (ValueError, RecursionError):
        return {}
