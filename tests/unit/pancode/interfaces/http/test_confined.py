"""What the runs of a caller may not do, by caller and by route: the owner, a model's program, tokens."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from node_agent.wire.failure import Outcome
from node_agent.wire.policy import Isolation
from pancode.fleet import inventory
from pancode.kernel.node import OwnMachine
from pancode.kernel.records import Action, ActionKind, ApiToken, Audit, Run, RunState
from pancode.kernel.values import replace
from pancode.kernel.visitors import CONFIRMED_MS
from pancode.runs.reconcile import act_now
from pancode.schedules.records import Schedule
from pancode.schedules.scheduler import Scheduler
from pancode.workflows.advancing import Advancing
from pancode.workflows.step_start import StepStarter
from tests.unit.pancode.interfaces.http.test_tcp import ListenerWorld, browser_of, code_of
from tests.unit.pancode.runs.world import Puppet, facts

MINUTE = 60_000
Post = Callable[[str, dict[str, Any]], httpx2.Response]


class TwoMachines(ListenerWorld):
    """The coordinator's machine (n1) and another one (n2), both with a sandbox."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        inventory.change(self.context.core, "n1", lambda node: replace(node, target={"local": True}))
        self.other = Puppet(self.context, "n2")
        self.isolate(Isolation.SANDBOX)

    def isolate(self, isolation: Isolation) -> None:
        for node in (self.node, self.other):
            node.facts = facts(isolation=isolation)
            node.breathe()

    def callers(self) -> dict[str, Post]:
        recent, old = (browser_of(self, confirmed=confirmed) for confirmed in (True, False))
        made = self.ask("POST", "/v1/tokens", recent, {"name": "of-browser", "scopes": ["admin"]}).json()
        secrets = {
            "dispatch": self.token("dispatch", name="weak"),
            "ci": self.token("dispatch", "operate", name="ci"),
            "admin": self.token("admin", name="admin"),
            "old browser": old,
            "recent browser": recent,
            "token of a browser": made["token"],
        }
        found: dict[str, Post] = {"owner": self.http.post}
        found["program"] = lambda path, body: self.http.post(path, body, {"Pancode-Program": "mcp"})
        for name, secret in secrets.items():
            found[name] = partial(self._post, secret)
        return found

    def _post(self, secret: str, path: str, body: dict[str, Any]) -> httpx2.Response:
        return self.ask("POST", path, secret, body)

    def pass_time(self) -> None:
        """Do what the threads of schedules and workflows do within a minute."""
        self.context.clock.ms += MINUTE
        for node in (self.node, self.other):
            node.breathe()
        core, around = self.context.core, self.coordinator.around
        Scheduler(core, around).run_pass()
        for _ in range(9):
            due = [one for one in self.context.rows(Action) if one.kind is ActionKind.ADVANCE]
            for one in due:
                Advancing(core, StepStarter(core, around)).do(one.run, lambda: False)
        act_now(core)


@pytest.fixture
def world(tmp_path: Path) -> TwoMachines:
    return TwoMachines(tmp_path)


def flow_of(dispatch: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "chain", "name": "c", "steps": [{"name": "a", "dispatch": dispatch}]}


def begin(world: TwoMachines, route: str, post: Post, name: str, dispatch: dict[str, Any]) -> None:
    """Have the caller begin the work by this route, now or later."""
    if route == "again":
        kept = str(world.dispatch(**dispatch)["run"])
        ended = replace(world.context.row(Run, kept), state=RunState.ENDED, outcome=Outcome.DONE)
        with world.context.ledger.transaction() as tx:
            tx.put(ended)
        answer = post(f"/v1/runs/{kept}/retry", {})
    elif route == "lane":
        world.http.post("/v1/lanes", {"name": name})
        answer = post(f"/v1/lanes/{name}/add", dispatch)
    else:
        path, body = {
            "run": ("/v1/runs", dispatch),
            "workflow": ("/v1/workflows", flow_of(dispatch)),
            "schedule": ("/v1/schedules", {"name": name, "cron": "* * * * *", "dispatch": dispatch}),
            "workflow of a schedule": (
                "/v1/schedules",
                {"name": name, "cron": "* * * * *", "workflow": flow_of(dispatch)},
            ),
        }[route]
        answer = post(path, body)
    assert answer.status_code in (200, 201), (route, name, answer.text)


ROUTES = ("run", "again", "workflow", "schedule", "workflow of a schedule", "lane")


@pytest.mark.parametrize("route", ROUTES)
def test_only_the_owner_has_a_command_run_outside_of_the_sandbox(world: TwoMachines, route: str) -> None:
    free = {("owner", "n1"), ("owner", "n2"), ("recent browser", "n2")}
    for number, (name, post) in enumerate(world.callers().items()):
        for node in ("n1", "n2"):
            before = {run.id for run in world.context.rows(Run)}
            begin(world, route, post, f"{route.split()[0]}{number}{node}", world.shell(node=node))
            world.pass_time()
            made = [run for run in world.context.rows(Run) if run.id not in before]
            mine = max(made, key=lambda run: (run.retry_of is not None, run.created_ms))
            assert bool(mine.terms.get("walled")) is ((name, node) not in free), (name, node)
            for kind in ("schedules", "lanes"):
                world.http.post(f"/v1/{kind}/{route.split()[0]}{number}{node}/pause", {"by": "ana"})


def test_a_command_without_a_named_node_stays_inside_for_a_browser(world: TwoMachines) -> None:
    answer = world.callers()["recent browser"]("/v1/runs", world.shell()).json()
    assert world.context.row(Run, answer["run"]).terms["walled"]


def test_without_a_sandbox_the_command_of_a_token_is_refused(world: TwoMachines) -> None:
    world.isolate(Isolation.NONE)
    for name, post in world.callers().items():
        refused = post("/v1/runs", world.shell(node="n2")).status_code != 201
        assert refused is (name not in ("owner", "recent browser")), name


@pytest.mark.parametrize(
    ("isolation", "home", "refused"),
    [
        (Isolation.SANDBOX, "/home/ana/.pancode", False),
        (Isolation.LANDLOCK, "/home/ana/.pancode", False),
        (Isolation.LANDLOCK, "/usr/local/pancode", True),
        (Isolation.NONE, "/home/ana/.pancode", True),
    ],
)
def test_on_the_coordinators_machine_the_run_of_a_token_needs_isolation(
    world: TwoMachines, isolation: Isolation, home: str, refused: bool
) -> None:
    world.context.core.machine = OwnMachine(home=home)
    world.isolate(isolation)
    body = {"task": "x", "runtime": "scripted", "workspace": "none", "told_only": True}
    for name, post in world.callers().items():
        answer = post("/v1/runs", {**body, "node": "n1"})
        held = refused and name not in ("owner", "program")
        assert (answer.status_code != 201) is held, (name, answer.text)
        if held:
            assert "pancode dispatch --node n1 --runtime scripted" in answer.json()["fix"], answer.text
        assert post("/v1/runs", {**body, "node": "n2"}).status_code == 201, name


def test_a_run_that_waits_does_not_go_to_the_coordinators_machine_without_isolation(
    world: TwoMachines,
) -> None:
    body = {"task": "x", "runtime": "scripted", "workspace": "none", "told_only": True}
    callers = world.callers()
    world.context.core.live.contacts.last_heartbeats.clear()
    names = {who: str(callers[who]("/v1/runs", body).json()["run"]) for who in ("owner", "dispatch")}
    world.node.facts = facts(isolation=Isolation.NONE)
    for _ in range(3):
        world.node.breathe()
    assert {str(world.node.take().identity.run)} == {names["owner"]} and world.node.claim() is None


def test_a_node_on_the_same_machine_is_known_by_its_heartbeat(world: TwoMachines) -> None:
    core = world.context.core
    heard = core.live.contacts.last_heartbeats[world.other.tag].heartbeat
    for machine, same in (
        (OwnMachine(heard.boot_id, heard.facts.hostname), True),
        (OwnMachine(heard.boot_id, "another container"), False),
        (OwnMachine("another boot", heard.facts.hostname), False),
    ):
        core.machine = machine
        with core.ports.ledger.transaction() as tx:
            (view,) = [one for one in core.views(tx) if one.node.name == "n2"]
        assert bool(view.opens_home) is same, machine


def test_a_child_may_not_do_what_its_parent_may_not(world: TwoMachines) -> None:
    world.isolate(Isolation.NONE)
    body = {"task": "x", "runtime": "scripted", "workspace": "none", "told_only": True}
    parent = world.callers()["dispatch"]("/v1/runs", {**body, "node": "n2"}).json()["run"]
    answer = world.http.post("/v1/runs", {**body, "node": "n1", "parent": parent, "depth": 1})
    assert answer.status_code != 201 and "coordinator's machine" in answer.text


def test_a_schedule_of_an_earlier_version_says_once_what_changes_for_it(world: TwoMachines) -> None:
    post = world.callers()["dispatch"]
    begin(world, "schedule", post, "nightly", world.shell(node="n2"))
    row = world.context.row(Schedule, "nightly")
    request = {name: value for name, value in row.work["request"].items() if name != "confined"}
    with world.context.ledger.transaction() as tx:
        tx.put(replace(row, overlap=True, work={**row.work, "request": request}))
    world.pass_time()
    world.pass_time()
    assert [run.terms["walled"] for run in world.context.rows(Run)] == [True, True]
    assert [one.what for one in world.context.rows(Audit)].count("its commands stay in the sandbox") == 1


def maker_and_made(world: TwoMachines) -> tuple[str, str, str, str]:
    """Return a browser's name and secret, and the secrets of its token and of the one made with that."""
    browser = browser_of(world, confirmed=True)
    (name,) = [row.name for row in world.context.rows(ApiToken)]
    first = world.ask("POST", "/v1/tokens", browser, {"name": "first", "scopes": ["admin"]}).json()["token"]
    second = world.ask("POST", "/v1/tokens", first, {"name": "second", "scopes": ["admin"]}).json()["token"]
    return name, browser, first, second


@pytest.mark.parametrize("way", ["revoked", "signed out", "expired", "gone"])
def test_the_tokens_of_a_browser_end_with_its_session(world: TwoMachines, way: str) -> None:
    name, browser, first, second = maker_and_made(world)
    own = world.token("admin", name="own")
    other = world.ask("POST", "/v1/tokens", own, {"name": "other", "scopes": ["read"]}).json()["token"]
    world.http.post("/v1/tokens/own/revoke", {"by": "ana"})
    with world.context.ledger.transaction() as tx:
        session = tx.get(ApiToken, name)
        assert session is not None
        if way == "expired":
            tx.put(replace(session, expires_ms=world.context.clock.wall_ms()))
        if way == "gone":
            tx.delete(ApiToken, name)
    if way == "signed out":
        world.ask("POST", "/v1/web/session/end", browser)
    if way == "revoked":
        answer = world.http.post(f"/v1/tokens/{name}/revoke", {"by": "ana"}).json()
        assert answer["ended"] == ["first", "second"] and [one["name"] for one in answer["tokens"]] == [
            "other"
        ]
    for secret in (first, second):
        assert world.ask("GET", "/v1/tokens", secret).status_code == 401, way
    assert world.ask("GET", "/v1/runs", other).status_code == 200, "no browser made it"


def test_the_tokens_of_a_browser_are_under_its_twelve_hours(world: TwoMachines) -> None:
    name, _, first, second = maker_and_made(world)
    for secret in (first, second):
        assert world.ask("GET", "/v1/tokens", secret).status_code == 200
        assert world.ask("POST", "/v1/tokens", secret, {"name": f"n{secret[-9:]}"}).status_code == 201
    row = world.context.row(ApiToken, name)
    with world.context.ledger.transaction() as tx:
        tx.put(replace(row, confirmed_ms=(row.confirmed_ms or 0) - CONFIRMED_MS))
    for secret in (first, second):
        told = world.ask("POST", "/v1/tokens", secret, {"name": "late"})
        assert code_of(told, 403) == "unconfirmed_browser" and "the browser that made this token" in told.text
