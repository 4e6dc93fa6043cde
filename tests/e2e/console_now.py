"""Now and the inbox with much that waits: what works stays in sight, and nothing moves by itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from pancode.interfaces.client.client import Client
from tests.e2e.console import Console, api
from tests.e2e.console_pages import QUESTION
from tests.e2e.owner import until

SHELL = ("--runtime", "shell")


def work_stays_in_sight(console: Console, page: Page, top: Path) -> None:
    """With 20 changes to review and eight approvals the running work is on the first screen, or on a phone on
    the second; and an approval says all that it approves, where it is given."""
    owner = console.owner
    run = owner.dispatch(*SHELL, "# the work of today\nsleep 300", cwd=top)
    task = f"# drop the old tables {'and all that is in them ' * 12}\n{'rm -rf data/old; ' * 40}echo over"
    asks = [owner.dispatch(*SHELL, "--ask", f"{task} {number}", cwd=top) for number in range(8)]
    owner.running(run)

    def busy(route: Any) -> None:
        told = route.fetch().json()
        change = {**told["groups"][0]["needs"][0], "group": "to_land", "state": "to_land", "item": None}
        changes = [{**change, "id": f"r-{i:06}", "title": f"change {i}"} for i in range(20)]
        told["groups"][2] = {**told["groups"][2], "count": 20, "needs": changes}
        route.fulfill(json=told)

    page.route("**/v1/now?*", busy)
    page.route("**/v1/now", busy)
    for width, height, most in ((1280, 800, 800), (360, 740, 2 * 740)):
        page.set_viewport_size({"width": width, "height": height})
        page.reload()
        work = page.locator("li.order", has_text="the work of today")
        expect(work).to_contain_text("running")
        place = work.bounding_box()
        assert place is not None and place["y"] + 40 < most, (width, place)
        assert page.evaluate("() => scrollY") == 0
    page.set_viewport_size({"width": 1280, "height": 800})
    need = page.locator("li.row", has_text="drop the old tables").first
    expect(need).to_contain_text("echo over")
    need.get_by_role("button", name="Approve").click()
    sure = page.get_by_role("dialog")
    expect(sure).to_contain_text("Approve “drop the old tables and all that is in them ")
    expect(sure).to_contain_text("rm -rf data/old; rm -rf data/old;")
    sure.get_by_role("button", name="No").click()
    page.get_by_role("link", name="Open the inbox").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Inbox and review")
    expect(page.get_by_role("region", name="To land")).to_contain_text("change 19")
    page.unroute_all(behavior="wait")
    for one in (run, *asks):
        owner.run("runs", "stop", one).ok()


def inbox_does_not_move(console: Console, page: Page, top: Path) -> None:
    """However late one of its answers comes; nothing scrolls but by a key."""
    owner, late = console.owner, list[Any]()
    asks = [owner.dispatch(*SHELL, f"{QUESTION} # {number}", cwd=top) for number in range(3)]
    for run in asks:
        assert owner.ended(run)["outcome"] == "blocked"
    now = api(owner, "/v1/now")
    one = {**now["groups"][0]["needs"][0], "group": "to_land", "state": "to_land", "item": None}
    changes = [{**one, "id": f"r-{i:06}", "run": None, "title": f"change {i}"} for i in range(21)]
    now["groups"][2] = {**now["groups"][2], "count": 21, "needs": changes}
    page.set_viewport_size({"width": 360, "height": 740})
    page.route("**/v1/now", lambda route: late.append(route))
    page.reload()
    console.go(page, "#/inbox", "Inbox and review")
    page.wait_for_timeout(500)
    expect(page.locator("main")).to_contain_text("reading …")
    expect(page.locator("main li.row")).to_have_count(0)
    late[0].fulfill(json=now)
    rows = page.locator("nav li.row")
    expect(rows.filter(has_text="change 20")).to_be_visible()
    assert page.evaluate("() => scrollY") == 0
    expect(rows.first).to_contain_text("question")
    page.unroute("**/v1/now")
    page.route("**/v1/now", lambda route: route.fulfill(json=now))
    page.set_viewport_size({"width": 1280, "height": 800})
    page.locator("main").focus()
    for _ in range(12):
        page.keyboard.press("n")
    expect(page.locator("nav [data-marked]")).to_be_in_viewport()
    for run in asks:
        owner.run("deny", run).ok()


def work_the_inbox(console: Console, page: Page, top: Path) -> None:
    owner = console.owner
    asks = owner.dispatch(*SHELL, QUESTION, cwd=top)
    assert owner.ended(asks)["outcome"] == "blocked"
    sent: list[Any] = []

    def take(route: Any) -> None:  # as an agent's run answers; a script is not there any more
        sent.append(route.request.post_data_json)
        route.fulfill(status=201, json={"run": asks, "answer": {"text": "9090"}})

    page.route(f"**/v1/runs/{asks}/answer", take)
    expect(page).to_have_title(re.compile(r"^\(\d+\) Now"))
    expect(page.locator("link[rel=icon]")).to_have_attribute("href", re.compile(r"/icon-warn\.svg$"))
    page.locator("li.row", has_text=asks).get_by_role("button", name="9090").click()
    expect(page.locator(".toast")).to_contain_text(f"{asks} continues with the answer: 9090")
    assert [one["text"] for one in sent] == ["2"], "a question is answered where it stands"
    page.unroute(f"**/v1/runs/{asks}/answer")
    done = owner.dispatch(*SHELL, "echo new > new.txt", cwd=top)
    assert owner.ended(done)["outcome"] == "done"
    page.keyboard.press("g")
    page.keyboard.press("i")
    expect(page.get_by_role("heading", level=1)).to_have_text("Inbox and review")
    page.evaluate("run => { location.hash = `#/inbox?item=${run}` }", done)
    expect(page.get_by_role("heading", level=2).last).to_contain_text(done)
    expect(page.get_by_role("region", name="change")).to_contain_text("new.txt")
    expect(page.locator("main .main:visible")).to_have_text("Look at the change")
    page.keyboard.press("l")
    expect(page.get_by_role("dialog")).to_contain_text(
        "Land “echo new > new.txt” (1 file +1 -0, not verified)?"
    )
    page.keyboard.press("Enter")
    until(lambda: (top / "new.txt").exists(), "the change is landed")
    item = next(one for one in api(owner, "/v1/inbox")["items"] if one["run"] == asks)
    page.evaluate("item => { location.hash = `#/inbox?item=${item}` }", item["id"])
    expect(page.get_by_role("button", name="2: 9090")).to_be_visible()
    page.keyboard.press("x")
    expect(page.get_by_role("dialog")).to_contain_text(f"({asks})? It is not asked about again.")
    page.keyboard.press("Enter")
    until(lambda: not [one for one in api(owner, "/v1/inbox")["items"] if one["run"] == asks], "it is denied")
    change = {"kind": "budget", "target": "day", "value": "30", "why": "a long day", "by": "panos"}
    card = Client(owner.fleet_home, starts=False).post("/v1/config/propose", change)["id"]
    page.evaluate("item => { location.hash = `#/inbox?item=${item}` }", card)
    expect(page.locator(".split")).to_contain_text("budget day: $10 -> $30")
    expect(page.locator("main .main:visible")).to_contain_text("Approve")
    page.keyboard.press("w")
    expect(page.get_by_role("dialog")).to_contain_text("a long day")
    page.keyboard.press("Escape")
    page.keyboard.press("l")
    page.get_by_role("dialog").get_by_role("button", name="Approve").click()
    until(lambda: api(owner, "/v1/budget")["scopes"][0]["ceiling_usd"] == "30", "the change is made")
    owner.run("config", "undo").ok()
