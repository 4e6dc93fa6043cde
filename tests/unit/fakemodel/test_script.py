"""The fake model's script: what is refused, which rule and turn is picked."""

from __future__ import annotations

import pytest

from tests.fakemodel import PRESETS, Script, ScriptError, preset
from tests.fakemodel.wires import Req, norm_anthropic, norm_chat, norm_gemini, norm_responses

TOOL = {"name": "Bash", "input_schema": {"type": "object", "properties": {}}}


def asked(prompt: str = "hi", results: int = 0, tools: bool = True) -> Req:
    messages: list[dict] = [{"role": "user", "content": prompt}]
    for i in range(results):
        messages.append({"role": "assistant", "content": [{"type": "tool_use", "id": str(i)}]})
        messages.append({"role": "user", "content": [{"type": "tool_result", "content": f"r{i}"}]})
    return norm_anthropic({"model": "m", "messages": messages, "tools": [TOOL] if tools else []})


@pytest.mark.parametrize(
    "bad",
    [
        {"turns": []},
        {"turns": "x"},
        {"turns": ["x"]},
        {"turns": [{"txt": "x"}]},
        {"turns": [{"fault": {"stat": 1}}]},
        {"turns": [{"fault": 401}]},
        {"rules": [{"if": {}}]},
    ],
)
def test_a_script_of_another_form_is_refused(bad: dict) -> None:
    with pytest.raises(ScriptError):
        Script(bad)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_is_a_valid_script_and_a_copy(name: str) -> None:
    Script(preset(name))
    preset(name)["turns"].clear()
    assert preset(name)["turns"]


def test_the_turn_follows_the_tool_results_and_the_last_repeats() -> None:
    script = Script({"turns": [{"tool": "shell"}, {"text": "b"}]})
    picked = [script.pick(asked(results=n))[1] for n in range(4)]
    assert picked == [0, 1, 1, 1]


def test_the_turn_may_follow_the_models_answers() -> None:
    script = Script({"count": "assistant", "turns": [{"text": "a"}, {"text": "b"}, {"text": "c"}]})
    assert script.pick(asked(results=2))[2]["text"] == "c"


@pytest.mark.parametrize(
    ("condition", "hit"),
    [
        ({"prompt": "^fix"}, True),
        ({"prompt": "nothing"}, False),
        ({"model": "^m$"}, True),
        ({"wire": "chat"}, False),
        ({"has_tools": True}, True),
        ({"prompt": "fix", "wire": "gemini"}, False),
    ],
)
def test_a_rule_hits_when_all_its_conditions_hold(condition: dict, hit: bool) -> None:
    rule = {"name": "r", "if": condition, "turns": [{"text": "rule"}]}
    script = Script({"rules": [rule], "turns": [{"text": "plain"}]})
    assert script.pick(asked("fix it"))[2]["text"] == ("rule" if hit else "plain")


def test_a_request_without_tools_gets_the_side_answer_of_a_script_that_uses_tools() -> None:
    script = Script({"turns": [{"tool": "shell"}]})
    assert script.pick(asked(tools=False))[0]["name"] == "side"
    assert script.pick(asked())[0]["name"] == "default"


def test_each_wire_is_read_alike() -> None:
    chat = norm_chat(
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "Working directory: /w"},
                {"role": "user", "content": "hi"},
                {"role": "assistant", "tool_calls": []},
                {"role": "tool", "content": "out"},
            ],
        }
    )
    responses = norm_responses(
        {
            "model": "m",
            "instructions": "Working directory: /w",
            "input": [
                {"role": "user", "content": "hi"},
                {"type": "function_call", "name": "x"},
                {"type": "function_call_output", "output": "out"},
            ],
        }
    )
    gemini = norm_gemini(
        {
            "systemInstruction": {"parts": [{"text": "Working directory: /w"}]},
            "contents": [
                {"role": "user", "parts": [{"text": "hi"}]},
                {"role": "model", "parts": [{"functionCall": {}}]},
                {"role": "user", "parts": [{"functionResponse": {"response": "out"}}]},
            ],
        },
        "m",
        False,
    )
    for r in (chat, responses, gemini):
        assert (r.user_text, r.cwd, r.assistant_turns, r.tool_results) == ("hi", "/w", 1, 1), r.wire
        assert "out" in r.last_tool_result
