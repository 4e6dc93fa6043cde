"""Callers of the API who use a token, and the rights of tokens."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntFlag, StrEnum
from typing import TYPE_CHECKING

from pancode.kernel.errors import ConflictError, RefusedError

if TYPE_CHECKING:
    from pancode.kernel.records import ApiToken


class AccessScope(StrEnum):
    """The rights of a token. Each scope also allows reading; `admin` allows everything."""

    READ = "read"
    ANSWER = "answer"
    DISPATCH = "dispatch"
    OPERATE = "operate"
    BUDGET = "budget"
    ADMIN = "admin"


class Risk(StrEnum):
    """The greatest possible effect of a request, from harmless to irreversible."""

    LOOKS = "looks"
    ACTS = "acts"
    SPENDS = "spends"
    FINAL = "cannot be undone"


class Confined(IntFlag):
    """What the runs of a request may not do, although those of the owner may.

    `COMMAND_HERE`, `COMMAND_ELSEWHERE`: execute a command for the node itself outside of the sandbox, on the
    coordinator's machine and on another one. `BARE_HERE`: run without isolation on the coordinator's machine.
    """

    NO = 0
    COMMAND_HERE = 1
    COMMAND_ELSEWHERE = 2
    BARE_HERE = 4


OF_PROGRAM = Confined.COMMAND_HERE | Confined.COMMAND_ELSEWHERE
OF_BROWSER = Confined.COMMAND_HERE | Confined.BARE_HERE
OF_TOKEN = OF_PROGRAM | OF_BROWSER
"""The limits of a model's program, of a browser of the owner with a recent link, and of any other token."""


def has_scope(scopes: Iterable[str], needed: AccessScope) -> bool:
    """Whether a token with these scopes may send a request that needs the scope `needed`."""
    granted = set(scopes)
    if needed is AccessScope.READ:
        return bool(granted)
    return needed in granted or AccessScope.ADMIN in granted


PREFIX = "pct_"
"""The prefix of each secret, with which scanners of files and logs recognize secrets."""
SECRET_BYTES = 32
USED_MS = 60_000
"""The minimum time between two writes of a token's last use, in milliseconds."""
CODE_MS = 60_000
"""How long a one-time code is valid, in milliseconds."""
BY = "token "
"""Precedes a token's name where its requests record the caller."""
OF = " of "
"""Precedes the caller where something that a caller made, such as a schedule, requests in its name."""
BROWSER_MS, CONFIRMED_MS = 30 * 86_400_000, 12 * 3_600_000
"""How long a browser stays signed in after a one-time link, and how long it may then land and approve."""
OWNER = "owner"
"""The person who uses the fleet at every interface without a token of another name."""
WEB = "web-"
"""The prefix of the names of tokens that browsers got for one-time codes."""
NOTICE = "notice-"
"""The prefix of the names of tokens in the links of notices."""


class AccessError(RefusedError):
    """A refusal of a caller over TCP, or of a request that the caller may not send."""

    code = "no_token"


@dataclass(frozen=True, slots=True)
class Browser:
    """A browser that exchanges a code: its User-Agent, and the address that it connects from."""

    agent: str
    address: str


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token to create. `lasts_ms` None: it never expires. `item`: its inbox item, or that item's run.
    `browser`: who gets it for a code."""

    name: str
    scopes: tuple[AccessScope, ...]
    lasts_ms: int | None
    item: str | None = None
    browser: Browser | None = None


@dataclass(frozen=True, slots=True)
class WebCode:
    """The token that a one-time code gives, and when the code expires, by the coordinator's boot clock."""

    until_ms: int
    wanted: NewToken
    by: str


@dataclass(frozen=True, slots=True)
class Visitor:
    """A caller over TCP, or a model's program on the unix socket (`is_program`). `token` None: the caller
    sent none. `is_confirmed`: it may land and approve."""

    token: ApiToken | None = None
    browser: Browser = Browser("", "")
    is_confirmed: bool = False
    is_program: bool = False

    @property
    def name(self) -> str:
        return "nobody" if self.token is None else f"{BY}{self.token.name}"

    @property
    def person(self) -> str:
        """Return the person whose visits count: the owner in each browser, else the holder of the token."""
        return OWNER if self.token is None or self.token.name.startswith(WEB) else self.token.name

    @property
    def confined(self) -> Confined:
        """Return what the runs of this caller's requests may not do."""
        if self.token is None:
            return OF_PROGRAM if self.is_program else OF_TOKEN
        recent = self.token.confirmed_ms is not None and self.is_confirmed
        return OF_BROWSER if recent and has_scope(self.token.scopes, AccessScope.ADMIN) else OF_TOKEN


def hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def check_token(secret: str, found: ApiToken | None, now_ms: int) -> ApiToken:
    """Return the token with this secret. Raises AccessError if the token is unknown or not valid."""
    make = "pancode admin tokens --create NAME --allow read"
    if found is None or not hmac.compare_digest(found.digest, hash_secret(secret)):
        why = "no token has this secret; it may have been revoked"
        raise AccessError("the token is not valid", why=why, fix=make, code="unknown_token")
    if is_over(found, now_ms):
        raise AccessError(f"token {found.name} has expired", fix=make, code="expired_token")
    return found


def invalid_code() -> AccessError:
    """Return the error for a code that was never issued, or has expired."""
    why = f"a code can be used only once, within {CODE_MS // 1000} s"
    return AccessError("this code is not valid", why=why, fix="pancode web", code="unknown_code")


def used_code(session: str) -> AccessError:
    """Return the error for a code that was already used to open this session, perhaps by a stranger."""
    return AccessError(
        "this code was already used",
        why=f"the code opened session {session}; if that was not you, someone else has your permissions "
        "there",
        fix=f"revoke that session: pancode admin tokens --revoke {session}; then open yours: pancode web",
        code="used_code",
        details={"session": session},
    )


def must_allow(token: ApiToken, needed: AccessScope, what: str, without: str = "") -> None:
    """Raise AccessError if the token lacks the scope. `without`: an alternative to put before the fix."""
    if not has_scope(token.scopes, needed):
        raise AccessError(
            f"token {token.name} is not allowed to request {what}",
            why=f"the request needs the scope {needed}; the token has {', '.join(token.scopes)}",
            fix=f"{without}pancode admin tokens --create NAME --allow {needed}",
            code="wrong_scope",
            details={"scope": needed.value},
        )


_ASKER: ContextVar[Visitor | None] = ContextVar("asker", default=None)
"""The sender of the request that this thread serves; None: the owner, or no request."""


@contextmanager
def set_asker(visitor: Visitor | None) -> Iterator[None]:
    """Act for this visitor inside the block, on any route; use cases check it with `is_allowed`."""
    before = _ASKER.set(visitor)
    try:
        yield
    finally:
        _ASKER.reset(before)


def is_allowed(scope: AccessScope) -> bool:
    """Whether the current caller has this scope; a browser lands and approves only while it is confirmed."""
    asker = _ASKER.get()
    if asker is None or asker.token is None:
        return True
    needs_link = scope in (AccessScope.ANSWER, AccessScope.OPERATE)
    return has_scope(asker.token.scopes, scope) and (asker.is_confirmed or not needs_link)


def find_limits(created_by: str) -> Confined:
    """Return what the runs of a request may not do: the current caller's limits, else those of its author."""
    asker = _ASKER.get()
    if asker is not None:
        return asker.confined
    return OF_TOKEN if token_behind(created_by) is not None else Confined.NO


def must_ask(what: str, lands: bool = False, says_yes: bool = False) -> None:
    """Raise AccessError if the current caller may not land (`lands`) or give an approval (`says_yes`)."""
    asker = _ASKER.get()
    if asker is None or (token := asker.token) is None:
        return
    if lands or says_yes:
        must_be_confirmed(asker, what)
    if lands:
        way = "omit the field land; or: "
        must_allow(token, AccessScope.OPERATE, f"{what} of work that lands its change", way)
    if says_yes:
        must_allow(token, AccessScope.ANSWER, f"{what} with a user's approval", "omit the field yes; or: ")


def must_have(needed: AccessScope, what: str) -> None:
    """Raise AccessError if the current caller lacks this scope."""
    asker = _ASKER.get()
    if asker is not None and asker.token is not None:
        must_allow(asker.token, needed, what)


def is_confirmed(token: ApiToken, now_ms: int) -> bool:
    """Whether the token may land and approve: a browser's only for some hours after a one-time link."""
    return token.confirmed_ms is None or now_ms - token.confirmed_ms < CONFIRMED_MS


def must_be_confirmed(visitor: Visitor, what: str) -> None:
    """Raise AccessError if the visitor is a browser that has to open a one-time link again."""
    if not visitor.is_confirmed:
        made = visitor.token is not None and visitor.token.confirmed_ms is None
        browser = "the browser that made this token" if made else "this browser"
        raise AccessError(
            f"{browser} must open a new one-time link before {what}",
            why=f"its last one is more than {CONFIRMED_MS // 3_600_000} hours old; looking, answering and "
            "dispatching need none",
            fix="pancode web --print; open the link in that browser, then repeat",
            code="unconfirmed_browser",
        )


def token_behind(created_by: str) -> str | None:
    """Return the name of the token in a `created_by` value, such as `token ci` or `schedule:nightly of token
    ci`; None if no token requested the object."""
    start, found, name = created_by.rpartition(BY)
    return name if found and (not start or start.endswith(OF)) else None


def speaks_for(token: ApiToken | None, made_ms: int, now_ms: int | None) -> bool:
    """Whether this token, found by its name, existed when the object was made and is still valid. `now_ms`
    None: whether it has expired does not matter."""
    in_time = token is not None and (now_ms is None or not is_over(token, now_ms))
    return token is not None and in_time and token.created_ms <= made_ms


def session_of(token: ApiToken, find: Callable[[str], ApiToken | None]) -> ApiToken | None:
    """Return the browser's session that made this token, also through other tokens; None: it has ended. A
    session returns itself; for a token that no browser made, its first maker. `find`: by a token's name."""
    while token.confirmed_ms is None and (maker := token_behind(token.created_by)) is not None:
        found = find(maker)
        if found is None or found.created_ms > token.created_ms:
            return None if maker.startswith(WEB) else token
        token = found
    return token


def must_have_session(token: ApiToken, session: ApiToken | None, now_ms: int) -> None:
    """Raise AccessError if the token ended with the browser's session that made it (`session_of`)."""
    if session is None or (session.confirmed_ms is not None and is_over(session, now_ms)):
        raise AccessError(
            f"token {token.name} has ended with the browser that made it",
            fix="pancode admin tokens --create NAME --allow read",
            code="expired_token",
        )


def find_ending(known: Iterable[ApiToken], name: str) -> list[ApiToken]:
    """Return the token with this name, and the tokens that end with it, as a browser made them with it."""
    tokens = {token.name: token for token in known}
    session = session_of(tokens[name], tokens.get)
    of_browser, ending = session is None or session.confirmed_ms is not None, [tokens[name]]
    for one in ending if of_browser else ():
        made = (token for token in tokens.values() if token_behind(token.created_by) == one.name)
        ending += [token for token in made if token not in ending and token.created_ms >= one.created_ms]
    return ending


def must_be_its_item(token: ApiToken, run: str, what: str) -> None:
    """Raise AccessError if a token for one inbox item is used for another run: `run` (empty: for no run)."""
    if token.item is not None and run != token.run:
        raise AccessError(
            f"token {token.name} is not allowed to request {what}",
            why=f"the token may only answer the requests of {token.run}",
            fix="pancode inbox",
            code="wrong_item",
        )


def narrow_token(asker: ApiToken | None, wanted: NewToken, now_ms: int) -> NewToken:
    """Return the token, expiring no later than the caller's. AccessError for scopes that the caller lacks."""
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
    """Raise ConflictError if a valid token has this name."""
    if any(token.name == name and not is_over(token, now_ms) for token in known):
        fix = f"choose another name, or revoke the token: pancode admin tokens --revoke {name}"
        raise ConflictError(f"token {name} already exists", fix=fix, code="token_exists")


def find_stale(known: Iterable[ApiToken], now_ms: int) -> list[ApiToken]:
    """Return expired tokens of browsers and notices, which are no longer needed."""
    return [token for token in known if token.name.startswith((WEB, NOTICE)) and is_over(token, now_ms)]


def is_over(token: ApiToken, now_ms: int) -> bool:
    return token.expires_ms is not None and token.expires_ms <= now_ms
