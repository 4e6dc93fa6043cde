"""Model calls through a real gateway: counted to the token, with a key that the agent never had."""

from __future__ import annotations

import json
import os
import threading
from decimal import Decimal
from pathlib import Path

import pytest

from node_agent.wire.clock import SystemClock
from node_agent.wire.receipt import Usage
from tests.bench.processes import peak_kib
from tests.crowd import crowded
from tests.fakemodel import FakeModel, preset
from tests.integration.gateway.gateways import KEY, RUNTIMES, Lab, job_of
from tests.integration.test_fakemodel import request

WIRES = tuple(RUNTIMES)
USD = {"m": "1 0.1 2 10"}


def sums(model: FakeModel) -> tuple[int, int]:
    """All input and all output of what the server answered."""
    used = [entry["usage"] for entry in model.requests if "usage" in entry]
    return sum(one["prompt"] for one in used), sum(one["output"] for one in used)


def tokens(usage: Usage) -> tuple[int, int]:
    return usage.input_tokens + usage.cached_tokens, usage.output_tokens


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wire", WIRES)
def test_every_wire_is_counted_to_the_token_and_the_key_is_put_in(lab: Lab, wire: str, stream: bool) -> None:
    with FakeModel({**preset("text"), "api_key": KEY}) as model:
        lab.point(RUNTIMES[wire], model.url)
        lab.prices |= USD
        agent = lab.open(job_of(RUNTIMES[wire]))
        path, body = request(wire, stream)
        for _ in range(3):
            status, said = agent.post(path, body)
            assert status == 200 and b"Hello" in said
        count = agent.counted()
        assert tokens(count.usage) == sums(model) and sums(model)[1] == 3 * 34
        assert count.usage.cached_tokens == 3 * 500
        assert (count.calls.requests, count.calls.failed, count.calls.unread) == (3, 0, 0)
        assert count.usage.cost_source == "metered"
        fresh, out = count.usage.input_tokens, count.usage.output_tokens
        assert count.usage.cost_usd == (Decimal(fresh) + Decimal("0.1") * 1500 + 10 * out) / 1_000_000


def test_a_stream_on_the_chat_wire_is_counted_although_the_agent_does_not_ask_for_it(lab: Lab) -> None:
    with FakeModel(preset("text")) as model:
        lab.point("opencode", model.url)
        agent = lab.open(job_of("opencode"))
        path, body = request("chat", stream=True)
        del body["stream_options"]
        assert agent.post(path, body)[0] == 200
        assert tokens(agent.counted().usage) == sums(model) != (0, 0)


def test_without_a_price_the_cost_is_unknown_and_never_zero(lab: Lab) -> None:
    with FakeModel(preset("text")) as model:
        lab.point("claude", model.url)
        agent = lab.open(job_of("claude", model="claude-sonnet-4-5"))
        path, body = request("anthropic", stream=True)
        agent.post(path, {**body, "model": "claude-sonnet-4-5"})
        count = agent.counted()
        assert (count.usage.cost_usd, count.usage.cost_source) == (None, "unknown"), "not the vendor's server"
        assert count.unpriced == "claude-sonnet-4-5"


@pytest.mark.parametrize("limit", ["tokens", "usd"])
@pytest.mark.parametrize("wire", WIRES)
def test_past_its_limit_an_agent_is_refused_in_its_own_wire_s_words(lab: Lab, wire: str, limit: str) -> None:
    with FakeModel(preset("text")) as model:
        lab.point(RUNTIMES[wire], model.url)
        lab.prices |= USD
        job = job_of(RUNTIMES[wire], tokens=2000 if limit == "tokens" else None, usd="0.003")
        agent = lab.open(job)
        path, body = request(wire, True)
        answers = [agent.post(path, body) for _ in range(4)]
        assert [status for status, _ in answers] == [200, 200, 403, 403]
        error = json.loads(answers[-1][1])["error"]
        assert "PanCode: " in error["message"] and "limit of this run" in error["message"]
        count = agent.counted()
        assert (count.limit, count.calls.refused) == (limit, 2)
        assert len(model.requests) == 2, "the server is not asked any more"


@pytest.mark.parametrize(("name", "expected"), [("401", 401), ("429", 429), ("500", 500)])
def test_a_server_s_errors_are_passed_on_as_they_are(lab: Lab, name: str, expected: int) -> None:
    with FakeModel(preset(name)) as model:
        lab.point("opencode", model.url)
        agent = lab.open(job_of("opencode"))
        path, body = request("chat", True)
        status, said = agent.post(path, body)
        assert status == expected and b"PanCode" not in said
        count = agent.counted()
        assert (count.calls.failed, count.usage.cost_usd, tokens(count.usage)) == (1, Decimal(0), (0, 0))


def test_what_the_last_answer_tells_of_a_rate_limit_counts_for_a_while(lab: Lab) -> None:
    rate = {"x-ratelimit-limit-requests": 50, "x-ratelimit-remaining-requests": 4}
    answered = {"status": 200, "headers": rate, "body": {"choices": []}, "times": 1}
    turn = {"text": "hi", "fault": answered}
    with FakeModel({"turns": [turn]}) as model:
        lab.point("opencode", model.url)
        agent = lab.open(job_of("opencode"))
        path, body = request("chat", False)
        assert agent.post(path, body)[0] == 200
        told = agent.gateways.count(agent.folder)
        now_ms = SystemClock().mono_ms()
        assert told is not None and told.left == 8 and now_ms < told.left_until_ms <= now_ms + 60_000
        assert agent.post(path, body)[0] == 200
        assert agent.counted().left is None, "this one tells nothing"
    with FakeModel({"turns": [{"fault": {"status": 429, "retry_after": 600}}]}) as model:
        lab.point("opencode", model.url)
        agent = lab.open(job_of("opencode"), "b")
        assert agent.post(path, body)[0] == 429
        told, now_ms = agent.counted(), SystemClock().mono_ms()
        assert told.left == 0 and now_ms + 250_000 < told.left_until_ms <= now_ms + 300_000, "5 minutes"


def test_a_broken_stream_is_broken_for_the_agent_and_unread_for_us(lab: Lab) -> None:
    with FakeModel(preset("cut")) as model:
        lab.point("claude", model.url)
        lab.prices |= USD
        agent = lab.open(job_of("claude"))
        path, body = request("anthropic", True)
        status, said = agent.post(path, body)
        assert status == 0 and b"half of an" in said
        count = agent.counted()
        assert (count.calls.unread, count.calls.failed, count.usage.cost_source) == (1, 1, "assumed")
        assert tokens(count.usage)[0] > 0, "the input was told before it broke"


def test_half_a_json_object_comes_through_as_it_is(lab: Lab) -> None:
    with FakeModel(preset("bad-json")) as model:
        lab.point("opencode", model.url)
        agent = lab.open(job_of("opencode"))
        path, body = request("chat", False)
        status, said = agent.post(path, body)
        assert status == 200
        with pytest.raises(ValueError):
            json.loads(said)
        assert agent.counted().calls.unread == 1


def test_a_server_that_never_answers_is_left_when_the_agent_hangs_up(lab: Lab) -> None:
    with FakeModel(preset("stall")) as model:
        lab.point("claude", model.url)
        agent = lab.open(job_of("claude"))
        path, body = request("anthropic", True)
        asking = threading.Thread(target=agent.post, args=(path, body))
        asking.start()
        assert model.wait_until_asked()
        waiting = lab.gateways.count(agent.folder)
        assert waiting is not None and waiting.waiting == 1, "no silence of the agent's"
        count = agent.counted()  # this ends the gateway, and with it the agent's connection
        asking.join(10 * crowded())
        assert not asking.is_alive() and (count.calls.requests, count.calls.failed) == (1, 0)
        assert count.waiting == 0
        assert (count.calls.unread, count.usage.cost_source) == (1, "unknown"), "it may cost all the same"


def test_a_server_on_this_machine_costs_nothing(lab: Lab) -> None:
    with FakeModel(preset("text")) as model:
        lab.point("opencode", model.url)
        agent = lab.open(job_of("opencode", usd="0.001"))
        path, body = request("chat", True)
        assert [agent.post(path, body)[0] for _ in range(3)] == [200, 200, 200]
        count = agent.counted()
        assert (count.usage.cost_usd, count.usage.cost_source, count.unpriced) == (Decimal(0), "local", "")
        assert tokens(count.usage) == sums(model) != (0, 0)


def test_what_is_not_on_the_list_goes_nowhere(lab: Lab) -> None:
    with FakeModel(preset("text")) as model:
        lab.point("claude", model.url)
        agent = lab.open(job_of("claude", model="claude-sonnet-4-5"))
        _, body = request("anthropic", False)
        for path in (
            "/v1/files",
            "/v1/organizations",
            "/__fake/requests",
            f"{model.url}/v1/messages",
            "//x/",
        ):
            status, said = agent.post(path, body)
            assert status == 403 and b"model gateway" in said, path
        path = "/v1/messages"
        assert agent.post(path, {**body, "model": "other-model"})[0] == 403
        assert agent.post(path, {**body, "mcp_servers": [{"url": "https://h"}]})[0] == 403
        assert agent.post(path, body, token="somebody-elses")[0] == 403
        assert agent.post(path, body, token="")[0] == 403
        assert model.requests == []
        assert agent.counted().calls.refused == 7, "a stranger's are not the run's"


def test_what_counts_tokens_is_held_as_what_costs_them(lab: Lab) -> None:
    """The vendor fetches what it is to count."""
    part = {"fileData": {"fileUri": "https://h/x.png"}}
    asked = {"model": "models/m", "contents": [{"role": "user", "parts": [part]}]}
    with FakeModel(preset("text")) as model:
        lab.point("claude", model.url)
        agent, path = lab.open(job_of("claude", model="claude-sonnet-4-5")), "/v1/messages/count_tokens"
        image = {"type": "image", "source": {"type": "url", "url": "https://h/x.png"}}
        said = {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": [image]}]}
        assert agent.post(path, said)[0] == 403
        assert agent.post(path, {"model": "other-model", "messages": []})[0] == 403
        assert agent.post(path, {"model": said["model"], "mcp_servers": [{"url": "https://h"}]})[0] == 403
        lab.point("gemini", model.url)
        agent, path = lab.open(job_of("gemini")), "/v1beta/models/m:countTokens"
        for body in (asked, {"generateContentRequest": asked}):
            assert agent.post(path, body)[0] == 403
        tools = {"model": "models/m", "tools": [{"googleSearch": {}}]}
        assert agent.post(path, {"generateContentRequest": tools})[0] == 403
        assert model.requests == []


def test_the_agent_s_own_keys_and_the_key_in_a_query_do_not_go_on(lab: Lab) -> None:
    with FakeModel({**preset("text"), "api_key": KEY}) as model:
        lab.point("gemini", model.url)
        agent = lab.open(job_of("gemini"))
        path, body = request("gemini", True)
        status, _ = agent.post(f"{path}&key={agent.entry.token}", body, token="", headers={"cookie": "c"})
        assert status == 200
        assert model.requests[0]["auth"] == "x-goog-api-key"


@pytest.mark.slow
def test_a_storm_of_failing_calls_is_slowed_down_and_then_cut(lab: Lab) -> None:
    with FakeModel(preset("500")) as model:
        lab.point("opencode", model.url)
        agent = lab.open(job_of("opencode"))
        path, body = request("chat", True)
        many = [threading.Thread(target=agent.post, args=(path, body)) for _ in range(24)]
        for asking in many:
            asking.start()
        assert model.wait_for(20, 20)
        for asking in many:
            asking.join(20 * crowded())
        status, said = agent.post(path, body)
        assert status == 500 and b"PanCode" not in said, "the server's own last words"
        assert len(model.requests) == 24, "the last was not asked for any more"


def test_the_count_survives_a_kill_and_nobody_starts_it_again(lab: Lab) -> None:
    with FakeModel(preset("text")) as model:
        lab.point("codex", model.url)
        job = job_of("codex")
        agent = lab.open(job)
        path, body = request("responses", True)
        assert agent.post(path, body)[0] == 200
        agent.kill()
        assert agent.post(path, body)[0] == 0
        assert not lab.fresh().is_alive(agent.folder)
        assert tokens(agent.counted().usage) == sums(model) != (0, 0)


def test_the_key_is_in_no_environment_no_argument_and_no_file(lab: Lab) -> None:
    with FakeModel({**preset("text"), "api_key": KEY}) as model:
        lab.point("claude", model.url)
        agent = lab.open(job_of("claude"))
        path, body = request("anthropic", False)
        assert agent.post(path, body)[0] == 200
        for name in ("environ", "cmdline"):
            assert KEY.encode() not in Path(f"/proc/{agent.pid}/{name}").read_bytes()
        kept = [path for path in agent.folder.rglob("*") if path.is_file()]
        assert kept and not [path for path in kept if KEY.encode() in path.read_bytes()]
        assert os.stat(f"/proc/{agent.pid}/mem").st_uid == 0, "of a process that cannot be traced"


def test_a_long_answer_and_many_of_them_take_no_more_memory(lab: Lab) -> None:
    with FakeModel(preset("huge")) as model:
        lab.point("opencode", model.url)
        agent = lab.open(job_of("opencode"))
        path, body = request("chat", True)
        assert agent.post(path, body)[0] == 200
        before = peak_kib(agent.pid)
        for _ in range(12):
            assert len(agent.post(path, body)[1]) > 250_000
        assert peak_kib(agent.pid) - before < 2_000
        assert peak_kib(agent.pid) < 40_000
