"""A model's test through the API, and dispatches that want one first: on memory, with a node that is told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.control import Examine
from node_agent.wire.endpoint import (
    AskFact,
    AskState,
    CheckFact,
    Dialect,
    EndpointFact,
    ExamCheck,
    Grade,
    ModelFact,
    ModelWire,
    PassportFact,
    Residence,
)
from node_agent.wire.node import RuntimeFact
from pancode.agents.model_profiles import ModelPlace
from pancode.fleet import model_tests
from pancode.fleet.acts import ProgressLine
from pancode.fleet.model_tests import LAST_MS, START_MS, NotTested
from pancode.kernel.errors import NotFoundError, UnavailableError
from pancode.kernel.records import Run
from tests.unit.pancode.interfaces.http.world import World, events_of
from tests.unit.pancode.runs.world import facts

PLACE = ModelPlace("n1", "ollama", "qwen3")


def passport(context: Grade = Grade.PASSED) -> PassportFact:
    fix = "OLLAMA_CONTEXT_LENGTH=32768" if context is Grade.FAILED else ""
    checks = [
        CheckFact(check=check, grade=context, words="4096 tokens", fix=fix)
        if check is ExamCheck.CONTEXT
        else CheckFact(check=check, grade=Grade.PASSED, words="fine")
        for check in ExamCheck
    ]
    return PassportFact(taken_ms=1_790_000_000_000, took_ms=5, checks=tuple(checks), ctx=4096)


class Local(World):
    """A node with a model, which its test is told about by `answer`."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.tell()

    def tell(self, fact: PassportFact | None = None, *asks: AskFact, **more: bool) -> None:
        """`more`: of the model, and `free` of its server."""
        model = ModelFact(
            id="qwen3",
            passport=fact,
            residence=Residence.LOADED,
            ctx_usable=32_768,
            tools=True,
            remote=more.get("remote", False),
        )
        server = EndpointFact(
            name="ollama",
            dialect=Dialect.OLLAMA,
            at="127.0.0.1:11434",
            wires=(ModelWire.CHAT,),
            models=(model,),
            free=more.get("free", True),
        )
        runtimes = tuple(RuntimeFact(name=name, state="ok") for name in ("opencode", "native", "claude"))
        self.node.facts = facts(runtimes=runtimes, endpoints=(server,), asks=asks)
        self.node.breathe()

    def asked(self) -> list[Examine]:
        return [one.body for one in self.node.controls() if isinstance(one.body, Examine)]

    def body(self, **more: Any) -> dict[str, Any]:
        said = {"task": "do it", "model": "ollama/qwen3", "runtime": "opencode", "workspace": "none"}
        return {**said, **more}


@pytest.fixture
def world(tmp_path: Path) -> Local:
    return Local(tmp_path)


def fact(ask: str, state: AskState, words: str = "", fix: str = "") -> AskFact:
    return AskFact(ask=ask, endpoint="ollama", model="qwen3", state=state, words=words, fix=fix)


class Follow:
    """`exams.follow` in one thread: each pause is a step of the story."""

    def __init__(self, world: Local, *steps: Callable[[str], None]) -> None:
        self.world, self.steps, self.lines = world, list(steps), list[ProgressLine]()
        self.asked = model_tests.request_test(world.context.core, PLACE, False)

    def pause(self, seconds: float) -> bool:
        if not self.steps:
            self.world.context.clock.ms += 1_000
            return False
        self.steps.pop(0)(self.asked.id)
        return False

    def go(self) -> Any:
        return model_tests.wait_for_test(self.world.context.core, self.asked, self.lines.append, self.pause)


def test_the_node_is_asked_and_what_it_finds_is_told(world: Local) -> None:
    follow = Follow(
        world,
        lambda ask: world.tell(None, fact(ask, AskState.TESTING, "does it answer?")),
        lambda ask: world.tell(None, fact(ask, AskState.TESTING, "does it call tools?")),
        lambda ask: world.tell(passport(), fact(ask, AskState.DONE, "took 5 s")),
    )
    found = follow.go()
    (ask,) = world.asked()
    assert (ask.endpoint, ask.model, ask.again) == ("ollama", "qwen3", False)
    assert [line.text for line in follow.lines] == ["does it answer?", "does it call tools?"]
    assert found["passed"] is True and found["ctx"] == 4096
    assert [one["check"] for one in found["checks"]] == ["answers", "context", "tools"]
    assert found["taken_at"] == "2026-09-21T14:13:20.000Z"


def test_a_verdict_of_an_earlier_test_is_told_as_such(world: Local) -> None:
    world.tell(passport())
    follow = Follow(
        world,
        lambda ask: world.tell(passport(), fact(ask, AskState.DONE, "already tested; its passport is valid")),
    )
    assert follow.go()["earlier"] is True
    new = passport().model_copy(update={"taken_ms": passport().taken_ms + 1})
    follow = Follow(world, lambda ask: world.tell(new, fact(ask, AskState.DONE, "took 5 s")))
    assert follow.go()["earlier"] is False


def test_what_could_not_be_tested_has_no_verdict(world: Local) -> None:
    """Also where an older passport lies there: it is not what this test has found."""
    follow = Follow(
        world, lambda ask: world.tell(passport(), fact(ask, AskState.GIVEN_UP, "no slot", "wait"))
    )
    found = follow.go()
    assert (found["state"], found["passed"], found["words"], found["fix"]) == (
        "given up",
        None,
        "no slot (n1 says: wait)",
        "",
    )


@pytest.mark.parametrize(("begins", "least"), [(False, START_MS), (True, LAST_MS)])
def test_a_node_that_says_nothing_is_waited_for_no_longer(world: Local, begins: bool, least: int) -> None:
    began = world.context.clock.ms
    steps = [lambda ask: world.tell(None, fact(ask, AskState.TESTING, "words"))] if begins else []
    with pytest.raises(NotTested, match="n1 does not report progress") as no:
        Follow(world, *steps).go()
    assert least < world.context.clock.ms - began < least + 60_000 and "pancode node ls" in no.value.fix


def test_a_node_agent_that_starts_anew_has_forgotten_the_test(world: Local) -> None:
    def anew(ask: str) -> None:
        world.node.session, world.node.nonce, world.node.seq = "s2", "nonce-2", 0
        world.tell()

    began = world.context.clock.ms
    with pytest.raises(NotTested, match="n1 restarted during the test") as no:
        Follow(world, lambda ask: world.tell(None, fact(ask, AskState.TESTING, "words")), anew).go()
    assert world.context.clock.ms - began < START_MS
    assert no.value.fix.endswith("pancode models test n1/ollama/qwen3")


def test_a_coordinator_that_ends_leaves_the_test_to_the_node(world: Local) -> None:
    asked = model_tests.request_test(world.context.core, PLACE, False)
    with pytest.raises(UnavailableError, match="the test continues"):
        model_tests.wait_for_test(world.context.core, asked, lambda line: None, lambda seconds: True)


def test_a_node_that_is_away_is_not_asked(world: Local) -> None:
    for _ in range(200):
        world.context.turn(1_000)
    with pytest.raises(NotTested, match="n1 is unreachable"):
        model_tests.request_test(world.context.core, PLACE, False)
    assert world.asked() == []
    kinds = events_of(world.http.post("/v1/models/test", {"model": "qwen3"}))
    (test,) = kinds[-1][1]["tests"]
    assert (test["state"], test["passed"]) == ("given up", None)
    assert (test["words"], test["fix"]) == ("n1 is unreachable", "pancode fleet up n1")


def test_through_the_api(world: Local) -> None:
    """The node answers from another thread, as it does."""

    def answer() -> None:
        while not (asked := world.asked()):
            threading.Event().wait(0.01)
        world.tell(passport(Grade.FAILED), fact(asked[0].ask, AskState.DONE, "took 5 s"))

    node = threading.Thread(target=answer, daemon=True)
    node.start()
    kinds = events_of(world.http.post("/v1/models/test", {"model": "qwen3", "again": True}))
    node.join(20)
    assert kinds[0][0] == "progress" and kinds[0][1]["text"].startswith("testing qwen3 on n1 (ollama)")
    assert kinds[-1][0] == "result"
    (test,) = kinds[-1][1]["tests"]
    assert test["passed"] is False and test["checks"][1]["fix"] == ""
    assert test["checks"][1]["says"] == "n1 says: OLLAMA_CONTEXT_LENGTH=32768"


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"model": "qwen4"}, "model_not_found", "qwen3?"),
        ({"model": "qwen3", "node": "n11"}, "node_not_found", "n1?"),
        ({"model": ""}, "bad_value", ""),
        ({}, "bad_value", ""),
    ],
)
def test_what_is_asked_wrongly(world: Local, body: dict[str, object], code: str, words: str) -> None:
    told = world.problem("POST", "/v1/models/test", body)
    assert (told["code"], words in told["why"]) == (code, True), told
    assert world.asked() == []


def test_a_dispatch_to_an_untested_model_is_refused_for_programs_and_users(world: Local) -> None:
    told = world.problem("POST", "/v1/runs", world.body())
    assert (told["code"], told["exit_code"]) == ("model_untested", 5)
    assert told["details"] == {"node": "n1", "endpoint": "ollama", "model": "qwen3"}
    assert "--untested" in told["fix"] and world.context.rows(Run) == []


@pytest.mark.parametrize("how", [{"free": False}, {"remote": True}])
def test_a_test_that_costs_is_for_a_user_to_want(world: Local, how: dict[str, bool]) -> None:
    """A dispatch makes the others by itself; of this one no budget would know."""
    world.tell(None, **how)
    told = world.problem("POST", "/v1/runs", world.body())
    assert (told["code"], told["exit_code"]) == ("costly_test", 5)
    assert "costs" in told["message"] and world.context.rows(Run) == []
    assert world.http.post("/v1/runs", world.body(dry_run=True)).json()["costly_test"] is True
    assert "that no budget covers" in model_tests.describe_wait(world.context.core, PLACE)
    world.tell(None)
    assert world.http.post("/v1/runs", world.body(dry_run=True)).json()["costly_test"] is False
    assert "that no budget covers" not in model_tests.describe_wait(world.context.core, PLACE)


def test_a_dry_run_says_that_it_was_not_tested_and_asks_nothing(world: Local) -> None:
    told = world.http.post("/v1/runs", world.body(dry_run=True)).json()
    assert told["admitted"] and told["untested"] == ["n1/ollama/qwen3"]
    assert "has not been tested" in told["nodes"][0]["why"] and world.asked() == []


def test_a_model_that_failed_is_refused_with_the_fix(world: Local) -> None:
    world.tell(passport(Grade.FAILED))
    told = world.problem("POST", "/v1/runs", world.body())
    assert (told["code"], told["exit_code"]) == ("refused_routing", 5)
    assert "4096" in told["message"]
    assert "(n1 says: OLLAMA_CONTEXT_LENGTH=32768)" in told["message"]
    assert "pancode models test n1/" in told["fix"], told["fix"]
    assert world.context.rows(Run) == []


def test_a_model_that_passed_gets_the_run(world: Local) -> None:
    world.tell(passport())
    answer = world.http.post("/v1/runs", world.body())
    assert answer.status_code == 201, answer.text
    world.node.breathe()
    job = world.claim()
    assert (job.endpoint, job.model, job.untested) == ("ollama", "qwen3", False)


@pytest.mark.parametrize("fact", [None, passport(Grade.FAILED)])
def test_without_a_test_where_its_owner_says_so(world: Local, fact: PassportFact | None) -> None:
    world.tell(fact)
    answer = world.http.post("/v1/runs", world.body(untested=True)).json()
    assert "without a test" in answer["warnings"][-1]
    world.node.breathe()
    assert world.claim().untested


def test_what_could_not_be_found_out_is_a_warning(world: Local) -> None:
    world.tell(passport(Grade.UNKNOWN))
    answer = world.http.post("/v1/runs", world.body()).json()
    assert answer["warnings"][-1] == "qwen3 on n1: context: 4096 tokens"


def test_where_a_model_is_nowhere(world: Local) -> None:
    with pytest.raises(NotFoundError):
        model_tests.find_endpoints(world.context.core, "llama", None)


def test_a_tier_that_is_none_names_the_nearest(world: Local) -> None:
    told = world.problem("GET", "/v1/models?tier=smal")
    assert (told["code"], told["fix"]) == ("bad_tier", "pancode models --tier small")
