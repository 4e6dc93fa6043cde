"""A talk with Panos fits a small window: the real prompt, the real tools, the real worker and its guard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from node_agent.chat.dialect import Question, request_of
from node_agent.chat.guard import CAREFUL
from node_agent.chat.messages import Answer, Answered, Asked, Call, Result, Tokens, Turn
from node_agent.native.equipment import WorkerHeartbeat, equipment_of, pause
from node_agent.native.loop import Loop
from node_agent.native.tools.offer import Deeds
from node_agent.runtimes.jobs import request_of as launch_request
from node_agent.runtimes.native.runtime import launch
from node_agent.runtimes.workerspec import GOES_ON, WorkerSpec
from node_agent.wire.clock import SystemClock
from node_agent.wire.policy import Mode
from pancode.agents.agents import FLEET_TOOLS
from pancode.sessions.routes.fleet_tools import list_tools
from tests.bench.orchestrator import Recorder, shape_of
from tests.bench.orchestrator import done as carry_out
from tests.unit.node_agent.native.tree_of import checkout
from tests.unit.node_agent.runtimes.asked import place
from tests.unit.pancode.interfaces.http.test_tcp import ListenerWorld
from tests.unit.pancode.sessions.routes.test_fleet_tools import Panos
from tests.unit.pancode.sessions.test_sessions import world

__all__ = ["world"]
IN_ORDER = ("planner", "builder", "reviewer")
SAID, ANSWER_CHARS, RESULT_CHARS = "Tell me more about this, please. ", 2_000, 3_000
"""Each message has 300 characters, each answer 500 tokens of four characters."""


class Model:
    """It answers each message with so many characters, after a call if a test asks for one."""

    def __init__(self, rate: float) -> None:
        self.rate, self.calls, self.questions = rate, list[str](), list[Question]()

    def ask(self, question: Question) -> Answer:
        self.questions.append(question)
        size = len(json.dumps(request_of(question, "m", None, newest=False)))
        tokens = Tokens(int(size / self.rate), 0, 500, reported=True) if self.rate else Tokens(0, 0, 0)
        calls = (Call("c", self.calls.pop(0), "{}"),) if self.calls else ()
        text = "" if calls else f"answer {len(self.questions)} ".ljust(ANSWER_CHARS, "x")
        return Answer(text, calls, "tool_call" if calls else "stop", tokens, "m")


class Talk:
    """What `pancode chat` with Panos sends to a model whose server does not report its context."""

    def __init__(self, world: ListenerWorld, folder: Path, rate: float = 0) -> None:
        job, top = Panos(world).job, checkout(folder)
        started = launch(launch_request(job, str(top), str(folder)), place())
        for name, data in started.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        spec = WorkerSpec.model_validate_json((folder / "native.json").read_bytes())
        equipped = equipment_of(spec.model_copy(update={"is_hosted": False}), SystemClock())
        self.model, self.saved = Model(rate), list[Turn]()
        self.loop = Loop(
            model=self.model,
            box=equipped.box,
            guard=equipped.guard,
            voice=equipped.voice,
            clock=SystemClock(),
            limits=equipped.limits,
            system=equipped.system,
            tools=equipped.tools,
            wait=WorkerHeartbeat(pause).wait,
            saved=lambda turns: self.saved.__setitem__(slice(None), turns),
            known=False,
        )
        assert self.loop.guard.context == CAREFUL

    def say(self, text: str, call: str = "") -> None:
        self.model.calls = [call] if call else []
        self.loop.run(text)
        self.loop.close("")


def answer_call(deeds: Deeds, call: Call, number: int = 0) -> Result:
    """As the coordinator does."""
    return Result(call.id, call.name, "r" * RESULT_CHARS)


def message(number: int) -> str:
    return f"{GOES_ON}\n\n" + f"{number}: {SAID * 12}"[:300]


@pytest.mark.parametrize("rate", [0, 3.6, 4.2], ids=["no count", "3.6 characters a token", "4.2"])
def test_twelve_messages_with_answers_and_three_calls_fit(
    world: ListenerWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    """Each message also begins an interactive run of its own, which adds words to it."""
    monkeypatch.setattr(Deeds, "do", answer_call)
    talk = Talk(world, tmp_path, rate)
    for number in range(1, 13):
        talk.say(message(number), "fleet_status" if number in (2, 5, 9) else "")
        question = talk.model.questions[-1]
        assert talk.loop.guard.tokens(question.turns) + question.max_tokens <= CAREFUL
        assert question.max_tokens >= 1_000, "there is room for an answer of 500 tokens"
        asked = [one.text for one in question.turns if isinstance(one, Asked)]
        assert [one for one in asked if one.startswith(GOES_ON)] == [message(n) for n in range(1, number + 1)]
        texts = [one.text for one in talk.model.questions[-1].turns if isinstance(one, Answered) and one.text]
        newest = [one.text for one in talk.loop.talk[:-1] if isinstance(one, Answered) and one.text][-1:]
        assert number in (1, 2, 5, 9) or texts[-1:] == newest, "the answer before is whole"
    assert len(talk.model.questions) == 15 and len(talk.saved) == 30


def test_the_prompt_and_the_tools_leave_room_for_the_conversation(
    world: ListenerWorld, tmp_path: Path
) -> None:
    """What is added to the tools takes room from the conversation. Shorten another text for it."""
    talk = Talk(world, tmp_path)
    tools = {one.name for one in talk.loop.tools}
    assert tools >= {*FLEET_TOOLS[Mode.BUILD], "read", "grep", "find", "ls", "changes"}
    assert talk.loop.guard.tokens([]) <= 4_500


Calls = list[tuple[str, dict[str, Any]]]
LAST_DIFF = {"agent": "red-team", "task": "attack the change", "show": "r-abc123"}
REQUESTS: dict[str, tuple[Calls, str, str]] = {
    "Review the authentication module and build rate limiting": (
        [("dispatch", {"task": "a", "agent": "reviewer"}), ("dispatch", {"task": "b", "agent": "builder"})],
        "coding task agent reviewer builder",
        "builder + reviewer",
    ),
    "First the planner, then the builder, then the reviewer": (
        [("dispatch_chain", {"steps": [{"task": "a", "agent": one} for one in IN_ORDER]})],
        "first plan, then build, then review",
        "planner, then builder, then reviewer",
    ),
    "Scout the src/ directory": (
        [("explore", {"questions": ["what is in src/?"], "depth": "shallow"})],
        "scouts questions repository shallow",
        "",
    ),
    "Switch to full-auto": (
        [("propose_change", {"kind": "session", "value": "full-auto"})],
        "switch to full-auto session safety chat user card",
        "",
    ),
    "Set the budget ceiling to 5 dollars": (
        [("propose_change", {"kind": "budget", "target": "day", "value": "5"})],
        "set the budget dollars day",
        "",
    ),
    "Use the local preset": (
        [("propose_change", {"kind": "preset", "value": "local"})],
        "use the local preset",
        "",
    ),
    "Set dispatch.safety to auto-edit for all that comes": (
        [
            ("config_show", {"key": "dispatch.safety"}),
            ("propose_change", {"kind": "setting", "target": "dispatch.safety", "value": "auto-edit"}),
        ],
        "setting all later work key value",
        "",
    ),
    "Review the last 3 commits": (
        [("dispatch", {"task": "review them", "agent": "reviewer", "show": "HEAD~3..HEAD"})],
        "commits diff reviewer",
        "reviewer",
    ),
    "Review these three files in parallel": (
        [("dispatch_batch", {"tasks": ["review a", "review b", "review c"], "agent": "reviewer"})],
        "several independent tasks",
        "reviewer + reviewer + reviewer",
    ),
    "Build a REST endpoint": (
        [("dispatch", {"task": "build it", "agent": "builder", "verify": ["pytest -q"], "budget": "1"})],
        "coding task builder commands must pass usd",
        "builder",
    ),
    "Three different reviewers": (
        [("dispatch", {"task": "a", "agent": one}) for one in ("reviewer", "plan-reviewer", "red-team")],
        "task agent reviewer",
        "plan-reviewer + red-team + reviewer",
    ),
    "Run the red-team against the diff": ([("dispatch", LAST_DIFF)], "run diff agent", "red-team"),
    "Dispatch the builder for it, with worktree isolation": (
        [("dispatch", {"task": "build it", "agent": "builder", "workspace": "git"})],
        "workspace git snapshot repository",
        "builder",
    ),
    "Land the last one": ([("land", {"run": "last"})], "change finished run user's gates ask", ""),
    "The builder, the reviewer, then the builder again": (
        [("run_workflow", {"workflow": "review-loop", "input": "build it"})],
        "workflow name review-loop task",
        "",
    ),
    "Have the documenter write the README": (
        [("dispatch", {"task": "write it", "agent": "documenter"})],
        "task agent",
        "documenter",
    ),
    "Begin a run that sleeps for 60 seconds, and stop it": (
        [("dispatch", {"task": "sleep 60", "agent": "builder"}), ("stop", {"run": "r-abc123"})],
        "task stop run",
        "builder",
    ),
    "Give it to dev": ([("dispatch", {"task": "build it", "agent": "dev"})], "task agent", "builder"),
    "What became of it?": (
        [("wait", {"run": "last"}), ("run_show", {"run": "last"}), ("diff", {"run": "last"})],
        "wait end run answer changed files patch",
        "",
    ),
    "How is the batch doing?": (
        [("workflow_show", {"workflow": "w-abc123"})],
        "steps batch chain race state cost",
        "",
    ),
}
"""The requests that were typed to Panos by hand. For each: the calls that its model made, words by which a
model finds the tools and arguments, and the runs that the calls begin."""


@pytest.mark.parametrize("request_", REQUESTS)
def test_each_request_is_served_by_the_tools_that_are_offered(request_: str) -> None:
    """It proves that each call is valid, is carried out, and is described. Which tool a real model chooses is
    measured by `python -m tests.bench.orchestrator`."""
    calls, words, begun = REQUESTS[request_]
    offered, recorder, told = list_tools(), Recorder(), ""
    for name, given in calls:
        assert name in FLEET_TOOLS[Mode.BUILD]
        form = offered[name]
        schema = json.loads(form.parameters)
        jsonschema_rs.validate({**schema, "additionalProperties": False}, given)
        told += f"{name} {form.description} {form.parameters} ".lower()
        if name.startswith("dispatch"):
            done = Call("c", name, json.dumps(given))
            assert json.loads(carry_out(done, recorder).text).get("state") == "pending"
    missing = [word for word in words.replace(",", "").split() if word not in told]
    assert not missing, missing
    assert not begun or shape_of(recorder.steps, names=True) == begun


def test_without_changes_no_request_begins_a_run_that_writes() -> None:
    assert not any(name.startswith("dispatch") for name in FLEET_TOOLS[Mode.PLAN])
