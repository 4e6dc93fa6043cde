"""Which way a run's model calls go: through the gateway, with which key, to which server; or directly."""

from __future__ import annotations

import pytest

from node_agent.runtimes.vendors import VENDORS, how_logged_in, proxy_variables, tunnel_of, way_of
from node_agent.wire.node import LoggedIn


def test_a_key_goes_to_the_vendor_and_another_server_where_one_is_named() -> None:
    way = way_of("claude", {"ANTHROPIC_API_KEY": "k"}, ())
    assert way is not None
    assert (way.upstream, way.header, way.key, way.public) == (
        "https://api.anthropic.com",
        "x-api-key",
        "k",
        True,
    )
    way = way_of("codex", {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://h:1/x/v1"}, ())
    assert way is not None and (way.upstream, way.mount, way.public) == ("http://h:1/x/v1", "/v1", False)
    assert way.inside("http://127.0.0.1:7", "t") == {
        "OPENAI_API_KEY": "t",
        "OPENAI_BASE_URL": "http://127.0.0.1:7/v1",
    }


def test_a_server_without_a_key_is_reached_through_it_too() -> None:
    way = way_of("opencode", {"OPENAI_BASE_URL": "http://h:1/v1"}, ())
    assert way is not None and way.key == "" and way.placeholder == "OPENAI_API_KEY"


def test_a_login_is_led_to_its_vendor_unless_there_is_a_key_too() -> None:
    login = {"CLAUDE_CODE_OAUTH_TOKEN": "t"}
    assert way_of("claude", login, ()) is None
    assert way_of("claude", {**login, "ANTHROPIC_BASE_URL": "http://h"}, ()) is None
    assert tunnel_of("claude", login, ()) == ("api.anthropic.com",)
    assert tunnel_of("claude", login, ("CLAUDE_CODE_OAUTH_TOKEN",)) == (), "the job has it itself"
    assert tunnel_of("claude", {**login, "ANTHROPIC_BASE_URL": "http://h"}, ()) == ()
    assert tunnel_of("claude", {**login, "ANTHROPIC_API_KEY": "k"}, ()) == ()
    assert tunnel_of("opencode", {"OPENCODE_LOGIN": "{}"}, ()) == ("chatgpt.com",)
    assert tunnel_of("codex", login, ()) == tunnel_of("shell", login, ()) == ()
    found = [how_logged_in("claude", values) for values in (login, {"ANTHROPIC_API_KEY": "k"}, {})]
    assert found == [LoggedIn.SUBSCRIPTION, LoggedIn.KEY, LoggedIn.OTHER]
    github = {"COPILOT_GITHUB_TOKEN": "t"}
    assert "api.github.com" in tunnel_of("copilot", github, ())
    assert tunnel_of("copilot", {**github, "COPILOT_PROVIDER_BASE_URL": "http://x/v1"}, ()) == ()
    google = {"GOOGLE_CLOUD_ACCESS_TOKEN": "t"}
    assert tunnel_of("gemini", google, ()) == ("cloudcode-pa.googleapis.com",)
    assert tunnel_of("gemini", {**google, "GEMINI_API_KEY": "k"}, ()) == ()
    proxy = proxy_variables("http://127.0.0.1:7", "t")
    assert proxy["HTTPS_PROXY"] == proxy["https_proxy"] == "http://pancode:t@127.0.0.1:7"
    way = way_of("claude", {**login, "ANTHROPIC_AUTH_TOKEN": "k"}, ())
    assert way is not None and (way.header, way.placeholder) == ("authorization", "ANTHROPIC_AUTH_TOKEN")


@pytest.mark.parametrize("named", ["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "CLAUDE_CODE_OAUTH_TOKEN"])
def test_what_a_job_names_for_the_run_it_has_itself(named: str) -> None:
    assert way_of("claude", {"ANTHROPIC_API_KEY": "k"}, (named,)) is None


def test_nothing_here_and_no_vendor() -> None:
    for runtime in (*VENDORS, "shell"):
        assert way_of(runtime, {}, ()) is None
    assert way_of("copilot", {"COPILOT_PROVIDER_API_KEY": "k"}, ()) is None, "there is no server of its own"


def test_models_are_the_job_s_and_the_family_s() -> None:
    values = {"ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k"}
    for runtime, models in (("claude", ("sonnet", "claude-*")), ("opencode", ("sonnet",))):
        way = way_of(runtime, values, (), "sonnet")
        assert way is not None and way.models == models
    way = way_of("claude", values, ())
    assert way is not None and way.models == ()


def test_a_way_does_not_show_its_key() -> None:
    assert "the-key" not in repr(way_of("claude", {"ANTHROPIC_API_KEY": "the-key"}, ()))
