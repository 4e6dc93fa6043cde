"""`pancode land --push`: what the remote says is shown, and the fix is not what it has just refused."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pancode.git.remotes import push_unattended
from pancode.kernel.errors import UnavailableError, WorkspaceError
from pancode.landing.commands.landing import push_branch
from tests.integration.git.repos import Repo, simple

FACE: Any = SimpleNamespace(note=lambda text: None)
WORDS = [f"line {number} of the house's rule" for number in range(6)]


@pytest.fixture
def user(tmp_path: Path) -> Repo:
    """With a remote `origin`, and a branch `t` that it does not have."""
    repo = simple(tmp_path / "user")
    repo.git("init", "-q", "--bare", "../bare")
    repo.git("remote", "add", "origin", str(tmp_path / "bare"))
    repo.git("branch", "t")
    return repo


def _refused(user: Repo) -> WorkspaceError:
    with pytest.raises(WorkspaceError) as caught:
        push_branch(FACE, "origin", "t", {"status": "landed", "tree": str(user.path)})
    assert caught.value.code == "not_pushed"
    return caught.value


def test_a_hook_that_refuses(user: Repo, tmp_path: Path) -> None:
    hook = tmp_path / "bare" / "hooks" / "update"
    hook.write_text("#!/bin/sh\nprintf '%s\\n' " + " ".join(f'"{line}"' for line in WORDS) + " >&2\nexit 1\n")
    hook.chmod(0o755)
    error = _refused(user)
    assert all(f"remote: {line}" in str(error.why) for line in WORDS) and "[remote rejected]" in str(
        error.why
    )
    assert "git push origin t:OTHER" in error.fix and not error.fix.endswith("origin t")


def test_a_branch_that_somebody_else_has_moved(user: Repo) -> None:
    user.git("push", "-q", "origin", "HEAD~0:refs/heads/t")
    user.git("branch", "-f", "t", "HEAD~1")
    error = _refused(user)
    assert "git fetch origin && git rebase origin/t t" in error.fix and "rejected" in str(error.why)


def test_a_remote_that_gives_no_answer(user: Repo) -> None:
    user.git("remote", "set-url", "origin", "/no/where")
    error = _refused(user)
    assert "git ls-remote origin" in error.fix and "/no/where" in str(error.why)


def test_a_push_of_the_coordinator_asks_nobody_and_runs_no_hook(user: Repo, tmp_path: Path) -> None:
    hook = user.path / ".git" / "hooks" / "pre-push"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
    hook.chmod(0o755)
    for _ in "once", "and again":
        push_unattended(str(user.path), "origin", "t", dict(os.environ))
    assert user.git("ls-remote", "origin", "t").split()[0] == user.git("rev-parse", "t")
    assert not (tmp_path / "ran").exists()
    user.git("branch", "-f", "t", "HEAD~1")
    with pytest.raises(WorkspaceError, check=lambda error: error.code == "not_pushed"):
        push_unattended(str(user.path), "origin", "t", dict(os.environ))
    with over_http(tmp_path) as address:
        user.git("remote", "set-url", "origin", f"{address}/bare")
        with pytest.raises(UnavailableError, check=lambda error: "git ls-remote origin" in error.fix):
            push_unattended(str(user.path), "origin", "t", dict(os.environ))


TOKEN = "a-token-of-the-owner"


@contextmanager
def over_http(root: Path) -> Iterator[str]:
    """Git's own server over HTTP for the repositories in this folder; it takes `me` with TOKEN alone."""
    key = base64.b64encode(f"me:{TOKEN}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != f"Basic {key}":
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = {"REQUEST_METHOD": self.command, "PATH_INFO": path, "QUERY_STRING": query}
            given = {"CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body))}
            place = {"GIT_PROJECT_ROOT": str(root), "GIT_HTTP_EXPORT_ALL": "1", "REMOTE_USER": "me"}
            done = subprocess.run(
                ["git", "http-backend"], input=body, env={**asked, **given, **place}, capture_output=True
            )
            head, _, rest = done.stdout.partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
            self.send_response(int(fields.pop("Status", "200").split()[0]))
            for name, value in {**fields, "Content-Length": str(len(rest))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(rest)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_push_over_http_takes_the_token_that_the_owners_git_has(user: Repo, tmp_path: Path) -> None:
    with over_http(tmp_path) as server:
        user.git("remote", "set-url", "origin", f"{server}/bare")
        helper = "!f() {{ echo username=me; echo password={}; }}; f"
        user.git("config", "credential.helper", helper.format("an-old-one"))
        assert "Authentication failed" in str(_refused(user).why)
        user.git("config", "credential.helper", helper.format(TOKEN))
        push_branch(FACE, "origin", "t", {"status": "landed", "tree": str(user.path)})
    assert user.git("--git-dir=../bare", "rev-parse", "t") == user.git("rev-parse", "t")
