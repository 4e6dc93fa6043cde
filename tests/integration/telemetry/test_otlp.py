"""Real OpenTelemetry against a receiver of OTLP as JSON on loopback."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from pancode.kernel.errors import UnavailableError
from pancode.notices.traces.otlp import OtlpExport
from pancode.notices.traces.spans import RunSpan, span_id_of, trace_id_of

ROOT = RunSpan("invoke_agent builder", trace_id_of("r-1"), span_id_of("r-1", "run"), None, 1_000, 5_000)
PART = RunSpan(
    "attempt 1", ROOT.trace_id, span_id_of("r-1", "attempt 1"), ROOT.span_id, 1_500, 4_000, {"n": 1}, "lost"
)


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[Any]]]:
    came: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            packed = self.headers.get("Content-Encoding") == "gzip"
            came.append((self.path, json.loads(gzip.decompress(body) if packed else body)))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", came
    server.shutdown()
    server.server_close()


def test_spans_arrive_with_their_ids_times_and_parents(receiver: tuple[str, list[Any]]) -> None:
    address, came = receiver
    OtlpExport(address, "f-1").send([ROOT, PART])
    ((path, told),) = came
    assert path == "/v1/traces"
    (resource,) = told["resourceSpans"]
    about = {one["key"]: one["value"] for one in resource["resource"]["attributes"]}
    assert about["service.name"] == {"stringValue": "pancode"}
    spans = {one["name"]: one for one in resource["scopeSpans"][0]["spans"]}
    root, part = spans["invoke_agent builder"], spans["attempt 1"]
    assert (root["traceId"], root["spanId"]) == (ROOT.trace_id, ROOT.span_id)
    assert part["parentSpanId"] == root["spanId"] and part["startTimeUnixNano"] == "1500000000"
    assert part["status"]["code"] in (2, "STATUS_CODE_ERROR")


def test_a_collector_that_is_away_is_not_now() -> None:
    export = OtlpExport("http://127.0.0.1:1", "f-1", timeout_s=0.5)
    with pytest.raises(UnavailableError):
        export.send([ROOT])


def test_the_coordinator_loads_nothing_of_it_by_itself() -> None:
    code = "import sys, pancode.app.build; print([m for m in sys.modules if m in WANTED])"
    code = code.replace("WANTED", "('opentelemetry.exporter.otlp', 'pancode.notices.traces.otlp', 'apprise')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
