"""GitLab's API dialect, in which a pull request is a merge request of a project (REST, version 4)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from pancode.git.forge.http import ForgeClient
from pancode.git.forge.pulls import PullRequest, Sides
from pancode.git.forge_rules import RemoteRepository
from pancode.git.pull_state import CheckResult, PullCheck, PullRemark, PullState, PullStatus, ReviewVerdict

LINK, NUMBER = "web_url", "iid"
_STATUSES = {"opened": PullStatus.OPEN, "locked": PullStatus.OPEN, "merged": PullStatus.MERGED}
_PASSED = ("success", "skipped")
"""The statuses of jobs that have passed; a job that may fail passes with any that is an end."""
_ENDS = (*_PASSED, "failed", "canceled", "manual")
_VERDICTS = {
    "approved this merge request": ReviewVerdict.APPROVED,
    "requested changes": ReviewVerdict.CHANGES,
    "unapproved this merge request": ReviewVerdict.WITHDRAWN,
}
"""GitLab's own notes about verdicts; only GitLab writes notes with `system` true."""


def make_headers(token: str) -> dict[str, str]:
    return {"private-token": token}


def repository_path(repository: RemoteRepository) -> str:
    return f"/projects/{quote(repository.path, safe='')}"


def parent_of(row: Mapping[str, Any]) -> str:
    """Return the path of the project of which this one is a fork; empty: it is none."""
    return str((row.get("forked_from_project") or {}).get("path_with_namespace") or "")


def find_pull_request(client: ForgeClient, sides: Sides, branch: str) -> Mapping[str, Any] | None:
    """Return the open merge request of the project's branch; another fork may have a branch of that name."""
    top = repository_path(sides.target)
    rows = client.get(f"{top}/merge_requests", state="opened", source_branch=branch, per_page=100)
    mine = (row for row in rows if row["source_project_id"] == sides.own["id"])
    return next((row for row in mine if row["source_branch"] == branch), None)


def create_pull_request(client: ForgeClient, sides: Sides, wanted: PullRequest, base: str) -> Any:
    body = {"title": wanted.title, "description": wanted.text, "source_branch": wanted.branch}
    body |= {} if sides.are_same else {"target_project_id": sides.there["id"]}
    return client.post(f"{repository_path(sides.repository)}/merge_requests", body | {"target_branch": base})


def base_of(row: Mapping[str, Any]) -> Any:
    return row["target_branch"]


def read_pull(client: ForgeClient, repository: RemoteRepository, number: int) -> PullState:
    """Return the merge request with the jobs and statuses of its head commit, and its notes."""
    top = repository_path(repository)
    at = f"{top}/merge_requests/{number}"
    row = client.get(at)
    status, head = _STATUSES.get(str(row["state"]), PullStatus.CLOSED), str(row["sha"])
    if status is not PullStatus.OPEN:
        return PullState(status, head)
    versions = client.get(f"{at}/versions", per_page=1)
    # A verdict names no commit: it is about the head if it is newer than the push of the head.
    pushed = next((str(one["created_at"]) for one in versions if one["head_commit_sha"] == head), "")
    notes = sorted(client.rows(f"{at}/notes", sort="desc"), key=lambda one: int(one["id"]))
    remarks = tuple(one for note in notes if (one := parse_note(note, pushed)) is not None)
    checks = list[PullCheck]()
    for job in client.rows(f"{top}/repository/commits/{head}/statuses"):
        result = CheckResult.FAILED if job["status"] == "failed" else CheckResult.PENDING
        if job["status"] in (_ENDS if job.get("allow_failure") else _PASSED):
            result = CheckResult.PASSED
        text, url = str(job.get("description") or ""), str(job.get("target_url") or "")
        checks.append(PullCheck(str(job["name"]), result, text, url))
    mergeable, pipeline = str(row.get("detailed_merge_status") or "unknown"), row.get("head_pipeline") or {}
    held = "draft" if row.get("draft") else "" if mergeable == "mergeable" else mergeable
    if checks and pipeline.get("status") != "success":
        held = held or f"pipeline {pipeline.get('status') or 'unknown'}"
    return PullState(status, head, tuple(checks), remarks, held, client.trouble)


def merge_pull(client: ForgeClient, repository: RemoteRepository, number: int, head: str) -> None:
    """Merge the merge request if its head is still this commit; the forge refuses otherwise."""
    client.send("PUT", f"{repository_path(repository)}/merge_requests/{number}/merge", {"sha": head})


def parse_note(row: Mapping[str, Any], pushed: str) -> PullRemark | None:
    """Return the remark, or None for a note of GitLab itself that is not a verdict."""
    verdict, text = ReviewVerdict.NONE, str(row["body"])
    if row.get("system"):
        found = _VERDICTS.get(text)
        if found is None:
            return None
        verdict, text = found, ""
    is_current = bool(pushed) and datetime.fromisoformat(row["created_at"]) >= datetime.fromisoformat(pushed)
    place = row.get("position") or {}
    line, path = place.get("new_line") or place.get("old_line"), place.get("new_path")
    where = f"{path}:{line}" if path and line else str(path or "")
    author = str((row.get("author") or {}).get("username", ""))
    return PullRemark(f"note-{row['id']}", author, text, verdict, is_current, where)
