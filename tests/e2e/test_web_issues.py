"""The Issues page in real Chromium, over a tracker on loopback and a real host."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import yaml
from playwright.sync_api import Browser, expect

from tests.e2e.console import Console, axe_source, chromium, findings
from tests.e2e.console_pages import MARKUP
from tests.e2e.owner import Owner
from tests.e2e.programs import model_on, project
from tests.e2e.test_programs import K
from tests.e2e.test_web_chat import CLI, choice, says, worker
from tests.integration.forge.fakes import TOKEN, serving
from tests.integration.forge.trackers import FakeGitHubIssues
from tests.lab import Lab

__all__ = ["worker"]

pytestmark = pytest.mark.slow  # one browser, and real hosts


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def test_an_issue_is_read_and_an_agent_is_started_on_it(
    fleet: Owner, browser: Browser, worker: None, lab: Lab
) -> None:
    port = urlsplit(fleet.ask("web", "--print")["url"]).port
    assert port is not None
    console, top, tracker = Console(fleet, browser, port), project(fleet, "webbed"), FakeGitHubIssues()
    settings = fleet.fleet_home / "pancode.yaml"
    before = settings.read_text() if settings.exists() else "{}"
    tracker.text = MARKUP
    page = console.enter()
    try:
        with serving(tracker) as api, model_on(lab, K, {"count": "assistant", "turns": [says("Done.")]}):
            forge = {"github.com": {"token": "secret:tracker", "url": api}}
            settings.write_text(json.dumps({**(yaml.safe_load(before) or {}), "forge": forge}))
            fleet.run("config", "secret", "tracker", stdin=TOKEN).ok()
            fleet.run("project", "add", str(top), "--tracker", "github:o/r", "--prefix", "SHOP").ok()
            console.go(page, "#/issues", "Issues")
            opened = page.get_by_role("region", name="Open in webbed")
            expect(opened).to_contain_text("SHOP-12 Add login")
            assert findings(page, axe_source()) == []
            opened.get_by_role("link", name="Start an agent").click()
            expect(page.get_by_role("heading", level=1)).to_have_text("Add login")
            expect(page.locator("main .head .id")).to_have_text("SHOP-12")
            expect(page.get_by_role("region", name="In its author's words")).to_contain_text(MARKUP)
            page.get_by_label("runtime").select_option("shell")
            expect(page.locator("main")).to_contain_text("would run the text of SHOP-12 as commands")
            page.get_by_label("runtime").select_option("native")
            page.get_by_label("model", exact=True).fill(CLI.model)
            choice(page, "node").select_option(f"node{K}")
            expect(page.locator("main")).to_contain_text("It would be admitted.")
            assert findings(page, axe_source()) == []
            page.get_by_role("button", name="Start").click()
            expect(page.locator("main .head .id")).to_have_text(re.compile("^r-"))
            console.go(page, "#/issues", "Issues")
            at_work = page.get_by_role("region", name="Worked on here")
            at_work.get_by_role("link", name="SHOP-12 Add login").click()
            expect(page.locator("main")).to_contain_text("in progress", timeout=60_000)
            assert "in progress" in tracker.labels
    finally:
        settings.write_text(before)
        fleet.run("project", "rm", "webbed").ok()
        page.context.close()
    console.quiet()
