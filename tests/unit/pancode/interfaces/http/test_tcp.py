"""The API over TCP: nothing without a token, each token within its scopes, one-time codes, one inbox item."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from node_agent.wire.policy import Isolation
from pancode import __version__
from pancode.app.http_routes import VERBS
from pancode.interfaces.http.access.codes import trade_code
from pancode.interfaces.http.access.request_filter import ListenerRules
from pancode.interfaces.http.access.tokens import MOST_FAILURES, revoke
from pancode.interfaces.http.bodies import LandBody
from pancode.interfaces.http.routing import TcpAccess
from pancode.interfaces.http.tcp import _sign_body, make_tcp_app
from pancode.kernel.records import ApiToken, Audit, Run
from pancode.kernel.states import How, IdentityVariable
from pancode.kernel.values import replace
from pancode.kernel.visitors import BROWSER_MS, CONFIRMED_MS, Browser, Visitor
from tests.unit.pancode.interfaces.http.world import World, app_of
from tests.unit.pancode.people.routes.test_inbox import blocked
from tests.unit.pancode.runs.world import facts

BASE = "http://127.0.0.1:7433"


class ListenerWorld(World):
    """The same coordinator, asked over TCP as well."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.node.facts = facts(isolation=Isolation.SANDBOX)  # as commands of a token need it
        self.node.breathe()
        _, self.api = app_of(self.coordinator)
        self.api.facts["api"] = BASE
        self.http = type(self.http)(Starlette(routes=[verb.route(self.api) for verb in VERBS]))
        console = Route("/{name:path}", lambda request: PlainTextResponse("console"))
        self.listener = make_tcp_app(self.api, VERBS, ListenerRules("http", "127.0.0.1"), [console])

    def ask(
        self, method: str, path: str, token: str = "", body: object = None, **headers: str
    ) -> httpx2.Response:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            told["Authorization"] = f"Bearer {token}"
        return asyncio.run(self._ask(method, path, body if method == "POST" else None, told))

    async def _ask(self, method: str, path: str, body: object, headers: dict[str, str]) -> httpx2.Response:
        transport = httpx2.ASGITransport(self.listener, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
            said = None if method == "GET" else body if body is not None else {}
            return await client.request(method, path, headers=headers, json=said)

    def token(self, *scopes: str, **more: Any) -> str:
        name = more.pop("name", "-".join(scopes) or "one")
        said = {"name": name, "by": "ana", **({"scopes": scopes} if scopes else {}), **more}
        answer = self.http.post("/v1/tokens", said)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])


@pytest.fixture
def world(tmp_path: Path) -> ListenerWorld:
    return ListenerWorld(tmp_path)


def browser_of(world: ListenerWorld, *, confirmed: bool) -> str:
    """The secret of a browser's session, with or without a recent one-time link."""
    code = world.http.post("/v1/web/codes", {"by": "ana"}).json()["code"]
    made = world.ask("POST", "/v1/web/session", body={"code": code}).json()
    row = world.context.row(ApiToken, made["name"])
    if not confirmed:
        with world.context.ledger.transaction() as tx:
            tx.put(replace(row, confirmed_ms=(row.confirmed_ms or 0) - CONFIRMED_MS))
    return str(made["token"])


def code_of(answer: httpx2.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["fix"] and told["message"]
    return str(told["code"])


def test_nothing_is_answered_without_a_token_but_the_ping_and_files(world: ListenerWorld) -> None:
    for verb in VERBS:
        path = verb.path.replace("{", "").replace("}", "")
        answer = world.ask(verb.method, path)
        if verb.over_tcp is TcpAccess.SIGNED:
            assert code_of(answer, 403) == "unsigned"
        elif verb.over_tcp is not TcpAccess.OPEN:
            assert code_of(answer, 401) == "no_token", verb.name
            assert answer.headers["www-authenticate"] == "Bearer"
    assert world.ask("GET", "/v1/ping").json() == {"version": __version__}, "a stranger learns no more"
    assert world.ask("GET", "/v1/ping", world.token("read")).json()["pid"] == 4711
    assert world.ask("GET", "/app.js").text == "console"
    assert code_of(world.ask("GET", "/v1/nothing"), 401) == "no_token"
    assert code_of(world.ask("GET", "/v1/runs", "pct_wrong"), 401) == "unknown_token"
    assert code_of(world.ask("GET", "/v1/runs", Authorization="Basic eDp5"), 401) == "no_token"


def test_each_route_is_refused_to_a_token_without_its_scope(world: ListenerWorld) -> None:
    """All that acts, with every token that lacks the scope; nothing is changed by it."""
    tokens = {scope: world.token(scope) for scope in ("read", "answer", "dispatch", "operate", "budget")}
    before = len(world.context.rows(Run))
    for verb in VERBS:
        path = verb.path.replace("{", "").replace("}", "")
        for scope, token in tokens.items():
            if verb.over_tcp is TcpAccess.TOKEN and verb.needs not in (scope, "read"):
                answer = world.ask(verb.method, path, token)
                assert code_of(answer, 403) == "wrong_scope", (verb.name, scope)
    assert len(world.context.rows(Run)) == before


def test_who_asks_is_the_token_whatever_the_request_says(world: ListenerWorld) -> None:
    token = world.token("dispatch", name="ci")
    made = world.ask("POST", "/v1/runs", token, world.shell(by="ana"))
    assert made.status_code == 201, made.text
    assert world.context.row(Run, made.json()["run"]).created_by == "token ci"
    (row,) = [row for row in world.context.rows(Audit) if row.what == "asked over TCP"]
    assert row.detail == {"by": "token ci", "asked": "POST /v1/runs"}


@pytest.mark.parametrize("text", ["x" * 60_000, "a%1b%5b31m%e2%80%ae", "r-nosuch"])
def test_the_record_of_a_request_names_a_run_that_is_there_or_little_text(
    world: ListenerWorld, text: str
) -> None:
    world.ask("POST", f"/v1/runs/{text}/deny", world.token("answer", name="ci"), {})
    (row,) = [row for row in world.context.rows(Audit) if row.what == "asked over TCP"]
    assert row.run is None and len(row.detail["named"]) <= 100 and row.detail["named"].isprintable()


def test_the_record_of_a_request_by_a_short_name_has_the_whole_one(world: ListenerWorld) -> None:
    run = world.dispatch()["run"]
    world.ask("POST", "/v1/runs/last/stop", world.token("operate", name="ci"), {})
    assert [row.run for row in world.context.rows(Audit) if row.what == "asked over TCP"] == [run]


def test_the_callers_environment_is_not_taken_over_tcp(world: ListenerWorld) -> None:
    token = world.token("admin")
    said = {"name": "gpu", "host": "gpu", "environ": {"HOME": "/tmp/of-a-stranger"}}
    assert world.ask("POST", "/v1/nodes/probe", token, said).status_code == 200
    assert world.coordinator.fleet.callers[-1].environ.get("HOME") != "/tmp/of-a-stranger"


def test_a_secret_is_shown_once_and_kept_as_a_digest(world: ListenerWorld) -> None:
    token = world.token("read", name="grafana", lasts_ms=60_000)
    (row,) = world.context.rows(ApiToken)
    assert token not in repr(row) and row.used_ms is None
    assert token not in repr(world.context.rows(Audit))
    told = world.http.get("/v1/tokens").text
    assert token not in told and "grafana" in told
    assert world.ask("GET", "/v1/runs", token).status_code == 200
    assert world.context.row(ApiToken, "grafana").used_ms == world.context.clock.wall_ms()
    assert world.problem("POST", "/v1/tokens", {"name": "grafana"})["code"] == "token_exists"
    world.context.clock.ms += 60_000
    assert code_of(world.ask("GET", "/v1/runs", token), 401) == "expired_token"


def test_a_revoked_token_opens_nothing(world: ListenerWorld) -> None:
    token = world.token("read", name="old")
    mine = world.dispatch(by="token old")["run"]
    world.dispatch()
    done = world.http.post("/v1/tokens/old/revoke", {"by": "ana"}).json()
    assert done["left"] == [mine], "what it had begun continues, and is named"
    assert code_of(world.ask("GET", "/v1/runs", token), 401) == "unknown_token"
    assert world.problem("POST", "/v1/tokens/old/revoke")["code"] == "token_not_found"
    told = [row.what for row in world.context.rows(Audit) if row.what.startswith("token ")]
    assert told == ["token made", "token revoked"]


def test_a_token_cannot_make_one_that_may_do_more(world: ListenerWorld) -> None:
    admin = world.token("admin", lasts_ms=5_000)
    made = world.ask("POST", "/v1/tokens", admin, {"name": "child", "scopes": ["admin"]})
    assert made.status_code == 201 and made.json()["expires_at"] == iso_of(world, "admin")
    assert (
        code_of(world.ask("POST", "/v1/tokens", world.token("operate"), {"name": "x"}), 403) == "wrong_scope"
    )


def iso_of(world: ListenerWorld, name: str) -> str | None:
    found = world.http.get("/v1/tokens").json()["tokens"]
    return next(str(one["expires_at"]) for one in found if one["name"] == name)


def test_failures_are_bounded_and_hold_nobody_up_who_has_a_token(world: ListenerWorld) -> None:
    token = world.token("read")
    for _ in range(MOST_FAILURES):
        assert code_of(world.ask("GET", "/v1/runs", "pct_guess"), 401) == "unknown_token"
    answer = world.ask("GET", "/v1/runs", "pct_guess")
    assert code_of(answer, 429) == "too_many_failures" and answer.headers["retry-after"] == "60"
    assert code_of(world.ask("POST", "/v1/web/session", body={"code": "x"}), 429) == "too_many_failures"
    assert world.ask("GET", "/v1/runs", token).status_code == 200
    assert [row.what for row in world.context.rows(Audit)].count("refused over TCP") == 1
    world.context.clock.ms += 60_000
    assert code_of(world.ask("GET", "/v1/runs", "pct_guess"), 401) == "unknown_token"


def test_a_browser_trades_a_code_once_within_a_minute(world: ListenerWorld) -> None:
    made = world.http.post("/v1/web/codes", {"by": "ana"}).json()
    assert made["url"] == f"{BASE}/#code={made['code']}" and made["lasts_ms"] == 60_000
    page = {"Origin": BASE, "Sec_Fetch_Site": "same-origin"}
    session = world.ask("POST", "/v1/web/session", body={"code": made["code"]}, **page)
    assert session.status_code == 201 and session.json()["scopes"] == ["admin"]
    token, name = session.json()["token"], session.json()["name"]
    assert name.startswith("web-") and world.ask("GET", "/v1/web/session", token).json()["name"] == name
    again = world.ask("POST", "/v1/web/session", body={"code": made["code"]})
    assert code_of(again, 401) == "used_code" and name in again.json()["why"]
    assert f"pancode admin tokens --revoke {name}" in again.json()["fix"]
    (told,) = [one for one in world.context.rows(Audit) if one.what == "code for a browser used again"]
    assert told.level == "warning" and told.detail["token"] == name
    late = world.http.post("/v1/web/codes", {"scopes": ["read"], "lasts_ms": 3_600_000}).json()["code"]
    world.context.clock.ms += 60_000
    assert code_of(world.ask("POST", "/v1/web/session", body={"code": late}), 401) == "unknown_code"
    assert world.ask("POST", "/v1/web/session/end", token).json() == {"ended": name}
    assert code_of(world.ask("GET", "/v1/runs", token), 401) == "unknown_token"


def test_a_browser_stays_signed_in_and_confirms_itself_for_what_lands_or_approves(
    world: ListenerWorld,
) -> None:
    def sign_in(token: str = "") -> dict[str, Any]:
        code = world.http.post("/v1/web/codes", {"by": "ana"}).json()["code"]
        answer = world.ask("POST", "/v1/web/session", token, {"code": code}, User_Agent="Fire\x1bfox")
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    first, run = sign_in(), blocked(world)
    assert (first["agent"], first["address"]) == ("Fire\\x1bfox", "127.0.0.1")
    world.context.clock.ms += CONFIRMED_MS
    told = world.ask("POST", f"/v1/runs/{run}/approve", first["token"], {})
    assert code_of(told, 403) == "unconfirmed_browser" and "pancode web --print" in told.json()["fix"]
    for path, body in (
        (f"/v1/runs/{run}/deny", {}),
        (f"/v1/runs/{run}/land", {}),
        (f"/v1/runs/{run}/land/drop", {}),
        ("/v1/budget/ceiling", {"scope": "day", "usd": "5"}),
        ("/v1/nodes/gpu/set", {"slots": 3}),
        ("/v1/tokens", {"name": "way-round", "scopes": ["operate"]}),
        ("/v1/runs", {"task": "x", "workspace": "none", "land": True}),
    ):
        assert code_of(world.ask("POST", path, first["token"], body), 403) == "unconfirmed_browser", path
    answered = world.ask("POST", f"/v1/runs/{run}/answer", first["token"], {"text": "left"})
    assert answered.status_code == 201, "an answer asks for no link"
    assert world.ask("POST", "/v1/tokens", world.token("admin"), {"name": "x"}).status_code == 201

    second = sign_in(first["token"])
    assert (second["name"], second["created_at"]) == (first["name"], first["created_at"])
    assert second["confirmed_at"] > first["confirmed_at"] and second["expires_at"] > first["expires_at"]
    assert code_of(world.ask("GET", "/v1/runs", first["token"]), 401) == "unknown_token"
    made = world.ask("POST", "/v1/tokens", second["token"], {"name": "y", "scopes": ["operate"]})
    assert made.status_code == 201, "the new link allows it again"

    world.context.clock.ms += BROWSER_MS
    assert code_of(world.ask("GET", "/v1/runs", second["token"]), 401) == "expired_token"
    assert sign_in(second["token"])["name"] != first["name"], "a session that is over does not come back"


def test_a_browser_that_is_revoked_while_it_confirms_itself_does_not_come_back(world: ListenerWorld) -> None:
    browser_of(world, confirmed=True)
    (row,) = world.context.rows(ApiToken)
    code = world.http.post("/v1/web/codes", {"by": "ana"}).json()["code"]
    revoke(world.coordinator.core, row.name, "ana")
    made = trade_code(
        world.coordinator.core, code, Visitor(row, Browser("x", "127.0.0.1"), is_confirmed=True)
    )
    assert [one.name for one in world.context.rows(ApiToken)] == [made["name"]] != [row.name]


def test_codes_are_made_on_the_unix_socket_alone(world: ListenerWorld) -> None:
    assert code_of(world.ask("POST", "/v1/web/codes", world.token("admin")), 403) == "local_only"
    del world.api.facts["api"]
    told = world.problem("POST", "/v1/web/codes")
    assert told["code"] == "listener_closed" and told["fix"] == "pancode node ls"


def test_strangers_pages_hosts_and_queries_are_refused_even_with_a_token(world: ListenerWorld) -> None:
    token = world.token("admin")
    evil = {"Origin": "http://127.0.0.1:5173", "Sec_Fetch_Site": "same-site"}
    assert code_of(world.ask("POST", "/v1/shutdown", token, **evil), 403) == "wrong_origin"
    assert code_of(world.ask("GET", "/v1/runs", token, Host="rebind.test:7433"), 421) == "wrong_host"
    assert code_of(world.ask("GET", f"/v1/runs?token={token}"), 400) == "token_in_query"
    assert code_of(world.ask("POST", "/v1/shutdown", token, Content_Type="text/plain"), 415) == "not_json"
    assert world.coordinator.story == []


def test_a_token_of_one_item_answers_that_and_sees_no_more(world: ListenerWorld) -> None:
    run, other = blocked(world), blocked(world)
    token = world.token(item=run, name="notice")
    (item,) = world.ask("GET", "/v1/inbox", token).json()["items"]
    assert item["run"] == run
    for method, path in (
        ("GET", "/v1/runs"),
        ("GET", f"/v1/runs/{run}"),
        ("POST", f"/v1/runs/{other}/deny"),
        ("POST", "/v1/runs/last/deny"),
        ("POST", f"/v1/runs/{run}/tell"),
        ("POST", f"/v1/runs/{run}/stop"),
        ("POST", "/v1/tokens"),
    ):
        body = {"text": "x"} if path.endswith("tell") else {"name": "x"} if path.endswith("tokens") else {}
        assert code_of(world.ask(method, path, token, body), 403) == "wrong_item", path
    assert world.ask("POST", f"/v1/runs/{run}/deny", token).status_code == 200
    assert code_of(world.ask("POST", f"/v1/runs/{run}/deny", token), 403) == "wrong_item"
    told = world.problem("POST", "/v1/tokens", {"name": "late", "item": run})
    assert told["code"] == "nothing_asked"


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["all"]},
        {"name": "x", "lasts_ms": 0},
        {"name": "x", "lasts_ms": 10**15},
        {"scopes": ["read"]},
    ],
)
def test_a_token_that_makes_no_sense_is_refused(world: ListenerWorld, body: dict[str, Any]) -> None:
    assert world.problem("POST", "/v1/tokens", body)["status"] == 400


def test_every_route_that_acts_says_which_right_it_needs() -> None:
    assert [verb.name for verb in VERBS if verb.method != "GET" and verb.right is None] == []
    assert [verb.name for verb in VERBS if verb.method == "GET" and verb.risk != "looks"] == []


def test_a_token_does_not_say_whose_name_a_commit_has(world: ListenerWorld) -> None:
    body = LandBody(author={IdentityVariable.AUTHOR_NAME: "Eve"}, branch="b")
    assert body.landing(How.SQUASH).author == {"GIT_AUTHOR_NAME": "Eve"}
    assert _sign_body(body, Visitor()).landing(How.SQUASH).author == {}
