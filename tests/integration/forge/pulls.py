"""Forges on loopback that keep what comes back on pull requests, in the shapes that the vendors document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.integration.forge.fakes import Answer, FakeForge, FakeGitHub, FakeGitLab, Row

NOT_FOUND: Answer = (404, {"message": "Not Found"})
APPROVED, CHANGES, DRAFT = "approved", "changes", "draft"
STATUS = "status/"
"""How the names of those checks begin that GitHub has as statuses of the commit."""


@dataclass
class FakePulls(FakeForge):
    """What came back on the pull requests of `o/r`, which all have the same head commit. A push of the branch
    is told with `push`."""

    head: str = "a" * 40
    merged: str = ""
    """The head that was merged; empty: none."""
    closed: bool = False
    checks: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The result and the output of each check of the head: passed, failed or running."""
    told: list[Row] = field(default_factory=list)
    """Reviews and comments: `by`, `text`, `verdict`, `head`, `at`."""
    refuses_merge: bool = False
    held: str = ""
    """Why it cannot be merged, in the forge's word; draft: it is a draft."""
    suites: list[Row] = field(default_factory=list)
    """The check suites of the head on GitHub, beside that of its checks."""
    pipeline: str = ""
    """The status of the head's pipeline on GitLab; empty: that of its checks."""
    hides_checks: bool = False
    """The token may not read check runs."""
    clock: int = 0
    last_page: int = 0
    """Of the list that was asked for last."""

    def push(self, head: str) -> None:
        """The branch has another head, which has no checks yet."""
        self.head, self.checks = head, {}
        self.clock += 1

    def tell(self, by: str, text: str, verdict: str = "", where: tuple[str, int] | None = None) -> None:
        """A person comments (`where`: on a line of a file), or reviews the head."""
        self.clock += 1
        about = {"verdict": verdict, "where": where, "head": self.head, "at": self.clock}
        self.told.append({"by": by, "text": text, **about})

    def link(self, query: Mapping[str, str]) -> dict[str, str]:
        if not self.last_page or self.last_page == int(query.get("page", 0)):
            return {}
        links = ('2>; rel="next"', f'{self.last_page}>; rel="last"')
        return {"Link": ", ".join(f"<https://x/?per_page=100&page={one}" for one in links)}

    def page(self, rows: list[Row], query: dict[str, str]) -> list[Row]:
        page, size = int(query["page"]), int(query["per_page"])
        self.last_page = -(-len(rows) // size)
        assert 0 < size <= 100, "no forge gives more at once"
        return rows[(page - 1) * size : page * size]

    def word(self, good: str) -> str:
        """Whether it can be merged, in the forge's word, which need not say that it is a draft."""
        return good if self.held in ("", DRAFT) else self.held

    def merges(self, sha: str) -> Answer:
        if self.refuses_merge:
            return 405, {"message": "Pull Request is not mergeable"}
        if sha != self.head:
            return 409, {"message": "Head branch was modified. Review and try the merge again."}
        self.merged = sha
        return 200, {"sha": sha, "merged": True}

    def names(self) -> list[str]:
        """The paths of the requests, without their queries."""
        return [f"{method} {path.partition('?')[0]}" for method, path, _, _ in self.asked]


@dataclass
class FakeGitHubPulls(FakePulls, FakeGitHub):
    """docs.github.com/rest/pulls, /rest/checks, /rest/commits/statuses and /rest/issues/comments."""

    api = ""

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        at = re.fullmatch(r"/repos/o/r/(pulls|issues|commits)/(\w+)(?:/([a-z-]+))?", path)
        if at is None:
            return FakeGitHub.answer(self, method, path, query, body)
        kind, name, what = at.groups()
        if kind == "commits" and name != self.head:
            return NOT_FOUND
        if kind != "commits" and not 0 < int(name) <= len(self.rows):
            return NOT_FOUND
        match method, kind, what:
            case "GET", "pulls", None:
                ended = bool(self.merged) or self.closed
                about = {"state": "closed" if ended else "open", "merged": bool(self.merged)}
                about |= {"draft": self.held == DRAFT, "mergeable_state": self.word("clean")}
                row = self.rows[int(name) - 1]
                return 200, {**row, **about, "head": {**row["head"], "sha": self.head}}
            case "PUT", "pulls", "merge":
                return self.merges(body["sha"])
            case "GET", "pulls", "reviews":
                return 200, self.page([row for row in self.reviews() if row["state"]], query)
            case "GET", _, "comments":
                return 200, self.page(self.comments(on_lines=kind == "pulls"), query)
            case "GET", "commits", "check-runs" | "check-suites" if self.hides_checks:
                return 403, {"message": "Resource not accessible by personal access token"}
            case "GET", "commits", "check-suites":
                own = {"status": "completed", "latest_check_runs_count": len(self.checks)}
                return 200, {"check_suites": self.page([own, *self.suites], query)}
            case "GET", "commits", "check-runs":
                return 200, {"total_count": len(self.checks), "check_runs": self.page(self.runs(), query)}
            case "GET", "commits", "status":
                ends = {"passed": "success", "failed": "failure", "running": "pending"}
                rows = [
                    {"context": name, "state": ends[result], "description": text, "target_url": None}
                    for name, (result, text) in self.checks.items()
                    if name.startswith(STATUS)
                ]
                return 200, {"state": "pending", "statuses": self.page(rows, query)}
        return NOT_FOUND

    def comments(self, on_lines: bool) -> list[Row]:
        return [
            {"id": number, "user": {"login": one["by"]}, "body": one["text"]}
            | ({"path": one["where"][0], "line": one["where"][1]} if on_lines else {})
            for number, one in enumerate(self.told)
            if not one["verdict"] and bool(one["where"]) is on_lines
        ]

    def reviews(self) -> list[Row]:
        states = {APPROVED: "APPROVED", CHANGES: "CHANGES_REQUESTED", DRAFT: "PENDING", "": ""}
        return [
            {"id": number, "user": {"login": one["by"]}, "body": one["text"], "state": states[one["verdict"]],
             "commit_id": one["head"]}
            for number, one in enumerate(self.told)
        ]  # fmt: skip

    def runs(self) -> list[Row]:
        ends = {"passed": "success", "failed": "failure", "running": None}
        return [
            {"id": number, "name": name, "head_sha": self.head, "conclusion": ends[result],
             "status": "in_progress" if result == "running" else "completed",
             "html_url": f"{self.web}/o/r/runs/{number}",
             "output": {"title": None, "summary": text, "text": None}}
            for number, (name, (result, text)) in enumerate(self.checks.items())
            if not name.startswith(STATUS)
        ]  # fmt: skip


@dataclass
class FakeGitLabPulls(FakePulls, FakeGitLab):
    """docs.gitlab.com/api/merge_requests, /notes, /versions and /commits (statuses)."""

    api = "/api/v4"
    pushed: int = 0
    """The moment at which the head was pushed."""

    def push(self, head: str) -> None:
        super().push(head)
        self.pushed = self.clock

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        statuses = re.fullmatch(r"/projects/o%2Fr/repository/commits/(\w+)/statuses", path)
        if statuses is not None:
            return (200, self.page(self.jobs(), query)) if statuses[1] == self.head else NOT_FOUND
        at = re.fullmatch(r"/projects/o%2Fr/merge_requests/(\d+)(?:/([a-z]+))?", path)
        if at is None:
            return FakeGitLab.answer(self, method, path, query, body)
        if not 0 < int(at[1]) <= len(self.rows):
            return NOT_FOUND
        match method, at[2]:
            case "GET", None:
                state = "merged" if self.merged else "closed" if self.closed else "opened"
                about = {"draft": self.held == DRAFT, "detailed_merge_status": self.word("mergeable")}
                results = {result for result, _ in self.checks.values()}
                ends = "running" if "running" in results else "failed" if "failed" in results else "success"
                about["head_pipeline"] = {"status": self.pipeline or ends} if results else None
                return 200, {**self.rows[int(at[1]) - 1], "state": state, "sha": self.head, **about}
            case "PUT", "merge":
                return self.merges(body["sha"])
            case "GET", "versions":
                return 200, [{"id": 1, "head_commit_sha": self.head, "created_at": moment(self.pushed)}]
            case "GET", "notes":
                return 200, self.page(self.notes()[::-1], query)
        return NOT_FOUND

    def notes(self) -> list[Row]:
        rows = list[Row]()
        for number, one in enumerate(self.told):
            about = {"author": {"username": one["by"]}, "created_at": moment(one["at"])}
            words = {APPROVED: "approved this merge request", CHANGES: "requested changes"}
            if one["verdict"]:
                rows.append({"id": 2 * number, "body": words[one["verdict"]], "system": True, **about})
            if one["where"]:
                about["position"] = {"new_path": one["where"][0], "new_line": one["where"][1]}
            if one["text"]:
                rows.append({"id": 2 * number + 1, "body": one["text"], "system": False, **about})
        return rows

    def jobs(self) -> list[Row]:
        states = {"passed": "success", "failed": "failed", "running": "running"}
        return [
            {"id": number, "name": name, "status": states[result], "description": text,
             "allow_failure": False,
             "target_url": f"{self.web}/o/r/-/jobs/{number}", "sha": self.head}
            for number, (name, (result, text)) in enumerate(self.checks.items())
        ]  # fmt: skip


def moment(number: int) -> str:
    return f"2026-11-29T12:{number // 60:02d}:{number % 60:02d}.000Z"
