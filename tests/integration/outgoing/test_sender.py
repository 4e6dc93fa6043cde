"""Real Apprise in its child and real HTTP, against a server on loopback that checks signatures."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pancode.kernel.errors import ConfigError, NotFoundError, RefusedError, UnavailableError
from pancode.notices.delivery.child import with_extras, without
from pancode.notices.delivery.sender import KeptSecrets, Sender, _resolved, allowed
from pancode.notices.rules import NotifyRules
from pancode.notices.signatures import encoded, headers, signature
from tests.contract.certificates import Authority

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOTICE = {
    "title": "r-1 error: builder",
    "body": "<b>why</b>\npancode runs show r-1",
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
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
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
    return Sender(NotifyRules, KeptSecrets(tmp_path / "secrets"))


def test_ntfy_and_json_get_title_text_and_link(tmp_path: Path, receiver: Receiver) -> None:
    sender(tmp_path).notify(f"ntfy://127.0.0.1:{receiver.port}/fleet", NOTICE)
    sender(tmp_path).notify(f"json://127.0.0.1:{receiver.port}/hook", NOTICE)
    (_, ntfy, first), (path, _, second) = receiver.came[:2]
    told = json.loads(first)
    assert told["title"] == NOTICE["title"] and "<b>why</b>" in told["message"], "text, never markup"
    assert "http://desk/#/r" in json.dumps([told, ntfy]) and "icon" not in first.decode().lower()
    sender(tmp_path).notify(
        f"ntfy://127.0.0.1:{receiver.port}/fleet",
        {**NOTICE, "link": "https://desk/answer#pct_1", "answers": True},
    )
    assert "view, Answer, https://desk/answer#pct_1" in json.dumps(receiver.came[2][1])
    assert path == "/hook" and "pancode runs show r-1" in json.loads(second)["message"]


def test_a_service_that_refuses_says_why_without_its_address(tmp_path: Path, receiver: Receiver) -> None:
    receiver.status = 403
    with pytest.raises(UnavailableError) as refused:
        sender(tmp_path).notify(f"json://user:topsecret@127.0.0.1:{receiver.port}/hook", NOTICE)
    assert "403" in str(refused.value) and "topsecret" not in str(refused.value)
    with pytest.raises(RefusedError):
        sender(tmp_path).notify("nosuchservice://x", NOTICE)


def test_a_webhook_arrives_signed(tmp_path: Path, receiver: Receiver) -> None:
    body = encoded({"type": "run.failed", "data": {"run": "r-1"}})
    url = f"http://127.0.0.1:{receiver.port}/hook?x=1"
    assert sender(tmp_path).post(url, headers(SECRET, "msg_1", 1_700_000_000, body), body) == "HTTP 200"
    ((path, told, came),) = receiver.came
    signed = signature(SECRET, told["webhook-id"], int(told["webhook-timestamp"]), came)
    assert path == "/hook?x=1" and told["webhook-signature"] == signed and came == body


def test_what_is_no_success_is_an_error_and_a_redirect_is_not_followed(
    tmp_path: Path, receiver: Receiver
) -> None:
    url = f"http://127.0.0.1:{receiver.port}/hook"
    for status in (302, 400, 503):
        receiver.status = status
        with pytest.raises(UnavailableError) as refused:
            sender(tmp_path).post(url, {}, b"{}")
        assert str(status) in str(refused.value)
    assert len(receiver.came) == 3
    with pytest.raises(UnavailableError):
        sender(tmp_path).post("http://127.0.0.1:1/", {}, b"{}")


@pytest.mark.parametrize(("scheme", "begin"), [("http", b"H"), ("https", b"\x16\x03\x03\x40\x00")])
def test_a_receiver_that_answers_byte_by_byte_is_cut_off_at_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, begin: bytes
) -> None:
    monkeypatch.setattr("pancode.notices.delivery.sender.POST_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        cut = threading.Event()

        def drip() -> None:
            wire, _ = listening.accept()
            with wire:
                try:
                    wire.sendall(begin)
                    while not cut.wait(0.1):
                        wire.sendall(b"H")
                except OSError:
                    cut.set()

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        with pytest.raises(UnavailableError) as refused:
            sender(tmp_path).post(f"{scheme}://127.0.0.1:{listening.getsockname()[1]}/", {}, b"{}")
        assert "no whole answer within 1 s" in str(refused.value.why)
        assert cut.wait(30), "the connection is ended, too"
        thread.join()


@pytest.mark.parametrize(
    ("scheme", "address", "may"),
    [
        ("http", "127.0.0.1", True),
        ("http", "10.0.0.7", True),
        ("http", "fd00::7", True),
        ("https", "93.184.216.34", True),
        ("http", "93.184.216.34", False),
        ("https", "169.254.169.254", False),
        ("https", "fe80::1%eth0", False),
        ("https", "224.0.0.1", False),
        ("https", "100.100.100.200", False),
        ("https", "0.0.0.0", False),
        ("https", "::ffff:169.254.169.254", False),
        ("http", "::ffff:93.184.216.34", False),
        ("http", "::ffff:10.0.0.7", True),
        ("https", "fd00:ec2::254", False),
        ("http", "fd00:ec3::7", True),
    ],
)
def test_where_a_webhook_may_lead(scheme: str, address: str, may: bool) -> None:
    if may:
        assert allowed(scheme, "host", [address]) == address
        return
    with pytest.raises(RefusedError):
        allowed(scheme, "host", ["10.0.0.7", address])


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://0251.0376.0251.0376/",
        "http://[::ffff:169.254.169.254]/",
        "http://[fd00:ec2::254]/",
        "https://100.100.100.200/",
        "http://0/",
        "http://93.184.216.34/x",
        "http://public.example/x",
    ],
)
def test_an_address_that_leads_where_nothing_is_sent_is_refused_at_once(tmp_path: Path, url: str) -> None:
    def resolve(host: str, port: int) -> list[str]:
        return ["93.184.216.34"] if host.endswith(".example") else _resolved(host, port)

    judging = Sender(NotifyRules, KeptSecrets(tmp_path / "secrets"), resolve)
    with pytest.raises(RefusedError):
        judging.judge(url)
    with pytest.raises((RefusedError, UnavailableError)):
        judging.post(url, {}, b"{}")
    judging.judge("https://public.example/x")
    judging.judge("http://127.0.0.1:7433/x")


def test_a_name_that_is_not_there_yet_is_judged_by_the_delivery(tmp_path: Path) -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror("no such name")

    judging = Sender(NotifyRules, KeptSecrets(tmp_path / "secrets"), resolve)
    judging.judge("http://later.example/")
    with pytest.raises(UnavailableError):
        judging.post("http://later.example/", {}, b"{}")


def test_tls_is_that_of_the_name_at_the_address_that_was_judged_and_no_proxy_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    authority = Authority(tmp_path / "tls")
    pair = authority.issue("hooks", "hooks.example")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)
    receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        """The second time it leads elsewhere."""
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    posting = Sender(NotifyRules, KeptSecrets(tmp_path / "secrets"), resolve)
    assert posting.post(f"https://hooks.example:{receiver.port}/a", {}, b"{}") == "HTTP 200"
    assert asked == ["hooks.example"], "looked up once, and this address was connected to"
    assert receiver.came[0][1]["Host"] == f"hooks.example:{receiver.port}"
    other = Sender(NotifyRules, KeptSecrets(tmp_path / "secrets"), lambda host, port: ["127.0.0.1"])
    with pytest.raises(UnavailableError) as refused:
        other.post(f"https://other.example:{receiver.port}/a", {}, b"{}")
    assert "CERTIFICATE_VERIFY_FAILED" in refused.value.why and len(receiver.came) == 1


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
    assert without("json://h/x", "no https://desk/answer#pct_1a2b") == "no https://desk/answer#***"
    assert without("json://user:topsecret@host/x", "no topsecret at host") == "no *** at ***"
