"""In real Chromium: an agent's tool is tried and kept; a lane is made; disks are read; runs are grouped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.console import Console, axe_source, chromium, findings
from tests.e2e.owner import Owner
from tests.lab import Lab
from tests.made_tools import NAME, script

pytestmark = pytest.mark.slow  # one browser, and real hosts


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def test_a_tool_gets_its_trial_and_its_yes_in_the_console(
    fleet: Owner, healed: Lab, browser: Browser
) -> None:
    port = urlsplit(fleet.ask("web", "--print")["url"]).port
    assert port is not None
    console, top = Console(fleet, browser, port), fleet.repository("tooled-web")
    shell = ("dispatch", "--runtime", "shell", "--node", "node1", "--json")
    run = str(fleet.run(*shell, script(), cwd=top).ok().json()["run"])
    page = console.enter()
    try:
        console.go(page, "#/inbox", "Inbox and review")
        page.get_by_role("link", name=re.compile(f"the tool {NAME}")).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(f"Tool {NAME}")
        expect(page.get_by_role("region", name="run", exact=True)).to_contain_text("wc -w")
        expect(page.get_by_role("region", name="tests/two.out")).to_contain_text("2")
        assert findings(page, axe_source()) == []
        assert page.get_by_role("button", name="Keep").count() == 0, "nobody has tried it"
        page.get_by_role("button", name="Try it").click()
        page.get_by_role("dialog").get_by_role("button", name="Try it").click()
        keep = page.get_by_role("button", name="Keep")
        expect(keep).to_be_visible(timeout=90_000)
        keep.click()
        page.get_by_role("dialog").get_by_role("button", name="Keep").click()
        tools = page.get_by_role("region", name="Tools that agents have made")
        expect(tools).to_contain_text("kept by")
        assert [
            one["state"] for one in fleet.ask("project", "tools", "ls")["tools"] if one["run"] == run
        ] == ["kept"]
        assert findings(page, axe_source()) == []
        tools.get_by_role("button", name="Revoke").click()
        page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        expect(tools).not_to_contain_text(run)
        assert [one for one in fleet.ask("project", "tools", "ls")["tools"] if one["run"] == run] == []
    finally:
        page.context.close()
    console.quiet()


def test_a_lane_is_made_and_filled_and_the_disks_are_looked_at(fleet: Owner, browser: Browser) -> None:
    port = urlsplit(fleet.ask("web", "--print")["url"]).port
    assert port is not None
    console, top = Console(fleet, browser, port), fleet.repository("laned-web")
    page = console.enter()
    try:
        console.go(page, "#/new/lane", "New lane")
        page.get_by_label("name").fill("tidy-web")
        page.get_by_label("folder on the coordinator").fill(str(top))
        page.get_by_role("button", name="Create").click()
        lane = page.get_by_role("region", name="Lane tidy-web")
        lane.get_by_text("Add an item").click()
        lane.get_by_label("task").fill("true")
        lane.get_by_label("runtime").fill("shell")
        lane.get_by_role("button", name="Add", exact=True).click()
        expect(lane).to_contain_text("1: true")
        assert findings(page, axe_source()) == []
        console.go(page, "#/nodes", "Nodes")
        disks = page.get_by_role("region", name="Disks")
        disks.get_by_role("button", name="Look").click()
        expect(disks).to_contain_text("coordinator: logs")
        assert findings(page, axe_source()) == []
    finally:
        fleet.run("lane", "rm", "tidy-web", "--force")
        page.context.close()
    console.quiet()


def test_runs_are_grouped_by_the_column_that_sorts_them(fleet: Owner, healed: Lab, browser: Browser) -> None:
    port = urlsplit(fleet.ask("web", "--print")["url"]).port
    assert port is not None
    console, top = Console(fleet, browser, port), fleet.repository("grouped-web")
    for node in ("node2", "node1", "node2"):
        shell = ("--runtime", "shell", "--node", node)
        fleet.ended(fleet.dispatch(*shell, f"true # grouped on {node}", cwd=top))
    page = console.enter()
    try:
        headings, rows = page.locator(".rows .group b"), page.locator(".rows .row")
        console.go(page, "#/runs?text=grouped", "Runs")
        page.locator(".titles").get_by_role("link", name="Node").click()
        expect(headings).to_have_text(["node1", "node2"])
        expect(rows.nth(2)).to_contain_text("2 runs")
        assert findings(page, axe_source()) == []
        page.locator("main").focus()
        for _ in range(2):
            page.keyboard.press("j")
        expect(page.locator(":focus")).to_have_text("true # grouped on node2")
    finally:
        page.context.close()
    console.quiet()
