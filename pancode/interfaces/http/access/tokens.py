"""Makes, lists and revokes tokens, and authenticates callers by their tokens."""

from __future__ import annotations

from pancode.interfaces.http.access import store as rows
from pancode.interfaces.http.access.answers import MadeTokenShape, TokenShape
from pancode.kernel.declared import make_answer
from pancode.kernel.errors import PancodeError, UsageError
from pancode.kernel.formatting import clip_columns, escape_line
from pancode.kernel.names import not_found
from pancode.kernel.records import ApiToken, Run, RunState
from pancode.kernel.values import replace
from pancode.kernel.visitors import (
    CONFIRMED_MS,
    PREFIX,
    SECRET_BYTES,
    USED_MS,
    AccessError,
    AccessScope,
    Browser,
    NewToken,
    check_token,
    find_ending,
    find_stale,
    hash_secret,
    must_be_free,
    must_have_session,
    narrow_token,
    session_of,
    token_behind,
)
from pancode.runs.core import Core
from pancode.runs.features import features_of
from pancode.runs.inbox_answers import list_inbox
from pancode.runs.unit_of_work import Work, unit_of_work
from pancode.runs.views import find_run, format_optional_iso

MOST_NAMED = 100
MOST_FAILURES, WITHIN_MS = 20, 60_000
"""How many unknown tokens and codes per minute are looked up; more are refused without a look-up."""


def create(core: Core, wanted: NewToken, by: str, asker: ApiToken | None = None) -> MadeTokenShape:
    """Make a token; return it with its secret, shown only once. AccessError, ConflictError, UsageError."""
    now = core.wall_ms()
    wanted = narrow_token(asker, wanted, now)
    item, run = _find_item(core, wanted.item)
    secret = PREFIX + core.ports.ids.token(SECRET_BYTES)
    expires = None if wanted.lasts_ms is None else now + wanted.lasts_ms
    scopes = tuple(scope.value for scope in AccessScope if scope in wanted.scopes)
    made = ApiToken(wanted.name, hash_secret(secret), scopes, now, by, expires, item, run)
    made = _sign_in(made, wanted.browser, now)
    with unit_of_work(core) as work:
        known = rows.read_tokens(work)
        must_be_free(known, made.name, now)
        rows.store_token(work, made, find_stale(known, now))
        detail = {"scopes": list(scopes), "expires": format_optional_iso(expires), "item": item, "by": by}
        work.audit("trust", "info", "token made", run, token=made.name, **detail)
    return {**describe_token(made), "token": secret}


def renew(core: Core, token: ApiToken, wanted: NewToken) -> MadeTokenShape | None:
    """Give a browser's session a new secret and a new expiry. Its name, and so all that it started, stays.
    None if the session was revoked or changed meanwhile."""
    now, secret = core.wall_ms(), PREFIX + core.ports.ids.token(SECRET_BYTES)
    expires = None if wanted.lasts_ms is None else now + wanted.lasts_ms
    made = _sign_in(
        replace(token, digest=hash_secret(secret), expires_ms=expires, used_ms=now), wanted.browser, now
    )
    with unit_of_work(core) as work:
        if not rows.has_token(work, token):
            return None
        rows.store_token(work, made, ())
        work.audit("trust", "info", "browser confirmed", token=made.name, address=made.address)
    return {**describe_token(made), "token": secret}


def unconfirm_browsers(core: Core) -> None:
    """Require a new one-time link from every browser before it lands or approves."""
    latest = core.wall_ms() - CONFIRMED_MS
    with unit_of_work(core) as work:
        for token in rows.read_tokens(work):
            if token.confirmed_ms is not None and token.confirmed_ms > latest:
                rows.store_token(work, replace(token, confirmed_ms=latest), ())


def _sign_in(token: ApiToken, browser: Browser | None, now_ms: int) -> ApiToken:
    """Return the token with the browser that now gets it for a code."""
    if browser is None:
        return token
    agent, address = (
        clip_columns(escape_line(text), MOST_NAMED) for text in (browser.agent, browser.address)
    )
    return replace(token, agent=agent, address=address, confirmed_ms=now_ms)


def _find_item(core: Core, named: str | None) -> tuple[str | None, str | None]:
    """Return (item, run) for an inbox item's id or a run's id. Raises UsageError if nothing of it waits."""
    if named is None:
        return None, None
    for item in list_inbox(core):
        if named in (item["id"], item["run"]):
            return item["id"], item["run"]
    raise UsageError(f"nothing from {named[:80]} waits for a user", fix="pancode inbox", code="nothing_asked")


def list_tokens(core: Core) -> list[TokenShape]:
    """Return all tokens by name, including those of browsers."""
    with core.ports.ledger.transaction() as tx:
        return [describe_token(token) for token in tx.find(ApiToken, order="name")]


def revoke(core: Core, name: str, by: str) -> tuple[list[str], list[str]]:
    """Revoke the token and those that a browser made with it, and end their streams. Return the names of the
    tokens, and of what they created and is now paused. Raises NotFoundError."""
    with unit_of_work(core) as work:
        known = rows.read_tokens(work)
        if all(token.name != name for token in known):
            raise not_found("token", name, [token.name for token in known], "pancode admin tokens")
        ended = [token.name for token in find_ending(known, name)]
        return ended, [paused for one in ended for paused in revoke_in(work, one, by)]


def revoke_in(work: Work, name: str, by: str) -> list[str]:
    """Revoke the token; return the names of what it created and is now paused."""
    work.tx.delete(ApiToken, name)
    paused = [done for follow in features_of(work.core).revoked for done in follow(work, name)]
    detail: dict[str, object] = {"paused": paused} if paused else {}
    work.audit("trust", "info", "token revoked", None, token=name, by=by, **detail)
    return paused


def left_of(core: Core, token: str) -> list[str]:
    """Return the ids of open runs that the token started, and of what features still have from it."""
    with core.ports.ledger.transaction() as tx:
        states = (state for state in RunState if state is not RunState.ENDED)
        runs = (run for state in states for run in tx.find(Run, {"state": state}))
        found = [run.id for run in runs if token_behind(run.created_by) == token]
        return found + [one for find in features_of(core).begun_by for one in find(tx, token)]


def check_secret(core: Core, secret: str) -> ApiToken:
    """Return the valid token with this secret. Raises AccessError, also after too many failures."""
    now = core.wall_ms()
    with core.ports.ledger.transaction() as tx:
        found = tx.find(ApiToken, {"digest": hash_secret(secret)}, limit=1)
    try:
        token = check_token(secret, found[0] if found else None, now)
        must_have_session(token, find_session(core, token), now)
    except AccessError as error:
        count_failure(core, error)
        raise
    if token.used_ms is None or now - token.used_ms >= USED_MS:
        with unit_of_work(core) as work:
            rows.note_use(work, token, now)
    return token


def find_session(core: Core, token: ApiToken) -> ApiToken | None:
    """Return what `session_of` finds in the ledger."""
    with core.ports.ledger.transaction() as tx:
        return session_of(token, lambda name: tx.get(ApiToken, name))


def still_in_force(core: Core, token: ApiToken) -> bool:
    """Whether the token has been neither revoked nor expired since it was last checked."""
    with core.ports.ledger.transaction() as tx:
        found = tx.get(ApiToken, token.name)
    in_time = token.expires_ms is None or core.wall_ms() < token.expires_ms
    return found is not None and found.digest == token.digest and in_time


def count_failure(core: Core, error: AccessError) -> None:
    """Count a failed authentication; audit the first of each minute. AccessError beyond the limit."""
    failures, boot = core.live.visits.failed_ms, core.ports.clock.boot_ms()
    while failures and boot - failures[0] >= WITHIN_MS:
        failures.popleft()
    failures.append(boot)
    if len(failures) == 1:
        with unit_of_work(core) as work:
            work.audit("trust", "warning", "refused over TCP", why=str(error), code=error.code)
    if len(failures) > MOST_FAILURES:
        raise AccessError(
            "too many requests with a wrong token or code",
            why=f"more than {MOST_FAILURES} within a minute",
            fix="wait a minute; to see the first failure of each minute and its reason: pancode audit trust",
            code="too_many_failures",
        ) from error


def audit_request(core: Core, name: str, verb: str, run: str | None) -> None:
    """Audit a request over TCP that changes something, under the token's name. `run`: as in the request; the
    entry contains that run's id, or the start of the given name if no run was found."""
    with unit_of_work(core) as work:
        found, detail = None, {}
        if run is not None:
            try:
                found = find_run(work.tx, run).id
            except PancodeError:
                detail = {"named": clip_columns(escape_line(run), MOST_NAMED)}
        work.audit("trust", "info", "asked over TCP", found, by=name, asked=verb, **detail)


def describe_token(token: ApiToken) -> TokenShape:
    return make_answer(TokenShape, token)
