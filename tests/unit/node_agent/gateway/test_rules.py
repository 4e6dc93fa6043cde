"""Routes, prices, limits and storms, as tables."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices.data import providers

from node_agent.gateway.counting import (
    COOL_S,
    LONGEST_WAIT_S,
    MOST_FAILURES,
    PATIENT,
    Caps,
    Count,
    Expected,
    Storm,
    UsageBound,
)
from node_agent.gateway.meter import MeterReading, TokenCount, Wire
from node_agent.gateway.prices import _HOSTS, PUBLIC, Prices, price_of
from node_agent.gateway.requests import (
    NotAllowed,
    RequestTarget,
    Route,
    Stranger,
    check_model,
    error_body,
    parse_model_body,
    read_key,
    route_of,
    split_target,
    target_of,
    wire_of,
    with_usage,
)
from node_agent.gateway.spec import GatewaySpec
from node_agent.gateway.upstream import UpstreamServer


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("POST", "/v1/messages", Route(Wire.ANTHROPIC, True)),
        ("POST", "/v1/messages/count_tokens", Route(Wire.ANTHROPIC, False)),
        ("POST", "/v1/chat/completions", Route(Wire.CHAT, True)),
        ("POST", "/v1/responses", Route(Wire.RESPONSES, True)),
        ("POST", "/v1beta/models/g-2.5:streamGenerateContent", Route(Wire.GEMINI, True, "g-2.5")),
        ("POST", "/v1beta/models/g-2.5:generateContent", Route(Wire.GEMINI, True, "g-2.5")),
        ("POST", "/v1beta/models/g-2.5:countTokens", Route(Wire.GEMINI, False, "g-2.5")),
        ("POST", "/api/chat", Route(Wire.OLLAMA, True)),
        ("GET", "/v1/models", Route(Wire.CHAT, False)),
        ("GET", "/api/tags", Route(Wire.OLLAMA, False)),
    ],
)
def test_what_may_be_asked(method: str, path: str, route: Route) -> None:
    assert route_of(method, path) == route


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/messages"),
        ("DELETE", "/v1/models/m"),
        ("POST", "/v1/models"),
        ("POST", "/v1/files"),
        ("POST", "/v1/messages/batches"),
        ("POST", "/v1/../v1/messages"),
        ("POST", "/v1/messages/"),
        ("POST", "/v1beta/models/a/b:generateContent"),
        ("POST", "/api/pull"),
        ("CONNECT", "host:443"),
    ],
)
def test_what_may_not(method: str, path: str) -> None:
    with pytest.raises(NotAllowed):
        route_of(method, path)


@pytest.mark.parametrize("target", ["http://h/v1/messages", "//h/v1", "*", "h:443"])
def test_it_is_no_proxy(target: str) -> None:
    with pytest.raises(NotAllowed):
        split_target(target)


def test_a_key_in_the_query_is_taken_out_and_the_rest_stays() -> None:
    assert split_target("/v1/m?beta=true&key=k%20y&alt=sse") == ("/v1/m", "beta=true&alt=sse", "k y")


def test_how_an_agent_shows_what_it_was_given() -> None:
    assert read_key({"authorization": "Bearer t"}, "") == "t"
    assert read_key({"x-api-key": "t"}, "") == read_key({"x-goog-api-key": "t"}, "") == "t"
    assert read_key({"authorization": "Basic t"}, "q") == "q"


def test_the_key_is_judged_before_all_else_that_a_head_tells() -> None:
    for target in (
        "/v1/messages",
        "/v1/files",
        "http://h/",
        "/v1/messages?key=other",
        "/v1/messages?key=t&key=x",
    ):
        with pytest.raises(Stranger):
            target_of(f"POST {target} HTTP/1.1", {}, "t")
    for target in ("/v1/files", "http://h/"):
        with pytest.raises(NotAllowed) as told:
            target_of(f"POST {target} HTTP/1.1", {"x-api-key": "t"}, "t")
        assert not isinstance(told.value, Stranger)
    found = target_of("POST /v1/messages?a=b&key=t HTTP/1.1", {}, "t")
    assert found == RequestTarget("POST", "/v1/messages", "a=b", Route(Wire.ANTHROPIC, True))


def test_the_model_is_the_path_s_or_the_body_s() -> None:
    assert parse_model_body(Route(Wire.CHAT, True), b'{"model": "m"}')[0] == "m"
    assert parse_model_body(Route(Wire.GEMINI, True, "p"), b'{"model": "m"}')[0] == "p"
    assert parse_model_body(Route(Wire.CHAT, True), b'{"model": 3}')[0] == ""
    assert parse_model_body(Route(Wire.CHAT, False), b"")[1] == {}
    for bad in (b"[1]", b"", b'{"model": "cheap", "model": "dear"}', b'{"model": "cheap", "MODEL": "dear"}'):
        with pytest.raises(NotAllowed):
            parse_model_body(Route(Wire.CHAT, True), bad)
    for bad in (b'{"m": [{"type": "text", "Type": "url"}]}', b'{"model": "m", "model": "n"}', b"[1]"):
        with pytest.raises(NotAllowed):
            parse_model_body(Route(Wire.CHAT, False), bad)
    given = {"args": {"http_proxy": 1, "HTTP_PROXY": 2}}
    assert parse_model_body(Route(Wire.CHAT, True), json.dumps(given).encode())[1] == given
    assert parse_model_body(Route(Wire.OLLAMA, False), b'{"name": "dear"}')[0] == "dear"


def test_models_by_pattern() -> None:
    check_model("claude-x", ("sonnet", "claude-*"))
    check_model("anything", ())
    for model in ("opus", "", "xclaude-x"):
        with pytest.raises(NotAllowed):
            check_model(model, ("sonnet", "claude-*"))


def test_usage_is_asked_for_where_it_would_not_be_told() -> None:
    asked = {"model": "m", "stream": True, "stream_options": {"x": 1}}
    sent = json.loads(with_usage(Wire.CHAT, b"", asked))
    assert sent == {**asked, "stream_options": {"x": 1, "include_usage": True}}
    for wire, body in ((Wire.CHAT, {"stream": False}), (Wire.RESPONSES, {"stream": True})):
        assert with_usage(wire, b"as it is", body) == b"as it is"
    told = {"stream": True, "stream_options": {"include_usage": True}}
    assert with_usage(Wire.CHAT, b"as it is", told) == b"as it is"


@pytest.mark.parametrize(
    ("wire", "path"),
    [
        (Wire.ANTHROPIC, ["error", "message"]),
        (Wire.CHAT, ["error", "message"]),
        (Wire.RESPONSES, ["error", "message"]),
        (Wire.GEMINI, ["error", "message"]),
        (Wire.OLLAMA, ["error"]),
    ],
)
def test_a_refusal_is_in_the_wire_s_own_form(wire: Wire, path: list[str]) -> None:
    value = json.loads(error_body(wire, 403, "enough"))
    for name in path:
        value = value[name]
    assert value == "PanCode: enough"


def test_whose_words_are_used_for_what_could_not_be_read() -> None:
    assert wire_of("POST /v1/messages HTTP/1.1") is Wire.ANTHROPIC
    assert wire_of("POST /v1beta/models/g:generateContent HTTP/1.1") is Wire.GEMINI
    assert wire_of("POST /api/chat HTTP/1.1") is Wire.OLLAMA
    assert wire_of("GET / HTTP/1.1") is Wire.CHAT


def test_a_price_is_of_exactly_this_model_with_or_without_a_date() -> None:
    prices = Prices({}, public=True)
    assert prices.of("claude-sonnet-4-5-20250929") is PUBLIC["claude-sonnet-4-5"]
    assert prices.of("gpt-5-2025-08-07") is PUBLIC["gpt-5"]
    assert prices.of("models/gemini-2.5-pro") is PUBLIC["gemini-2.5-pro"]
    assert prices.of("no-such", "gpt-5-mini") is PUBLIC["gpt-5-mini"]
    assert prices.of("gpt-5-turbo") is None and prices.of("") is None
    assert Prices({}, public=False).of("gpt-5") is None
    own = price_of("1 1 1 1")
    assert Prices({"gpt-5": own}, public=True).of("gpt-5") is own


def test_a_host_of_many_makers_has_prices_of_its_own() -> None:
    groq, together = (Prices({}, public=False, host=name) for name in ("groq", "together"))
    there, elsewhere = (one.of("openai/gpt-oss-120b") for one in (groq, together))
    assert there is not None and elsewhere is not None and there.rate.cached < elsewhere.rate.cached
    assert (
        groq.of("zai-org/GLM-5.3") is None and Prices({}, public=False, host="openrouter").of("x/y") is None
    )


@pytest.mark.parametrize("host", _HOSTS)
def test_every_price_of_a_host_is_as_the_kept_list_has_it(host: str) -> None:
    (kept,) = (one for one in providers if one.id == host)
    when = datetime(2026, 11, 22, tzinfo=UTC)
    for line in _HOSTS[host].strip().splitlines():
        name, words = line.split(None, 1)
        (model,) = (one for one in kept.models if one.is_match(name))
        price, rate = model.get_prices(when), price_of(words).rate
        assert (rate.input, rate.output) == (price.input_mtok, price.output_mtok), name
        assert (rate.cached, rate.written) == (price.cache_read_mtok or rate.input, rate.input), name


def test_a_long_request_costs_its_own_rate() -> None:
    price = PUBLIC["claude-sonnet-4-5"]
    assert price.cost(TokenCount(1000, 1000, 1000, 1000)) == Decimal("0.02205")
    assert price.cost(TokenCount(1, 200_000, 0, 0)) == (Decimal(6) + Decimal("0.6") * 200_000) / 1_000_000


@pytest.mark.parametrize("words", ["", "1 2 3", "1 2 3 x", "1 2 3 -4", "1 2 3 NaN", "1 2 3 4 > x 1 2 3 4"])
def test_what_is_no_price(words: str) -> None:
    with pytest.raises(ValueError):
        price_of(words)


def test_a_count_comes_back_as_it_was() -> None:
    count = Count(3, 1, 1, 0, TokenCount(1, 2, 3, 4), Decimal("0.000001"), "m", "usd", "words")
    count = replace(count, bound=UsageBound(7, Decimal("0.5")))
    assert Count.from_json(count.to_json()) == count
    assert Count.from_json(replace(count, usd=None).to_json()).usd is None
    old = json.loads(count.to_json())
    del old["bound"], old["wrap_up"], old["received"]
    before = Count.from_json(json.dumps(old).encode())
    assert before == replace(count, bound=UsageBound()), "one of a gateway that was there before an upgrade"
    for bad in (b"", b"[]", b"{}", count.to_json().replace(b'"requests"', b'"request"')):
        with pytest.raises(ValueError):
            Count.from_json(bad)


def test_one_answer_without_a_price_makes_the_cost_unknown_for_good() -> None:
    price, read, used = price_of("1 1 1 1"), MeterReading(TokenCount(1_000_000), True), TokenCount(1_000_000)
    known = Count().answered(read, price, "m", used)
    assert (known.usd, known.source) == (Decimal(1), "metered")
    odd = known.answered(read, None, "odd", used)
    assert (odd.usd, odd.source, odd.unpriced) == (None, "unknown", "odd")
    assert odd.answered(read, price, "m", used).usd is None and odd.tokens.total == 2_000_000
    assert known.unanswered(Expected(used, None)).usd is None


def test_an_answer_without_an_end_costs_what_must_be_assumed_and_limits_go_by_it() -> None:
    price, cut = price_of("1 1 1 1"), MeterReading(TokenCount(5), False)
    count = Count().answered(cut, price, "m", TokenCount(5, output=999_995))
    assert (count.usd, count.source, count.tokens.total) == (Decimal(1), "assumed", 5)
    assert count.bound == UsageBound(1_000_000, Decimal(1))
    for caps, limit in ((Caps(usd=Decimal(1)), "usd"), (Caps(tokens=1_000_000), "tokens")):
        assert caps.reached(count)[0] == limit and "assumed" in caps.reached(count)[1]
    gone = count.unanswered(Expected(TokenCount(500_000), price))
    assert (gone.usd, gone.unread, gone.bound) == (
        Decimal("1.5"),
        2,
        UsageBound(1_500_000, Decimal("1.5")),
    )
    after = count.answered(MeterReading(TokenCount(1_000_000), True), price, "m", TokenCount(1_000_000))
    assert (after.usd, after.source) == (Decimal(2), "assumed"), "what is known later counts on"
    assert Count.from_json(after.to_json()) == after


def test_limits_are_judged_before_a_call() -> None:
    count = Count(requests=2, bound=UsageBound(10, Decimal("0.5")), usd=Decimal("0.5"))
    assert Caps().reached(count) == ("", "")
    assert Caps(tokens=10).reached(count)[0] == "tokens"
    assert Caps(tokens=11, usd=Decimal("0.5")).reached(count)[0] == "usd"
    assert Caps(requests=2).reached(count)[0] == "requests"


def test_a_storm_waits_ever_longer_is_cut_and_tried_now_and_then() -> None:
    storm, waits = Storm(), []
    for second in range(MOST_FAILURES):
        waits.append(storm.wait())
        assert not storm.is_cut(second)
        storm = storm.after(False, second, second)
    assert waits[:PATIENT] == [0.0] * PATIENT and waits == sorted(waits) and waits[-1] == LONGEST_WAIT_S
    assert storm.is_cut(MOST_FAILURES) and not storm.is_cut(MOST_FAILURES + COOL_S)
    assert storm.tries == MOST_FAILURES and storm.after(True, 1.0, 1.0) == Storm()


def test_many_calls_at_once_that_fail_together_are_one_try() -> None:
    storm = Storm().after(False, 5.0, 6.0)
    for _ in range(15):
        storm = storm.after(False, 5.0, 6.1)
    assert (storm.failures, storm.tries) == (16, 1)
    later = storm.after(False, 6.2, 9.3)
    assert (later.tries, later.lasted) == (2, 3)


def test_a_spec_comes_back_and_never_shows_its_key() -> None:
    spec = GatewaySpec(
        "http://h", "/v1", "x-api-key", "KEY", "t", "/f", ("m",), True, (("m", "1 1 1 1"),), 5, "0.5"
    )
    assert GatewaySpec.from_json(spec.to_json()) == spec
    assert "KEY" not in repr(spec)
    for bad in (b"", b"[]", b'{"key": "KEY"}', spec.to_json().replace(b'"folder"', b'"odd"')):
        with pytest.raises(ValueError) as told:
            GatewaySpec.from_json(bad)
        assert "KEY" not in str(told.value)


def test_where_a_path_leads() -> None:
    server = UpstreamServer.parse("https://h.example/custom/v1/", "/v1")
    assert (server.host, server.port, server.tls, server.authority) == ("h.example", 443, True, "h.example")
    assert server.path("/v1/responses", "a=b") == "/custom/v1/responses?a=b"
    assert UpstreamServer.parse("http://[::1]:8080", "").authority == "[::1]:8080"
    for bad in ("ftp://h", "h:80", "", "http://user:pass@h"):
        with pytest.raises(ValueError):
            UpstreamServer.parse(bad, "")


def test_a_write_for_an_hour_costs_twice_the_input() -> None:
    price, million = price_of("4 0.4 5 20"), 1_000_000
    assert price.cost(TokenCount(written=million)) == 5
    assert price.cost(TokenCount(written=million, hour=million)) == 8
    assert price_of("1 1 3 1").cost(TokenCount(written=million, hour=million)) == 3, "the owner says more"


@pytest.mark.parametrize(
    ("terms", "least", "most"),
    [
        ({"service_tier": "default", "inference_geo": "global"}, "1", "1"),
        ({"trafficType": "ON_DEMAND"}, "1", "1"),
        ({"service_tier": "flex"}, "1", "1"),
        ({"service_tier": "priority"}, "1", "2.5"),
        ({"speed": "fast", "inference_geo": "us"}, "1", "6.6"),
        ({"tariff": "of next year"}, "1", "6"),
    ],
)
def test_a_ceiling_counts_the_dearest_price_that_may_apply(
    terms: dict[str, str], least: str, most: str
) -> None:
    used = TokenCount(1_000_000)
    charge = Prices({"m": price_of("1 1 1 1")}, public=False).charge(terms, "m")
    count = Count().charged(MeterReading(used, True), charge, "m", used)
    assert (count.usd, count.bound.usd) == (Decimal(most), Decimal(most))
    assert Decimal(most) - Decimal(count.beyond) == Decimal(least)
    assert (count.source, bool(count.unsure)) == (("assumed", True) if most != least else ("metered", False))
    assert Count.from_json(count.to_json()) == count


def test_the_owner_names_the_price_of_a_term_and_what_is_free_stays_free() -> None:
    own = Prices({"m": price_of("1 1 1 1"), "m priority": price_of("2 2 2 2")}, public=False)
    charge = own.charge({"service_tier": "priority"}, "m-2026-01-01", "m")
    assert charge.price == charge.least == price_of("2 2 2 2") and not charge.unsure
    for free in (Prices({}, public=False, free=True), Prices({"m": price_of("0 0 0 0")}, public=False)):
        assert not free.charge({"service_tier": "priority"}, "m").unsure
    assert own.charge({"service_tier": "priority"}, "other").price is None
