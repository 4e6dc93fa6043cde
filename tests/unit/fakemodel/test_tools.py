"""The fake model's abstract tools become calls of the tools a CLI offers."""

from __future__ import annotations

import pytest

from tests.fakemodel import Script, ScriptError
from tests.fakemodel.tools import resolve_calls
from tests.fakemodel.wires import Req


def offering(*tools: dict) -> Req:
    r = Req("chat", {}, "m", False)
    r.tools = [{"kind": "function", "schema": {}, **t} for t in tools]
    r.system_text = "Working directory: /w"
    return r


def schema(*props: str, **more: dict) -> dict:
    return {"properties": {**{p: {"type": "string"} for p in props}, **more}, "required": list(props)}


def resolve(turn: dict, *tools: dict) -> list[dict]:
    return resolve_calls(turn, offering(*tools), Script())


def test_the_offered_name_and_argument_names_are_used() -> None:
    edit = {"name": "Edit", "schema": schema("file_path", "old_string", "new_string")}
    turn = {"tool": "edit", "args": {"path": "${cwd}/a", "old": "x", "new": "y"}}
    assert resolve(turn, edit) == [
        {
            "name": "Edit",
            "kind": "function",
            "arguments": {"file_path": "/w/a", "old_string": "x", "new_string": "y"},
        }
    ]


def test_required_arguments_that_the_script_does_not_give_are_filled() -> None:
    tool = {"name": "bash", "schema": schema("command", "description")}
    (call,) = resolve({"tool": "shell", "args": {"command": "ls"}}, tool)
    assert call["arguments"] == {"command": "ls", "description": "fakemodel"}


def test_a_command_becomes_a_list_where_a_list_is_wanted() -> None:
    tool = {"name": "shell", "schema": {"properties": {"command": {"type": "array"}}}}
    (call,) = resolve({"tool": "shell", "args": {"command": "ls"}}, tool)
    assert call["arguments"] == {"command": ["bash", "-lc", "ls"]}


def test_a_list_of_edits_is_made_where_it_is_wanted() -> None:
    tool = {"name": "edit", "schema": {"properties": {"path": {"type": "string"}, "edits": {}}}}
    (call,) = resolve({"tool": "edit", "args": {"path": "a", "old": "x", "new": "y"}}, tool)
    assert call["arguments"]["edits"] == [{"oldText": "x", "newText": "y"}]


def test_without_the_tool_a_shell_does_it() -> None:
    tool = {"name": "bash", "schema": schema("command")}
    (call,) = resolve({"tool": "write", "args": {"path": "a b", "content": "it's"}}, tool)
    assert call["arguments"]["command"] == "printf '%s' 'it'\\''s' > 'a b'"


def test_without_any_fitting_tool_the_text_says_so() -> None:
    (call,) = resolve({"tool": "write", "args": {"path": "a"}}, {"name": "Read"})
    assert "no tool for 'write' is offered: Read" in call["missing"]


def test_a_patch_tool_gets_a_patch() -> None:
    tool = {"name": "apply_patch", "kind": "custom"}
    (call,) = resolve({"tool": "write", "args": {"path": "a", "content": "x\n"}}, tool)
    assert call["arguments"] == "*** Begin Patch\n*** Add File: a\n+x\n*** End Patch\n"


def test_an_exact_call_is_made_whether_the_tool_is_offered_or_not() -> None:
    turn = {"call": {"name": "Bash", "arguments": {"command": "cd ${cwd}"}}}
    (call,) = resolve(turn, {"name": "Read"})
    assert (call["name"], call["arguments"]) == ("Bash", {"command": "cd /w"})


def test_an_unknown_abstract_tool_is_an_error_of_the_script() -> None:
    with pytest.raises(ScriptError, match="teleport"):
        resolve({"tool": "teleport"}, {"name": "bash"})
