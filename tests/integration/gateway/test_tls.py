"""A model server behind TLS, known by the certificates that the node names; the owner's gateway.json."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from node_agent.attempt.ports import StepFailed
from node_agent.gateway.opening import GatewaySettings
from tests.fakemodel import FakeModel, preset
from tests.integration.gateway.gateways import KEY, Lab, job_of
from tests.integration.gateway.tls import authority, proxy_to
from tests.integration.test_fakemodel import request

NAME = "models.vendor.test"


@pytest.fixture
def vouched(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    return authority(tmp_path, NAME)


def behind_tls(context: ssl.SSLContext) -> FakeModel:
    model = FakeModel({**preset("text"), "api_key": KEY})
    model.httpd.socket = context.wrap_socket(model.httpd.socket, server_side=True)
    return model


def test_a_private_authority_counts_when_the_node_names_it_and_else_not(
    lab: Lab, vouched: tuple[Path, ssl.SSLContext]
) -> None:
    ca, context = vouched
    path, body = request("chat", True)
    with behind_tls(context) as model:
        lab.point("opencode", f"https://127.0.0.1:{model.port}")
        stranger = lab.open(job_of("opencode"), "stranger")
        status, said = stranger.post(path, body)
        assert status == 502 and b"certificate verify failed" in said
        assert stranger.counted().calls.failed == 1
        lab.values["SSL_CERT_FILE"] = str(ca)
        agent = lab.open(job_of("opencode"))
        assert [agent.post(path, body)[0] for _ in range(3)] == [200, 200, 200]
        assert agent.counted().usage.output_tokens == 3 * 34


def test_through_the_owner_s_proxy_by_name_over_one_connection(
    lab: Lab, vouched: tuple[Path, ssl.SSLContext]
) -> None:
    ca, context = vouched
    path, body = request("chat", True)
    with behind_tls(context) as model, proxy_to(model.port) as proxy:
        lab.point("opencode", f"https://{NAME}")
        lab.values |= {"SSL_CERT_FILE": str(ca), "PROXY": "me:word"}
        lab.wish = GatewaySettings(https_proxy=proxy.url, proxy_login="PROXY")
        agent = lab.open(job_of("opencode"))
        assert [agent.post(path, body)[0] for _ in range(3)] == [200, 200, 200]
        assert proxy.asked == [f"{NAME}:443"], "kept for the next request, and its name found by the proxy"
        assert "proxy-authorization: Basic bWU6d29yZA==" in proxy.heads[0]
        assert KEY not in "".join(proxy.heads) and agent.counted().usage.output_tokens == 3 * 34


def test_past_the_proxy_and_without_tls_it_goes_directly(lab: Lab) -> None:
    path, body = request("chat", True)
    with FakeModel(preset("text")) as model, proxy_to(model.port) as proxy:
        lab.point("opencode", model.url)
        lab.wish = GatewaySettings(https_proxy=proxy.url)
        agent = lab.open(job_of("opencode"))
        assert agent.post(path, body)[0] == 200 and proxy.asked == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("HTTP/1.1 407 Proxy Authentication Required", "requires a login"),
        ("HTTP/1.1 403 Forbidden", f"refuses to connect to {NAME}:443: 403 Forbidden"),
        ("HTTP/1.1 403 not word-of-the-proxy", ": 403 not [secret proxy password]"),
        ("SSH-2.0-x", "is not an HTTP proxy"),
    ],
)
def test_a_proxy_that_does_not_let_it_through_is_named(lab: Lab, answer: str, words: str) -> None:
    path, body = request("chat", True)
    with proxy_to(1, answer) as proxy:
        lab.point("opencode", f"https://{NAME}")
        lab.values["PROXY_LOGIN"] = "me:word-of-the-proxy"
        lab.wish = GatewaySettings(https_proxy=proxy.url, proxy_login="PROXY_LOGIN")
        agent = lab.open(job_of("opencode"))
        status, said = agent.post(path, body)
        assert status == 502 and words in said.decode(), said
        count = agent.counted()
        assert (count.calls.failed, count.calls.unread) == (1, 0), "nothing was sent that could cost"


def test_a_proxy_that_is_not_there_and_a_login_that_is_none(lab: Lab) -> None:
    path, body = request("chat", True)
    lab.point("opencode", f"https://{NAME}")
    lab.wish = GatewaySettings(https_proxy="http://127.0.0.1:1")
    status, said = lab.open(job_of("opencode")).post(path, body)
    assert status == 502 and b"the proxy 127.0.0.1:1 of gateway.json cannot be reached" in said
    lab.wish = GatewaySettings(https_proxy="http://127.0.0.1:1", proxy_login="GONE")
    with pytest.raises(StepFailed, match="GONE"):
        lab.open(job_of("opencode"), "b")


@pytest.mark.parametrize(("owner", "status"), [("refuse", 403), ("strip", 200), ("allow", 200)])
def test_tools_of_the_vendor_s_as_the_owner_has_it(lab: Lab, owner: str, status: int) -> None:
    path, body = request("anthropic", True)
    body["tools"] = [*body["tools"], {"type": "web_search_20250305", "name": "web_search"}]
    with FakeModel(preset("text")) as model:
        lab.point("claude", model.url)
        lab.wish = GatewaySettings.model_validate({"hosted_tools": owner})
        assert lab.open(job_of("claude")).post(path, body)[0] == status
        asked = int(status == 200)
        assert model.wait_for(asked) and len(model.requests) == asked


@pytest.mark.parametrize(("owner", "status"), [("refuse", 403), ("allow", 200)])
def test_addresses_that_the_vendor_would_fetch_as_the_owner_has_it(lab: Lab, owner: str, status: int) -> None:
    path, body = request("chat", True)
    image = {"type": "image_url", "image_url": {"url": "https://elsewhere.example/x"}}
    body["messages"] = [{"role": "user", "content": [image]}]
    with FakeModel(preset("text")) as model:
        lab.point("opencode", model.url)
        lab.wish = GatewaySettings.model_validate({"fetched_urls": owner})
        assert lab.open(job_of("opencode")).post(path, body)[0] == status
        asked = int(status == 200)
        assert model.wait_for(asked) and len(model.requests) == asked
