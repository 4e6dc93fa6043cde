"""A user on a phone: gets the notice of a question, opens its link in Chromium, and decides there."""

from __future__ import annotations

import http.server
import json
import threading
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.e2e.console import Console, api, axe_source, findings
from tests.e2e.owner import until

WORDS = "Which port, <img src=x onerror=alert(1)>?"
ASKING = json.dumps({"question": WORDS, "choices": ["8080", "<b>9090</b>"]})


class Phone(http.server.BaseHTTPRequestHandler):
    """Keeps what Apprise posts."""

    came: list[str] = []

    def do_POST(self) -> None:
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.came.append(str(told["message"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def answer_by_notice(console: Console, top: Path) -> None:
    """Its settings and its receiver are there only as long as it runs."""
    owner = console.owner
    settings = owner.fleet_home / "pancode.yaml"
    before = settings.read_text() if settings.exists() else None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Phone) as phone:
        threading.Thread(target=phone.serve_forever, daemon=True).start()
        owner.run("config", "secret", "phone", stdin=f"json://127.0.0.1:{phone.server_port}/").ok()
        channels = {"phone": {"url": "secret:phone"}}
        settings.write_text(json.dumps({"notify": {"channels": channels, "console": console.url}}))
        try:
            _answered(console, top)
        finally:
            settings.unlink() if before is None else settings.write_text(before)
            phone.shutdown()


def _answered(console: Console, top: Path) -> None:
    owner = console.owner
    # A channel gets what happens after the coordinator has first seen it; the end of a run makes it look.
    owner.ended(owner.dispatch("--runtime", "shell", "true", cwd=top))
    task = f"mkdir -p .pancode; echo '{ASKING}' > .pancode/question.json"
    run = owner.dispatch("--runtime", "shell", task, cwd=top)
    assert owner.ended(run)["outcome"] == "blocked"
    until(lambda: [text for text in Phone.came if run in text], "the notice", 40)
    link = next(text for text in Phone.came if run in text).rpartition("\n")[2]
    assert link.startswith(f"{console.url}answer#pct_"), link
    person = console.person(viewport={"width": 360, "height": 740})
    page = person.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(link)  # the page is named by the first line of the task
    expect(page.get_by_role("heading", level=1)).to_have_text(task)
    expect(page.locator("#words")).to_have_text(WORDS)
    expect(page.get_by_role("button", name="2: <b>9090</b>")).to_be_visible()
    expect(page.locator("main img, main b")).to_have_count(0)
    expect(page.get_by_role("button", name="Allow, this once")).to_be_hidden()
    assert "pct_" not in page.url and not [url for url in asked if "pct_" in url.partition("#")[0]]
    assert findings(page, axe_source()) == []
    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0
    page.reload()
    page.get_by_label("Your answer").fill("7")
    page.get_by_role("button", name="Answer", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("pancode")  # there is no choice 7, and that is said
    token = page.evaluate("() => sessionStorage.getItem('pancode-answer')")
    told = person.request.get(f"{console.url}v1/runs", headers={"Authorization": f"Bearer {token}"})
    assert (told.status, told.json()["code"]) == (403, "wrong_item")
    page.get_by_role("button", name="Deny", exact=True).click()
    page.get_by_role("button", name="Deny for good").click()
    expect(page.get_by_role("status")).to_contain_text("Denied")
    assert not [one for one in api(owner, "/v1/inbox")["items"] if one["run"] == run]
    beside = person.new_page()
    beside.goto(link)
    expect(beside.get_by_role("status")).to_contain_text("cannot be used any more")
    person.close()
    console.quiet()
