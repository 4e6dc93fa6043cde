"""A model server that quotes its request, as some proxies do in errors, does not give the run its key."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.crowd import crowded
from tests.integration.gateway.gateways import KEY, Agent, Lab, job_of
from tests.integration.test_fakemodel import request

Answer = Callable[[BaseHTTPRequestHandler, str], None]


def told(status: int, body: bytes, *heads: tuple[str, str], reason: str = "Because") -> Answer:
    """Answer with `QUOTE` in body, heads and reason replaced by what the server got as authorization."""

    def answer(handler: BaseHTTPRequestHandler, quote: str) -> None:
        said = body.replace(b"QUOTE", quote.encode())
        said = gzip.compress(said) if ("content-encoding", "gzip") in heads else said
        handler.send_response(status, reason.replace("QUOTE", quote))
        for name, value in (*heads, ("content-length", str(len(said)))):
            handler.send_header(name, value.replace("QUOTE", quote))
        handler.end_headers()
        handler.wfile.write(said)

    return answer


def in_base64(handler: BaseHTTPRequestHandler, quote: str) -> None:
    word = base64.b64encode(b"me:" + quote.removeprefix("Bearer ").encode()).decode()
    told(401, f"received Basic {word}".encode(), ("x-received", word))(handler, quote)


def in_pieces(handler: BaseHTTPRequestHandler, quote: str) -> None:
    handler.send_response(401)
    handler.send_header("transfer-encoding", "chunked")
    handler.end_headers()
    for byte in f"received {quote} here".encode():
        handler.wfile.write(b"1\r\n%c\r\n" % byte)
        handler.wfile.flush()
    handler.wfile.write(b"0\r\n\r\n")


def in_a_broken_head(handler: BaseHTTPRequestHandler, quote: str) -> None:
    handler.wfile.write(f"HTTP/1.1 400 No\r\nreceived {quote}\r\n\r\n".encode())
    handler.close_connection = True


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> str:
        class Quoting(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                assert KEY in self.headers["authorization"]
                answer(self, self.headers["authorization"])

            do_GET = do_POST

            def log_message(self, format: str, *args: object) -> None:
                """Keep the output of the tests clean."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Quoting)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def ask(agent: Agent, method: str = "POST", path: str = "") -> tuple[int, str, bytes]:
    """Return the answer's status, its whole head as text, and its body."""
    chat, body = request("chat", False)
    line = http.client.HTTPConnection("127.0.0.1", agent.entry.port, timeout=20 * crowded())
    line.request(method, path or chat, json.dumps(body), {"authorization": f"Bearer {agent.entry.token}"})
    answer = line.getresponse()
    head = f"{answer.reason}\n{answer.headers}"
    said = answer.read()
    line.close()
    return answer.status, head, said


def forms() -> tuple[bytes, ...]:
    coded = base64.b64encode(b"me:" + KEY.encode())
    return KEY.encode(), KEY.lower().encode(), coded, coded[4:-4]


QUOTE = b'{"error": {"message": "invalid key: QUOTE"}}'
SHOWN = b'{"error": {"message": "invalid key: Bearer [secret model key]"}}'


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (told(400, QUOTE), 400, SHOWN),
        (told(307, b"", ("location", "/x?key=QUOTE"), reason="QUOTE"), 307, b""),
        (told(503, QUOTE, ("content-encoding", "gzip")), 503, SHOWN),
        (told(500, QUOTE, ("content-encoding", "br")), 500, b"compressed"),
        (told(500, b"x" * (1 << 20) + QUOTE), 500, b"too large"),
        (in_base64, 401, b"received Basic "),
        (in_a_broken_head, 502, b"not a valid header"),
        (in_pieces, 401, b"received Bearer [secret model key] here"),
        (told(200, b'{"choices": []}', ("x-received", "QUOTE"), reason="QUOTE"), 200, b'{"choices": []}'),
        (told(200, b'{"choices": []}', (f"x-{KEY}", "a")), 200, b'{"choices": []}'),
    ],
    ids="plain redirect gzip br large base64 broken pieces heads name".split(),
)
def test_no_answer_quotes_the_key(
    lab: Lab, serve: Callable[[Answer], str], answer: Answer, status: int, said: bytes
) -> None:
    lab.point("opencode", serve(answer))
    agent = lab.open(job_of("opencode"))
    for _ in range(2):  # the second time perhaps from what the gateway kept
        got, head, body = ask(agent)
        assert got == status and said in body, (head, body[:300])
        assert not any(form in head.encode() + body for form in forms()), (head, body)
        assert "content-encoding" not in head.lower()


def test_nor_does_an_answer_that_costs_nothing(lab: Lab, serve: Callable[[Answer], str]) -> None:
    lab.point("opencode", serve(told(403, QUOTE, ("retry-after", "7"))))
    status, head, body = ask(lab.open(job_of("opencode")), "GET", "/v1/models")
    assert (status, body) == (403, SHOWN) and "retry-after: 7" in head.lower()
