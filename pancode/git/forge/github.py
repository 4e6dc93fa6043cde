"""GitHub's API dialect for pull requests (REST, version 2022-11-28), also of GitHub Enterprise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from pancode.git.forge.http import FORBIDDEN, REFUSED, ForgeClient
from pancode.git.forge.pulls import PullRequest, Sides
from pancode.git.forge_rules import RemoteRepository
from pancode.git.pull_state import CheckResult, PullCheck, PullRemark, PullState, PullStatus, ReviewVerdict
from pancode.kernel.errors import RefusedError

LINK, NUMBER = "html_url", "number"
_PASSED = ("success", "neutral", "skipped")
_FAILED = ("failure", "timed_out", "startup_failure", "error")
"""The conclusions of check runs and the states of statuses that mean a failure. Others, such as cancelled,
are no reason for work, and have not passed."""
_MERGEABLE = ("clean", "has_hooks", "unstable")
_NO_CHECKS = "its checks: use a classic token with the scope repo, or a token of a GitHub App"
_VERDICTS = {
    "APPROVED": ReviewVerdict.APPROVED,
    "CHANGES_REQUESTED": ReviewVerdict.CHANGES,
    "DISMISSED": ReviewVerdict.WITHDRAWN,
}


def make_headers(token: str) -> dict[str, str]:
    version = {"accept": "application/vnd.github+json", "x-github-api-version": "2022-11-28"}
    return {**version, "authorization": f"Bearer {token}"}


def repository_path(repository: RemoteRepository) -> str:
    return f"/repos/{quote(repository.owner, safe='')}/{quote(repository.name, safe='')}"


def parent_of(row: Mapping[str, Any]) -> str:
    """Return the path of the repository of which this one is a fork; empty: it is none."""
    return str((row.get("parent") or {}).get("full_name") or "") if row.get("fork") else ""


def find_pull_request(client: ForgeClient, sides: Sides, branch: str) -> Mapping[str, Any] | None:
    """Return the open pull request of the branch."""
    head, top = f"{sides.repository.owner}:{branch}", repository_path(sides.target)
    rows = client.get(f"{top}/pulls", state="open", head=head, per_page=10)
    return next((row for row in rows if row["head"]["ref"] == branch), None)


def create_pull_request(client: ForgeClient, sides: Sides, wanted: PullRequest, base: str) -> Any:
    head = wanted.branch if sides.are_same else f"{sides.repository.owner}:{wanted.branch}"
    body = {"title": wanted.title, "body": wanted.text, "head": head, "base": base}
    return client.post(f"{repository_path(sides.target)}/pulls", body)


def base_of(row: Mapping[str, Any]) -> Any:
    return row["base"]["ref"]


def read_viewer(client: ForgeClient) -> Any:
    """Return the id of the token's account. This uses GraphQL, which also works with an app's token."""
    # on GitHub Enterprise, the path of GraphQL is next to that of the REST API
    address = f"{client.api.removesuffix('/v3')}/graphql"
    reply = client.post(address, {"query": "{ viewer { databaseId } }"})
    if reply.get("errors"):
        raise RefusedError("GitHub does not report the owner of the token", code=REFUSED)
    return reply["data"]["viewer"]["databaseId"]


def read_pull(client: ForgeClient, repository: RemoteRepository, number: int) -> PullState:
    """Return the pull request with the checks of its head commit, and its reviews and comments."""
    top = repository_path(repository)
    row = client.get(f"{top}/pulls/{number}")
    head, held = str(row["head"]["sha"]), str(row.get("mergeable_state") or "unknown")
    held = "draft" if row.get("draft") else "" if held in _MERGEABLE else held
    if row["state"] != "open":
        return PullState(PullStatus.MERGED if row.get("merged") else PullStatus.CLOSED, head)
    remarks = list[PullRemark]()
    for row in client.rows(f"{top}/pulls/{number}/reviews"):
        if row["state"] != "PENDING":  # a draft of the token's own account
            verdict, text = _VERDICTS.get(str(row["state"]), ReviewVerdict.NONE), str(row.get("body") or "")
            is_current = row.get("commit_id") == head
            remarks.append(PullRemark(f"review-{row['id']}", _login_of(row), text, verdict, is_current))
    for kind in ("pulls", "issues"):  # comments on lines, and comments on the whole
        for row in client.rows(f"{top}/{kind}/{number}/comments"):
            line, path = row.get("line") or row.get("original_line"), str(row.get("path") or "")
            where, text = f"{path}:{line}" if line and path else path, str(row.get("body") or "")
            remarks.append(PullRemark(f"{kind}-{row['id']}", _login_of(row), text, where=where))
    commit, checks, trouble = f"{top}/commits/{head}", list[PullCheck](), ""
    try:
        checks += read_check_runs(client, commit)
        # The forge makes a suite for each app on a push; those without runs never end.
        suites = client.rows(f"{commit}/check-suites", "check_suites")
        if any(one["status"] != "completed" and one.get("latest_check_runs_count") != 0 for one in suites):
            held = held or "checks run"
    except RefusedError as refused:
        if refused.code != FORBIDDEN:
            raise
        trouble = _NO_CHECKS
    checks += read_statuses(client, commit)
    return PullState(PullStatus.OPEN, head, tuple(checks), tuple(remarks), held, trouble or client.trouble)


def merge_pull(client: ForgeClient, repository: RemoteRepository, number: int, head: str) -> None:
    """Merge the pull request if its head is still this commit; the forge refuses otherwise."""
    client.send("PUT", f"{repository_path(repository)}/pulls/{number}/merge", {"sha": head})


def read_check_runs(client: ForgeClient, commit: str) -> Iterator[PullCheck]:
    """Yield the check runs of a commit. `commit`: its path in the API."""
    for row in client.rows(f"{commit}/check-runs", "check_runs"):
        output = row.get("output") or {}
        text = "\n\n".join(str(output[name]) for name in ("title", "summary", "text") if output.get(name))
        state = str(row["conclusion"] if row["status"] == "completed" else row["status"])
        yield PullCheck(str(row["name"]), _result_of(state), text, str(row.get("html_url") or ""))


def read_statuses(client: ForgeClient, commit: str) -> Iterator[PullCheck]:
    for row in client.rows(f"{commit}/status", "statuses"):
        text, url = str(row.get("description") or ""), str(row.get("target_url") or "")
        yield PullCheck(str(row["context"]), _result_of(str(row["state"])), text, url)


def _result_of(state: str) -> CheckResult:
    if state in _FAILED:
        return CheckResult.FAILED
    return CheckResult.PASSED if state in _PASSED else CheckResult.PENDING


def _login_of(row: Mapping[str, Any]) -> str:
    return str((row.get("user") or {}).get("login", ""))
