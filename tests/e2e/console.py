"""A user at the web console: real Chromium by Playwright, and axe to judge the pages."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from pancode.interfaces.client.client import Client
from tests.clis.install import cache
from tests.crowd import crowded
from tests.e2e.owner import Owner

AXE = ("axe-core", "4.14.1", "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c")
REBOUND = "rebind.test"
"""A foreign name that leads to this machine, as DNS rebinding makes one."""


def axe_source() -> str:
    """The program that judges pages, from npm by exact version and digest, once."""
    name, version, digest = AXE
    kept = cache() / f"{name}-{version}.js"
    if not kept.exists():
        with tempfile.TemporaryDirectory(prefix="axe-") as folder:
            words = ["npm", "pack", "--silent", f"{name}@{version}"]
            packed = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True).stdout
            subprocess.run(["tar", "-xzf", packed.strip()], cwd=folder, check=True)
            shutil.copy(Path(folder) / "package" / "axe.min.js", kept)
    source = kept.read_bytes()
    assert hashlib.sha256(source).hexdigest() == digest, f"another axe than was reviewed: rm {kept}"
    return source.decode()


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's own; as root it has no sandbox of its own."""
    args = [f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1", "--disable-dev-shm-usage"]
    if os.getuid() == 0:
        args.append("--no-sandbox")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=args)
        expect.set_options(timeout=15_000 * crowded())
        try:
            yield browser
        finally:
            browser.close()


def api(owner: Owner, path: str) -> Any:
    """An answer of the coordinator, without a command's start."""
    return Client(owner.fleet_home, starts=False).get(path)


class Console:
    """The console of one fleet; what a page complains of is kept until somebody asks."""

    def __init__(self, owner: Owner, browser: Browser, port: int) -> None:
        self.owner = owner
        self.browser = browser
        self.url = f"http://127.0.0.1:{port}/"
        self.complaints: list[str] = []

    def link(self) -> str:
        return str(self.owner.ask("web", "--print")["url"])

    def person(self, **more: Any) -> BrowserContext:
        """A browser of somebody's own, with nothing kept in it."""
        found = self.browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **more})
        found.set_default_timeout(15_000 * crowded())
        found.on("page", self._hear)
        return found

    def _hear(self, page: Page) -> None:
        def said(message: Any) -> None:
            lost = "Failed to load resource" in message.text or "net::ERR" in message.text
            if message.type in ("error", "warning") and not lost:
                self.complaints.append(message.text)

        page.on("console", said)
        page.on("pageerror", lambda error: self.complaints.append(f"{error}\n{error.stack}"))
        page.on("dialog", lambda dialog: self.complaints.append(f"a dialog: {dialog.message}"))

    def enter(self, **more: Any) -> Page:
        """A user who has opened the link."""
        page = self.person(**more).new_page()
        page.goto(self.link())
        expect(page.get_by_role("heading", name="Now", exact=True)).to_be_visible()
        return page

    def go(self, page: Page, place: str, heading: str | None = None, chip: str | None = None) -> None:
        """To a place of the console, as its links do. `chip`: the id of what it shows."""
        page.evaluate("place => { location.hash = place }", place)
        if heading is not None:
            expect(page.get_by_role("heading", level=1)).to_have_text(heading)
        if chip is not None:
            expect(page.locator("main .head .id")).to_have_text(chip)

    def quiet(self) -> None:
        """No page has complained: no error, no breach of the policy, no dialog."""
        said, self.complaints[:] = list(self.complaints), []
        assert not said, said


def findings(page: Page, source: str) -> list[str]:
    """What axe finds wrong by WCAG 2.2 A and AA."""
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
    page.evaluate(f"() => {{ if (!window.axe) {{ {source} }} }}")
    found = page.evaluate("tags => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", tags)
    return [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]
