"""The chat client against a scripted model server: what is sent, what is understood."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from node_agent.chat import client as module
from node_agent.chat.client import Model, Server
from node_agent.chat.dialect import Question, Trouble
from node_agent.chat.messages import Answered, Asked, Call, Result, ToolResults, Turn
from node_agent.native.tools.offer import list_forms
from node_agent.wire.clock import SystemIds
from node_agent.wire.proxies import rename_schemes
from tests.fakemodel import FakeModel, preset
from tests.fakemodel.state import Log
from tests.integration.socks import socks_proxy

USAGE = {"input": 1200, "output": 34, "cache_read": 500}
READ = {"call": {"name": "read", "arguments": {"path": "a"}}, "usage": USAGE}
Ask = Callable[..., Any]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[[dict], tuple[Ask, FakeModel]]]:
    """A server for a script, and how it is asked."""
    servers = list[FakeModel]()

    def make(script: dict) -> tuple[Ask, FakeModel]:
        server = FakeModel(script, log=Log(dump_dir=str(tmp_path / "d"))).start()
        servers.append(server)
        said: list[str] = []
        one = Model("m", Server(f"{server.url}/v1", "the-key"), said.append, SystemIds())

        def ask(turns: tuple[Turn, ...] = (Asked("hello"),), until_s: float = 30.0, thinks: str = "") -> Any:
            answer = one.ask(Question("the system", turns, list_forms(["read", "edit"]), 77, until_s, thinks))
            assert "".join(said) == answer.text
            return answer

        return ask, server

    yield make
    for server in servers:
        server.stop()


def sent(tmp_path: Path) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(max((tmp_path / "d").iterdir()).read_text())
    return body


def test_a_request_is_streamed_bounded_and_has_what_it_should(served: Any, tmp_path: Path) -> None:
    ask, server = served(preset("text"))
    answer = ask()
    assert (answer.text, answer.finish, answer.calls) == ("Hello from the model.", "stop", ())
    assert (answer.tokens.input, answer.tokens.cached, answer.tokens.output) == (1200, 500, 34)
    body = sent(tmp_path)
    assert (body["stream"], body["max_tokens"], body["stream_options"]) == (True, 77, {"include_usage": True})
    assert [(m["role"], m["content"]) for m in body["messages"]] == [
        ("system", "the system"),
        ("user", "hello"),
    ]
    assert [t["function"]["name"] for t in body["tools"]] == ["read", "edit"]
    assert {r["auth"] for r in server.requests if "wire" in r} == {"authorization"}


@pytest.mark.parametrize("scheme", ["socks5h", "socks", "SOCKS4"])
def test_a_request_goes_through_the_socks_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    with FakeModel(preset("text")) as server, socks_proxy() as proxy:
        found = rename_schemes({"ALL_PROXY": f"{scheme}://{proxy.address}", "OTHER": "socks://as-it-is"})
        assert found["OTHER"] == "socks://as-it-is"
        monkeypatch.setenv("ALL_PROXY", found["ALL_PROXY"])
        one = Model("m", Server(f"{server.url}/v1", "key", proxies=True), lambda _: None, SystemIds())
        assert one.ask(Question("", (Asked("hello"),), (), 77, 30.0)).text == "Hello from the model."
        assert len(proxy.asked) == 1


@pytest.mark.parametrize("address", ["quic://127.0.0.1:1", "socks5://127.0.0.1:1"])
def test_a_proxy_that_cannot_be_used_is_an_error_of_the_server(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", address)
    one = Model("m", Server("http://127.0.0.1:9/v1", "key", proxies=True), lambda _: None, SystemIds())
    with pytest.raises(Trouble) as caught:
        one.ask(Question("", (Asked("hello"),), (), 77, 30.0))
    assert not caught.value.reached
    assert "proxy" in str(caught.value) or address.startswith("socks5")


def test_how_hard_it_thinks_is_asked_for_only_where_it_is_said(served: Any, tmp_path: Path) -> None:
    ask, _ = served(preset("text"))
    ask()
    assert "reasoning_effort" not in sent(tmp_path)
    again, _ = served(preset("text"))
    again(thinks="xhigh")
    assert sent(tmp_path)["reasoning_effort"] == "xhigh"


def test_a_conversation_goes_as_it_was(served: Any, tmp_path: Path) -> None:
    ask, _ = served(preset("text"))
    call = Call("c1", "read", '{"path": "a"}')
    ask(
        (
            Asked("go"),
            Answered("I look.", (call,)),
            ToolResults((Result("c1", "read", "words"),)),
            Asked("more"),
        )
    )
    roles = [message["role"] for message in sent(tmp_path)["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "user"]
    spoken, told = sent(tmp_path)["messages"][2:4]
    function = spoken["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("read", {"path": "a"})
    assert told["tool_call_id"] == "c1" and told["content"] == "words"


def test_tool_calls_come_whole_however_they_are_cut(served: Any) -> None:
    ask, _ = served({"turns": [{"calls": [READ["call"]] * 2, "chunk_chars": 1, "usage": USAGE}]})
    answer = ask()
    assert [(c.name, json.loads(c.arguments)) for c in answer.calls] == [("read", {"path": "a"})] * 2
    assert answer.finish == "tool_call" and len({c.id for c in answer.calls}) == 2


def test_an_answer_that_was_cut_off_says_so_with_its_calls(served: Any) -> None:
    """It is the loop that must see this, and not do them."""
    ask, _ = served({"turns": [{**READ, "finish": "length"}]})
    answer = ask()
    assert answer.finish == "length" and len(answer.calls) == 1


@pytest.mark.parametrize(
    ("name", "status", "passing"),
    [
        ("401", 401, False),
        ("429", 429, True),
        ("500", 500, True),
        ("bad-json", None, True),
        ("cut", None, True),
        ("stream-error", None, True),
    ],
)
def test_each_failure_of_a_server_is_told_and_asked_once(
    served: Any, name: str, status: int | None, passing: bool
) -> None:
    ask, server = served(preset(name))
    with pytest.raises(Trouble) as caught:
        ask()
    assert caught.value.passing is passing and str(caught.value)
    if name != "stream-error":
        assert caught.value.status == status
    assert server.wait_for(1, 10)
    assert len([r for r in server.requests if "wire" in r]) == 1, "it is the loop that asks again"
    assert caught.value.retry_after == (1.0 if name == "429" else None)


def test_a_server_that_never_answers_is_left_in_time(served: Any) -> None:
    ask, _ = served(preset("stall"))
    with pytest.raises(Trouble) as caught:
        ask(until_s=1.0)
    assert caught.value.passing


def test_a_stream_that_stops_moving_is_left(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BETWEEN_S", 0.3)
    ask, _ = served({"turns": [{"text": "two words", "chunk_chars": 4, "chunk_delay": 2.0, "usage": USAGE}]})
    with pytest.raises(Trouble) as caught:
        ask()
    assert caught.value.passing


def test_a_server_that_is_not_there(served: Any) -> None:
    ask, server = served(preset("text"))
    server.stop()
    with pytest.raises(Trouble) as caught:
        ask()
    assert caught.value.passing and caught.value.status is None


@pytest.mark.parametrize(
    ("words", "room"),
    [
        ("request (18018 tokens) exceeds the available context size (4096 tokens), try increasing it", 4096),
        ("This model's maximum context length is 8192 tokens, however you requested 9000", 8192),
        ("prompt too long; context_length_exceeded", None),
    ],
)
def test_a_prompt_that_was_too_long_is_known_by_the_server_s_words(
    served: Any, words: str, room: int | None
) -> None:
    ask, _ = served({"turns": [{"fault": {"status": 400, "message": words}}]})
    with pytest.raises(Trouble) as caught:
        ask()
    assert caught.value.too_long and caught.value.room == room and not caught.value.passing


def test_thoughts_go_back_with_the_next_question(served: Any, tmp_path: Path) -> None:
    """Servers of DeepSeek's kind refuse a tool's result without the thoughts before its call."""
    ask, _ = served({"turns": [{**READ, "reasoning": "I look first.", "chunk_chars": 2}, {"text": "ok"}]})
    answer = ask()
    turn = Answered(answer.text, answer.calls, answer.extra)
    ask((Asked("go"), turn, ToolResults((Result(answer.calls[0].id, "read", "words"),))))
    assert sent(tmp_path)["messages"][2]["reasoning_content"] == "I look first."
