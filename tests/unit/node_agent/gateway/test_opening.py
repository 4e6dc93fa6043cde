"""What the owner wants of the gateways, and what is wrong with a file that says it badly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node_agent.gateway.opening import WISH_FILE, GatewaySettings, _Led, problems_of, read_wish
from node_agent.gateway.upstream import Proxy
from node_agent.machine.home import SettingsError
from node_agent.runtimes.vendors import way_of


def test_without_a_file_the_vendor_goes_nowhere_and_there_is_no_proxy(tmp_path: Path) -> None:
    assert read_wish(tmp_path) == GatewaySettings() and problems_of(tmp_path) == ()
    assert (
        GatewaySettings().hosted_tools,
        GatewaySettings().fetched_urls,
        GatewaySettings().https_proxy,
    ) == (
        "refuse",
        "refuse",
        None,
    )


def test_all_that_can_be_said(tmp_path: Path) -> None:
    said = {
        "https_proxy": "http://proxy.corp:3128",
        "proxy_login": "PROXY",
        "no_proxy": [".corp", "10.0.0.0/8", "models.local", "fd00::/8"],
        "hosted_tools": "strip",
        "fetched_urls": "allow",
    }
    (tmp_path / WISH_FILE).write_text(json.dumps(said))
    wish = read_wish(tmp_path)
    assert wish.model_dump(mode="json") == said and problems_of(tmp_path) == ()


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ('{"https_proxy": "socks5://p:1"}', "https_proxy: "),
        ('{"https_proxy": "http://p"}', "https_proxy: "),
        ('{"https_proxy": "http://p:99999"}', "https_proxy: "),
        ('{"https_proxy": "http://me:hidden-word@p:1"}', "https_proxy: "),
        ('{"no_proxy": ["a b"]}', "no_proxy: "),
        ('{"hosted_tools": "maybe"}', "hosted_tools: "),
        ('{"hosted": "allow"}', "hosted: "),
        ("[]", "the file: "),
        ("{", "the file: "),
    ],
)
def test_what_is_wrong_is_named_and_no_word_of_a_login(tmp_path: Path, said: str, key: str) -> None:
    (tmp_path / WISH_FILE).write_text(said)
    with pytest.raises(SettingsError) as caught:
        read_wish(tmp_path)
    assert f"{tmp_path / WISH_FILE}: {key}" in str(caught.value) and "hidden-word" not in str(caught.value)
    (problem,) = problems_of(tmp_path)
    assert problem.what == str(caught.value) and "correct or remove" in problem.fix


@pytest.mark.parametrize(
    ("runtime", "model", "url", "free"),
    [
        ("native", "qwen3-coder", "http://127.0.0.1:8080/v1", True),
        ("native", "qwen3-coder", "http://[::1]:8080/v1", True),
        ("native", "groq/llama-3.3-70b-versatile", "http://127.0.0.1:8080/v1", False),
        ("opencode", "qwen3-coder", "http://10.1.2.3/v1", True),
        ("opencode", "qwen3-coder", "http://192.168.0.7:8000/v1", True),
        ("openai-agents", "qwen3-coder", "http://169.254.7.7/v1", True),
        ("native", "qwen3-coder", "http://gpubox:8080/v1", True),
        ("codex", "qwen3-coder", "http://172.20.0.1/v1", True),
        ("native", "qwen3-coder", "https://models.example.com/v1", False),
        ("native", "qwen3-coder", "http://8.8.8.8/v1", False),
        ("native", "priced-by-its-owner", "http://127.0.0.1:8080/v1", False),
        ("native", "gpt-5", "http://127.0.0.1:8080/v1", False),
        ("codex", "gpt-99", "http://127.0.0.1:8080/v1", False),
        ("claude", "sonnet", "http://127.0.0.1:8080", False),
        ("claude", None, "http://127.0.0.1:8080", False),
    ],
)
def test_a_server_on_a_private_address_costs_nothing(
    runtime: str, model: str | None, url: str, free: bool
) -> None:
    """A vendor's own model there is a proxy's, and what its owner has priced costs that."""
    names = ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL")
    values = {
        **dict.fromkeys(names, url),
        "OPENAI_API_KEY": "k",
        "ANTHROPIC_API_KEY": "k",
        "GROQ_API_KEY": "k",
    }
    way = way_of(runtime, values, (), model)
    led = _Led(way, prices=(("priced-by-its-owner", "1 1 1 1"),))
    assert way is not None and led.is_free is free
    assert led.is_priced(model) or not free, "a limit in USD holds where nothing costs"


@pytest.mark.parametrize(
    ("host", "through"),
    [
        ("api.vendor.example", True),
        ("notcorp", True),
        ("models.corp", False),
        ("corp", False),
        ("MODELS.CORP", False),
        ("10.1.2.3", False),
        ("11.1.2.3", True),
        ("127.0.0.1", False),
        ("localhost", False),
        ("::1", False),
        ("fd00::1", False),
    ],
)
def test_who_is_reached_through_the_proxy(host: str, through: bool) -> None:
    proxy = Proxy("http://p:1", "me:hidden-word", (".corp", "10.0.0.0/8", "fd00::/8"))
    assert proxy.is_for(host) is through and not Proxy().is_for(host)
    assert "hidden-word" not in repr(proxy) and proxy.place == ("p", 1)
