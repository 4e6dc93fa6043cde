"""One-time codes: a user with access to the unix socket gives a browser access with such a code."""

from __future__ import annotations

from pancode.interfaces.http.access.answers import MadeTokenShape
from pancode.interfaces.http.access.tokens import count_failure, create, renew
from pancode.kernel import visitors
from pancode.kernel.records import ApiToken
from pancode.kernel.values import replace
from pancode.runs.core import Core
from pancode.runs.unit_of_work import unit_of_work

CODE_BYTES, MOST_USED = 16, 100
"""The number of bytes of a code, and the number of used codes that are stored to detect a second use."""


def make_code(core: Core, scopes: tuple[visitors.AccessScope, ...], lasts_ms: int, by: str) -> str:
    """Return a code that a browser can exchange for a token, once and within a minute."""
    boot, codes = core.ports.clock.boot_ms(), core.live.visits.codes
    for key in [key for key, code in codes.items() if code.until_ms <= boot]:
        del codes[key]
    text = core.ports.ids.token(CODE_BYTES)
    wanted = visitors.NewToken(visitors.WEB + core.ports.ids.short(6), scopes, lasts_ms)
    codes[visitors.hash_secret(text)] = visitors.WebCode(boot + visitors.CODE_MS, wanted, by)
    with unit_of_work(core) as work:
        work.audit("trust", "info", "code for a browser made", by=by, token=wanted.name)
    return text


def has_browsers(core: Core) -> bool:
    """Whether a browser has a session, or can still exchange a code for one."""
    boot = core.ports.clock.boot_ms()
    if any(code.until_ms > boot for code in list(core.live.visits.codes.values())):
        return True
    with core.ports.ledger.transaction() as tx:
        known = tx.find(ApiToken)
    now = core.wall_ms()
    return any(one.name.startswith(visitors.WEB) and not visitors.is_over(one, now) for one in known)


def trade_code(core: Core, text: str, visitor: visitors.Visitor) -> MadeTokenShape:
    """Return the token for a code; the visitor's own, confirmed, if it has one of a browser with the same
    rights. AccessError for a code that is unknown, used or expired."""
    key = visitors.hash_secret(text)
    with core.lock:
        code, used = core.live.visits.codes.pop(key, None), core.live.visits.used
        if code is None or code.until_ms <= core.ports.clock.boot_ms():
            raise _make_access_error(core, used.get(key))
        wanted, known = replace(code.wanted, browser=visitor.browser), visitor.token
        made = None
        if known is not None and known.confirmed_ms is not None and set(known.scopes) == set(wanted.scopes):
            made = renew(core, known, wanted)
        made = made or create(core, wanted, code.by)
        used[key] = made["name"]
        for old in list(used)[:-MOST_USED]:
            del used[old]
        return made


def _make_access_error(core: Core, session: str | None) -> visitors.AccessError:
    """Return the error for an invalid code. `session`: the session that the code opened, if it was used."""
    error = visitors.invalid_code() if session is None else visitors.used_code(session)
    count_failure(core, error)
    if session is not None:
        with unit_of_work(core) as work:
            work.audit("trust", "warning", "code for a browser used again", token=session)
    return error
