"""Trackers on loopback: they keep issues and comments, and answer in the shapes that the vendors document."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tests.integration.forge.fakes import TOKEN, Answer, FakeForge, Row

NOT_FOUND: Answer = (404, {"message": "Not Found"})
ME = 9
"""The account of the token."""


@dataclass
class FakeTracker(FakeForge):
    """Issue 12 of `o/r`, or MIN-12; `comments` by the tracker's own id."""

    title: str = "Add login"
    text: str = "Users should log in."
    labels: list[str] = field(default_factory=lambda: ["feature"])
    state: str = "open"
    comments: dict[str, str] = field(default_factory=dict)
    mine: set[str] = field(default_factory=set)
    """The comments that the token's account has written; all others are a stranger's."""
    newer: int = 0
    """Open issues that were changed later than this one, without its labels: numbers 1000 and on."""
    api = ""

    def page(self, rows: list[Row], page: int, size: int, label: str = "") -> list[Row]:
        """A page of this issue behind the newer ones; of those with a label, if one is named."""
        more = [{**row, **self.other(1000 + n)} for n in range(self.newer) for row in rows[:1]]
        every = [*rows[1:], *more, *rows[:1]]
        if label:
            every = [row for row in every if label.lower() in str(row["labels"]).lower()]
        assert 0 < size <= 100, "no tracker gives more at once"
        return every[(page - 1) * size : page * size]

    def other(self, number: int) -> Row:
        """The fields in which an issue of that number differs."""
        raise NotImplementedError

    def by(self, key: str) -> Row:
        return {"id": ME if key in self.mine else 66}

    def wrote(self, key: str, text: str) -> str:
        self.comments[key] = text
        self.mine.add(key)
        return key

    def says(self) -> set[str]:
        """How far the issue is, in the words of PanCode's states."""
        return {*self.labels, "done" if self.state == "completed" else self.state}

    def writes(self) -> list[str]:
        """Requests that changed something."""
        return [f"{method} {path}" for method, path, _, _ in self.asked if method != "GET"]


class FakeGitHubIssues(FakeTracker):
    """docs.github.com/rest/issues."""

    def header(self) -> tuple[str, str]:
        return "authorization", f"Bearer {TOKEN}"

    def other(self, number: int) -> Row:
        return {"number": number, "labels": []}

    def row(self) -> Row:
        return {
            "number": 12,
            "title": self.title,
            "body": self.text,
            "html_url": f"{self.web}/o/r/issues/12",
            "state": "open" if self.state == "open" else "closed",
            "state_reason": None if self.state == "open" else self.state,
            "labels": [{"id": 1, "name": name} for name in self.labels],
            "assignees": [{"login": "ana"}],
            "user": {"login": "bea"},
        }

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        match method, path.removeprefix("/repos/o/r/issues"):
            case "GET", "":
                pull = {**self.row(), "number": 13, "pull_request": {"url": "x"}}
                rows = [self.row(), pull] if self.state == "open" else [pull]
                of = int(query["page"]), int(query["per_page"])
                return 200, self.page(rows, *of, query.get("labels", ""))
            case "GET", "/12":
                return 200, self.row()
            case "PATCH", "/12":
                self.state = body["state_reason"]
                return 200, self.row()
            case "POST", "/12/labels":
                self.labels += [one for one in body["labels"] if one not in self.labels]
                return 200, self.row()["labels"]
            case "GET", "/12/comments":
                said = self.comments.items()
                return 200, [{"id": int(key), "body": text, "user": self.by(key)} for key, text in said]
            case "POST", "/12/comments":
                key = self.wrote(str(7_000 + len(self.comments)), body["body"])
                return 201, {"id": int(key), "body": body["body"]}
            case "GET", "/user":
                return 200, {"id": ME, "login": "pancode-bot"}
        if method == "DELETE" and (label := re.fullmatch(r".*/12/labels/(.+)", path)):
            self.labels.remove(label[1].replace("%20", " "))
            return 200, self.row()["labels"]
        if method == "PATCH" and (at := re.fullmatch(r".*/comments/(\d+)", path)) and at[1] in self.comments:
            self.comments[at[1]] = body["body"]
            return 200, {"id": int(at[1]), "body": body["body"]}
        return NOT_FOUND


class FakeGitLabIssues(FakeTracker):
    """docs.gitlab.com/api/issues and notes."""

    api = "/api/v4"

    def header(self) -> tuple[str, str]:
        return "private-token", TOKEN

    def other(self, number: int) -> Row:
        return {"iid": number, "labels": []}

    def row(self) -> Row:
        return {
            "iid": 12,
            "title": self.title,
            "description": self.text,
            "web_url": f"{self.web}/o/r/-/issues/12",
            "state": "opened" if self.state == "open" else "closed",
            "labels": list(self.labels),
            "assignees": [{"username": "ana"}],
            "author": {"username": "bea"},
        }

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        match method, path.removeprefix("/projects/o%2Fr/issues"):
            case "GET", "":
                rows = [self.row()] if self.state == "open" else []
                return 200, self.page(rows, int(query["page"]), int(query["per_page"]))
            case "GET", "/12":
                return 200, self.row()
            case "PUT", "/12":
                gone = body["remove_labels"].split(",")
                more = [body["add_labels"]] if body.get("add_labels") else []
                self.labels = [one for one in self.labels if one not in gone]
                self.labels += [one for one in more if one not in self.labels]
                self.state = "completed" if body.get("state_event") == "close" else self.state
                return 200, self.row()
            case "GET", "/12/notes":
                said = self.comments.items()
                return 200, [{"id": int(key), "body": text, "author": self.by(key)} for key, text in said]
            case "POST", "/12/notes":
                key = self.wrote(str(7_000 + len(self.comments)), body["body"])
                return 201, {"id": int(key), "body": body["body"]}
            case "GET", "/user":
                return 200, {"id": ME, "username": "pancode-bot"}
        at = re.fullmatch(r".*/12/notes/(\d+)", path)
        if method == "PUT" and at and at[1] in self.comments:
            if at[1] not in self.mine:
                return 403, {"message": "403 Forbidden"}
            self.comments[at[1]] = body["body"]
            return 200, {"id": int(at[1]), "body": body["body"]}
        return NOT_FOUND


_STATES = {
    "s1": ("Todo", "unstarted"),
    "s2": ("In Progress", "started"),
    "s3": ("In Review", "started"),
    "s4": ("Done", "completed"),
}


@dataclass
class FakeLinear(FakeTracker):
    """linear.app's GraphQL, as far as it is asked; an unknown id is an error with status 200."""

    at: str = "s1"
    who: Row = field(
        default_factory=lambda: {
            "assignee": {"name": "ana", "email": "ana@example.org"},
            "creator": {"name": "bea", "email": "bea@example.org"},
        }
    )

    def header(self) -> tuple[str, str]:
        return "authorization", TOKEN

    def other(self, number: int) -> Row:
        return {"identifier": f"MIN-{number}", "labels": {"nodes": []}}

    def says(self) -> set[str]:
        return {*self.labels, _STATES[self.at][0].lower()}

    def node(self) -> Row:
        name, kind = _STATES[self.at]
        return {
            "id": "uuid-12",
            "identifier": "MIN-12",
            "title": self.title,
            "description": self.text,
            "url": "https://linear.app/min/issue/MIN-12",
            "state": {"name": name, "type": kind},
            "labels": {"nodes": [{"name": one} for one in self.labels]},
            **self.who,
            "team": {"states": {"nodes": [
                {"id": key, "name": said, "type": of, "position": place}
                for place, (key, (said, of)) in enumerate(_STATES.items())]}},
            "comments": {"nodes": [
                {"id": key, "body": text, "user": self.by(key)} for key, text in self.comments.items()]},
        }  # fmt: skip

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        asked, given = body["query"], body["variables"]
        if "issues(" in asked:
            rows = [] if _STATES[self.at][1] == "completed" else [self.node()]
            label = given["only"].get("labels", {"name": {"eqIgnoreCase": ""}})["name"]["eqIgnoreCase"]
            page, size = int(given["after"] or 1), given["most"]
            more = {
                "hasNextPage": page * size < len(rows) + self.newer and not label,
                "endCursor": str(page + 1),
            }
            nodes = self.page(rows, page, size, label)
            return 200, {"data": {"issues": {"nodes": nodes, "pageInfo": more}}}
        if given["id"] not in ("MIN-12", "uuid-12", *self.comments):
            return 200, {"errors": [{"message": "Entity not found: Issue"}], "data": None}
        if "issueUpdate" in asked:
            self.at = given["to"]
            return 200, {"data": {"issueUpdate": {"success": True}}}
        if "commentCreate" in asked:
            key = self.wrote(f"c{len(self.comments)}", given["body"])
            return 200, {"data": {"commentCreate": {"comment": {"id": key}}}}
        if "commentUpdate" in asked and given["id"] not in self.mine:
            return 200, {"errors": [{"message": "You do not have access to this comment"}], "data": None}
        if "commentUpdate" in asked:
            self.comments[given["id"]] = given["body"]
            return 200, {"data": {"commentUpdate": {"comment": {"id": given["id"]}}}}
        return 200, {"data": {"viewer": {"id": ME}, "issue": self.node()}}

    def writes(self) -> list[str]:
        return [body["query"].split("{")[1].split("(")[0].strip() for *_, body in self.asked
                if body["query"].startswith("mutation")]  # fmt: skip
