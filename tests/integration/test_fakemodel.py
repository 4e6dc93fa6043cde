"""The fake model on a real socket: each wire, plain and streamed, each ready script."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request

import pytest

from tests.crowd import crowded
from tests.fakemodel import PRESETS, FakeModel, preset

PARAMS = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
USER = [{"role": "user", "content": "hi"}]
WIRES = ("anthropic", "chat", "responses", "gemini")
STATUS = {"401": 401, "429": 429, "500": 500, "cut": 0}


def request(wire: str, stream: bool) -> tuple[str, dict]:
    """Path and body of one request that offers a shell."""
    if wire == "anthropic":
        tools: list = [{"name": "Bash", "input_schema": PARAMS}]
        return "/v1/messages", {"model": "m", "stream": stream, "messages": USER, "tools": tools}
    if wire == "chat":
        tools = [{"type": "function", "function": {"name": "bash", "parameters": PARAMS}}]
        body = {"model": "m", "stream": stream, "messages": USER, "tools": tools}
        return "/v1/chat/completions", {**body, "stream_options": {"include_usage": True}}
    if wire == "responses":
        tools = [{"type": "function", "name": "bash", "parameters": PARAMS}]
        return "/v1/responses", {"model": "m", "stream": stream, "input": "hi", "tools": tools}
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    tools = [{"functionDeclarations": [{"name": "run_shell_command", "parameters": PARAMS}]}]
    contents = [{"role": "user", "parts": [{"text": "hi"}]}]
    return "/v1beta/models/m:" + verb, {"contents": contents, "tools": tools}


def post(url: str, body: dict, timeout: float = 5) -> tuple[int, str]:
    """(status, body); status 0 when the connection was dropped or timed out."""
    req = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(req, timeout=timeout) as r:
            return r.status, r.read().decode()
    except urllib.error.HTTPError as e:
        with e:
            return e.code, e.read().decode()
    except (OSError, http.client.HTTPException) as e:
        return 0, repr(e)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("name", sorted(set(PRESETS) - {"stall", "slow", "429-once", "stream-error"}))
def test_every_ready_script_answers_as_it_says(name: str, wire: str) -> None:
    for stream in (False, True):
        path, body = request(wire, stream)
        with FakeModel(preset(name)) as fm:
            code, text = post(fm.url + path, body)
        assert code == STATUS.get(name, 200), text[:200]
        assert "fakemodel internal" not in text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wire", WIRES)
def test_text_and_usage_and_tool_names_arrive_on_each_wire(wire: str, stream: bool) -> None:
    path, body = request(wire, stream)
    with FakeModel(preset("text")) as fm:
        text = post(fm.url + path, body)[1]
        assert ("Hello from t" if stream else "Hello from the model.") in text
        assert ("1200" if wire == "anthropic" else "1700") in text  # cached tokens in or out of the input
        fm.set_script(preset("shell"))
        text = post(fm.url + path, body)[1]
        assert {"anthropic": '"Bash"', "gemini": '"run_shell_command"'}.get(wire, '"bash"') in text
        fm.set_script(preset("bad-json"))
        with pytest.raises(ValueError):
            json.loads(post(fm.url + path, body)[1])


@pytest.mark.parametrize("wire", WIRES)
def test_a_stream_error_comes_as_an_event(wire: str) -> None:
    path, body = request(wire, True)
    with FakeModel(preset("stream-error")) as fm:
        code, text = post(fm.url + path, body)
    assert code == 200
    assert "error" in text
    assert not text.rstrip().endswith("message_stop")


def test_the_second_turn_comes_after_a_tool_result() -> None:
    path, body = request("chat", False)
    more = [{"role": "assistant", "tool_calls": []}, {"role": "tool", "content": "from-shell"}]
    with FakeModel(preset("shell")) as fm:
        assert "Done" in post(fm.url + path, {**body, "messages": USER + more})[1]
        assert fm.wait_for(1, 3)  # a request is listed when it is finished, a moment after the answer
        assert fm.requests[0]["last_tool_result"] == "from-shell"


def test_a_fault_that_hits_once_hits_once() -> None:
    path, body = request("chat", False)
    with FakeModel(preset("429-once")) as fm:
        assert [post(fm.url + path, body)[0] for _ in range(3)] == [429, 200, 200]


def test_a_stall_notices_that_the_client_left() -> None:
    path, body = request("anthropic", True)
    with FakeModel(preset("stall")) as fm:
        t = time.monotonic()
        assert post(fm.url + path, body, timeout=0.5)[0] == 0
        assert fm.wait_for(1, 5)
        assert "client closed" in fm.requests[0]["closed"]
        assert time.monotonic() - t < 5 * crowded()


def test_the_key_is_checked_on_every_wire() -> None:
    with FakeModel({**preset("text"), "api_key": "k"}) as fm:
        for wire in WIRES:
            path, body = request(wire, False)
            assert post(fm.url + path, body)[0] == 401


def test_an_endpoint_fault_hits_its_path_only() -> None:
    with FakeModel({"endpoint_fault": {"path": "/health", "status": 503, "times": 1}}) as fm:
        assert post(fm.url + "/v1/chat/completions", request("chat", False)[1])[0] == 200
        with pytest.raises(urllib.error.HTTPError) as e:
            urllib.request.urlopen(fm.url + "/health", timeout=5 * crowded())
        e.value.close()
        with urllib.request.urlopen(fm.url + "/health", timeout=5 * crowded()) as r:
            assert r.status == 200


PROBES = ("/v1/models", "/api/tags", "/api/ps", "/api/version", "/api/v0/models", "/health", "/props")


def test_discovery_paths_answer() -> None:
    with FakeModel() as fm:
        for p in (*PROBES, "/slots", "/v1beta/models"):
            with urllib.request.urlopen(fm.url + p, timeout=5 * crowded()) as r:
                assert isinstance(json.load(r), list if p == "/slots" else dict)


def test_ollamas_own_wire_streams_lines() -> None:
    with FakeModel(preset("text")) as fm:
        text = post(fm.url + "/api/chat", {"model": "m", "messages": USER})[1]
    frames = [json.loads(line) for line in text.splitlines()]
    assert "".join(f["message"]["content"] for f in frames) == "Hello from the model."
    assert frames[-1]["done"] and frames[-1]["eval_count"] == 34
