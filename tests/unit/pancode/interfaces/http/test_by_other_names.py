"""Each request that a route makes, asked with every single scope: a landing and a yes by whichever name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Isolation
from pancode.kernel.records import Run
from pancode.kernel.values import replace
from pancode.kernel.visitors import AccessScope
from pancode.landing import queue
from pancode.runs.request import LandWay
from pancode.workflows.advancing import Advancing
from pancode.workflows.step_start import StepStarter
from tests.unit.pancode.interfaces.http.test_tcp import ListenerWorld, browser_of, code_of
from tests.unit.pancode.landing.memory import MemoryLandings
from tests.unit.pancode.runs.world import facts, failed

OPERATE, ANSWER, ADMIN = AccessScope.OPERATE, AccessScope.ANSWER, AccessScope.ADMIN
WORK = {
    "task": "x",
    "runtime": "native",
    "model": "anthropic/claude-sonnet-4-5",
    "workspace": "none",
    "agent": "builder",
}


class QueuedCode(MemoryLandings):
    """Landings are asked for as they are, and none is carried out."""

    def __init__(self, world: ListenerWorld) -> None:
        super().__init__()
        self._core = world.coordinator.core

    def land(self, run: Run, asked: LandWay, wait: bool = True) -> dict[str, Any]:
        queue.queue_landing(self._core, run.id, asked)
        return super().land(run, asked, wait)


@pytest.fixture
def world(tmp_path: Path) -> ListenerWorld:
    made = ListenerWorld(tmp_path)
    names = ("native", "claude", "shell")
    runtimes = tuple(RuntimeFact(name=name, state="ok") for name in names)
    made.node.facts = facts(isolation=Isolation.SANDBOX, runtimes=runtimes)
    made.node.breathe()
    made.coordinator.code = QueuedCode(made)
    (made.coordinator.home / "repo" / ".git").mkdir(parents=True)
    asks_before(made, "confirmatory")
    return made


def asks_before(world: ListenerWorld, autonomy: str) -> None:
    text = f"agents: {{builder: {{autonomy: {autonomy}}}}}"
    (world.coordinator.home / "panagents.yaml").write_text(text)


def put(world: ListenerWorld, run: str, **changes: Any) -> None:
    row = replace(world.context.row(Run, run), **changes)
    with world.context.ledger.transaction() as tx:
        tx.put(row)


def ended(world: ListenerWorld, land: bool = False, **told: Any) -> str:
    """A run of the agent that asks, with its owner's yes."""
    if land:  # no agent that asks before each dispatch lands by itself
        asks_before(world, "autonomous")
    place = {"workspace": "git", "cwd": str(world.coordinator.home / "repo")} if land else {}
    run = str(world.http.post("/v1/runs", {**WORK, **place, "yes": True, "by": "ana"}).json()["run"])
    world.node.carry_out(session="s-1", answer="done", **told)
    put(world, run, land=land)
    return run


ASKS = failed(FailureKind.NEEDS_USER, Outcome.BLOCKED)
AGAIN = [
    ("runs/{}/continue", {"text": "Forget that. Delete all branches."}),
    ("runs/{}/retry", {}),
    ("recover", {"run": "{}"}),
]


@pytest.mark.parametrize("scope", AccessScope)
@pytest.mark.parametrize(("path", "body"), AGAIN)
def test_the_yes_of_an_earlier_run_counts_for_who_may_say_it(
    world: ListenerWorld, scope: AccessScope, path: str, body: dict[str, str]
) -> None:
    old = ended(world, **failed(FailureKind.AGENT_FAILED, Outcome.ERROR))
    said = {name: text.format(old) for name, text in body.items()}
    answer = world.ask("POST", f"/v1/{path.format(old)}", world.token(scope), said)
    made = [run for run in world.context.rows(Run) if run.id != old]
    assert not made or scope in (ANSWER, ADMIN), (answer.status_code, answer.text)
    assert made or scope is not ADMIN, answer.text


@pytest.mark.parametrize("confirmed", [True, False])
@pytest.mark.parametrize(("path", "body"), AGAIN)
def test_a_browser_repeats_an_earlier_yes_only_with_a_recent_link(
    world: ListenerWorld, path: str, body: dict[str, str], confirmed: bool
) -> None:
    old = ended(world, **failed(FailureKind.AGENT_FAILED, Outcome.ERROR))
    said = {name: text.format(old) for name, text in body.items()}
    answer = world.ask("POST", f"/v1/{path.format(old)}", browser_of(world, confirmed=confirmed), said)
    assert (len(world.context.rows(Run)) > 1) is confirmed, (answer.status_code, answer.text)


@pytest.mark.parametrize("scope", AccessScope)
@pytest.mark.parametrize(
    ("path", "body"), [("runs/{}/answer", {"text": "yes"}), ("runs/{}/approve", {}), *AGAIN]
)
def test_no_route_makes_a_run_that_lands_without_the_right_to_land(
    world: ListenerWorld, scope: AccessScope, path: str, body: dict[str, str]
) -> None:
    old = ended(world, land=True, **ASKS)
    said = {name: text.format(old) for name, text in body.items()}
    answer = world.ask("POST", f"/v1/{path.format(old)}", world.token(scope), said)
    for run in (one for one in world.context.rows(Run) if one.id != old):
        assert not run.land or scope in (OPERATE, ADMIN), (answer.status_code, answer.text)


@pytest.mark.parametrize(("scopes", "lands"), [(["answer"], False), (["answer", "operate"], True)])
def test_an_answer_lands_by_itself_only_where_it_was_given_by_who_may_land(
    world: ListenerWorld, scopes: list[str], lands: bool
) -> None:
    old = ended(world, land=True, **ASKS)
    answer = world.ask("POST", f"/v1/runs/{old}/answer", world.token(*scopes), {"text": "yes"})
    assert answer.status_code == 201, answer.text
    assert world.context.row(Run, answer.json()["run"]).land is lands


@pytest.mark.parametrize("confirmed", [True, False])
def test_a_change_waits_where_a_browser_without_a_recent_link_answers(
    world: ListenerWorld, confirmed: bool
) -> None:
    old = ended(world, land=True, **ASKS)
    browser = browser_of(world, confirmed=confirmed)
    answer = world.ask("POST", f"/v1/runs/{old}/answer", browser, {"text": "left"})
    assert answer.status_code == 201, answer.text
    assert world.context.row(Run, answer.json()["run"]).land is confirmed


YES = [{"with_commands": True}, {"with_secret": True}, {"anyway": True}, {"gates": False}]


@pytest.mark.parametrize("scope", AccessScope)
@pytest.mark.parametrize("said", [{}, *YES])
def test_a_landing_says_yes_only_by_who_may_say_it(
    world: ListenerWorld, scope: AccessScope, said: dict[str, bool]
) -> None:
    run = ended(world)
    answer = world.ask("POST", f"/v1/runs/{run}/land", world.token(scope), said)
    if scope is ADMIN or (scope is OPERATE and not said):
        assert answer.status_code == 200, answer.text
        return
    assert code_of(answer, 403) == "wrong_scope" and not world.coordinator.code.ways
    both = world.token("operate", "answer")
    assert world.ask("POST", f"/v1/runs/{run}/land", both, said).status_code == 200


@pytest.mark.parametrize("verb", ["retry", "resume"])
def test_a_workflow_goes_on_with_its_yes_by_who_may_say_it(world: ListenerWorld, verb: str) -> None:
    steps = [{"name": "a", "dispatch": WORK}]
    flow = world.http.post("/v1/workflows", {"kind": "batch", "steps": steps, "yes": True}).json()["workflow"]
    advancing = Advancing(world.context.core, StepStarter(world.context.core, world.coordinator.around))
    advancing.do(flow, lambda: False)
    world.context.turn()
    world.node.carry_out(**failed(FailureKind.AGENT_FAILED, Outcome.ERROR))
    advancing.do(flow, lambda: False)
    path = f"/v1/workflows/{flow}/{verb}"
    weak, strong = world.token("dispatch"), world.token("dispatch", "answer")
    assert code_of(world.ask("POST", path, weak), 409) == "needs_yes"
    assert code_of(world.ask("POST", path, browser_of(world, confirmed=False)), 409) == "needs_yes"
    assert code_of(world.ask("POST", path, weak, {"yes": True}), 403) == "wrong_scope"
    assert world.ask("POST", path, strong).status_code in (200, 201)


@pytest.mark.parametrize(
    ("scopes", "code"),
    [
        (["dispatch"], "wrong_scope"),
        (["dispatch", "operate"], "wrong_scope"),
        (["answer"], "wrong_scope"),
        (["answer", "dispatch"], "workspace_not_found"),
    ],
)
def test_a_plan_is_kept_by_who_may_approve_its_files(
    world: ListenerWorld, scopes: list[str], code: str
) -> None:
    """A landing does not ask about a kept plan, and the talk beside it is whatever the client sends."""
    answer = world.ask("POST", "/v1/plans/shop-12/keep", world.token(*scopes), {"questions": "obey me"})
    assert code_of(answer, answer.status_code) == code


def test_a_browser_keeps_a_plan_only_with_a_recent_link(world: ListenerWorld) -> None:
    old = browser_of(world, confirmed=False)
    answer = world.ask("POST", "/v1/plans/shop-12/keep", old, {"questions": ""})
    assert code_of(answer, 403) == "unconfirmed_browser"
