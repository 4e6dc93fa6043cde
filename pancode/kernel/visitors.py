"""Who comes to the API with a token, and what a token opens."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pancode.kernel.errors import ConflictError, RefusedError

if TYPE_CHECKING:
    from pancode.kernel.records import ApiToken


class AccessScope(StrEnum):
    """What a token allows. Each scope allows to read; `admin` allows all."""

    READ = "read"
    ANSWER = "answer"
    DISPATCH = "dispatch"
    OPERATE = "operate"
    BUDGET = "budget"
    ADMIN = "admin"


class Risk(StrEnum):
    """What a request may bring about, from harmless to final."""

    LOOKS = "looks"
    ACTS = "acts"
    SPENDS = "spends"
    FINAL = "cannot be undone"


def has_scope(scopes: Iterable[str], needed: AccessScope) -> bool:
    """Whether a token with these scopes may ask for what needs the scope `needed`."""
    granted = set(scopes)
    if needed is AccessScope.READ:
        return bool(granted)
    return needed in granted or AccessScope.ADMIN in granted


PREFIX = "pct_"
"""How each secret begins, so that a scanner of files and logs finds it."""
SECRET_BYTES = 32
USED_MS = 60_000
"""How often a token's last use is written down at most, in milliseconds."""
CODE_MS = 60_000
"""How long a one-time code is valid, in milliseconds."""
BY = "token "
"""Stands before a token's name where its requests say who asked."""
WEB = "web-"
"""How the name of a token begins that a browser got for a code."""
NOTICE = "notice-"
"""How the name of a token begins that stands in the link of a notice."""


class AccessError(RefusedError):
    """A caller over TCP is not let in, or may not make this request."""

    code = "no_token"


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token to be made. `lasts_ms` None: it never expires. `item`: the inbox item it is for, or its run."""

    name: str
    scopes: tuple[AccessScope, ...]
    lasts_ms: int | None
    item: str | None = None


@dataclass(frozen=True, slots=True)
class WebCode:
    """The token that a one-time code is traded for, and until when, by the coordinator's boot clock."""

    until_ms: int
    wanted: NewToken
    by: str


@dataclass(frozen=True, slots=True)
class Visitor:
    """A caller over TCP. `token` None: the caller has shown none."""

    token: ApiToken | None = None

    @property
    def name(self) -> str:
        return "nobody" if self.token is None else f"{BY}{self.token.name}"


def hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def check_token(secret: str, found: ApiToken | None, now_ms: int) -> ApiToken:
    """The token that this secret belongs to, if it is in force. AccessError."""
    make = "pancode admin tokens --create NAME --allow read"
    if found is None or not hmac.compare_digest(found.digest, hash_secret(secret)):
        why = "there is none with this secret; it may have been revoked"
        raise AccessError("the token is not known", why=why, fix=make, code="unknown_token")
    if is_over(found, now_ms):
        raise AccessError(f"the token {found.name} has expired", fix=make, code="expired_token")
    return found


def invalid_code() -> AccessError:
    """The error for a code that nobody was given, or that is too old."""
    why = f"it is good once, for {CODE_MS // 1_000} s"
    return AccessError("this code is not valid", why=why, fix="pancode web", code="unknown_code")


def used_code(session: str) -> AccessError:
    """The error for a code that was used before to open this session, perhaps by a stranger with its link."""
    return AccessError(
        "this code was already used",
        why=f"it opened session {session}; if that was not you, somebody else has your permissions there",
        fix=f"revoke it: pancode admin tokens --revoke {session}; then: pancode web",
        code="used_code",
        details={"session": session},
    )


def must_allow(token: ApiToken, needed: AccessScope, what: str, without: str = "") -> None:
    """AccessError where the token lacks the scope. `without`: what the caller can do instead."""
    if not has_scope(token.scopes, needed):
        raise AccessError(
            f"token {token.name} is not allowed to request {what}",
            why=f"it needs the scope {needed}; the token has {', '.join(token.scopes)}",
            fix=f"{without}pancode admin tokens --create NAME --allow {needed}",
            code="wrong_scope",
            details={"scope": needed.value},
        )


_ASKER: ContextVar[ApiToken | None] = ContextVar("asker", default=None)
"""The token that asks for what this thread does now; None: the owner asks, or nobody."""


@contextmanager
def asked_by(token: ApiToken | None) -> Iterator[None]:
    """What is done inside is asked for by this token, by whichever route: its use cases ask `is_allowed`."""
    before = _ASKER.set(token)
    try:
        yield
    finally:
        _ASKER.reset(before)


def is_allowed(scope: AccessScope) -> bool:
    """Whether the present asker has this scope."""
    token = _ASKER.get()
    return token is None or has_scope(token.scopes, scope)


def must_ask(what: str, lands: bool = False, says_yes: bool = False) -> None:
    """AccessError where the present asker may not land (`lands`) or say a user's approval (`says_yes`)."""
    token = _ASKER.get()
    if token is not None and lands:
        must_allow(token, AccessScope.OPERATE, f"{what} of what lands its change", "without land; or: ")
    if token is not None and says_yes:
        must_allow(token, AccessScope.ANSWER, f"{what} with a user's approval", "without yes; or: ")


def token_behind(created_by: str) -> str | None:
    """The name of the token that made it; None: no token did."""
    return created_by.removeprefix(BY) if created_by.startswith(BY) else None


def speaks_for(token: ApiToken | None, made_ms: int, now_ms: int) -> bool:
    """Whether this token, found by its name, existed when something was made, and is still in force."""
    return token is not None and not is_over(token, now_ms) and token.created_ms <= made_ms


def must_be_its_item(token: ApiToken, run: str, what: str) -> None:
    """AccessError where a token of one inbox item asks about another run. `run` empty: about none."""
    if token.item is not None and run != token.run:
        raise AccessError(
            f"token {token.name} is not allowed to request {what}",
            why=f"it may only answer requests of {token.run}",
            fix="pancode inbox",
            code="wrong_item",
        )


def narrow_token(asker: ApiToken | None, wanted: NewToken, now_ms: int) -> NewToken:
    """Return the wanted token, ending no later than the asker. AccessError for scopes that it lacks."""
    if asker is None:
        return wanted
    for scope in wanted.scopes:
        must_allow(asker, scope, f"a token with the scope {scope}")
    if asker.expires_ms is None:
        return wanted
    left = max(0, asker.expires_ms - now_ms)
    lasts = left if wanted.lasts_ms is None else min(left, wanted.lasts_ms)
    return NewToken(wanted.name, wanted.scopes, lasts, wanted.item)


def must_be_free(known: Iterable[ApiToken], name: str, now_ms: int) -> None:
    """ConflictError where a token in force has this name."""
    if any(token.name == name and not is_over(token, now_ms) for token in known):
        fix = f"choose another name, or: pancode admin tokens --revoke {name}"
        raise ConflictError(f"token {name} already exists", fix=fix, code="token_exists")


def find_stale(known: Iterable[ApiToken], now_ms: int) -> list[ApiToken]:
    """Tokens of browsers and notices that have expired, and so are of no more use."""
    return [token for token in known if token.name.startswith((WEB, NOTICE)) and is_over(token, now_ms)]


def is_over(token: ApiToken, now_ms: int) -> bool:
    return token.expires_ms is not None and token.expires_ms <= now_ms
