"""How long a browser stays signed in, and what it may do."""

from __future__ import annotations

import sqlite3

from playwright.sync_api import Page, expect

from tests.e2e.console import Console
from tests.e2e.owner import until


def kept_token(page: Page) -> str:
    """The secret of the browser's session."""
    found = "() => Object.entries(localStorage).find(([key]) => key.startsWith('pancode-session-'))[1]"
    return str(page.evaluate(found))


def sign_in_and_land(console: Console) -> None:
    """A browser whose tabs are closed is still signed in, and needs a new link after twelve hours to land."""
    owner = console.owner
    repo = owner.repository("signed", {"README.md": "# demo\n"})
    run = owner.dispatch("--runtime", "shell", "--verify", "true", "echo a > landed.txt", cwd=repo)
    assert owner.ended(run)["outcome"] == "done"
    person = console.person(user_agent="Firefox of the desk")
    page = person.new_page()
    page.goto(console.link())
    expect(page.get_by_role("heading", name="Now", exact=True)).to_be_visible()
    page.close()
    page = person.new_page()  # no other tab is open
    page.goto(f"{console.url}#/runs/{run}")
    land = page.locator("main").get_by_role("button", name="Land", exact=True)
    expect(land).to_be_visible()
    devices = owner.ask("web", "--devices")["devices"]
    (device,) = [one for one in devices if one["agent"] == "Firefox of the desk"]
    assert device["address"] == "127.0.0.1" and device["used_at"]

    with sqlite3.connect(owner.fleet_home / "ledger.db", timeout=30) as ledger:
        stale = "UPDATE tokens SET confirmed_ms = confirmed_ms - 43200000 WHERE name = ?"
        ledger.execute(stale, (device["name"],))
    land.click()
    page.get_by_role("dialog").get_by_role("button", name="Land").click()
    expect(page.get_by_role("alert")).to_contain_text("must open a new one-time link")
    expect(page.get_by_role("alert")).to_contain_text("pancode web --print")
    assert not (repo / "landed.txt").exists()
    beside = person.new_page()
    beside.goto(console.link())
    expect(beside.get_by_role("heading", name="Now", exact=True)).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    land.click()
    page.get_by_role("dialog").get_by_role("button", name="Land").click()
    until(lambda: (repo / "landed.txt").exists(), "the change is landed after the new link")

    owner.run("web", "--revoke", device["name"]).ok()
    for one in (page, beside):
        one.reload()
        expect(one.locator("main")).to_contain_text("Make a new one")
    person.close()
    console.quiet()


def back_returns_to_the_row(console: Console, page: Page, run: str) -> None:
    """Back has the focus where it was; an unknown run in the address has the nearest one."""
    console.go(page, "#/runs", "Runs")
    row = page.locator(f'#main a[href="#/runs/{run}"]').first
    row.focus()
    page.keyboard.press("Enter")
    expect(page.locator("main .head .id")).to_have_text(run)
    page.go_back()
    expect(row).to_be_focused()
    console.go(page, "#/money", "Budget")
    expect(page.locator("#main")).to_be_focused()
    swapped = f"{run[:-2]}{run[-1]}{run[-2]}"
    if swapped != run:
        console.go(page, f"#/runs/{swapped}")
        page.get_by_role("alert").get_by_role("link", name=f"Open {run}").click()
        expect(page.locator("main .head .id")).to_have_text(run)
    side = page.locator(".side")
    assert side.evaluate("one => one.scrollWidth <= one.clientWidth")
