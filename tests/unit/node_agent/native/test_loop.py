"""The agent loop against a scripted model: limits, denials, answers cut off, servers that fail."""

from __future__ import annotations

import json
import os
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from node_agent.chat.dialect import Question, Trouble, make_trouble
from node_agent.chat.guard import Guard
from node_agent.chat.limits import ChatLimits, Over
from node_agent.chat.messages import (
    Answer,
    Answered,
    Asked,
    Call,
    Tokens,
    ToolResults,
    Turn,
    from_json,
    to_json,
)
from node_agent.native.loop import (
    CUT_TURNS,
    LARGER,
    LAST,
    LAST_TOKENS,
    LEAST_ANSWER,
    MOST_EQUAL,
    WAITS_S,
    Loop,
    PromptTooLong,
)
from node_agent.native.tools.offer import TABLE, list_forms
from node_agent.native.voice import MOST_PRINT, MOST_PRINTED, PRINTS_MS, CommandOutput, Voice
from node_agent.runtimes.workerspec import TOOLS
from node_agent.wire.clock import SystemClock
from node_agent.wire.failure import FailureKind as F
from tests.fakes.node import MemoryClock
from tests.unit.node_agent.native.tree_of import box_of, checkout, spec_of

USED = Tokens(100, 50, 10, reported=True)


def says(text: str, finish: str = "stop") -> Answer:
    return Answer(text, (), finish, USED, "m")


def calls(name: str, finish: str = "tool_call", **arguments: object) -> Answer:
    return Answer("", (Call("c", name, json.dumps(arguments)),), finish, USED, "m")


class Script:
    """A model that answers in turn; the last answer again and again."""

    def __init__(self, *answers: Answer | Trouble) -> None:
        self.answers, self.questions = list(answers), list[Question]()

    def ask(self, question: Question) -> Answer:
        self.questions.append(question)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Trouble):
            raise answer
        return answer


class Stage:
    """A loop on a checkout; what it told is read from a file."""

    def __init__(self, folder: Path, script: Script, **changes: Any) -> None:
        self.top, self.script = checkout(folder), script
        self.file, clock = folder / "told", SystemClock()
        fd = os.open(self.file, os.O_WRONLY | os.O_CREAT)
        weakref.finalize(self, os.close, fd)
        tools, context = list_forms(TOOLS), changes.pop("context", 8_192)
        self.waited: list[float] = []
        self.saved: list[Turn] = []
        limits = {"until_ms": clock.mono_ms() + 60_000, "turns": 20, "calls": 50, "tokens": None}
        self.loop = Loop(
            model=script,
            box=box_of(spec_of(self.top)),
            guard=Guard(context, "system", tools),
            voice=Voice(clock, fd),
            clock=clock,
            limits=ChatLimits(**{**limits, "output_bytes": 1 << 20, **changes}),
            system="system",
            tools=tools,
            wait=self.waited.append,
            saved=lambda turns: self.saved.__setitem__(slice(None), turns),
        )

    def over(self) -> Over:
        with pytest.raises(Over) as caught:
            self.loop.run("the task")
        return caught.value

    def told(self, kind: str) -> list[dict[str, Any]]:
        self.loop.voice.flush()
        lines = self.file.read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["type"] == kind]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_calls_are_done_told_and_answered(folder: Path) -> None:
    stage = Stage(folder, Script(calls("edit", path="notes.txt", old="beta", new="B"), says("Done.")))
    assert stage.loop.run("the task") == "Done."
    assert (stage.top / "notes.txt").read_text() == "alpha\nB\ngamma\n"
    (called,), (ran,) = stage.told("called"), stage.told("ran")
    assert (called["tool"], called["path"]) == ("edit", f"{stage.top}/notes.txt")
    assert 0 < called["at"] <= ran.pop("at")
    assert ran == {"type": "ran", "id": "c", "ok": True, "diff": "-beta\n+B"}
    assert stage.told("usage")[-1] == {
        "type": "usage", "input": 200, "cached": 100, "output": 20, "turns": 2, "told": True, "model": "m"
    }  # fmt: skip
    assert stage.script.questions[0].turns == (Asked("the task"),)
    assert from_json(to_json("s", stage.saved, "here"), "here") == ("s", stage.loop.talk)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("echo a; exit 3", {"output": "a", "exit": 3}),
        ("echo '[exit 0]'; false", {"output": "[exit 0]", "exit": 1}),
        ("seq 2000", {"exit": 0}),
    ],
)
def test_a_command_is_told_with_its_exit_status(folder: Path, command: str, told: dict[str, Any]) -> None:
    """Whatever the command prints, and although the tool itself has worked."""
    stage = Stage(folder, Script(calls("bash", command=command), says("Done.")))
    stage.loop.run("the task")
    (ran,) = stage.told("ran")
    assert {**ran, **told} == ran and ran["ok"] is True
    assert len(ran["output"]) <= 4_010 and (command != "seq 2000" or ran["output"].endswith("2000"))


def test_what_a_model_thinks_is_one_event_before_what_follows(folder: Path) -> None:
    stage = Stage(folder, Script(says("Done.")))
    stage.loop.voice.think("Let me ")
    stage.loop.voice.think("see.")
    stage.loop.voice.say("I see.")
    (thought,) = stage.told("thought")
    assert thought["text"] == "Let me see." and thought["ms"] >= 0
    lines = stage.file.read_text().splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["thought", "said"]


@pytest.mark.parametrize(
    "call",
    [
        calls("write", path="../x", content=""),
        calls("bash", command="rm -rf /"),
        calls("web_search", query="x"),
        calls("read", path="/etc/passwd"),
    ],
    ids=["outside", "grave", "unknown tool", "elsewhere"],
)
def test_what_is_denied_is_told_to_both_and_ends_nothing(folder: Path, call: Answer) -> None:
    stage = Stage(folder, Script(call, says("So I could not.")))
    assert stage.loop.run("t") == "So I could not."
    assert len(stage.told("denied")) == stage.loop.deeds.denied == 1 and stage.told("ran") == []
    told = stage.loop.talk[2]
    assert isinstance(told, ToolResults) and told.results[0].text.startswith("Denied: ")


def test_users_who_watch_are_told_what_a_command_printed_also_when_it_failed(folder: Path) -> None:
    stage = Stage(folder, Script(calls("bash", command="echo here; exit 3"), says("ok")))
    assert stage.loop.run("t") == "ok"
    (ran,) = stage.told("ran")
    assert "here" in ran["output"] and len(ran["output"]) <= 4_000


@pytest.mark.parametrize(
    "call",
    [
        calls("read", path="gone"),
        calls("read"),
        calls("edit", path="notes.txt", old="zzz", new="x"),
        Answer("", (Call("c", "read", "{not json"),), "tool_call", USED),
        Answer("", (Call("c", "read", '["a"]'),), "tool_call", USED),
        Answer("", (Call("c", "grep", '{"pattern": "x", "path": 7}'),), "tool_call", USED),
    ],
)
def test_a_tool_that_fails_ends_nothing(folder: Path, call: Answer) -> None:
    stage = Stage(folder, Script(call, says("ok")))
    assert stage.loop.run("t") == "ok"
    assert [one["ok"] for one in stage.told("ran")] == [False]


def test_a_fault_of_ours_in_a_tool_costs_that_call_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(box: object, given: object) -> str:
        raise RuntimeError("a bug")

    monkeypatch.setitem(cast(dict, TABLE), "read", broken)
    stage = Stage(folder, Script(calls("read", path="notes.txt"), says("ok")))
    assert stage.loop.run("t") == "ok"
    told = stage.loop.talk[2]
    assert isinstance(told, ToolResults) and told.results[0].text == "Error: RuntimeError: a bug"


def test_calls_of_an_answer_that_was_cut_off_are_never_done(folder: Path) -> None:
    cut = calls("write", finish="length", path="half.txt", content="half of a fi")
    stage = Stage(folder, Script(cut, cut, says("ok")))
    assert stage.loop.run("t") == "ok"
    assert not (stage.top / "half.txt").exists() and stage.told("called") == []
    asked = [one.max_tokens for one in stage.script.questions]
    assert asked[1] == 2 * asked[0], "with more room first"
    assert any(isinstance(one, Asked) and "cut off" in one.text for one in stage.loop.talk)


def test_a_model_that_is_always_cut_off_comes_to_an_end(folder: Path) -> None:
    stage = Stage(folder, Script(calls("write", finish="length", path="a", content="b")), context=100_000)
    over = stage.over()
    assert over.kind is F.AGENT_FAILED and "cut off at" in str(over)
    assert len(stage.script.questions) == (LARGER + 1) * CUT_TURNS


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"turns": 3}, F.REQUEST_LIMIT),
        ({"calls": 3}, F.REQUEST_LIMIT),
        ({"answers": 3}, F.TURN_LIMIT),
        ({"tokens": 300}, F.TOKEN_LIMIT),
        ({"until_ms": 0}, F.WALL_LIMIT),
        ({"output_bytes": 300}, F.OUTPUT_LIMIT),
    ],
)
def test_each_limit_ends_a_model_that_calls_for_ever(folder: Path, changes: dict, kind: F) -> None:
    stage = Stage(folder, Script(calls("read", path="notes.txt")), **changes)
    assert stage.over().kind is kind
    assert len(stage.script.questions) <= 4


def test_at_its_last_turn_it_says_in_words_where_it_stands(folder: Path) -> None:
    looks = calls("read", path="notes.txt")
    stage = Stage(folder, Script(looks, looks, says("half of it is done")), answers=2, wrap_up=True)
    over = stage.over()
    assert (over.kind, over.answer) == (F.TURN_LIMIT, "half of it is done")
    assert str(over) == "the model has answered 2 times, the limit is 2"
    last = stage.script.questions[-1]
    assert len(stage.script.questions) == 3 and not last.tools and last.turns[-1] == Asked(LAST)
    assert last.max_tokens <= LAST_TOKENS
    used = stage.told("usage")[-1]
    assert (used["turns"], used["output"]) == (2, 3 * USED.output), (
        "its tokens count, and it is not a turn more"
    )
    assert stage.saved[-1] == Answered("half of it is done")


def test_without_a_word_for_it_there_is_no_last_turn(folder: Path) -> None:
    looks = calls("read", path="notes.txt")
    stage = Stage(folder, Script(looks), answers=2)
    assert (stage.over().answer, len(stage.script.questions)) == ("", 2)
    done = Stage(folder / "other", Script(looks, says("done")), answers=2, wrap_up=True)
    assert done.loop.run("the task") == "done", "who is done within the limit is done"


def test_a_last_turn_that_fails_leaves_the_limit_as_the_reason(folder: Path) -> None:
    looks = calls("read", path="notes.txt")
    stage = Stage(folder, Script(looks, trouble(401)), answers=1, wrap_up=True)
    over = stage.over()
    assert (over.kind, over.answer) == (F.TURN_LIMIT, "")
    again = Stage(folder / "other", Script(looks), answers=1, wrap_up=True)
    assert again.over().answer == "", "a call in place of words is not done"
    assert again.loop.deeds.calls == 1


def trouble(status: int | None, **more: Any) -> Trouble:
    made = Trouble("words of the server", status, passing=status in (None, 429, 500))
    for name, value in more.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("status", "kind", "asked"),
    [
        (401, F.MODEL_AUTH, 1),
        (400, F.MODEL_REFUSED, 1),
        (429, F.MODEL_BUSY, 3),
        (500, F.MODEL_FAILED, 3),
        (None, F.MODEL_FAILED, 3),
    ],
)
def test_a_server_that_fails_is_asked_again_where_that_may_help(
    folder: Path, status: int | None, kind: F, asked: int
) -> None:
    stage = Stage(folder, Script(trouble(status)))
    over = stage.over()
    assert over.kind is kind and "words of the server" in str(over)
    assert len(stage.script.questions) == asked and stage.waited == list(WAITS_S)[: asked - 1]
    assert [one["status"] for one in stage.told("retrying")] == [status] * (asked - 1)


def test_it_waits_as_long_as_the_server_says_but_not_for_ever(folder: Path) -> None:
    stage = Stage(folder, Script(trouble(429, retry_after=7.0), says("ok")))
    assert stage.loop.run("t") == "ok" and stage.waited == [7.0]
    stage = Stage(folder / "b", Script(trouble(429, retry_after=3_600.0)))
    assert stage.over().kind is F.MODEL_BUSY and stage.waited == []


def test_a_server_with_less_room_than_believed_is_believed(folder: Path) -> None:
    long = Trouble("the request exceeds the available context size", 400)
    long.too_long, long.room = True, 4_000
    read = calls("read", path="big")
    stage = Stage(folder, Script(read, read, read, long, says("ok")), context=32_000)
    (stage.top / "big").write_text("word " * 3_000)
    assert stage.loop.run("the task") == "ok"
    assert stage.loop.guard.context == 4_000
    assert stage.told("compacted") and stage.told("noted")
    assert stage.script.questions[-1].turns[0] == Asked("the task")
    assert len(stage.loop.talk) == 8, "what is not sent is kept all the same"


def test_a_prompt_that_cannot_fit_ends_before_the_model_is_asked(folder: Path) -> None:
    stage = Stage(folder, Script(says("never")), context=600)
    over = stage.over()
    assert over.kind is F.CANNOT_START and "--ctx-size" in str(over)
    assert stage.script.questions == []


def test_a_model_that_declines_has_failed(folder: Path) -> None:
    assert Stage(folder, Script(says("I cannot.", "content_filter"))).over().kind is F.AGENT_FAILED


def test_a_flood_of_calls_in_one_answer_is_bounded(folder: Path) -> None:
    many = tuple(Call(f"c{n}", "read", '{"path": "notes.txt"}') for n in range(40))
    stage = Stage(folder, Script(Answer("", many, "tool_call", USED), says("ok")))
    assert stage.loop.run("t") == "ok"
    assert [one["ok"] for one in stage.told("ran")] == [True] * 32 + [False] * 8
    assert isinstance(stage.loop.talk[1], Answered)


def test_what_only_the_server_understands_is_part_of_the_conversation(folder: Path) -> None:
    thought = {"x_made_up": "hm"}
    stage = Stage(folder, Script(replace(calls("ls"), extra=thought), says("Done.")))
    stage.loop.run("the task")
    assert stage.script.questions[1].turns[1] == Answered("", calls("ls").calls, thought)


def test_equal_calls_with_equal_results_in_a_row_end_the_run(folder: Path) -> None:
    stage = Stage(folder, Script(calls("read", path="notes.txt")), turns=1_000, calls=1_000)
    over = stage.over()
    assert (over.kind, stage.loop.turns) == (F.AGENT_FAILED, MOST_EQUAL)
    assert "made the same call 25 times in a row with the same result: read" in str(over)


def test_equal_calls_whose_results_change_do_not_end_it(folder: Path) -> None:
    again = calls("bash", command="echo x >> seen.txt; wc -c < seen.txt")
    stage = Stage(folder, Script(*[again] * (MOST_EQUAL + 5), says("Done.")), turns=100, calls=100)
    assert stage.loop.run("wait until it has grown") == "Done."


def too_long() -> Trouble:
    body = {"error": {"message": "maximum context length is 8192 tokens"}}
    return make_trouble(400, json.dumps(body).encode())


@pytest.mark.parametrize("refused_by", ["guard", "server"])
def test_a_message_that_is_too_long_is_not_kept_and_a_shorter_one_fits(folder: Path, refused_by: str) -> None:
    long = "x" * (40_000 if refused_by == "guard" else 400)
    refusals = [] if refused_by == "guard" else [too_long() for _ in range(3)]
    stage = Stage(folder, Script(says("one"), *refusals, says("two")))
    loop = stage.loop
    assert loop.run("short") == "one"
    with pytest.raises(PromptTooLong):
        loop.run(long)
    loop.close("the prompt is too long")
    assert loop.talk == stage.saved == [Asked("short"), Answered("one")]
    assert loop.run("shorter") == "two"
    assert [one.text for one in loop.talk if isinstance(one, Asked)] == ["short", "shorter"]


def test_a_crowded_conversation_gets_a_shorter_answer_before_its_last_result_is_cut(folder: Path) -> None:
    uncounted = replace(calls("read", path="long.txt"), tokens=Tokens(0, 0, 0))
    stage = Stage(folder, Script(uncounted, says("read")))
    (stage.top / "long.txt").write_text("line\n" * 400)
    assert stage.loop.run("x" * 15_000) == "read"
    first, second = stage.script.questions
    assert first.max_tokens == 2_048 > second.max_tokens >= LEAST_ANSWER
    assert second.turns == tuple(stage.loop.talk[:3]), "the result of the call is whole"


WRITTEN = '<tool_call>{"name": "write", "arguments": {"path": "made.txt", "content": "x"}}</tool_call>'


def test_a_call_that_the_model_writes_as_text_is_done(folder: Path) -> None:
    stage = Stage(folder, Script(says(WRITTEN), says("done")))
    assert stage.loop.run("write") == "done"
    assert len(stage.script.questions) == 2 and isinstance(stage.loop.talk[-2], ToolResults)


def test_a_call_in_a_text_is_only_quoted_once_the_server_has_parsed_one(folder: Path) -> None:
    stage = Stage(folder, Script(calls("read", path="a.txt"), says(WRITTEN)))
    assert stage.loop.run("look") == WRITTEN


def test_a_broken_call_is_told_once_and_then_ends_as_not_done(folder: Path) -> None:
    stage = Stage(folder, Script(says("<tool_call>{"), says("<tool_call>{")))
    with pytest.raises(Over, match="--jinja") as over:
        stage.loop.run("write")
    assert over.value.kind is F.AGENT_FAILED and len(stage.script.questions) == 2


def test_an_answer_of_nothing_shortens_the_conversation_once_and_names_the_context(folder: Path) -> None:
    nothing = says("")
    looks = [calls("read", path="big.txt", start=number) for number in range(1, 5)]
    stage = Stage(folder, Script(*looks, nothing, says("done")))
    (stage.top / "big.txt").write_text("a line of the file\n" * 200)
    assert stage.loop.run("look") == "done"
    before, after = stage.script.questions[-2:]
    assert len(str(after.turns)) < len(str(before.turns))
    stage.loop.model = Script(nothing)
    with pytest.raises(Over, match="larger context"):
        stage.loop.run("look again")


def test_an_answer_of_nothing_to_a_prompt_that_cannot_be_shortened_says_so(folder: Path) -> None:
    stage = Stage(folder, Script(says("")))
    context = stage.loop.guard.context
    with pytest.raises(Over, match="the answer is empty") as over:
        stage.loop.run("a long task " * 1_000)
    assert over.value.kind is F.NO_ANSWER and stage.loop.guard.context == context


def test_a_quota_that_is_used_up_ends_the_run_and_is_not_tried_again(folder: Path) -> None:
    stage = Stage(folder, Script(make_trouble(429, b'{"error": {"code": "insufficient_quota"}}')))
    with pytest.raises(Over) as over:
        stage.loop.run("look")
    assert over.value.kind is F.MODEL_REFUSED and len(stage.script.questions) == 1


def test_what_a_command_prints_is_told_in_whole_lines_while_it_runs(folder: Path) -> None:
    """A secret is never cut in two, and a command that prints much fills no log."""
    stage = Stage(folder, Script(says("Done.")))
    clock = MemoryClock()
    output = CommandOutput(stage.loop.voice, "c", clock)
    output.add(b"first\nsec")
    assert stage.told("printed") == []
    clock.advance(PRINTS_MS)
    output.add(b"ond\nthi")
    assert [one["text"] for one in stage.told("printed")] == ["first\nsecond\n"]
    for _ in range(200):
        clock.advance(PRINTS_MS)
        output.add(b"x" * 90 + b"\n" + b"y" * 3 * MOST_PRINT + b"\nend\n")
    told = [one["text"] for one in stage.told("printed")]
    assert all(len(text) <= MOST_PRINT and text.endswith("\n") for text in told)
    assert sum(map(len, told)) <= MOST_PRINTED + MOST_PRINT
