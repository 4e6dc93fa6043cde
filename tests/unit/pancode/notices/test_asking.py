"""A notice of a question has a link that answers that one question, is in no row, and dies with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pancode.app.http_routes import VERBS
from pancode.config.notify import NoticeRoute, NotifyRules
from pancode.interfaces.http.access import tokens
from pancode.interfaces.http.routing import TcpAccess
from pancode.kernel.errors import UnavailableError
from pancode.kernel.records import ApiToken, Audit
from pancode.kernel.values import replace
from pancode.notices.deliverer import LINK_MS, Outgoing
from pancode.notices.records import Delivery
from tests.unit.pancode.interfaces.http.test_tcp import ListenerWorld, code_of
from tests.unit.pancode.people.routes.test_inbox import blocked, held

DESK = "https://desk.example.org/"
RULES = NotifyRules({"phone": "ntfy"}, (NoticeRoute(("phone",), ("waits",)),), console=DESK, answers=True)


class Phone:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.came: list[Mapping[str, Any]] = []
        self.now, self.down = RULES, False

    def rules(self) -> NotifyRules:
        return self.now

    def secret(self, name: str) -> str:
        return "ntfy://h/t"

    def notify(self, address: str, notice: Mapping[str, Any]) -> None:
        self.came.append(notice)
        if self.down:
            raise UnavailableError("the line was cut")

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> str:
        return "HTTP 204"


class AskingWorld(ListenerWorld):
    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.phone = Phone()
        self.outgoing = Outgoing(self.context.core, self.phone, tokens)
        self.outgoing.run_pass(here=True)

    def asked(self, **more: Any) -> tuple[str, str]:
        """A run that asks, and the token of the link that the phone got."""
        run = blocked(self, **more)
        self.outgoing.run_pass(here=True)
        page, _, token = str(self.phone.came[-1]["link"]).partition("#")
        assert page == f"{DESK}answer" and token.startswith("pct_"), self.phone.came[-1]
        return run, token

    def links(self) -> list[ApiToken]:
        return [one for one in self.context.rows(ApiToken) if one.name.startswith("notice-")]


@pytest.fixture
def world(tmp_path: Path) -> AskingWorld:
    return AskingWorld(tmp_path)


def test_the_link_shows_and_answers_its_question_and_nothing_else(world: AskingWorld) -> None:
    run, token = world.asked()
    other = blocked(world)
    (item,) = world.ask("GET", "/v1/inbox", token).json()["items"]
    assert (item["run"], item["words"], item["choices"]) == (run, "Which?", ["left", "right"])
    for verb in VERBS:
        about = verb.path.replace("{run}", other if verb.for_item else run)
        if verb.over_tcp is TcpAccess.TOKEN and not (verb.for_item and about == verb.path):
            path = about.replace("{", "").replace("}", "")
            assert code_of(world.ask(verb.method, path, token), 403) == "wrong_item", verb.name
    assert world.ask("POST", f"/v1/runs/{run}/deny", token, {"by": "mallory"}).status_code == 200
    said = [row for row in world.context.rows(Audit, run=run) if row.what in ("denied", "asked over TCP")]
    assert {row.detail["by"] for row in said} == {f"token {world.links()[0].name}"}, "on record as that link"


def test_it_dies_with_its_question_however_that_ends(world: AskingWorld) -> None:
    run, token = world.asked()
    assert world.http.post(f"/v1/runs/{run}/continue", {"by": "ana"}).status_code == 201
    assert world.ask("GET", "/v1/inbox", token).json()["items"] == [], "at once"
    assert code_of(world.ask("POST", f"/v1/runs/{run}/deny", token), 403) == "wrong_item"
    world.outgoing.run_pass(here=True)
    assert world.links() == [] and code_of(world.ask("GET", "/v1/inbox", token), 401) == "unknown_token"
    told = [row for row in world.context.rows(Audit) if row.what.startswith("token ")]
    assert [(row.what, row.detail["by"]) for row in told] == [
        ("token made", "notice to phone"),
        ("token revoked", "the end of its question"),
    ]


def test_another_question_keeps_its_link_and_a_late_one_is_over(world: AskingWorld) -> None:
    first, _ = world.asked()
    second, token = world.asked()
    world.http.post(f"/v1/runs/{first}/deny", {"by": "ana"})
    world.outgoing.run_pass(here=True)
    assert [one.run for one in world.links()] == [second]
    world.context.clock.ms += LINK_MS
    assert code_of(world.ask("GET", "/v1/inbox", token), 401) == "expired_token"


def test_its_secret_is_in_no_row_and_each_try_has_its_own(world: AskingWorld) -> None:
    world.phone.down = True
    run, lost = world.asked()
    world.phone.down = False
    world.context.clock.ms += 60_000
    world.outgoing.run_pass(here=True)
    again = str(world.phone.came[-1]["link"]).partition("#")[2]
    assert again != lost and len(world.links()) == 2, "the first try may have arrived"
    for row in (*world.context.rows(Delivery), *world.context.rows(Audit), *world.context.rows(ApiToken)):
        assert again not in repr(row) and lost not in repr(row)
    assert world.phone.came[-1]["answers"] and f"pancode answer {run}" in str(world.phone.came[-1]["text"])


@pytest.mark.parametrize("rules", [replace(RULES, answers=False), replace(RULES, console=None)])
def test_without_the_setting_it_has_the_command_only(world: AskingWorld, rules: NotifyRules) -> None:
    world.phone.now = rules
    run = blocked(world)
    world.outgoing.run_pass(here=True)
    (told,) = world.phone.came
    page = None if rules.console is None else f"{DESK}#/runs/{run}"
    assert told["link"] == page and world.links() == [] and "pancode answer" in told["text"]


def test_a_landing_gets_no_such_link_and_what_was_answered_already_is_not_sent(world: AskingWorld) -> None:
    held(world)
    world.outgoing.run_pass(here=True)
    assert all("/answer#" not in str(one["link"]) for one in world.phone.came) and world.links() == []
    assert any("waits for you: landing" in str(one["text"]) for one in world.phone.came)
    world.phone.came.clear()
    run = blocked(world)
    world.http.post(f"/v1/runs/{run}/deny", {"by": "ana"})
    world.outgoing.run_pass(here=True)
    assert not world.phone.came and world.links() == []
    assert [row for row in world.context.rows(Delivery) if row.body.get("waits") == run] == []
    blocked(world)
    world.outgoing.run_pass(here=True)
    assert len(world.phone.came) == 1, "the next one is sent"
