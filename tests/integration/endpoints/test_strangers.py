"""A server that a run or another user has put at a usual port is used only when the owner says so."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.endpoints.conftest import Look
from tests.integration.shim_phases import Phases, phases_in, until

STRANGER = 61_301
SERVER = """
import http.server, json, os, sys
class Models(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        there = self.path == "/v1/models"
        models = {"object": "list", "data": [{"id": "qwen3-coder", "owned_by": "x"}]}
        data = json.dumps(models if there else {})
        self.send_response(200 if there else 404)
        self.end_headers()
        self.wfile.write(data.encode())
    def log_message(self, *words):
        pass
"".encode("idna")  # loaded while the files of this Python can be read
if int(sys.argv[2]):
    os.setuid(int(sys.argv[2]))
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Models)
with open(sys.argv[1] + ".new", "w") as file:
    file.write(str(server.server_port))
os.rename(sys.argv[1] + ".new", sys.argv[1])
server.serve_forever()
"""


@contextmanager
def of_another_user(folder: Path) -> Iterator[int]:
    """The port of its server."""
    folder.chmod(0o777)
    with subprocess.Popen([sys.executable, "-c", SERVER, f"{folder}/port", str(STRANGER)]) as server:
        try:
            until(lambda: (folder / "port").exists())
            yield int((folder / "port").read_text())
        finally:
            server.kill()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Where another user may write."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="pcs-", dir="/var/tmp") as name:
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
def test_another_user_s_server_is_used_only_when_the_owner_says_so(table: Look, open_folder: Path) -> None:
    with of_another_user(open_folder) as port:
        seen = table(port)
        assert seen.facts() == () and seen.server("openai-compatible") is None
        (problem,) = seen.problems()
        assert f"owned by user {STRANGER}" in problem.what and "endpoints.json" in problem.fix
        assert [one.name for one in table(port, users=[STRANGER]).facts()] == ["openai-compatible"]
        listed = [{"name": "mine", "url": f"http://127.0.0.1:{port}"}]
        assert [one.name for one in table(endpoints=listed).facts()] == ["mine"]


@pytest.fixture
def phases(tmp_path: Path) -> Iterator[Phases]:
    yield from phases_in(tmp_path)


def test_a_server_of_a_run_is_not_used_whatever_it_wipes(table: Look, phases: Phases) -> None:
    """A run has the same user as its node where the node is no root."""
    folder, plan = phases.plan(["env", "-i", sys.executable, "-c", SERVER, f"{phases.root}/port", "0"])
    phases.runner.start(folder, plan)
    until(lambda: (phases.root / "port").exists())
    seen = table(int((phases.root / "port").read_text()), users=[os.geteuid()])
    assert seen.facts() == () and "part of a run" in seen.problems()[0].what
    phases.runner.stop(folder, "enough")


QUIET = """
import json, sys
from pathlib import Path
from node_agent.endpoints.table import EndpointTable
from node_agent.wire.clock import SystemClock
table = EndpointTable(Path(sys.argv[1]), SystemClock(), lambda: {})
table.look()
assert table.facts() == () and table.problems() == ()
print([name for name in ("httpx2", "http.client") if name in sys.modules])
"""


def test_where_nobody_listens_nothing_is_asked_and_no_client_is_loaded(tmp_path: Path) -> None:
    """An idle node agent stays small."""
    (tmp_path / "endpoints.json").write_text('{"ports": [9]}')
    done = subprocess.run([sys.executable, "-c", QUIET, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr[-500:]
