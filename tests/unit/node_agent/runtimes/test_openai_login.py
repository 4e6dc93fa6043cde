"""What a run gets of Codex's own login, and what never leaves the node of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from node_agent.runtimes.base import Launch, Place
from node_agent.runtimes.codex.command import launch
from node_agent.runtimes.logins import inner_secrets
from node_agent.runtimes.openai_login import for_run, secrets_in
from node_agent.wire.policy import Isolation
from tests.unit.node_agent.runtimes.asked import ask

TOKENS = {"id_token": "an-id", "access_token": "an-access", "refresh_token": "a-refresh", "account_id": "a"}
LOGIN = {"auth_mode": "chatgpt", "OPENAI_API_KEY": "sk-x", "tokens": TOKENS, "last_refresh": "2026-11-20"}
TEXT = json.dumps(LOGIN)
PLACE = Place(path="/bin", python="/usr/bin/python3", is_root=False, isolation=Isolation.NONE)


def launched(**env: str) -> Launch:
    return launch(ask(model="m"), replace(PLACE, env=env))


def test_a_run_gets_all_but_what_makes_new_tokens() -> None:
    given = for_run(TEXT)
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
        "CODEX_LOGIN id_token": "an-id",
        "CODEX_LOGIN access_token": "an-access",
        "CODEX_LOGIN refresh_token": "a-refresh",
    }
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
