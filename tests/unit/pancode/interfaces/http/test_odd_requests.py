"""Requests that no program of ours sends: each is answered with its code, why and fix, none with a crash."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.unit.pancode.interfaces.http.world import World, app_of

SHELL = {"argv": ["true"], "runtime": "shell", "workspace": "none", "dry_run": True}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World(tmp_path_factory.mktemp("home"))
    made.dispatch()
    return made


def send(world: World, method: str, path: str, body: bytes = b"", **headers: str) -> httpx2.Response:
    async def go() -> httpx2.Response:
        app, context = app_of(world.coordinator)
        context.closing.set()
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://pancode") as client:
            return await client.request(method, path, content=body, headers=headers)

    return asyncio.run(go())


def refused(answer: httpx2.Response) -> dict[str, Any]:
    told: dict[str, Any] = answer.json()
    assert 400 <= answer.status_code < 500, told
    assert answer.headers["content-type"] == "application/problem+json"
    assert told["code"] and told["message"] and (told["fix"] or told["why"])
    return told


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[" * 100_000, "bad_json"),
        (b"[" * 3_000 + b"]" * 3_000, "bad_json"),
        (b'{"task":' * 1_000 + b"1" + b"}" * 1_000, "bad_json"),
        (b'{"task":' * 40 + b"1" + b"}" * 40, "bad_json"),
        (b'{"timeout_ms":' + b"9" * 5_000 + b"}", "bad_json"),
        (b'{"timeout_ms":NaN}', "bad_value"),
        (b"\xff\xfe", "bad_json"),
        (b"1", "bad_value"),
        (b"null", "bad_value"),
        (b'{"argv":["true"],"by":"\\udfff"}', "bad_text"),
        (b'{"argv":["\\ud800"]}', "bad_text"),
        (b'{"argv":["\xed\xa0\x80"]}', "bad_text"),
        (b'{"task":"a\\u0000b"}', "bad_text"),
        (b'{"\\ud800":1}', "bad_text"),
        (b'{"require":{"a":"\\u0000"}}', "bad_text"),
    ],
)
def test_a_body_that_is_none(world: World, body: bytes, code: str) -> None:
    assert refused(send(world, "POST", "/v1/runs", body))["code"] == code


@pytest.mark.parametrize(
    "more",
    [
        *(
            {name: 2**70}
            for name in ("timeout_ms", "attempts", "depth", "priority", "max_tokens", "max_output")
        ),
        *({name: 2**53} for name in ("timeout_ms", "attempts", "max_memory", "max_processes", "max_turns")),
        {"attempts": 101},
        {"timeout_ms": 366 * 86_400_000},
        {"budget": "1e400"},
        {"budget": "NaN"},
        {"by": "x" * 10_000},
        {"cwd": "/" + "a" * 5_000},
        {"cwd": "/" + "a" * 300, "workspace": "git"},
        {"cwd": "~nobody-of-this-name", "workspace": "git"},
        {"require": {"a" * 5_000: "b"}},
    ],
    ids=lambda more: str(next(iter(more.items())))[:30],
)
def test_a_value_beyond_its_bound(world: World, more: dict[str, Any]) -> None:
    refused(send(world, "POST", "/v1/runs", json.dumps({**SHELL, **more}).encode()))


def test_a_bound_says_what_may_be_given(world: World) -> None:
    told = refused(send(world, "POST", "/v1/runs", json.dumps({**SHELL, "timeout_ms": 2**53}).encode()))
    assert "--timeout" in told["message"] and "omit --timeout" in told["fix"]


def test_more_commands_than_a_node_runs_are_refused_at_admission(world: World) -> None:
    """Defect 20: 64 gates and more were admitted, and the node could not even write its plan."""
    body = {**SHELL, "verify": ["true"] * 65, "dry_run": False}
    told = refused(send(world, "POST", "/v1/runs", json.dumps(body).encode()))
    assert "65" in told["message"] and "one script" in told["fix"]
    assert send(world, "POST", "/v1/runs", json.dumps({**SHELL, "verify": ["true"] * 64}).encode()).is_success


@pytest.mark.parametrize("budget", ["NaN", "Infinity", "-1", "1e400", "1e-400"])
def test_a_ceiling_that_is_no_amount(world: World, budget: str) -> None:
    for path, more in (("ceiling", {}), ("settle", {"run": "last"})):
        refused(send(world, "POST", f"/v1/budget/{path}", json.dumps({"usd": budget, **more}).encode()))


def test_a_scope_of_odd_letters(world: World) -> None:
    for scope in ("node:\0", "node:" + "x" * 5_000):
        refused(send(world, "POST", "/v1/budget/ceiling", json.dumps({"usd": "5", "scope": scope}).encode()))
    refused(send(world, "POST", "/v1/budget/ceiling", b'{"usd":"5","scope":"node:\\ud800"}'))


@pytest.mark.parametrize("word", ["%ff", "%ed%a0%80", "%00", "9" * 5_000])
def test_bytes_that_no_document_of_ours_lets_anybody_make(world: World, word: str) -> None:
    for path in (f"/v1/runs/{word}/brief", f"/v1/runs?limit={word}"):
        refused(send(world, "GET", path))


def test_a_request_of_http_1_1_names_its_host(world: World) -> None:
    assert refused(send(world, "GET", "/v1/ping", Host=""))["code"] == "no_host"
    assert send(world, "GET", "/v1/ping").is_success


def test_what_nobody_foresaw_is_told_as_such_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = World(tmp_path)
    own.coordinator.around = None  # type: ignore[method-assign, assignment]
    with caplog.at_level(logging.ERROR):
        answer = send(own, "GET", "/v1/modes")
    told = answer.json()
    assert (answer.status_code, told["exit_code"], told["code"]) == (500, 1, "internal")
    assert "coordinator.log" in told["fix"]
    assert "TypeError" in told["why"]
    assert [record.exc_info is not None for record in caplog.records] == [True]
