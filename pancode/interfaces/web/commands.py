"""`pancode web`: opens the web console with a link that can be used once."""

from __future__ import annotations

import contextlib
import html
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from node_agent.wire.clock import SystemClock
from pancode.interfaces.cli.commands import verb
from pancode.interfaces.cli.output import Face, find_user
from pancode.interfaces.cli.parameters import Json, option
from pancode.interfaces.cli.terminal import RowColumns, format_rows, short_time
from pancode.interfaces.client.client import home_of
from pancode.interfaces.client.remote.place import remote_of
from pancode.interfaces.http.access.answers import TOKENS, WEB_CODE, TokenShape
from pancode.interfaces.http.access.commands import revoke_token
from pancode.kernel.errors import UsageError
from pancode.kernel.names import not_found
from pancode.kernel.visitors import BY, token_behind

_TEXT_ONLY = ("www-browser", "links", "elinks", "lynx", "w3m")


@verb("web", "pancode web", "pancode web --print", "pancode web --devices", "pancode web --revoke web-k3x9ab")
def web(
    *,
    only_print: Annotated[bool, option("Show the link, and open no browser.", "--print")] = False,
    devices: Annotated[bool, option("List the browsers that are signed in.", "--devices")] = False,
    revoked: Annotated[str | None, option("Sign this browser out.", "--revoke", "NAME")] = None,
    face: Json,
) -> None:
    """Open the web console in your browser. The link is good for one use and a short time.

    The coordinator serves it on 127.0.0.1, at a port that it keeps as long as no other program takes it, or
    where the setting `api.listen` says. The browser reads the link from a file that only you may read; if it
    cannot read that file, use --print.

    The browser stays signed in for 30 days. Twelve hours after its last link it can still look, answer,
    dispatch and stop, but no longer land, discard, approve, deny, or change settings, budgets and nodes: open
    a new link in it. Tokens that it makes are listed below it, follow the same rule, and end with it.
    """
    if only_print + devices + (revoked is not None) > 1:
        raise UsageError("--print, --devices and --revoke cannot be combined", fix="pancode web --devices")
    if devices or revoked is not None:
        tokens = face.get(TOKENS)["tokens"]
        found = [token for token in tokens if token["confirmed_at"] is not None]
        for one in found:  # with the tokens that it made, and that those made
            made = (token for token in tokens if token["created_by"] == f"{BY}{one['name']}")
            found += [token for token in made if token not in found]
        if revoked is not None:
            if revoked not in (names := [token["name"] for token in found]):
                raise not_found("browser", revoked, names, "pancode web --devices")
            return revoke_token(face, revoked)
        now = datetime.fromtimestamp(SystemClock().wall_ms() / 1000, UTC)
        found = [one for one in found if datetime.fromisoformat(one["expires_at"] or _NEVER) > now]
        none = "no browser is signed in; sign one in: pancode web"
        return face.show({"devices": found}, lambda: format_rows(found, _DEVICES, none))
    made = face.client().post(WEB_CODE, {"by": find_user()})
    url, seconds = str(made["url"]), int(made["lasts_ms"]) // 1000
    there = remote_of(os.environ)
    if there is not None:
        at = urlsplit(url)
        way = there.address.by_hand(f"-L {at.port}:{at.netloc}")
        face.note(f"{there} serves the console; if this machine cannot reach the address: {way}")
    opened = there is None and not (only_print or face.as_json) and _opened(face, url)
    if not opened:
        face.note(f"the link can be used once, within {seconds} s")
    message = f"the console is open at {url.partition('#')[0]}\n" if opened else f"{url}\n"
    face.show({**made, "opened": opened}, lambda: message)


_NEVER = "9999-01-01T00:00:00Z"
_DEVICES: RowColumns[TokenShape] = {
    "NAME": "name",
    "LAST LINK (UTC)": lambda row: short_time(row["confirmed_at"]) if row["confirmed_at"] else "-",
    "LAST SEEN (UTC)": lambda row: short_time(row["used_at"]) if row["used_at"] else "never",
    "EXPIRES (UTC)": lambda row: short_time(row["expires_at"]) if row["expires_at"] else "never",
    "FROM": "address",
    "BROWSER": lambda row: row["agent"] or f"a token of {token_behind(row['created_by'])}",
}


def _opened(face: Face, url: str) -> bool:
    """Whether a browser took the link; a machine without a screen has none.

    The browser is given a file, not the link: every user of this machine may read its command line.
    """
    import webbrowser

    try:
        found = webbrowser.get()
    except webbrowser.Error:
        face.note("no browser was found here: open the link in one")
        return False
    if getattr(found, "name", "") in _TEXT_ONLY:
        face.note("the browser here shows text alone: open the link in another one")
        return False
    return bool(found.open(write_page(home_of(os.environ), url).as_uri()))


FOLDER, PREFIX, KEPT_S = "web", "open-", 60
"""Folder below the home and prefix of the page's file; seconds for which the code in the link is valid."""
_FORGET = "import os, sys, time; time.sleep(float(sys.argv[2])); os.unlink(sys.argv[1])"
_PAGE = """<!doctype html>
<meta charset="utf-8"><meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={url}">
<title>PanCode</title>
<p><a href="{url}">Open the console</a></p>
"""


def write_page(home: Path, url: str) -> Path:
    """A new page, for its owner alone. It goes by itself, at the latest with a later call."""
    folder = home / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(".html", PREFIX, folder)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(_PAGE.format(url=html.escape(url)))
    page = Path(name)
    # those of before that a reboot or a kill left; one that a browser may still open stays
    now = page.stat().st_mtime
    for other in page.parent.glob(f"{PREFIX}*.html"):
        with contextlib.suppress(OSError):
            if other != page and now - other.stat().st_mtime >= KEPT_S:
                other.unlink()
    remove_later(page)
    return page


def remove_later(page: Path, after_s: float = KEPT_S) -> subprocess.Popen[bytes]:
    """By a process of its own: the command ends at once, and the browser may be slow."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _FORGET, str(page), str(after_s)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
