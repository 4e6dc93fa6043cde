"""One-time codes: whoever may use the unix socket lets a browser in with one."""

from __future__ import annotations

from pancode.control.access.token_shapes import MadeTokenShape
from pancode.control.access.tokens import create, failed
from pancode.control.core import Core
from pancode.control.work import unit_of_work
from pancode.domain.access.scopes import AccessScope
from pancode.domain.access.tokens import CODE_MS, WEB, AccessError, NewToken, WebCode, digest

CODE_BYTES = 16


def make_code(core: Core, scopes: tuple[AccessScope, ...], lasts_ms: int, by: str) -> str:
    """A code that is good for one token of a browser, once, for a minute."""
    boot, codes = core.ports.clock.boot_ms(), core.live.visits.codes
    for key in [key for key, code in codes.items() if code.until_ms <= boot]:
        del codes[key]
    text = core.ports.ids.token(CODE_BYTES)
    wanted = NewToken(WEB + core.ports.ids.short(6), scopes, lasts_ms)
    codes[digest(text)] = WebCode(boot + CODE_MS, wanted, by)
    with unit_of_work(core) as work:
        work.audit("trust", "info", "code for a browser made", by=by, token=wanted.name)
    return text


def trade(core: Core, text: str) -> MadeTokenShape:
    """The token for a code. AccessError for one that is not known, was used or is too old."""
    with core.lock:
        code = core.live.visits.codes.pop(digest(text), None)
        if code is None or code.until_ms <= core.ports.clock.boot_ms():
            why = f"it is good once, for {CODE_MS // 1_000} s"
            error = AccessError("this code is not valid", why=why, fix="pancode web", code="unknown_code")
            failed(core, error)
            raise error
        return create(core, code.wanted, code.by)
