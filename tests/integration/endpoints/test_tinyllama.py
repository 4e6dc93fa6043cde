"""The tiny server is llama.cpp's own: tools, context, keys, and what it says while it is wedged."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.crowd import crowded
from tests.tinyllama import Tiny, call, tiny_server

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {key: {"type": "string"} for key in keys},
                "required": keys,
            },
        },
    }
    for name, keys in (("write_file", ["path", "content"]), ("read_file", ["path"]))
]


def chat(tiny: Tiny, messages: list[dict[str, Any]], **extra: Any) -> tuple[int, dict[str, Any]]:
    body = {"messages": messages, **extra}
    status, answer = call(f"{tiny.url}/v1/chat/completions", body=body, timeout=60)
    return status, json.loads(answer)


def test_a_scripted_loop_of_tools_goes_through_the_real_parser() -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "make a file [[agent]]"}]
    called = []
    with tiny_server(slots=2) as tiny:
        while messages[-1]["role"] != "assistant" and len(messages) < 9:
            messages.append(chat(tiny, messages, tools=TOOLS)[1]["choices"][0]["message"])
            for one in messages[-1].get("tool_calls") or []:
                called.append(one["function"]["name"])
                messages.append({"role": "tool", "tool_call_id": one["id"], "content": "ok"})
        status, answer = chat(tiny, [{"role": "user", "content": "x " * 9000}])
    assert called == ["write_file", "read_file"]
    assert messages[-1]["content"] == "Done: hello.txt holds one line."
    assert (status, answer["error"]["type"]) == (400, "exceed_context_size_error")


def test_wedged_it_says_that_it_is_well() -> None:
    done: list[int] = []
    with tiny_server(slots=1) as tiny:
        tiny.wedge()
        asked = threading.Thread(
            target=lambda: done.append(chat(tiny, [{"role": "user", "content": "[[hello]]"}])[0])
        )
        asked.start()
        assert call(f"{tiny.url}/health", timeout=20 * crowded())[0] == 200
        with pytest.raises(OSError):
            call(f"{tiny.url}/slots", timeout=1)
        assert not done
        tiny.unwedge()
        asked.join(30 * crowded())
    assert done == [200]
