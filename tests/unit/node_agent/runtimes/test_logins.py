"""What a run gets of Codex's and OpenCode's own logins, and what never leaves the node of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from node_agent.runtimes.base import Place, ProcessSpec
from node_agent.runtimes.codex.command import launch
from node_agent.runtimes.logins import for_opencode, for_run, inner_secrets, secrets_in
from node_agent.wire.policy import Isolation
from tests.unit.node_agent.runtimes.asked import ask

TOKENS = {"id_token": "an-id", "access_token": "an-access", "refresh_token": "a-refresh", "account_id": "a"}
LOGIN = {"auth_mode": "chatgpt", "OPENAI_API_KEY": "sk-x", "tokens": TOKENS, "last_refresh": "2026-11-20"}
TEXT = json.dumps(LOGIN)
PLACE = Place(path="/bin", python="/usr/bin/python3", is_root=False, isolation=Isolation.NONE)


def launched(**env: str) -> ProcessSpec:
    return launch(ask(model="m"), replace(PLACE, env=env))


def test_a_run_gets_what_it_needs_and_nothing_that_makes_new_tokens() -> None:
    more = {**LOGIN, "agent_key": "k", "tokens": {**TOKENS, "session_key": "s"}}
    given = for_run(json.dumps(more))
    assert given is not None
    expected: dict[str, Any] = {**LOGIN, "OPENAI_API_KEY": None, "tokens": {**TOKENS, "refresh_token": ""}}
    assert json.loads(given) == expected


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"tokens": null}', '{"tokens": {"access_token": "x"}}']
)
def test_what_is_no_login_gives_none(text: str) -> None:
    assert for_run(text) is None
    assert set(secrets_in(text).values()) <= {"x"}


def test_each_of_its_words_is_a_secret_by_itself() -> None:
    assert inner_secrets({"CODEX_LOGIN": TEXT}) == {
        "CODEX_LOGIN OPENAI_API_KEY": "sk-x",
        "CODEX_LOGIN tokens id_token": "an-id",
        "CODEX_LOGIN tokens access_token": "an-access",
        "CODEX_LOGIN tokens refresh_token": "a-refresh",
        "CODEX_LOGIN tokens account_id": "a",
    }
    later = json.dumps({"new": [{"deep": "s3cret-key"}], "auth_mode": "chatgpt", "n": 1})
    assert secrets_in(later) == {"CODEX_LOGIN new 0 deep": "s3cret-key"}
    assert inner_secrets({}) == {}


def test_it_goes_into_a_file_of_the_run_s_home_and_no_environment() -> None:
    made = launched(CODEX_LOGIN=TEXT)
    assert made.login == {"codex/auth.json": for_run(TEXT)}
    assert "codex/auth.json" not in made.files, "set-up and gates read those"
    assert "CODEX_LOGIN" not in made.env and "a-refresh" not in repr(made)
    words = " ".join(made.argv)
    assert (
        'base_url="https://chatgpt.com/backend-api/codex"' in words and "requires_openai_auth=true" in words
    )
    assert "features.apps=false" in words and "features.plugins=false" in words, "which the vendor would run"


@pytest.mark.parametrize("other", [{"OPENAI_API_KEY": "k"}, {"OPENAI_BASE_URL": "http://h/v1"}])
def test_a_key_or_a_server_goes_before_it(other: dict[str, str]) -> None:
    made = launched(CODEX_LOGIN=TEXT, **other)
    assert not made.login and "CODEX_LOGIN" not in made.env
    assert "chatgpt.com" not in " ".join(made.argv)


HELD = {"type": "oauth", "access": "an-access", "refresh": "a-refresh", "expires": 1, "accountId": "a"}
BESIDE = json.dumps({"openai": HELD, "opencode": {"type": "api", "key": "another"}})


def test_of_opencode_s_file_a_run_gets_one_login_that_makes_no_new_tokens() -> None:
    given = json.loads(for_opencode(BESIDE) or b"")
    assert given == {"openai": {**HELD, "refresh": "", "expires": given["openai"]["expires"]}}
    assert given["openai"]["expires"] > 4_000_000_000_000, "or it would ask for another, with nothing"
    assert inner_secrets({"OPENCODE_LOGIN": BESIDE}) == {
        "OPENCODE_LOGIN openai access": "an-access",
        "OPENCODE_LOGIN openai refresh": "a-refresh",
        "OPENCODE_LOGIN openai accountId": "a",
        "OPENCODE_LOGIN opencode key": "another",
    }


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"openai": {"type": "api", "key": "k"}}', '{"openai": {"type": "oauth", "access": ""}}'],
)
def test_what_is_no_login_of_opencode_s_gives_none(text: str) -> None:
    assert for_opencode(text) is None
