"""Lays a page that leads a browser to a link, so that the link is on nobody's command line; takes it away."""

from __future__ import annotations

import contextlib
import html
import os
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER, PREFIX, KEPT_S = "web", "open-", 60
"""Below the home; as long as the code in the link is good."""
_FORGET = "import os, sys, time; time.sleep(float(sys.argv[2])); os.unlink(sys.argv[1])"
_PAGE = """<!doctype html>
<meta charset="utf-8"><meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={url}">
<title>PanCode</title>
<p><a href="{url}">Open the console</a></p>
"""


def laid(home: Path, url: str) -> Path:
    """A new page, for its owner alone. It goes by itself, at the latest with a later call."""
    folder = home / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(".html", PREFIX, folder)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(_PAGE.format(url=html.escape(url)))
    page = Path(name)
    _sweep(page)
    forget(page)
    return page


def forget(page: Path, after_s: float = KEPT_S) -> subprocess.Popen[bytes]:
    """By a process of its own: the command ends at once, and the browser may be slow."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _FORGET, str(page), str(after_s)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def _sweep(page: Path) -> None:
    """Those of before that a reboot or a kill left; one that a browser may still open stays."""
    now = page.stat().st_mtime
    for other in page.parent.glob(f"{PREFIX}*.html"):
        with contextlib.suppress(OSError):
            if other != page and now - other.stat().st_mtime >= KEPT_S:
                other.unlink()
