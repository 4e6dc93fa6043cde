"""The logins of agent programs: how each is made, which files it leaves and when its limit resets. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from node_agent.runtimes.lines import count_of, dict_of, text_of

VARIABLE, OPENCODE = "CODEX_LOGIN", "OPENCODE_LOGIN"
"""The node's variables for the text of each program's login file; no process environment contains it."""
FILE = "auth.json"
_REFRESH = "refresh_token"
_GIVEN = ("id_token", "access_token", "account_id")
"""The fields that the program needs; further fields of a later version stay on the node."""
_PLAIN = frozenset({"auth_mode", "last_refresh", "type"})
_FAR_MS = 4_102_444_800_000


def for_run(text: str) -> bytes | None:
    """Return the login with the fields that a run needs, without the token that makes new access tokens: a
    run that used that token would lock the owner out. None: the text is not a login.

    The access token is valid for days; when it expires, the owner logs in again.
    """
    whole = _read(text)
    tokens = dict_of(whole.get("tokens"))
    if not (text_of(tokens.get("access_token")) and text_of(tokens.get("id_token"))):
        return None
    given = {name: whole[name] for name in ("auth_mode", "last_refresh") if name in whole}
    kept = {name: tokens[name] for name in _GIVEN if name in tokens}
    return json.dumps({**given, "OPENAI_API_KEY": None, "tokens": {**kept, _REFRESH: ""}}).encode()


def for_opencode(text: str) -> bytes | None:
    """Return an OpenCode login as `for_run` does; the file's logins at other vendors stay on the node."""
    login = dict_of(_read(text).get("openai"))
    if login.get("type") != "oauth" or not text_of(login.get("access")):
        return None
    given: dict[str, Any] = {name: login[name] for name in ("type", "access", "accountId") if name in login}
    # OpenCode renews expired tokens, but has no token to do it with, so its vendor must report the expiry
    given |= {"refresh": "", "expires": _FAR_MS}
    return json.dumps({"openai": given}).encode()


def secrets_in(text: str, name: str = VARIABLE) -> dict[str, str]:
    """Return the secrets in the file by names for users: all texts of the file except those that reveal
    nothing. Each secret may appear separately."""
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
    """How a program is logged in. `argv`: the vendor's own login command, whose configuration is in the
    folder that the variable `home` names.

    `file`: the file that the command leaves there, or in which we store a token that it only `prints`.
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
    """Return the secrets inside the login files, by names for users; each secret may appear separately."""
    found: dict[str, str] = {}
    for name in (VARIABLE, OPENCODE):
        found |= secrets_in(values.get(name, ""), name)
    return found


LONGEST_MS = 8 * 86_400_000
"""The longest plausible wait: a limit's window lasts a week at most, so a later reset is wrong or false."""
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|[smhd])")
_DELAY = re.compile(rf"\b(?:retry|try again|resets?) (?:after|in) ((?:{_PART.pattern} ?)+)", re.IGNORECASE)
SHORT_MS = 60_000
"""A shorter wait is not a login's limit: the call is retried as with any busy server."""
_CLOCK = re.compile(
    rf"\btry again at (?:({'|'.join(_MONTHS)}) (\d{{1,2}})(?:st|nd|rd|th), (\d{{4}}) )?"
    r"(\d{1,2}):(\d{2}) (AM|PM)\b"
)


@dataclass(frozen=True, slots=True)
class LimitReset:
    """When a limit resets. `at_ms`: Unix time; or `after_ms`: that long after the message; or a time of the
    node's clock: `hour`, `minute` and `day` as (year, month, day); without a day, the next such time."""

    at_ms: int | None = None
    hour: int = 0
    minute: int = 0
    day: tuple[int, int, int] | None = None
    after_ms: int = 0


def rejected_until(info: Mapping[str, Any]) -> LimitReset | None:
    """Return the reset in Claude's `rate_limit_info`; None if the limit is not reached."""
    at_s = count_of(info.get("resetsAt"))
    return LimitReset(1000 * at_s) if at_s and info.get("status") == "rejected" else None


def clock_in(words: str) -> LimitReset | None:
    """Return the reset time that Codex's message names; None if it names none."""
    found = _CLOCK.search(words)
    if found is None:
        return None
    month, day, year, hour, minute, half = found.groups()
    date = (int(year), _MONTHS.index(month) + 1, int(day)) if month else None
    return LimitReset(None, int(hour) % 12 + (12 if half == "PM" else 0), int(minute), date)


def delay_in(words: str) -> LimitReset | None:
    """Return the wait that a server's message names, such as `try again in 1h30m`; None if none or short."""
    found = _DELAY.search(words)
    parts = _PART.findall(found[1]) if found is not None else []
    after_ms = int(sum(float(number) * _UNITS[unit] for number, unit in parts))
    return LimitReset(after_ms=after_ms) if after_ms >= SHORT_MS else None


def pause_ms(
    reset: LimitReset | None, now_ms: int, local: Callable[[float], datetime] = datetime.fromtimestamp
) -> int:
    """Return the milliseconds from now until the reset; 0 if the reset is unknown, past or too far away.
    `local`: returns the time of the node's clock for seconds of Unix time."""
    if reset is None:
        return 0
    if reset.after_ms:
        return reset.after_ms if reset.after_ms <= LONGEST_MS else 0
    try:
        at_ms = _at_ms(reset, local(now_ms / 1000)) if reset.at_ms is None else reset.at_ms
    except (ValueError, OverflowError):  # this day is not in the calendar
        return 0
    return at_ms - now_ms if 0 < at_ms - now_ms <= LONGEST_MS else 0


def _at_ms(reset: LimitReset, now: datetime) -> int:
    shown = now.replace(hour=reset.hour, minute=reset.minute, second=0, microsecond=0)
    if reset.day is not None:
        year, month, day = reset.day
        shown = shown.replace(year=year, month=month, day=day)
    elif shown <= now:
        shown += timedelta(days=1)
    return int(shown.timestamp() * 1000)
