"""A forge on loopback: it keeps pull requests, and answers in the shapes that the forges document."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "tok-3f9c1e7788aa"
Row = dict[str, Any]
Answer = tuple[int, Any]


@dataclass
class FakeForge:
    """`answers` come first, whatever is asked; `late` is added right before the next creation is refused. The
    answers to the requests in `lost`, counted from 1, do not arrive; each answer comes `slow_s` late."""

    default: str = "main"
    rows: list[Row] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    late: bool = False
    read_only: bool = False
    port: int = 0
    lost: set[int] = field(default_factory=set)
    slow_s: float = 0.0
    parent: str = ""
    """The repository of which `o/r` is a fork; empty: it is none."""

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def header(self) -> tuple[str, str]:
        raise NotImplementedError

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        raise NotImplementedError

    def link(self, query: Mapping[str, str]) -> dict[str, str]:
        """The header with the pages of a list; empty: this forge does not send it for this answer."""
        return {}

    def respond(
        self, method: str, target: str, given: Mapping[str, str], sent: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer to one request."""
        parts = urlsplit(target)
        path = parts.path.removeprefix(self.api)  # type: ignore[attr-defined]
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        body = json.loads(sent) if sent else None
        self.asked.append((method, unquote(target), dict(given.items()), body))
        name, value = self.header()
        if self.answers:
            return self.answers.pop(0)
        if given.get(name) != value:
            return 401, {}, b'{"message": "401 Unauthorized"}'
        if self.read_only and method != "GET":
            return 403, {}, b'{"message": "Resource not accessible by personal access token"}'
        status, told = self.answer(method, path, query, body)
        data = b"" if told is None else json.dumps(told).encode()
        if method != "GET" or status != 200:
            return status, {}, data
        also = self.link(query)
        mark = f'W/"{hashlib.sha256(data).hexdigest()[:20]}"'
        holds = given.get("If-None-Match") == mark
        return (304, {"ETag": mark}, b"") if holds else (200, {"ETag": mark, **also}, data)


class FakeGitHub(FakeForge):
    """docs.github.com/rest/pulls."""

    api = ""
    exists: Answer = (
        422,
        {
            "message": "Validation Failed",
            "errors": [
                {
                    "resource": "PullRequest",
                    "code": "custom",
                    "message": "A pull request already exists for o:agent/x.",
                }
            ],
            "documentation_url": "https://docs.github.com/rest/pulls/pulls#create-a-pull-request",
            "status": "422",
        },
    )

    def header(self) -> tuple[str, str]:
        return "authorization", f"Bearer {TOKEN}"

    def row(self, body: Row, repo: int = 1) -> Row:
        number = len(self.rows) + 1
        name = body["head"].removeprefix("o:")
        head = {"label": f"o:{name}", "ref": name, "repo_id": repo, "repo": {"id": repo}}
        base = {"label": f"o:{body['base']}", "ref": body["base"], "repo_id": 1, "repo": {"id": 1}}
        about = {"title": body["title"], "body": body["body"], "state": "open"}
        return {
            "id": 900 + number,
            "number": number,
            "html_url": f"{self.web}/o/r/pull/{number}",
            **about,
            "head": head,
            "base": base,
        }

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        if path == "/repos/o/r":
            above = {"fork": True, "parent": {"full_name": self.parent}} if self.parent else {"fork": False}
            return 200, {"id": 1, "full_name": "o/r", "default_branch": self.default, **above}
        if path == f"/repos/{self.parent}":
            return 200, {"id": 2, "full_name": self.parent, "default_branch": "develop"}
        if path not in ("/repos/o/r/pulls", f"/repos/{self.parent}/pulls"):
            return 404, {"message": "Not Found", "documentation_url": "https://docs.github.com/rest"}
        if method == "GET":
            return 200, self.listed(query)
        if self.late:
            self.rows, self.late = [self.row(body)], False
            return self.exists
        self.rows.append(self.row(body))
        return 201, self.rows[-1]

    def listed(self, query: dict[str, str]) -> list[Row]:
        assert query["state"] == "open"
        return [row for row in self.rows if row["head"]["label"] == query["head"] and row["state"] == "open"]


class FakeForgejo(FakeGitHub):
    """codeberg.org/api/swagger: lists in pages; one more than a page of others comes first."""

    api = "/api/v1"
    exists: Answer = (
        409,
        {
            "message": "pull request already exists for these targets [id: 1, issue_id: 1]",
            "url": "https://git.example.org/api/swagger",
        },
    )

    def header(self) -> tuple[str, str]:
        return "authorization", f"token {TOKEN}"

    def listed(self, query: dict[str, str]) -> list[Row]:
        assert query["state"] == "open"
        first = (int(query["page"]) - 1) * int(query["limit"])
        return [row for row in self.rows if row["state"] == "open"][first : first + int(query["limit"])]


class FakeGitLab(FakeForge):
    """docs.gitlab.com/api/merge_requests."""

    api = "/api/v4"

    def header(self) -> tuple[str, str]:
        return "private-token", TOKEN

    def row(self, body: Row, source: int = 1) -> Row:
        number = len(self.rows) + 1
        ends = {"source_branch": body["source_branch"], "target_branch": body["target_branch"]}
        target = body.get("target_project_id", 1)
        projects = {"source_project_id": source, "target_project_id": target, "project_id": target}
        about = {"title": body["title"], "description": body["description"], "state": "opened"}
        link = f"{self.web}/o/r/-/merge_requests/{number}"
        return {"id": 900 + number, "iid": number, "web_url": link, **about, **ends, **projects}

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        if path == "/projects/o%2Fr":
            above = {"forked_from_project": {"path_with_namespace": self.parent}} if self.parent else {}
            return 200, {"id": 1, "path_with_namespace": "o/r", "default_branch": self.default, **above}
        if path == f"/projects/{self.parent.replace('/', '%2F')}":
            return 200, {"id": 2, "path_with_namespace": self.parent, "default_branch": "develop"}
        if path == f"/projects/{self.parent.replace('/', '%2F')}/merge_requests" and method == "GET":
            return 200, [row for row in self.rows if row["target_project_id"] == 2]
        if path != "/projects/o%2Fr/merge_requests":
            return 404, {"message": "404 Project Not Found"}
        if method == "GET":
            assert query["state"] == "opened"
            return 200, [row for row in self.rows if row["source_branch"] == query["source_branch"]]
        if self.late:
            self.rows, self.late = [self.row(body)], False
            return 409, {"message": ["Another open merge request already exists for this source branch: !1"]}
        self.rows.append(self.row(body))
        return 201, self.rows[-1]


@contextmanager
def serving(forge: FakeForge) -> Iterator[str]:
    """The address of its API."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            given = cast("Mapping[str, str]", self.headers)
            status, headers, data = forge.respond(self.command, self.path, given, sent)
            time.sleep(forge.slow_s)
            if len(forge.asked) in forge.lost:
                return
            self.send_response(status)
            for one in headers.items():
                self.send_header(*one)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    forge.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"{forge.web}{forge.api}"  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
