"""What an orchestrator asks of the fleet, over the coordinator: carried out once, as its run, or refused."""

from __future__ import annotations

import json
import subprocess
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from node_agent.wire.control import FleetAnswers
from node_agent.wire.event import FleetAsked
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.fleet import MOST_FLEET_ANSWER
from node_agent.wire.job import Job
from node_agent.wire.policy import Mode
from node_agent.wire.receipt import TurnStop, Usage
from pancode.agents.agents import CHANGE, FLEET_TOOLS, LOOKS, SCOUTS
from pancode.app.http_routes import VERBS
from pancode.interfaces.http.access.run_rights import InsideRunError
from pancode.interfaces.mcp.protocol import CallProgress
from pancode.interfaces.mcp.tools import BY_NAME
from pancode.kernel.errors import NotFoundError
from pancode.kernel.records import Action, ActionKind, Audit, Run
from pancode.sessions import fleet_calls
from pancode.sessions.commands.line_chat import spent_in_all
from pancode.sessions.routes import fleet_tools
from pancode.sessions.routes.fleet_tools import FleetCalls, RunClient, list_tools
from pancode.workflows.advancing import Advancing
from pancode.workflows.step_start import StepStarter
from tests.crowd import until
from tests.unit.pancode.interfaces.http.test_tcp import ListenerWorld
from tests.unit.pancode.runs.world import failed
from tests.unit.pancode.sessions.test_session_money import cut
from tests.unit.pancode.sessions.test_sessions import begin, record, rested, say, session, world
from tests.unit.pancode.workflows.trees import Trees

__all__ = ["world"]
ROUTES = fleet_tools.compile_paths(VERBS)


class Panos:
    """An interactive run of it, whose model asks for what a test says."""

    def __init__(self, world: ListenerWorld, **more: Any) -> None:
        self.world, self.calls = world, FleetCalls(world.api, VERBS)
        self.session = begin(world, agent="panos", **more)["run"]
        self.job = self.works()
        self.number = 0

    def works(self) -> Job:
        job = self.world.claim()
        self.world.node.start(job)
        self.world.context.turn()
        return job

    def asks(self, tool: str, number: int = 0, **given: Any) -> None:
        self.number = number or self.number + 1
        said = FleetAsked(number=self.number, tool=tool, arguments=json.dumps(given))
        self.world.node.say(self.job.identity, said)
        self.world.context.turn()

    def waiting(self) -> list[Action]:
        return [one for one in self.world.context.rows(Action) if one.kind is ActionKind.FLEET]

    def carry_out(self) -> None:
        """As the thread does, in this one."""
        for action in self.waiting():
            self.calls._do(action, CallProgress(lambda told: None))
        self.world.context.turn()

    def told(self) -> list[FleetAnswers]:
        return [one.body for one in self.world.node.controls() if isinstance(one.body, FleetAnswers)]

    def answer(self, tool: str, **given: Any) -> FleetAnswers:
        self.asks(tool, **given)
        self.carry_out()
        (found,) = self.told()
        assert found.number == self.number and not self.waiting()
        return found

    def audited(self) -> list[tuple[str, str, str]]:
        found = [one for one in self.world.context.rows(Audit) if one.run == self.session]
        return [
            (one.level, one.what, str(one.detail.get("tool") or one.detail.get("asked"))) for one in found
        ]


def runs(world: ListenerWorld) -> list[Run]:
    return list(world.context.rows(Run))


BUILD: dict[str, Any] = {
    "task": "build it",
    "agent": "builder",
    "runtime": "native",
    "model": "anthropic/claude-sonnet-4-5",
}


def test_its_job_offers_the_tools_of_its_mode_and_nobody_elses_does(world: ListenerWorld) -> None:
    panos = Panos(world)
    assert panos.job.fleet_tools is not None
    found = {one.name: one for one in panos.job.fleet_tools.tools}
    assert tuple(found) == FLEET_TOOLS[Mode.BUILD] and panos.job.agent.read_only
    takes = json.loads(found["dispatch"].parameters)["properties"]
    assert not {"cwd", "project"} & set(takes), "it works for its own project"
    assert takes["workspace"]["enum"] == ["git", "none"], "and in no line of a user's work"
    begin(world)
    assert panos.works().fleet_tools is None


def test_a_long_answer_is_cut_and_says_so(world: ListenerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    long = {"isError": False, "content": [{"type": "text", "text": "x" * 300_000}]}
    panos = Panos(world)
    monkeypatch.setattr(fleet_tools, "call_tool", lambda *_: long)
    answer = panos.answer("fleet_status")
    assert len(answer.text) < MOST_FLEET_ANSWER and "300000 characters in total" in answer.text


@pytest.mark.parametrize("mode", list(Mode))
def test_the_table_names_tools_that_there_are_and_without_changes_it_looks_and_scouts(mode: Mode) -> None:
    assert set(FLEET_TOOLS[mode]) <= set(BY_NAME) == set(list_tools())
    assert (CHANGE in FLEET_TOOLS[mode]) is (mode in (Mode.BUILD, Mode.ADMIN))
    if mode is Mode.PLAN:
        assert FLEET_TOOLS[mode] == (*LOOKS, SCOUTS)
        assert all(BY_NAME[name].route.startswith("GET ") for name in LOOKS)


def test_a_change_of_the_settings_waits_for_a_user(world: ListenerWorld) -> None:
    panos = Panos(world)
    assert panos.answer("propose_change", kind="budget", value="25").ok
    (card,) = [one for one in world.http.get("/v1/inbox").json()["items"] if one["kind"] == "change"]
    assert "25" in json.dumps(card)


def test_its_own_level_is_a_card_and_a_yes_raises_it(world: ListenerWorld) -> None:
    panos = Panos(world)
    wrong = panos.answer("propose_change", kind="session", value="full-power")
    assert not wrong.ok and "suggest, auto-edit, full-auto" in wrong.text
    assert panos.answer("propose_change", kind="session", value="full-auto").ok
    asks = session(world, panos.session)["asks"]
    assert asks["words"].startswith(f"session {panos.session}.safety: auto-edit -> full-auto")
    assert world.http.post(f"/v1/runs/{asks['run']}/approve", {"by": "ana"}).status_code == 200
    now = session(world, panos.session)
    assert (now["next"]["safety"], now["asks"]) == ("full-auto", None)
    world.http.post("/v1/config/undo", {"by": "ana"})
    assert session(world, panos.session)["next"] is None, "it is taken back as every change is"


def test_a_dispatch_is_its_child_and_is_made_once(world: ListenerWorld) -> None:
    panos = Panos(world)
    panos.asks("dispatch", **BUILD)
    panos.asks("dispatch", number=1, **BUILD)
    assert len(panos.waiting()) == 1, "told again by a node that was restarted: the same call"
    panos.carry_out()
    (answer,) = panos.told()
    run = json.loads(answer.text)["run"]
    child = world.context.row(Run, run)
    assert answer.ok and child.parent == panos.session and child.depth == 1
    assert (child.agent, child.created_by, child.terms["charged_to"]) == (
        "builder",
        panos.session,
        panos.session,
    )
    assert ("info", "fleet tool called", "dispatch") in panos.audited()
    panos.asks("dispatch", number=1, **BUILD)
    panos.carry_out()
    (again,) = panos.told()
    assert json.loads(again.text)["run"] == run and len(runs(world)) == 2, (
        "the stored answer, and no other run"
    )


def test_a_coordinator_that_died_between_act_and_answer_gives_the_stored_one(world: ListenerWorld) -> None:
    panos = Panos(world)
    panos.asks("dispatch", **BUILD)
    (action,) = panos.waiting()
    fleet_tools.carried_out(
        world.api,
        ROUTES,
        world.context.row(Run, panos.session),
        action.detail,
        CallProgress(lambda told: None),
    )
    assert len(runs(world)) == 2 and panos.waiting(), "it was killed here: nothing was answered"
    panos.calls = FleetCalls(world.api, VERBS)
    panos.carry_out()
    (answer,) = panos.told()
    assert (
        answer.ok
        and json.loads(answer.text)["run"] in {run.id for run in runs(world)}
        and len(runs(world)) == 2
    )


def test_what_takes_no_key_of_others_is_done_once_too(world: ListenerWorld) -> None:
    """The node agent was killed after the answer, and asks again with the number of before."""
    panos = Panos(world)
    given = {"kind": "budget", "value": "25"}
    first = panos.answer("propose_change", **given)
    (card,) = world.http.get("/v1/inbox").json()["items"]
    assert world.http.post(f"/v1/runs/{card['run']}/deny", {"by": "ana"}).status_code == 200
    panos.asks("propose_change", number=panos.number, **given)
    panos.carry_out()
    (again,) = panos.told()
    assert first.ok and again.text == first.text
    assert world.http.get("/v1/inbox").json()["items"] == [], "who has said no is not asked again"


def test_it_looks_and_what_it_reads_is_marked_as_material(world: ListenerWorld) -> None:
    panos = Panos(world)
    assert "untrusted" in json.loads(panos.answer("fleet_status").text)
    shown = json.loads(panos.answer("run_show", run=panos.session).text)
    assert shown["untrusted"] and shown["run"] == panos.session
    names = [one["name"] for one in json.loads(panos.answer("agents").text)["agents"]]
    assert "builder" in names


@pytest.mark.parametrize(
    ("tool", "given"),
    [
        ("approve", {"run": "RUN"}),
        ("schedule_add", {}),
        ("settle", {}),
        ("say", {"run": "RUN", "text": "x"}),
    ],
)
def test_what_is_not_offered_is_refused_and_in_the_audit(
    world: ListenerWorld, tool: str, given: dict[str, Any]
) -> None:
    panos = Panos(world)
    panos.asks(tool, **{name: panos.session if value == "RUN" else value for name, value in given.items()})
    (answer,) = panos.told()
    assert not answer.ok and tool in answer.text and not panos.waiting()
    assert ("warning", "fleet tool call refused", tool) in panos.audited()


def test_the_audit_is_not_filled_by_what_is_refused(
    world: ListenerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_calls, "MOST_REFUSALS_TOLD", 3)
    panos = Panos(world)
    for _ in range(5):
        panos.asks("approve")
        assert not panos.told()[0].ok, "each is answered"
    assert sum(what == fleet_calls.REFUSED for _, what, _ in panos.audited()) == 3
    (last,) = [one for one in world.context.rows(Audit) if one.detail.get("more")]
    assert last.detail["call"] == 3


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cwd": "/etc"}, "does not accept the argument cwd"),
        ({"project": "another"}, "does not accept the argument project"),
        ({"land": True}, "has no argument land"),
        ({"safety": "full-auto"}, "has no argument safety"),
        ({"parent": "r-0009"}, "has no argument parent"),
        ({"task": 7}, "must be of type string"),
        ({"agent": "panos"}, "works only in a chat"),
    ],
)
def test_no_argument_raises_what_it_may(world: ListenerWorld, given: dict[str, Any], words: str) -> None:
    panos = Panos(world)
    answer = panos.answer("dispatch", **{**BUILD, **given})
    assert not answer.ok and words in answer.text and len(runs(world)) == 1


def test_without_a_repository_it_sends_no_scouts_anywhere(world: ListenerWorld) -> None:
    panos = Panos(world)
    answer = panos.answer("explore", questions=["where is the key?"])
    assert not answer.ok and "this session has none" in answer.text and len(runs(world)) == 1


def test_a_reviewer_is_shown_the_change_of_its_own_runs_alone(world: ListenerWorld, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path / "shop")], check=True)
    world.context.depot = depot = Trees()
    world.context.restart()
    world.node.breathe()
    panos = Panos(world, cwd=str(tmp_path / "shop"), workspace="git")
    run = json.loads(panos.answer("dispatch", **BUILD).text)["run"]
    child = panos.works()
    depot.commits.add("d" * 40)
    depot.patches["d" * 40] = {"a.txt": b"-old\n+new\n"}
    world.node.deliver(child, change="change", commit="d" * 40, files_changed=("a.txt",))
    world.context.turn()
    rested(world, panos.job, record(1, 1))
    say(world, panos.session, "have it reviewed")
    panos.job = panos.works()
    review = json.loads(panos.answer("dispatch", **{**BUILD, "agent": "reviewer"}, show=run).text)["run"]
    assert depot.composed[-1].files == {".pancode/inputs/show.diff": b"-old\n+new\n"}
    assert ".pancode/inputs/show.diff" in world.context.row(Run, review).task
    theirs = world.dispatch(workspace="git", cwd=str(tmp_path / "shop"))["run"]
    refused = panos.answer("dispatch", **BUILD, show=theirs)
    assert not refused.ok and "another session or a user started" in refused.text
    assert "name commits such as HEAD~1" in refused.text


def test_the_tools_count_in_its_window(world: ListenerWorld) -> None:
    def tokens_of_tools(session: str) -> int:
        parts = world.http.get(f"/v1/sessions/{session}/context").json()["parts"]
        return next(int(one["tokens"]) for one in parts if one["name"] == "tools")

    panos = Panos(world)
    assert panos.job.fleet_tools is not None
    chars = sum(len(one.description) + len(one.parameters) for one in panos.job.fleet_tools.tools)
    assert tokens_of_tools(panos.session) > chars // 4 > 10 * tokens_of_tools(begin(world)["run"])


def test_what_goes_on_from_its_run_is_its_child_too(world: ListenerWorld) -> None:
    panos = Panos(world)
    run = json.loads(panos.answer("dispatch", **BUILD).text)["run"]
    child = panos.works()
    world.context.depot.commits.add("d" * 40)
    world.node.deliver(child, change="change", commit="d" * 40, files_changed=("a.txt",))
    world.context.turn()
    answer = panos.answer("continue_run", run=run, text="and its tests")
    assert answer.ok, answer.text
    again = world.context.row(Run, json.loads(answer.text)["run"])
    assert (again.parent, again.created_by, again.depth) == (panos.session, panos.session, 1)
    assert again.terms["charged_to"] == panos.session and not again.land
    assert not panos.answer("continue_run", run=panos.session, text="go on").ok


def _steps(world: ListenerWorld, panos: Panos, tool: str, **given: Any) -> list[Run]:
    answer = panos.answer(tool, **given)
    assert answer.ok, answer.text
    shown = json.loads(panos.answer("workflow_show", workflow=json.loads(answer.text)["workflow"]).text)
    assert shown["untrusted"]
    return [world.context.row(Run, step["run"]) for step in shown["steps"] if step["run"]]


HOW = {name: BUILD[name] for name in ("agent", "runtime", "model")}


@pytest.mark.parametrize(
    ("tool", "given", "begun"),
    [
        ("dispatch_batch", {"tasks": ["a", "b"], **HOW}, 2),
        ("dispatch_race", {"task": "a", "best_of": 2, **HOW}, 2),
        ("dispatch_chain", {"steps": [{"task": "a"}, {"task": "b"}], **HOW}, 1),
    ],
)
def test_the_steps_of_a_workflow_are_its_children(
    world: ListenerWorld, tool: str, given: dict[str, Any], begun: int
) -> None:
    panos = Panos(world)
    safety = world.context.row(Run, panos.session).safety
    steps = _steps(world, panos, tool, **given)
    assert len(steps) == begun
    for run in steps:
        assert (run.parent, run.depth, run.created_by) == (panos.session, 1, panos.session)
        assert (run.safety, run.terms["charged_to"]) == (safety, panos.session)


def test_a_later_step_is_its_child_too_and_bound_by_what_a_user_has_narrowed(world: ListenerWorld) -> None:
    panos = Panos(world)
    (first,) = _steps(world, panos, "dispatch_chain", steps=[{"task": "a"}, {"task": "b"}], **HOW)
    child = panos.works()
    terms = {"mode": "plan", "safety": "suggest", "by": "ana"}
    assert world.http.post(f"/v1/sessions/{panos.session}/terms", terms).status_code == 200
    world.node.deliver(child, answer="found it")
    world.context.turn()
    core, around = world.context.core, world.coordinator.around
    Advancing(core, StepStarter(core, around)).do(str(first.workflow), lambda: False)
    workflow = world.http.get(f"/v1/workflows/{first.workflow}").json()
    assert workflow["steps"][1]["run"] is None and "plan" in workflow["steps"][1]["reason"], workflow["steps"]


def test_it_looks_at_and_stops_only_its_own_workflow(world: ListenerWorld) -> None:
    body = {"kind": "batch", "steps": [{"name": "a", "dispatch": {**BUILD, "workspace": "none"}}]}
    stranger = world.http.post("/v1/workflows", body).json()["workflow"]
    world.claim()
    panos = Panos(world)
    answer = panos.answer("workflow_stop", workflow=stranger)
    assert not answer.ok and "not allowed from inside run" in answer.text
    mine = json.loads(panos.answer("dispatch_batch", tasks=["a"], **HOW).text)["workflow"]
    assert panos.answer("workflow_stop", workflow=mine).ok
    assert world.http.get(f"/v1/workflows/{stranger}").json()["state"] == "running"
    for path in ("/etc/passwd", "../../x", "x.yaml"):
        answer = panos.answer("run_workflow", workflow=path)
        assert not answer.ok and ", not a path" in answer.text


def test_its_children_are_paid_by_themselves_up_to_the_ceiling_of_its_session(world: ListenerWorld) -> None:
    panos = Panos(world, budget="3")
    limits = world.context.row(Run, panos.session).limits
    assert limits["usd"] == "2", "of its own model"
    first, second = _steps(world, panos, "dispatch_batch", tasks=["a", "b"], budget="0.40", **HOW)
    assert (first.limits["usd"], second.limits["usd"]) == ("0.40", "0.40")
    answer = panos.answer("dispatch", **{**BUILD, "budget": "0.50"})
    assert answer.ok, answer.text
    run = world.context.row(Run, json.loads(answer.text)["run"])
    assert run.limits["usd"] == "0.20", "3 less its own hold of 2 and 0.80"
    refused = panos.answer("dispatch", **BUILD)
    assert not refused.ok and "the budget is used up for session" in refused.text


def test_it_leaves_half_of_a_small_ceiling_to_its_runs(world: ListenerWorld) -> None:
    panos = Panos(world, budget="2")
    assert Decimal(str(world.context.row(Run, panos.session).limits["usd"])) == 1
    assert panos.answer("dispatch", **BUILD).ok


def test_its_children_together_never_pass_the_ceiling_of_its_session(world: ListenerWorld) -> None:
    panos = Panos(world, budget="5")
    children = _steps(world, panos, "dispatch_batch", tasks=["a", "b", "c"], **HOW)
    limits = [Decimal(str(child.limits["usd"])) for child in children]
    assert limits == [Decimal("1.5"), Decimal("0.75"), Decimal("0.75")], "each has room for its estimate"
    refused = panos.answer("dispatch", **BUILD)
    assert not refused.ok and "reserved: $5.00, ceiling: $5.00" in refused.text, refused.text


def test_a_named_budget_that_fits_is_kept_and_what_is_reserved_is_told(world: ListenerWorld) -> None:
    panos = Panos(world, budget="5")
    more = json.loads(panos.answer("dispatch", **{**BUILD, "budget": "4"}).text)["run"]
    assert world.context.row(Run, more).limits["usd"] == "1.5", "more than is left: half, as without one"
    named = json.loads(panos.answer("dispatch", **{**BUILD, "budget": "1.50"}).text)["run"]
    assert world.context.row(Run, named).limits["usd"] == "1.50", "all that is left"
    money = session(world, panos.session)["money"]
    assert Decimal(money["left_usd"]) == 2, "its own model has told no cost; all of the runs' is reserved"
    assert not panos.answer("dispatch", **BUILD).ok


def test_a_child_of_its_child_is_paid_from_that_ones_limit(world: ListenerWorld) -> None:
    (world.coordinator.home / "pancode.yaml").write_text("dispatch: {max_depth: 3}\n")
    panos = Panos(world, budget="5")

    def left() -> Decimal:
        return Decimal(session(world, panos.session)["money"]["left_usd"])

    child = json.loads(panos.answer("dispatch", **{**BUILD, "budget": "2"}).text)["run"]
    job = panos.works()
    assert (job.identity.run, left()) == (child, Decimal(3))
    body = {**BUILD, "workspace": "none", "by": child, "depth": 2, "parent": child, "budget": "0.60"}
    below = world.http.post("/v1/runs", body)
    assert below.status_code == 201, below.text
    run = world.context.row(Run, below.json()["run"])
    assert (run.terms["charged_to"], run.limits["usd"]) == (panos.session, "0.60")
    assert left() == Decimal(3), "it takes nothing of its own from the session"
    usage = Usage(input_tokens=1_000, output_tokens=10, cost_usd=Decimal("0.10"), cost_source="metered")
    world.node.deliver(job, usage=usage)
    world.context.turn()
    assert left() == Decimal("4.30"), "nobody else's limit bounds it now: 0.10 and its whole 0.60"
    world.node.deliver(panos.works(), usage=usage)
    world.context.turn()
    assert left() == Decimal("4.80")


def test_the_room_that_a_yes_makes_is_beside_what_its_runs_may_still_cost(world: ListenerWorld) -> None:
    panos = Panos(world, budget="3", on_cap="ask")
    child = json.loads(panos.answer("dispatch", **{**BUILD, "budget": "1"}).text)["run"]
    cut(world, panos.job, "2")
    assert world.http.post(f"/v1/runs/{panos.session}/approve", {"by": "ana"}).status_code == 200
    world.context.turn()
    money = session(world, panos.session)["money"]
    assert (money["ceiling_usd"], world.context.row(Run, child).limits["usd"]) == ("5.00", "1")
    assert Decimal(money["sitting_usd"]) == 1, "2 spent, 1 reserved; of 2 more it leaves half to its runs"


def test_what_its_runs_cost_is_told_beside_what_its_own_model_does(world: ListenerWorld) -> None:
    panos = Panos(world)
    assert panos.answer("dispatch", **BUILD).ok
    usage = Usage(input_tokens=1_000, output_tokens=10, cost_usd=Decimal("0.25"), cost_source="metered")
    world.node.deliver(panos.works(), usage=usage)
    world.context.turn()
    told = session(world, panos.session)
    assert (told["money"]["runs_usd"], told["money"]["sitting_usd"]) == ("0.25", "2")
    assert told["usage"]["cost_usd"] in (None, "0"), "not of its own"
    assert spent_in_all(told).endswith(", its runs $0.25")
    begin(world)
    assert session(world, "last")["money"]["runs_usd"] is None


def test_a_run_that_waits_for_a_yes_is_neither_changed_nor_gone_on_with(world: ListenerWorld) -> None:
    panos = Panos(world)
    run = json.loads(panos.answer("dispatch", ask=True, **BUILD).text)["run"]
    for tool in ("tell", "continue_run", "answer"):
        answer = panos.answer(tool, run=run, text="yes, and push it")
        assert not answer.ok and "not allowed from inside run" in answer.text, answer.text
    assert world.context.row(Run, run).task == BUILD["task"]


def test_a_no_to_a_session_that_rests_is_told_with_the_words_that_go_on(world: ListenerWorld) -> None:
    panos = Panos(world)
    assert panos.answer("propose_change", kind="budget", value="25").ok
    (card,) = world.http.get("/v1/inbox").json()["items"]
    rested(world, panos.job, record(1, 0))
    assert world.http.post(f"/v1/runs/{card['run']}/deny", {"by": "ana"}).status_code == 200
    assert session(world, panos.session)["state"] == "rests", "nothing begins by itself"
    say(world, panos.session, "what now?")
    told = panos.works().task
    assert told.startswith("(ana denied your request: budget day") and "what now?" in told


def test_the_interactive_run_after_a_lost_turn_hears_what_that_had_begun(world: ListenerWorld) -> None:
    panos = Panos(world)
    run = json.loads(panos.answer("dispatch", **BUILD).text)["run"]
    lost = record(1, 0, stop=TurnStop.LOST)
    died = failed(FailureKind.AGENT_FAILED, Outcome.ERROR)
    world.node.deliver(panos.job, turns=(lost,), session="s-1", **died)
    world.context.turn()
    assert session(world, panos.session)["state"] == "turn lost"
    say(world, panos.session, "what now?")
    (task,) = [one.task for one in runs(world) if one.terms.get("continues") == panos.session]
    assert f"the newest runs that it had started: {run} (builder, pending)" in task and "what now?" in task


def test_a_stop_of_its_interactive_run_holds_what_was_asked_before(world: ListenerWorld) -> None:
    panos = Panos(world)
    panos.asks("dispatch", **BUILD)
    assert world.http.post(f"/v1/runs/{panos.session}/stop", {"by": "ana"}).status_code == 200
    panos.carry_out()
    assert len(runs(world)) == 1


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "budget", "value": "1E-2000000000"},
        {"kind": "budget", "value": "1E+2000000000"},
        {"kind": "preset", "target": "local: none -> local", "value": "local"},
        {"kind": "preset", "target": "a\nb", "value": "local"},
    ],
)
def test_a_change_is_what_its_card_says(world: ListenerWorld, given: dict[str, str]) -> None:
    panos = Panos(world)
    assert not panos.answer("propose_change", **given).ok
    assert world.http.get("/v1/inbox").json()["items"] == []


def test_an_interactive_run_that_ended_is_told_nothing_and_begins_nothing(world: ListenerWorld) -> None:
    panos = Panos(world)
    panos.asks("dispatch", **BUILD)
    rested(world, panos.job, record(1, 0))
    panos.carry_out()
    assert not panos.waiting() and not panos.told() and len(runs(world)) == 1


def test_too_many_at_once_are_refused(world: ListenerWorld) -> None:
    panos = Panos(world)
    for _ in range(17):
        panos.asks("fleet_status")
    (refused,) = panos.told()
    assert refused.number == 17 and not refused.ok and len(panos.waiting()) == 16


class HeldCalls(FleetCalls):
    """Carries out nothing until it is let go."""

    def __init__(self, world: ListenerWorld) -> None:
        super().__init__(world.api, VERBS)
        self.go, self.runs = Event(), list[str]()

    def _do(self, action: Action, progress: CallProgress) -> None:
        self.runs.append(action.run)
        self.go.wait()


def test_one_interactive_run_leaves_room_for_the_calls_of_others(world: ListenerWorld) -> None:
    greedy = Panos(world)
    calls = greedy.calls = HeldCalls(world)
    for _ in range(fleet_tools.MOST_OF_ONE + 2):
        greedy.asks("fleet_status")
    other = Panos(world)
    other.asks("fleet_status")
    try:
        calls.run_pass()
        until(lambda: len(calls.runs) == fleet_tools.MOST_OF_ONE + 1, "those that may be at work are")
        assert calls.runs.count(other.session) == 1
    finally:
        calls.go.set()


def test_in_plan_it_only_looks(world: ListenerWorld) -> None:
    panos = Panos(world, mode="plan")
    panos.asks("dispatch", **BUILD)
    (answer,) = panos.told()
    assert not answer.ok and "dispatch is not a tool of this interactive run" in answer.text


def test_it_may_have_the_model_of_a_call_tested_and_reach_no_other_stream(world: ListenerWorld) -> None:
    panos = Panos(world)
    client = RunClient(world.api, ROUTES, world.context.row(Run, panos.session), "key")
    with pytest.raises(NotFoundError):
        list(client.events("POST", "/v1/models/test", {"model": "n1/ollama/nosuch", "node": "n1"}))
    with pytest.raises(InsideRunError):
        list(client.events("GET", "/v1/events"))
