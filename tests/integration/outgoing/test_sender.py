"""Real Apprise in its child, against a server on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pancode.config.notify import NotifyRules
from pancode.kernel.errors import ConfigError, NotFoundError, RefusedError, UnavailableError, UsageError
from pancode.kernel.host.secrets import KeptSecrets
from pancode.notices.delivery.child import mask_address, with_extras
from pancode.notices.delivery.sender import Sender
from tests.integration.socks import socks_proxy

NOTICE = {
    "text": "r-1 error: builder: <b>why</b>\npancode runs show r-1",
    "link": "http://desk/#/r",
}


class Receiver:
    """What came, and what is answered."""

    def __init__(self) -> None:
        self.came: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200
        self.server = HTTPServer(("127.0.0.1", 0), self._handler())
        self.port = self.server.server_address[1]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.came.append((self.path, dict(self.headers.items()), body))
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        return Handler


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()


def sender(tmp_path: Path) -> Sender:
    return Sender(NotifyRules, KeptSecrets(tmp_path / "secrets").read)


def test_ntfy_and_json_get_text_and_link(tmp_path: Path, receiver: Receiver) -> None:
    sender(tmp_path).notify(f"ntfy://127.0.0.1:{receiver.port}/fleet", NOTICE)
    sender(tmp_path).notify(f"json://127.0.0.1:{receiver.port}/hook", NOTICE)
    (_, ntfy, first), (path, _, second) = receiver.came[:2]
    told = json.loads(first)
    assert told["title"] == "PanCode" and "<b>why</b>" in told["message"], "text, never markup"
    assert "http://desk/#/r" in json.dumps([told, ntfy]) and "icon" not in first.decode().lower()
    sender(tmp_path).notify(
        f"ntfy://127.0.0.1:{receiver.port}/fleet",
        {**NOTICE, "link": "https://desk/answer#pct_1", "answers": True},
    )
    assert "view, Answer, https://desk/answer#pct_1" in json.dumps(receiver.came[2][1])
    assert path == "/hook" and "pancode runs show r-1" in json.loads(second)["message"]


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks"])
def test_a_notice_goes_through_a_socks_proxy(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    with socks_proxy() as proxy:
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://{proxy.address}")
        sender(tmp_path).notify(f"json://127.0.0.1:{receiver.port}/hook", NOTICE)
    assert receiver.came and proxy.asked == [("127.0.0.1", receiver.port)]


def test_a_service_that_refuses_says_why_without_its_address(tmp_path: Path, receiver: Receiver) -> None:
    receiver.status = 403
    with pytest.raises(UnavailableError) as refused:
        sender(tmp_path).notify(f"json://user:topsecret@127.0.0.1:{receiver.port}/hook", NOTICE)
    assert "403" in str(refused.value) and "topsecret" not in str(refused.value)
    with pytest.raises(RefusedError):
        sender(tmp_path).notify("nosuchservice://x", NOTICE)


def test_secrets_are_files_for_their_owner_alone(tmp_path: Path) -> None:
    secrets = KeptSecrets(tmp_path / "secrets")
    secrets.keep("phone", "ntfy://host/topic")
    assert secrets.read("phone") == "ntfy://host/topic"
    path = tmp_path / "secrets" / "phone"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(ConfigError):
        secrets.read("phone")
    secrets.keep("phone", None)
    for name in ("phone", "other"):
        with pytest.raises(NotFoundError):
            secrets.read(name)
    with pytest.raises(ConfigError):
        secrets.read("../key/coordinator.key")


CLICKED = "https%3A%2F%2Fdesk%2Fanswer%23pct_1"


def test_extras_and_hidden_parts() -> None:
    assert (
        with_extras("ntfy://h/t", {"link": "http://a/#/b?c"})
        == "ntfy://h/t?image=no&click=http%3A%2F%2Fa%2F%23%2Fb%3Fc"
    )
    assert with_extras("json://h/t", {"link": None}) == "json://h/t"
    asks = {"link": "https://desk/answer#pct_1", "answers": True}
    assert with_extras("ntfy://h/t?x=1", asks).endswith("&actions=view%2C%20Answer%2C%20" + CLICKED)
    assert "actions" not in with_extras("ntfy://h/t", {**asks, "link": "https://desk/a;b#pct_1"})
    assert mask_address("json://h/x", "no https://desk/answer#pct_1a2b") == "no https://desk/answer#***"
    assert mask_address("json://user:topsecret@host/x", "no topsecret at host") == "no *** at ***"


def test_a_secret_that_would_hide_words_is_refused(tmp_path: Path) -> None:
    secrets = KeptSecrets(tmp_path / "secrets")
    with pytest.raises(UsageError, match="fewer than 4") as refused:
        secrets.keep("forge", "tok")
    assert refused.value.code == "secret_too_short" and not (tmp_path / "secrets").exists()
    secrets.keep("forge", "toke")
