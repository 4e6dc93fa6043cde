"""The web console in real Chromium, on a live fleet of this machine with real runs."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from pancode.interfaces.client.client import path_of
from tests.e2e.console import REBOUND, Console, api, axe_source, chromium, findings
from tests.e2e.console_answer import answer_by_notice
from tests.e2e.console_now import inbox_does_not_move, work_stays_in_sight, work_the_inbox
from tests.e2e.console_pages import (
    BROKEN,
    FIRST_ACTS,
    HOSTILE,
    MARKS,
    MARKUP,
    QUESTION,
    ROUTES,
    SCROLL,
    SLOW,
    STEAL,
    TURNS,
    WANTED,
    WANTED_ACTS,
    Foreign,
)
from tests.e2e.console_session import back_returns_to_the_row, kept_token, sign_in_and_land
from tests.e2e.hostile_texts import nothing_but_text
from tests.e2e.kept import keep_bundles, lay_out_bundles
from tests.e2e.owner import Owner, until
from tests.ports import find_free_port

pytestmark = pytest.mark.slow  # one fleet and one browser for all of it
SHELL = ("--runtime", "shell")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def owner(time_factor: float) -> Iterator[Owner]:
    """A fleet of this machine alone, whose API is open at a port that stays the same."""
    root, port = Path(tempfile.mkdtemp(prefix="pw-")), find_free_port()
    owner = Owner(root, time_factor, {"PANCODE_API_LISTEN": f"127.0.0.1:{port}"})
    owner.fleet_home.mkdir(mode=0o700)
    lay_out_bundles(owner.fleet_home / "bundles")
    try:
        owner.run("node", "add", "desk", "--local").ok()
        owner.run("fleet", "up", timeout_s=180).ok()
        yield owner
    finally:
        keep_bundles(owner.fleet_home / "bundles")
        owner.down()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def console(owner: Owner, browser: Browser) -> Console:
    return Console(owner, browser, int(owner.env["PANCODE_API_LISTEN"].rpartition(":")[2]))


@pytest.fixture(scope="module")
def top(owner: Owner) -> Path:
    return owner.repository("site", {"README.md": "# demo\n", "app.py": "def f():\n    return 1\n"})


@pytest.fixture(scope="module")
def hostile(owner: Owner, top: Path) -> str:
    """A run that wrote markup and a terminal's tricks into its log, a file's name and a file."""
    run = owner.dispatch(*SHELL, "--verify", "true", HOSTILE, cwd=top)
    assert owner.ended(run)["outcome"] == "done"
    return run


@pytest.fixture
def page(console: Console) -> Iterator[Page]:
    """A user who is logged in; afterwards nothing may have been complained of."""
    page = console.enter()
    yield page
    page.context.close()
    console.quiet()


# -- who gets in -----------------------------------------------------------------------------------


def test_a_link_lets_one_browser_in_once(console: Console) -> None:
    link = console.link()
    person = console.person()
    page = person.new_page()
    page.goto(link)
    expect(page.get_by_role("heading", name="Now", exact=True)).to_be_visible()
    assert "code" not in page.url and person.cookies() == []
    page.reload()
    expect(page.get_by_role("heading", name="Now", exact=True)).to_be_visible()
    beside = person.new_page()
    beside.goto(console.url)
    expect(beside.get_by_role("heading", name="Now", exact=True)).to_be_visible()

    stranger = console.person().new_page()
    stranger.goto(link)
    expect(stranger.get_by_role("alert")).to_contain_text("This link cannot be used")
    expect(stranger.locator("main")).to_contain_text("pancode web")
    stranger.context.close()

    again = person.new_page()
    again.goto(link)
    expect(again.get_by_role("dialog")).to_contain_text("already used")
    again.close()
    expect(page.get_by_role("heading", name="Now", exact=True)).to_be_visible()

    token = kept_token(page)
    page.get_by_role("button", name="log out").click()
    for one in (page, beside):
        expect(one.locator("main")).to_contain_text("Make a new one")
    asked = person.request.get(f"{console.url}v1/runs", headers={"Authorization": f"Bearer {token}"})
    assert asked.status == 401, "the session has ended on the coordinator, too"
    person.close()
    console.quiet()


def test_a_browser_stays_signed_in_and_opens_a_new_link_before_it_lands(console: Console) -> None:
    sign_in_and_land(console)


def test_a_page_of_elsewhere_gets_nothing_even_with_the_token(console: Console, page: Page) -> None:
    token = kept_token(page)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Foreign) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        foreign = console.browser.new_context().new_page()
        foreign.goto(f"http://127.0.0.1:{served.server_port}/")
        assert foreign.evaluate(STEAL, [console.url, token]) == ["refused"] * 4
        foreign.evaluate("url => { document.querySelector('iframe').src = url }", console.url)
        foreign.wait_for_timeout(500)
        assert all("PanCode" not in frame.title() for frame in foreign.frames[1:]), "it is in no frame"
        foreign.context.close()
        served.shutdown()
    rebound = console.browser.new_context().new_page()
    answer = rebound.goto(console.url.replace("127.0.0.1", REBOUND))
    assert answer is not None and answer.status >= 400 and "wrong_host" in answer.text()
    rebound.context.close()
    assert api(console.owner, "/v1/fleet")["coordinator"]["draining"] is None


# -- pages -----------------------------------------------------------------------------------------


def test_now_shows_a_run_as_it_happens_and_stops_it(console: Console, page: Page, top: Path) -> None:
    run = console.owner.dispatch(*SHELL, "i=0; while sleep 0.2; do i=$((i+1)); echo tick $i; done", cwd=top)
    row = page.locator("li.order", has_text=run)
    expect(row).to_contain_text("running")
    expect(row.locator(".last")).to_contain_text("tick")
    row.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("dialog")).to_contain_text(re.compile(f"Stop “i=0; .*” \\({run}\\) on "))
    page.get_by_role("button", name="Stop", exact=True).last.click()
    assert console.owner.ended(run)["outcome"] == "interrupted"
    expect(row).to_have_count(0)


def test_back_returns_to_the_row(console: Console, page: Page, hostile: str) -> None:
    back_returns_to_the_row(console, page, hostile)


def test_what_needs_a_user_hides_nothing_that_works(console: Console, page: Page, top: Path) -> None:
    work_stays_in_sight(console, page, top)


def test_the_inbox_opens_at_a_question_and_stays_there(console: Console, page: Page, top: Path) -> None:
    inbox_does_not_move(console, page, top)


def test_no_text_becomes_more_than_text_as_markdown(console: Console, page: Page) -> None:
    nothing_but_text(console, page)


def test_a_tab_on_now_asks_little_while_nothing_happens(console: Console, page: Page, top: Path) -> None:
    """What runs tells its last message in one answer for all; nothing is asked again that has not changed."""
    runs = [console.owner.dispatch(*SHELL, f"echo word {number}; sleep 300", cwd=top) for number in (1, 2)]
    for number, run in enumerate(runs, 1):
        expect(page.locator("li.order", has_text=run).locator(".last")).to_have_text(f"word {number}\n")
    asked: list[str] = []
    session, came = page.context.new_cdp_session(page), list[int]()
    session.send("Network.enable")
    session.on("Network.dataReceived", lambda one: came.append(one["dataLength"]))
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(20_000)  # which brings no event; a third of what a minute may bring
    assert len(asked) <= 3 and sum(came) <= 7_000, (asked, sum(came))
    for run in runs:
        console.owner.run("runs", "stop", run).ok()


def test_a_second_visit_asks_for_the_page_and_its_facts_alone(console: Console, page: Page) -> None:
    """Over a slow line each request is a wait: what the page is made of is in the browser since the first."""
    session = page.context.new_cdp_session(page)
    asked, kept = dict[str, str](), set[str]()
    session.send("Network.enable")
    session.on(
        "Network.requestWillBeSent", lambda one: asked.update({one["requestId"]: one["request"]["url"]})
    )
    session.on("Network.requestServedFromCache", lambda one: kept.add(one["requestId"]))

    def answered(one: dict[str, Any]) -> None:
        if one["response"].get("fromDiskCache"):
            kept.add(one["requestId"])

    session.on("Network.responseReceived", answered)
    page.goto("about:blank")
    asked.clear()
    page.goto(f"{console.url}#/now")
    expect(page.get_by_role("region", name="Today's money")).to_contain_text("spent")
    page.wait_for_timeout(1_000)
    sent = [url for one, url in asked.items() if one not in kept]
    assert len(sent) <= 6, sent


def test_what_an_agent_wrote_is_text(console: Console, page: Page, hostile: str) -> None:
    console.go(page, f"#/runs/{hostile}/log", chip=hostile)
    log = page.get_by_role("region", name="log")
    expect(log).to_contain_text(MARKUP)
    expect(log.locator(".f1")).to_have_text("red")
    expect(log.locator("img, script, a:not(.no)")).to_have_count(0)
    console.go(page, f"#/runs/{hostile}/diff")
    expect(page.get_by_role("region", name="change")).to_contain_text(MARKUP)
    expect(page.get_by_role("navigation", name="files")).to_contain_text("<b>x.txt")
    expect(page.locator("main img, main script")).to_have_count(0)
    assert page.evaluate("() => { try { document.body.innerHTML = '<p>' } catch (e) { return e.name } }") == (
        "TypeError"
    ), "no text becomes markup by accident"
    console.complaints.clear()  # of the line above


def test_a_log_is_searched_and_its_lines_have_links(console: Console, page: Page, top: Path) -> None:
    lines = 100_000
    task = f'i=0; while [ $i -lt {lines} ]; do i=$((i+1)); echo "line $i of it"; done'
    run = console.owner.dispatch(*SHELL, f"seq -f 'line %.0f of it' {lines} || {task}", cwd=top)
    console.owner.ended(run)
    console.go(page, f"#/runs/{run}/log", chip=run)
    expect(page.locator(".log .row").last).to_contain_text("line 100000 of it")  # the end of it alone
    expect(page.locator(".log .no").last).to_have_text("100000")
    page.get_by_role("button", name="before this").click()
    expect(page.get_by_text("100000 lines")).to_be_visible()
    console.go(page, f"#/runs/{run}/log?line=70000", chip=run)
    expect(page.get_by_text("100000 lines")).to_be_visible()
    expect(page.locator(".row.marked")).to_contain_text("line 70000 of it")
    assert page.locator(".log .row").count() < 150, "only what can be seen is in the document"
    page.get_by_label("search").fill("line 99998 of")
    expect(page.locator(".row.hit")).to_contain_text("line 99998 of it")
    page.locator(".row.hit .no").click()
    expect(page).to_have_url(f"{console.url}#/runs/{run}/log?line=99998")
    drawn = page.evaluate(SCROLL)
    assert all(20 < rows < 150 for rows in drawn), "at each place of it"


def test_ten_thousand_runs_are_one_window(console: Console, page: Page, hostile: str) -> None:
    one = api(console.owner, path_of("runs", hostile, "brief"))
    many = [{**one, "run": f"r-{i:06}", "task": f"task number {i}"} for i in range(10_000)]
    page.route("**/v1/runs?*", lambda route: route.fulfill(json={"runs": many}))
    console.go(page, "#/runs", "Runs")
    expect(page.locator("main .head")).to_contain_text("10000 runs")
    rows = page.locator(".rows .row:not(.group)")
    assert rows.count() < 60
    page.locator("main").focus()
    for _ in range(3):
        page.keyboard.press("j")
    expect(page.locator(":focus")).to_have_text("task number 2")
    page.evaluate("() => { document.querySelector('.window').scrollTop = 1e9 }")
    expect(rows.last).to_contain_text("task number 9999")
    page.unroute("**/v1/runs?*")
    console.go(page, "#/runs?outcome=done&text=app.py", "Runs")
    expect(rows).to_have_count(1)
    page.keyboard.press("w")
    expect(page.get_by_role("dialog")).to_contain_text("placed on")


def test_several_runs_are_marked_and_stopped(console: Console, page: Page, top: Path) -> None:
    """By keyboard; a run that has ended already is not stopped, and the bar says why nothing can land."""
    owner = console.owner
    done = owner.dispatch(*SHELL, "# sleeper 0, over", cwd=top)
    owner.ended(done)
    going = [owner.dispatch(*SHELL, f"# sleeper {number}\nsleep 300", cwd=top) for number in (1, 2)]
    for run in going:
        owner.running(run)
    console.go(page, "#/runs?text=sleeper&sort=-task", "Runs")
    rows = page.locator(".rows .row")
    expect(rows.first).to_contain_text("sleeper 2")
    page.locator("main").focus()
    for key in ("j", "x", "j", "x"):
        page.keyboard.press(key)
    page.get_by_role("checkbox", name=f"mark “sleeper 0, over” ({done})").check()
    bar = page.get_by_role("region", name="what is marked")
    expect(bar).to_contain_text("3 marked")
    expect(bar).to_contain_text("cannot land: 2 still running, 1 without a change")
    page.keyboard.press("Tab")
    bar.get_by_role("button", name="Stop 2").click()
    expect(page.get_by_role("dialog")).to_contain_text("Stop 2 runs")
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_contain_text("2 runs stopped")
    assert [owner.ended(run)["outcome"] for run in going] == ["interrupted"] * 2
    expect(bar).to_contain_text("1 marked")
    console.go(page, "#/runs?view=failed&sort=state", "Runs")
    expect(rows.filter(has_text="sleeper")).to_have_count(0)
    page.set_viewport_size({"width": 1600, "height": 900})
    console.go(page, "#/runs?text=sleeper&sort=-task")
    rows.first.get_by_role("link").click()
    beside = page.get_by_role("complementary", name="the chosen run")
    expect(beside).to_contain_text("It ended: stopped")
    assert findings(page, axe_source()) == []
    beside.get_by_role("heading").get_by_role("link", name="sleeper 2").click()
    expect(page.locator("main .head .id")).to_have_text(going[1])
    console.go(page, f"#/runs/{going[0]}")
    expect(page.locator("main .main:visible")).to_have_text("Retry")
    expect(page.locator("link[rel=icon]")).to_have_attribute("href", re.compile(r"/icon\.svg$"))


def test_the_filled_key_follows_from_the_state(console: Console, page: Page, top: Path) -> None:
    assert page.evaluate(FIRST_ACTS) == WANTED_ACTS
    gate = "sh -c 'echo 0 errors so far; echo error: it is wrong; exit 1'"
    failed = console.owner.dispatch(*SHELL, "--verify", gate, "echo x > wrong.txt", cwd=top)
    assert (told := console.owner.ended(failed))["outcome"] == "verify_failed"
    console.go(page, f"#/runs/{failed}", chip=failed)
    expect(page.locator("link[rel=icon]")).to_have_attribute("href", re.compile(r"/icon-bad\.svg$"))
    phases = page.locator("ol.phases li.phase")
    expect(phases.locator("b")).to_have_text(["waiting", "preparing", "agent", "gates", "delivering"])
    expect(page.locator("ol.phases .meter.bad")).to_have_attribute("aria-label", re.compile("^gates: "))
    took = sum(float(text.removesuffix(" s")) for text in phases.locator(".n").all_text_contents())
    ended, began = (datetime.fromisoformat(told[f"{name}_at"]) for name in ("finished", "created"))
    assert took == pytest.approx((ended - began).total_seconds(), abs=0.3), "the phases are the run"
    filled = page.locator("main .main:visible")
    expect(filled).to_have_text("Look at the gate")
    filled.click()
    expect(page.get_by_role("region", name="output").locator(".row.marked")).to_contain_text("it is wrong")
    expect(filled).to_have_text("Retry")
    expect(page.get_by_role("button", name="Land")).to_have_count(0)


def test_the_palette_finds_pages_runs_and_what_can_be_done(
    console: Console, page: Page, hostile: str
) -> None:
    field = page.get_by_role("combobox", name="Find or do")
    itself = page.get_by_role("option", name=re.compile(f"{hostile} [a-z ]+$"))  # no run about it
    page.keyboard.press("Control+k")
    expect(itself).to_be_visible()
    assert findings(page, axe_source()) == []
    page.keyboard.type("machin")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Nodes")
    page.keyboard.press("Control+k")
    field.fill(hostile)
    expect(itself).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator("main .head .id")).to_have_text(hostile)
    page.keyboard.press("Control+k")
    field.fill("retry")
    expect(page.get_by_role("option", name=f"Retry {hostile}")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("Retry 1 run")
    page.get_by_role("button", name="No").click()
    page.keyboard.press("Control+k")
    page.keyboard.press("Escape")
    expect(field).to_have_count(0)


def test_text_that_turns_other_text_round_is_named(console: Console, page: Page, top: Path) -> None:
    run = console.owner.dispatch(*SHELL, f"# {TURNS}\nsleep 300", cwd=top)
    console.owner.running(run)
    for place in ("#/now", "#/runs", f"#/runs/{run}"):
        console.go(page, place)
        expect(page.locator("main .named", has_text="U+202E").first).to_be_visible()
        assert TURNS not in page.locator("body").inner_text()
    expect(page.get_by_label("task", exact=True)).to_have_text(re.compile(r"for all\nsleep 300$"))
    expect(page).to_have_title(re.compile("fix ⟨U\\+202E⟩gnp.exe"))
    console.owner.run("runs", "stop", run).ok()


def test_a_receipt_is_proved_in_the_page(console: Console, page: Page, hostile: str) -> None:
    console.go(page, f"#/runs/{hostile}/receipt", chip=hostile)
    proof = page.get_by_role("region", name="Checked in this page")
    expect(proof).to_contain_text("PASS")
    expect(proof).to_contain_text("signature of coordinator")
    expect(page).to_have_title(re.compile(f"^✓ .* · {hostile} · PanCode$"))

    def forge(route: Any) -> None:
        told = route.fetch().json()
        payload = told["envelope"]["payload"]
        told["envelope"]["payload"] = f"{payload[:400]}{'A' if payload[400] != 'A' else 'B'}{payload[401:]}"
        route.fulfill(json=told)

    page.route("**/v1/receipts/*", forge)
    page.reload()
    expect(proof).to_contain_text("TAMPERED")


def test_comments_on_a_change_become_the_next_attempt(console: Console, page: Page, hostile: str) -> None:
    console.go(page, f"#/runs/{hostile}/diff", chip=hostile)
    both = page.get_by_role("region", name="change").locator(".sides", has_text="return")
    expect(both).to_have_count(0)  # at this width one below the other; `b` puts both sides beside each other
    line = page.get_by_role("region", name="change").locator(".row.add", has_text="return 2")
    line.get_by_role("button").click()
    page.get_by_role("dialog").locator("textarea").fill("three, please")
    page.get_by_role("button", name="Keep").click()
    expect(page.locator(".comments")).to_contain_text("app.py:2")
    expect(line.locator(".f4", has_text="return")).to_be_visible()
    page.keyboard.press("b")
    expect(both.locator(".del")).to_contain_text("return 1")
    expect(both.locator(".add")).to_contain_text("return 2")
    page.get_by_role("checkbox", name="viewed app.py").check()
    expect(both).to_have_count(0)
    page.get_by_role("button", name="app.py:2").click()
    expect(both).to_be_visible()
    page.get_by_role("button", name="Send back").click()
    told = page.get_by_role("alert")  # a script takes no words: the coordinator says so, and nothing is lost
    expect(told).to_contain_text("cannot take messages")
    page.get_by_role("button", name="Close").click()
    expect(page.locator(".comments")).to_contain_text("three, please")
    sent: list[Any] = []

    def take(route: Any) -> None:  # as an agent's run answers, which takes words
        sent.append(route.request.post_data_json)
        route.fulfill(status=201, json={"run": hostile, "state": "pending", "reason": "queued"})

    page.route(f"**/v1/runs/{hostile}/send-back", take)
    page.get_by_role("button", name="Send back").click()
    expect(page.locator(".toast")).to_contain_text("continues with your comments")
    assert sent[0]["text"] == ""
    (kept,) = console.owner.ask("runs", "comments", hostile)["comments"]
    assert (kept["place"], kept["quote"], kept["words"]) == ("app.py:2", "    return 2", "three, please")
    assert kept["person"] and kept["sent_in"] is None


def test_the_inbox_is_worked_by_keyboard(console: Console, page: Page, top: Path) -> None:
    work_the_inbox(console, page, top)


def test_a_notice_is_answered_in_a_page_of_its_own(console: Console, top: Path) -> None:
    answer_by_notice(console, top)


def test_the_gates_speak_before_the_key_is_pressed(console: Console, page: Page, top: Path) -> None:
    console.go(page, "#/dispatch", "Dispatch")
    key = page.get_by_role("button", name="Dispatch")
    expect(key).to_be_disabled()
    page.get_by_label("task").fill("echo from the console")
    page.get_by_label("runtime").select_option("shell")
    page.get_by_label("folder").fill(str(top))
    expect(page.locator(".gates li")).to_have_count(10)
    expect(page.locator("main")).to_contain_text("It would be admitted")
    page.get_by_label("safety").select_option("auto-edit")
    page.get_by_label("budget").fill("99999999")
    expect(page.locator("main")).to_contain_text("budget")
    page.get_by_label("budget").fill("")
    expect(page.locator("main")).to_contain_text("It would be admitted")
    key.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("echo from the console")
    run = page.url.rpartition("/")[2]
    assert console.owner.ended(run)["created_by"].startswith("token web"), (
        "on record under the session's name"
    )


def test_machines_are_drained_money_is_set_and_the_audit_holds(console: Console, page: Page) -> None:
    name = api(console.owner, "/v1/fleet")["nodes"][0]["name"]
    console.go(page, f"#/machines/{name}", f"Node {name}")
    expect(page.locator("main")).to_contain_text("processors")
    page.get_by_role("button", name="Drain").click()
    page.get_by_role("dialog").get_by_role("button", name="Drain").click()
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Drain")).to_be_visible()
    console.go(page, "#/budget", "Budget")
    today = page.get_by_role("row", name="all work today")
    today.get_by_role("button", name="Change").click()
    page.get_by_role("dialog").locator("textarea").fill("25")
    page.get_by_role("button", name="Set", exact=True).click()
    expect(today).to_contain_text("$25.00")
    today.get_by_role("button", name="Unset").click()
    page.get_by_role("dialog").get_by_role("button", name="Unset").click()
    expect(today).to_contain_text("$10.00")
    console.go(page, "#/audit", "Audit")
    page.get_by_role("button", name="Verify the chain").click()
    expect(page.locator("p[role=status]")).to_contain_text("PASS")


def test_forms_make_workspaces_projects_and_schedules(console: Console, page: Page, top: Path) -> None:
    """What the coordinator finds wrong stands at its field; nothing that was typed is lost."""
    heading, sure = page.get_by_role("heading", level=1), page.get_by_role("dialog")
    wrong = page.locator("[aria-invalid]")
    console.go(page, "#/new/workspace", "New workspace")
    field(page, "name").fill("login")
    field(page, "cwd").fill(str(top))
    page.get_by_role("button", name="Create").click()
    expect(heading).to_have_text("Workspace login")
    page.get_by_role("link", name="Start an agent").click()
    expect(page.get_by_label("workspace")).to_have_value("login")
    page.get_by_label("task").fill("echo in > login.txt")
    page.get_by_label("runtime").select_option("shell")
    page.get_by_role("button", name="Dispatch").click()
    expect(heading).to_have_text("echo in > login.txt")
    assert console.owner.ended(page.url.rpartition("/")[2])["outcome"] == "done"
    console.go(page, "#/projects", "Projects")
    row = page.locator("li.row", has_text="feature/login")
    expect(row).to_contain_text("1 file not landed")
    row.get_by_role("button", name="Remove").click()
    sure.get_by_role("button", name="Remove").click()
    sure.get_by_role("button", name="Forget it").click()
    expect(row).to_have_count(0)

    page.get_by_role("link", name="Add a project").click()
    field(page, "path").fill(str(top))
    field(page, "name").fill("shop")
    page.get_by_text("More", exact=True).last.click()
    field(page, "prefix").fill("1x")
    page.get_by_role("button", name="Keep").click()
    expect(wrong).to_be_focused()
    expect(wrong).to_have_value("1x")
    page.reload()
    expect(field(page, "name")).to_have_value("shop")
    page.get_by_text("More", exact=True).last.click()
    field(page, "prefix").fill("SHOP")
    page.get_by_role("button", name="Keep").click()
    row = page.locator("li.row", has_text="SHOP-1")
    expect(row).to_contain_text(str(top))
    row.get_by_role("link", name="Change").click()
    expect(field(page, "name")).to_have_value("shop")

    console.go(page, "#/new/schedule", "New schedule")
    field(page, "name").fill("nightly")
    field(page, "cron").fill("30 2 * * *")
    field(page, "dispatch.task").fill("echo night")
    field(page, "dispatch.runtime").fill("shell")
    field(page, "dispatch.budget").fill("cheap")
    expect(wrong).to_have_value("cheap")
    field(page, "dispatch.budget").fill("1")
    expect(page.locator("main")).to_contain_text("It begins")
    page.get_by_role("button", name="Create").click()
    row = page.locator("li.row", has_text="nightly")
    row.get_by_role("button", name="Pause").click()
    row.get_by_role("button", name="Remove").click()
    sure.get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)


def field(page: Page, path: str) -> Locator:
    """The field of a form by its key in the body."""
    return page.locator(f"[id='f-{path}']")


def test_a_chain_is_written_in_a_form(console: Console, page: Page, top: Path) -> None:
    console.go(page, "#/new/chain", "New chain")
    field(page, "cwd").fill(str(top))
    for number, task in enumerate(("echo plan", "echo build > built.txt")):
        field(page, f"steps.{number}.task").fill(task)
        field(page, f"steps.{number}.runtime").fill("shell")
    begin = page.get_by_role("button", name="Begin")
    expect(page.locator("main")).to_contain_text("admitted")
    begin.click()
    graph = page.get_by_role("region", name="graph of the steps")
    expect(graph.get_by_role("link", name="build done")).to_be_visible()
    expect(graph.locator("path.edge")).to_have_count(1)


def test_a_preset_is_applied_and_a_setting_is_changed_with_a_yes(console: Console, page: Page) -> None:
    console.go(page, "#/settings", "Settings")
    preset, sure = page.locator("li.row").first, page.get_by_role("dialog")
    for key in ("Apply", "Take it off"):
        preset.get_by_role("button", name=key).click()
        sure.get_by_role("button", name=key).click()
    expect(preset.get_by_role("button", name="Apply")).to_be_visible()
    page.get_by_label("search the settings").fill("land.how")
    page.get_by_role("button", name="change land.how").click()
    sure.locator("textarea").fill("rebase")
    page.keyboard.press("Control+Enter")
    expect(sure).to_contain_text("Set land.how from squash to rebase?")
    sure.get_by_role("button", name="Set").click()
    expect(page.locator(".toast")).to_contain_text("squash → rebase")
    page.get_by_role("button", name="Unset").click()
    sure.get_by_role("button", name="Unset").click()
    expect(page.locator(".toast")).to_contain_text("rebase → squash")


def chained(owner: Owner, top: Path) -> str:
    """A chain of two steps that has begun."""
    steps: list[dict[str, Any]] = [
        {"name": "plan", "task": "echo plan"},
        {"name": "build", "task": "sleep 1; echo x > built", "needs": ["plan"]},
    ]
    (top.parent / "two.yaml").write_text(
        json.dumps({"steps": [{**step, "runtime": "shell"} for step in steps]})
    )
    return str(owner.ask("chain", "--detach", str(top.parent / "two.yaml"), cwd=top)["workflow"])


def test_a_workflow_is_a_graph_that_moves(console: Console, page: Page, top: Path) -> None:
    made = chained(console.owner, top)
    console.go(page, f"#/workflows/{made}", chip=made)
    graph = page.get_by_role("region", name="graph of the steps")
    expect(graph.get_by_role("link", name="build done")).to_be_visible()
    expect(graph.locator("path.edge")).to_have_count(1)


def test_a_race_has_lanes_and_a_batch_has_the_words_of_its_tasks(
    console: Console, page: Page, top: Path
) -> None:
    owner = console.owner
    worded = ("--verify", "true", "# a price list\necho z > race.txt")
    race = owner.ask("race", "--detach", *SHELL, "--best-of", "2", *worded, cwd=top)["workflow"]
    tasks = ("-t", "# tidy the shop", "-t", "# tidy the yard\nexit 3")
    batch = owner.ask("batch", "--detach", *SHELL, *tasks, cwd=top)["workflow"]
    filled = page.locator("main .main:visible")
    console.go(page, f"#/workflows/{race}", chip=race)
    expect(page.get_by_role("region", name="Lanes").locator("li", has_text="winner")).to_have_count(1)
    expect(filled).to_have_text("Land the winner")
    assert findings(page, axe_source()) == []
    filled.click()
    page.get_by_role("dialog").get_by_role("button", name="Land").click()
    until(lambda: (top / "race.txt").exists(), "the winner is landed")
    console.go(page, f"#/workflows/{batch}", chip=batch)
    expect(page.locator(".tiles .row").first).to_contain_text("tidy the yard")
    expect(filled).to_have_text("Retry 1 failed")
    assert findings(page, axe_source()) == []


def test_a_lane_is_paused_and_skipped_in_its_page(console: Console, page: Page, top: Path) -> None:
    owner = console.owner
    lane = owner.ask("lane", "create", "night", *SHELL, cwd=top)["workflow"]
    for task in ("# tidy the shop\nexit 3", "# tidy the cellar"):
        owner.ask("lane", "add", "night", task)
    console.go(page, f"#/workflows/{lane}", chip=lane)
    panel = page.get_by_role("region", name="Lane night")
    expect(panel).to_contain_text("item 1: ", timeout=60_000)
    assert findings(page, axe_source()) == []
    panel.get_by_role("button", name="Pause").click()
    expect(panel.get_by_role("button", name="Resume")).to_be_visible()
    panel.locator("li", has_text="tidy the shop").get_by_role("button", name="Skip").click()
    page.get_by_role("dialog").get_by_role("button", name="Skip").click()
    expect(panel.locator("li", has_text="tidy the shop")).to_contain_text("skipped by")
    panel.get_by_role("button", name="Resume").click()
    until(lambda: owner.ask("lane", "show", "night")["items"][1]["state"] == "done", "the cellar is tidy", 60)
    owner.run("lane", "rm", "night", "--force").ok()


def places(page: Page, run: str, workflow: str) -> list[str]:
    """Every page of the console, from its own tables: the places, the parts of a run, one of each kind."""
    known = page.evaluate(ROUTES)
    assert {"now", "more", "workflows"} <= set(known["pages"]) and "log" in known["parts"]
    parts = [f"runs/{run}/{part}".rstrip("/") for part in known["parts"]]
    forms = [f"new/{what}" for what in ("schedule", "chain", "workspace", "project", "lane")]
    return [
        *known["pages"],
        *parts,
        *forms,
        "projects/workspace/look",
        "machines/desk",
        "agents/builder",
        f"workflows/{workflow}",
        "nothing",
    ]


@pytest.mark.parametrize("look", ["light-1280", "dark-1280", "light-360", "dark-360"])
def test_every_page_is_without_a_finding_by_axe(console: Console, hostile: str, top: Path, look: str) -> None:
    scheme, width = look.split("-")
    page = console.enter(color_scheme=scheme, viewport={"width": int(width), "height": 740})
    source = axe_source()
    flows = api(console.owner, "/v1/workflows?limit=1")["workflows"]
    flow = flows[0]["workflow"] if flows else chained(console.owner, top)
    if not any(one["workspace"] == "look" for one in api(console.owner, "/v1/workspaces")["workspaces"]):
        console.owner.run("workspace", "create", "look", cwd=top).ok()
    for place in places(page, hostile, flow):
        console.go(page, f"#/{place}")
        expect(page.locator("main h1")).to_be_visible()
        expect(page.get_by_text("reading …")).to_have_count(0)
        assert (place, findings(page, source)) == (place, [])
        wide = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{place} is {wide} pixels too wide"
        if scheme == "dark":
            assert (place, page.evaluate(MARKS)) == (place, []), "what has the focus shows it"
    page.context.close()
    console.quiet()


PICTURES = Path(__file__).parents[2] / "docs/pictures"


def test_the_pictures_of_the_documents(console: Console, tmp_path: Path) -> None:
    """PICTURES=1 writes them anew into docs/pictures."""
    owner, folder = console.owner, PICTURES if os.environ.get("PICTURES") else tmp_path
    top = owner.repository("export", {"export.py": "def export(rows):\n    return rows\n"})
    done, asks = owner.dispatch(*SHELL, WANTED, cwd=top), owner.dispatch(*SHELL, QUESTION, cwd=top)
    slow = owner.dispatch(*SHELL, "--budget", "2", SLOW, cwd=top)
    owner.ended(done)
    owner.ended(asks)
    page = console.enter(viewport={"width": 1160, "height": 720})
    row = page.locator("li.order", has_text=slow)
    expect(row.locator(".last")).to_contain_text("passed")
    page.screenshot(path=folder / "now.png")
    console.go(page, f"#/runs/{done}/diff", chip=done)
    change = page.get_by_role("region", name="change")
    line = change.locator(".row.add", has_text="json.dumps")
    line.get_by_role("button").click()
    page.get_by_role("dialog").locator("textarea").fill("keep the order of the rows")
    page.get_by_role("button", name="Keep").click()
    expect(page.locator(".comments")).to_contain_text("keep the order")
    page.locator(".change").screenshot(path=folder / "change.png")
    failed = owner.dispatch(*SHELL, "--verify", "sh check.sh", BROKEN, cwd=top)
    owner.ended(failed)
    race = owner.ask("race", "--detach", *SHELL, "--best-of", "3", "--verify", "true", WANTED, cwd=top)[
        "workflow"
    ]
    winner = page.get_by_role("region", name="Lanes").locator("li", has_text="winner")
    console.go(page, f"#/workflows/{race}", chip=race)
    expect(winner).to_have_count(1)
    for name, place in (
        ("race", f"workflows/{race}"),
        ("run", f"runs/{failed}/gates"),
        ("inbox", f"inbox?item={asks}"),
        ("runs", "runs"),
        ("machines", "machines/desk"),
        ("money", "money"),
    ):
        console.go(page, f"#/{place}")
        expect(page.get_by_text("reading …")).to_have_count(0)
        page.wait_for_timeout(500)  # for what is asked for behind the first answer
        page.screenshot(path=folder / f"{name}.png")
    owner.run("runs", "stop", slow).ok()
    page.context.close()
    drawn = {path.name for path in folder.glob("*.png")}
    assert drawn == {path.name for path in PICTURES.glob("*.png")}
    assert all(5_000 < (PICTURES / name).stat().st_size < 180_000 for name in drawn)


def test_hidden_tabs_hold_no_line_and_come_back(console: Console, page: Page, top: Path) -> None:
    tabs = [page.context.new_page() for _ in range(7)]
    for tab in tabs:  # a browser has six lines to one place: hidden tabs must hold none
        tab.add_init_script("Object.defineProperty(document, 'hidden', {get: () => !window.seen})")
        tab.goto(console.url)
        expect(tab.locator("main")).to_contain_text("Needs you")
    last = tabs[-1]
    run = console.owner.dispatch(*SHELL, "sleep 300", cwd=top)
    last.evaluate("() => { window.seen = true; document.dispatchEvent(new Event('visibilitychange')) }")
    expect(last.locator("li.order", has_text=run)).to_be_visible()
    expect(last.locator(".heard")).to_contain_text("live")
    console.owner.run("runs", "stop", run).ok()


def test_a_coordinator_that_is_gone_is_not_idle_and_its_return_is_seen(
    console: Console, page: Page, top: Path
) -> None:
    owner = console.owner
    run = owner.dispatch(*SHELL, "sleep 300", cwd=top)
    expect(page.locator("li.order", has_text=run)).to_be_visible()
    pid, token = owner.coordinator_pid(), kept_token(page)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    expect(page.locator("main .head .ghost")).to_contain_text("not heard for")
    expect(page.locator("main")).to_contain_text(run)
    owner.run("fleet", "status").ok()  # which starts another one
    expect(page.locator(".heard")).to_contain_text("live")
    expect(page.locator("main .head .ghost")).to_have_count(0)
    page.reload()
    beside = page.context.new_page()
    beside.goto(console.url)
    row = beside.locator("li.order", has_text=run)
    row.get_by_role("button", name="Stop").click()
    beside.get_by_role("dialog").get_by_role("button", name="Stop").click()
    for tab in (page, beside):
        expect(tab.locator("li.order", has_text=run)).to_have_count(0)
    assert kept_token(beside) == token, "the browser stays signed in, and may act"
    console.complaints.clear()  # that nobody answered for a while
