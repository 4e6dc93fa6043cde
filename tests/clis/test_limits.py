"""A limit that resets: real programs are turned away as their vendors do it, and say until when.

A login of a vendor cannot be had here: the answers are as the programs' own code takes them (claude 2.1.328:
the heads `anthropic-ratelimit-unified-*`; codex 0.169.0: an error `usage_limit_reached` with `resets_at`).
"""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from node_agent.runtimes.logins import pause_ms
from node_agent.wire.failure import FailureKind
from tests.clis.conftest import path_of
from tests.clis.launched import CODEX, COPILOT, GEMINI, Bench, Cli

pytestmark = pytest.mark.slow
WAIT_S = 5_400


def _subscription(url: str) -> Mapping[str, str]:
    token = "sk-ant-oat01-of-a-subscription-that-is-none"
    return {"ANTHROPIC_BASE_URL": url, "CLAUDE_CODE_OAUTH_TOKEN": token, "CLAUDE_CODE_MAX_RETRIES": "1"}


RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{WAIT_S}s"}
IN_WORDS: Mapping[str, Any] = {
    "copilot": {"code": "rate_limit_exceeded", "message": "Rate limit reached, please try again in 1h30m0s."},
    "gemini": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Out of quota.", "details": [RETRY]},
}
"""Errors whose words name a time to wait, as OpenAI's and Google's servers write them."""


@contextmanager
def turned_away(reset_s: int, said: Mapping[str, Any] | None = None) -> Iterator[str]:
    """A server whose every answer is that the limit is met, until this moment of the Unix clock; or what is
    `said`."""
    window = "anthropic-ratelimit-unified"
    heads = {
        f"{window}-status": "rejected", f"{window}-reset": str(reset_s), f"{window}-5h-reset": str(reset_s),
        f"{window}-representative-claim": "five_hour", f"{window}-5h-status": "rejected",
    }  # fmt: skip
    usual = {"type": "usage_limit_reached", "plan_type": "plus", "resets_at": reset_s, "message": "limit"}
    error = dict(said or usual)

    class Server(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            body = json.dumps({"type": "error", "error": error}).encode()
            self.send_response(429)
            for name, value in {**heads, "content-type": "application/json"}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "cli", [Cli("claude", "claude-sonnet-4-5", _subscription), CODEX], ids=lambda cli: cli.runtime
)
def test_the_moment_at_which_a_limit_ends_is_read(cli: Cli, tmp_path: Path) -> None:
    reset_s = int(time.time()) + WAIT_S
    with turned_away(reset_s) as url:
        bench = Bench(cli, tmp_path, path_of(cli.runtime), url)
        told = bench.run(bench.request())
    assert told.failure is FailureKind.MODEL_BUSY, told.reason
    left_s = pause_ms(told.resets, int(time.time() * 1000)) / 1000
    assert abs(time.time() + left_s - reset_s) <= 61, "codex tells whole minutes"


@pytest.mark.parametrize("cli", [GEMINI, COPILOT], ids=lambda cli: cli.runtime)
def test_a_time_to_wait_in_the_words_of_a_server_is_read(cli: Cli, tmp_path: Path) -> None:
    reset_s = int(time.time()) + WAIT_S
    with turned_away(reset_s, IN_WORDS[cli.runtime]) as url:
        bench = Bench(cli, tmp_path, path_of(cli.runtime), url)
        told = bench.run(bench.request())
    assert told.failure is FailureKind.MODEL_BUSY, told.reason
    assert pause_ms(told.resets, int(time.time() * 1000)) == WAIT_S * 1000, told.reason
