"""The Chat page in real Chromium: a user, an agent on a real host, and others who say words to it, too."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.clis.hands import HANDS
from tests.clis.launched import EVERY
from tests.e2e.console import Console, axe_source, chromium, findings
from tests.e2e.console_pages import MARKUP
from tests.e2e.console_session import kept_token
from tests.e2e.owner import Owner
from tests.e2e.programs import PORT, await_state, give_secrets, installed, model_on, project
from tests.e2e.test_people import ASKING
from tests.e2e.test_programs import K
from tests.lab import Lab

pytestmark = pytest.mark.slow  # one browser, and real hosts
CLI = next(cli for cli in EVERY if cli.runtime == "native")


def says(text: str) -> dict[str, Any]:
    return {"text": text, "usage": {"input": 1200, "output": 34}}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def console(fleet: Owner, browser: Browser) -> Console:
    port = urlsplit(fleet.ask("web", "--print")["url"]).port
    assert port is not None
    return Console(fleet, browser, port)


@pytest.fixture
def worker(fleet: Owner, lab: Lab) -> Iterator[None]:
    """Our own worker on a host, with a key of the scripted model."""
    with installed(lab, "native", [K]):
        given = CLI.env(f"http://127.0.0.1:{PORT}")
        give_secrets(lab, K, {name: value for name, value in given.items() if "RETRIES" not in name})
        await_state(fleet, K, "native", "ok")
        yield


def begin(console: Console, page: Page, top: Path, words: str) -> str:
    """A new chat, by the form, and not with whom one talks without a choice. Returns its id."""
    console.go(page, "#/chat", "Chat")
    page.get_by_label("first words").fill(words)
    page.get_by_label("folder").fill(str(top))
    page.get_by_label("runtime").select_option("native")
    expect(choice(page, "agent").locator("option:checked")).to_have_text(re.compile("^panos:"))
    choice(page, "agent").select_option("builder")
    choice(page, "node").select_option(f"node{K}")
    choice(page, "mode").select_option("build")
    page.get_by_label("model", exact=True).fill(CLI.model)
    expect(page.get_by_role("status")).to_contain_text(f"builder listens, with {CLI.model}")
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("log")).to_be_visible()
    return page.url.rpartition("/")[2]


def choice(page: Page, name: str) -> Locator:
    return page.locator("label.field").filter(has_text=re.compile(f"^{name}")).locator("select")


def review_from_now_on(page: Page, phone: Page) -> None:
    """Another mode, and a higher level, which asks first; on a phone it stands above the words."""
    now = page.get_by_role("complementary", name="This session")
    expect(now).to_contain_text("build, auto-edit")
    now.locator("summary", has_text="context window").click()
    expect(now).to_contain_text(re.compile("context window: .*identity *about [0-9]+"))
    choice(page, "mode").select_option("review")
    choice(page, "safety").select_option("full-auto")
    page.get_by_role("button", name="Change from my next message on").click()
    asks = page.get_by_role("dialog")
    expect(asks).to_contain_text("raises the safety level")
    asks.get_by_role("button", name="Allow it").click()
    expect(now).to_contain_text(
        "With your next message: mode review, safety full-auto. Memory and files stay."
    )
    above = phone.locator("summary", has_text="mode build, safety auto-edit")
    expect(above).to_contain_text("next: review, full-auto")
    above.click()
    expect(phone.locator("main")).to_contain_text("With your next message: mode review, safety full-auto.")


def say(page: Page, words: str) -> None:
    page.get_by_label("Message for builder").fill(words)
    page.get_by_role("button", name="Send").click()


def state(page: Page) -> Locator:
    return page.get_by_role("form", name="Say something").get_by_role("status")


def at_phone(console: Console, page: Page, session: str) -> Page:
    """The same user's phone, in the dark."""
    token = kept_token(page)
    phone = console.person(viewport={"width": 360, "height": 740}, color_scheme="dark").new_page()
    opened(console, phone, token, f"#/chat/{session}")
    return phone


def opened(console: Console, page: Page, token: str, place: str) -> None:
    page.goto(console.url)
    key = "'pancode-session-' + document.querySelector('meta[name=pancode-fleet]').content"
    page.evaluate(f"token => localStorage.setItem({key}, token)", token)
    page.goto(console.url + place)
    page.reload()


HIDE = """hidden => {
  Object.defineProperty(document, 'hidden', {get: () => hidden, configurable: true});
  document.dispatchEvent(new Event('visibilitychange'));
}"""


def unfolds(call: Locator) -> None:
    expect(call.locator("summary")).to_contain_text("ok")
    expect(call.locator(".well")).to_be_hidden()
    call.locator("summary").click()
    expect(call.locator(".well")).to_contain_text("+one")


def typed_meanwhile(console: Console, page: Page, session: str) -> None:
    """The draft outlives a reload, what is typed while words are sent stays, and they go where one looks."""
    console.go(page, "#/chat/last")
    log, field, held = page.get_by_role("log"), page.get_by_label("Message for builder"), list[Route]()
    expect(log).to_contain_text("I made it.")
    field.fill("what does\nit say?")
    page.reload()
    expect(field).to_have_value("what does\nit say?")
    page.route("**/words", lambda route: held.append(route))
    with page.expect_request("**/words") as sent:
        field.press("Enter")
    field.fill("typed meanwhile")
    assert f"/{session}/" in sent.value.url, "whatever session is the last one now"
    held[0].continue_()
    page.unroute("**/words")
    expect(log).to_contain_text("It says one.")
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    expect(field).to_have_value("typed meanwhile")


def shown_at_no_time(console: Console, page: Page, session: str) -> None:
    """A stream with a time that is none."""
    turn = {"type": "turn", "number": 1, "words": 0, "by": "ana", "text": "said at no time", "at": "soon"}
    b64 = base64.b64encode(json.dumps(turn).encode() + b"\n").decode()
    told = json.dumps({"run": "r-1", "attempt": "1.1", "next": 99, "b64": b64})
    stream = f"event: log\ndata: {told}\n\n"
    page.route("**/stream*", lambda route: route.fulfill(body=stream, content_type="text/event-stream"))
    console.go(page, f"#/chat/{session}")
    page.reload()
    expect(page.get_by_role("log")).to_contain_text("said at no time")


def test_words_of_two_faces_are_seen_by_both_once_and_stay(console: Console, worker: None, lab: Lab) -> None:
    """It takes more than 30 s: an interactive run on a real host, five turns of it, and the next interactive
    run."""
    fleet = console.owner
    top = project(fleet, "chatted")
    turns = [HANDS["native"].write("${cwd}/made.txt", "one"), says(f"I made it. {MARKUP} \u202ethen")]
    turns += [says("It says one."), says("Ben may know."), says("Said while nobody looked.")]
    page = console.enter(viewport={"width": 1280, "height": 800})
    with model_on(lab, K, {"count": "assistant", "turns": turns}):
        session = begin(console, page, top, f"make a first file {MARKUP}")
        log = page.get_by_role("log")
        expect(log).to_contain_text(f"I made it. {MARKUP} U+202Ethen")
        unfolds(log.locator("details", has_text="write made.txt"))
        expect(page.locator("main img, main script")).to_have_count(0)

        typed_meanwhile(console, page, session)

        phone = at_phone(console, page, session)
        expect(phone.get_by_role("log")).to_contain_text("It says one.")
        fleet.run("attach", session, "who knows more?", timeout_s=90).ok()
        for one in (page, phone):
            expect(one.get_by_role("log")).to_contain_text("Ben may know.")
            expect(one.get_by_text("who knows more?")).to_have_count(1)
        phone.evaluate(HIDE, True)
        say(page, "and without the phone?")
        expect(log).to_contain_text("Said while nobody looked.")
        expect(state(page)).to_have_text("waits for you")
        expect(phone.get_by_role("log")).not_to_contain_text("Said while nobody looked.")
        phone.evaluate(HIDE, False)
        said = ("I made it.", "It says one.", "Ben may know.", "Said while nobody looked.")
        for one in (page, phone):
            expect(one.get_by_role("log")).to_contain_text(said[-1])
            shown = one.get_by_role("log").inner_text()
            assert [shown.count(words) for words in said] == [1, 1, 1, 1]
        assert phone.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0
        assert findings(phone, axe_source()) == [] == findings(page, axe_source())

        page.get_by_role("button", name="Rest").click()
        expect(state(page)).to_contain_text("suspended")
        review_from_now_on(page, phone)
    with model_on(lab, K, {"count": "assistant", "turns": [*turns, says("I remember: one.")]}):
        say(phone, "and now?")
        for one in (page, phone):
            expect(one.get_by_role("log")).to_contain_text("I remember: one.")
        expect(page.get_by_role("complementary")).to_contain_text("review, full-auto")
        page.get_by_role("button", name="End", exact=True).click()
        expect(page.get_by_role("dialog")).to_contain_text("End this session?")
        page.get_by_role("dialog").get_by_role("button", name="End", exact=True).click()
        for one in (page, phone):
            expect(state(one)).to_contain_text("ended")
    assert [one["turns"] for one in fleet.ask("sessions", "show", session)["interactive_runs"]] == [4, 1]
    console.go(page, "#/chat", "Chat")
    expect(page.locator("li.row", has_text="make a first file")).to_contain_text("ended")
    phone.context.close()
    shown_at_no_time(console, page, session)
    page.context.close()
    console.quiet()


EARLY = """() => new MutationObserver((_, mine) => {
  const cards = [...document.querySelectorAll('[role=alert]')];
  const button = cards.find((one) => one.textContent.includes('asked-next'))?.querySelector('button');
  if (!button) return;
  mine.disconnect();
  button.click();
  const press = () => {
    document.querySelector('main').dispatchEvent(new KeyboardEvent('keydown', {key: 'y', bubbles: true}));
    window.early = true;
  };
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(press)));
}).observe(document.body, {childList: true, subtree: true, characterData: true})"""
"""A press that was meant for the question before."""


def test_a_question_is_answered_once_and_a_turn_is_cancelled(
    console: Console, worker: None, lab: Lab
) -> None:
    """It takes more than 30 s: commands of a real host wait for a user, at two faces."""
    fleet, shell = console.owner, HANDS["native"].shell
    top = project(fleet, "asked-in-chat")
    (top / "pansafety.yaml").write_text(ASKING)
    turns = [shell("printf asked-one > one.txt"), shell("printf asked-next > next.txt")]
    turns += [says("It is written."), shell("printf asked-two > two.txt")]
    turns += [says("Then it is not."), {**says("Too late."), "latency": 300}]
    page = console.enter(viewport={"width": 1280, "height": 800})
    with model_on(lab, K, {"count": "assistant", "turns": turns}):
        session = begin(console, page, top, "write it, but ask")
        log, card = page.get_by_role("log"), page.get_by_role("region", name="builder needs your approval")
        expect(card).to_contain_text("printf asked-one > one.txt")
        expect(page).to_have_title(re.compile("asks: write it"))
        reader = fleet.ask("admin", "tokens", "--create", "looks", "--allow", "read")["token"]
        beside = console.person().new_page()
        opened(console, beside, reader, f"#/chat/{session}")
        expect(beside.get_by_role("region", name="builder needs your approval")).to_contain_text("only reads")
        expect(beside.locator("main")).to_contain_text("may not say anything")
        expect(beside.get_by_role("button", name=re.compile("Allow|Send|End|Stop"))).to_have_count(0)
        page.evaluate(EARLY)
        allowed = list[str]()
        page.on("request", lambda request: allowed.extend(re.findall("/approve$", request.url)))
        expect(card.get_by_role("button", name="Allow once")).to_be_enabled()
        page.locator("main").focus()
        page.keyboard.press("y")
        expect(card).to_contain_text("printf asked-next > next.txt")
        page.wait_for_function("() => window.early")
        expect(card.get_by_role("button", name="Deny")).to_be_enabled()
        assert len(allowed) == 1, "nobody has read the second one"
        page.keyboard.press("x")
        for one in (page, beside):
            expect(one.get_by_role("log")).to_contain_text("It is written.")
            expect(one.get_by_role("region", name="builder needs your approval")).to_have_count(0)
        for told in (log, beside.get_by_role("log")):
            expect(told).to_contain_text("[a user has answered: yes]")
            expect(told).not_to_contain_text(re.compile("waits for a user|allowed it once"))

        say(page, "and the second")
        expect(card).to_contain_text("printf asked-two > two.txt")
        fleet.run("deny", "--call", "3", session, "one is enough").ok()
        expect(log).to_contain_text("Then it is not.")
        expect(card).to_have_count(0)
        expect(log.locator("details", has_text="asked-two")).to_contain_text("denied")

        say(page, "slowly now")
        page.get_by_role("button", name="Stop the answer").click()
        expect(log).to_contain_text("This turn has ended early: cancelled")
        expect(state(page)).to_have_text("waits for you")
        fleet.run("sessions", "end", session).ok()
        expect(state(page)).to_contain_text("ended")
    beside.context.close()
    page.context.close()
    console.quiet()


def kill_worker(session: str) -> bool:
    """Kill -9 of the program that takes the session's turns; whether it was there."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            first = next((word for word in words if word.endswith(b".py")), b"")
            is_python = (entry / "exe").resolve().name.startswith("python")
            if is_python and first.endswith(b"/native/program.py") and session.encode() in b" ".join(words):
                os.kill(int(entry.name), signal.SIGKILL)
                return True
    return False


def test_a_lost_turn_is_said_again_by_nobody_but_a_user(console: Console, worker: None, lab: Lab) -> None:
    fleet = console.owner
    top = project(fleet, "lost-in-chat")
    page = console.enter(viewport={"width": 360, "height": 740})
    turns = [says("Ready."), {**says("Too late."), "latency": 300}]
    with model_on(lab, K, {"count": "assistant", "turns": turns}):
        session = begin(console, page, top, "be ready")
        expect(page.get_by_role("log")).to_contain_text("Ready.")
        say(page, "do the long thing")
        expect(page.get_by_role("article", name="turn 2")).to_contain_text("do the long thing")
        assert kill_worker(session)
        lost = page.get_by_role("region", name="Its last turn is lost")
        expect(lost).to_contain_text("nobody knows how far it came")
        expect(state(page)).to_contain_text("turn lost")
    with model_on(lab, K, {"count": "assistant", "turns": [says("Ready."), says("Done now.")]}):
        lost.get_by_role("button", name="Say it again").click()
        expect(page.get_by_role("log")).to_contain_text("Done now.")
        expect(lost).to_have_count(0)
        expect(page.get_by_text("do the long thing")).to_have_count(2)
        page.get_by_role("button", name="End", exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name="End").click()
        expect(state(page)).to_contain_text("ended")
    page.context.close()
    console.quiet()


def test_a_planners_question_is_answered_from_the_page_of_its_workspace(
    console: Console, worker: None, lab: Lab
) -> None:
    fleet, top = console.owner, project(console.owner, "planned-web")
    where = ("--once", "--node", f"node{K}", "--model", CLI.model, "--runtime", "native")
    page = console.enter()
    try:
        with model_on(lab, K, {"count": "assistant", "turns": [says("Which words count?"), says("# Words")]}):
            fleet.run("plan", "Count the words", *where, cwd=top, timeout_s=120).ok()
            console.go(page, "#/projects/workspace/count-the-words", "Workspace count-the-words")
            page.get_by_role("region", name="Runs").get_by_role("link", name="Talk").click()
            expect(page.get_by_role("log")).to_contain_text("Which words count?")
            page.get_by_label("Message for planner").fill("all of them")
            page.get_by_role("button", name="Send").click()
            said = page.get_by_role("log").get_by_role("heading", name="Words", exact=True)
            expect(said).to_be_visible(timeout=60_000)  # Markdown is drawn
        fleet.run("sessions", "end", "last").ok()
    finally:
        page.context.close()
    console.quiet()
