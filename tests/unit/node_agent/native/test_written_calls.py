"""Calls that a model writes as text: whole forms are calls, broken ones are told, quotations are answers."""

from __future__ import annotations

import json

import pytest

from node_agent.native.written_calls import read_written_calls

TOOLS = ("run_command", "write_file")
GIVEN = {"command": "ls"}
JSON = json.dumps({"name": "run_command", "arguments": GIVEN})


@pytest.mark.parametrize(
    "text",
    [
        f"<tool_call>\n{JSON}\n</tool_call>",
        f"I look first.\n<tool_call>{JSON}</tool_call>",
        JSON,
        f"```json\n{JSON}\n```",
        f"[{JSON}]",
        json.dumps({"name": "run_command", "parameters": GIVEN}),
        json.dumps({"function": {"name": "run_command", "arguments": json.dumps(GIVEN)}}),
        "<function=run_command>\n<parameter=command>\nls\n</parameter>\n</function>",
        "<tool_call>\n<function=run_command>\n<parameter=command>ls</parameter>\n</function>\n</tool_call>",
        f"<function=run_command>{json.dumps(GIVEN)}</function>",
    ],
)
def test_a_whole_form_is_a_call(text: str) -> None:
    (call,) = read_written_calls(text, TOOLS).calls
    assert (call.name, call.fields) == ("run_command", GIVEN)


def test_several_forms_are_several_calls_with_different_ids() -> None:
    made = read_written_calls(f"<tool_call>{JSON}</tool_call><tool_call>{JSON}</tool_call>", TOOLS)
    assert [call.name for call in made.calls] == ["run_command"] * 2 and len({c.id for c in made.calls}) == 2


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "run_command", "arg',
        f"<tool_call>{JSON}</tool_call><tool_call>{{",
        '<tool_call>{"name": "of_another_program", "arguments": {}}</tool_call>',
        "<function=run_command>ls</function>",
        "[TOOL_CALLS] run_command ls",
    ],
)
def test_a_broken_form_is_no_call_and_is_told(text: str) -> None:
    made = read_written_calls(text, TOOLS)
    assert made.is_broken and not made.calls


@pytest.mark.parametrize(
    "text", ["", "done", '{"answer": 42}', "[]", '{"name": "Ana", "arguments": {}}', "null"]
)
def test_another_answer_is_an_answer(text: str) -> None:
    made = read_written_calls(text, TOOLS)
    assert not made.is_broken and not made.calls
