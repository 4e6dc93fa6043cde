"""GitLab's API dialect, in which a pull request is a merge request of a project (REST, version 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pancode.git.forge_rules import RemoteRepository
from pancode.landing.forge.http import ForgeClient
from pancode.landing.pull_request import PullRequest

LINK, NUMBER = "web_url", "iid"


def make_headers(token: str) -> dict[str, str]:
    return {"private-token": token}


def repository_path(repository: RemoteRepository) -> str:
    return f"/projects/{quote(repository.path, safe='')}"


def find_pull_request(
    client: ForgeClient, repository: RemoteRepository, branch: str
) -> Mapping[str, Any] | None:
    """Return the open merge request of this project's own branch; a fork may have a branch of that name."""
    rows = client.get(
        f"{repository_path(repository)}/merge_requests", state="opened", source_branch=branch, per_page=100
    )
    own = (row for row in rows if row["source_project_id"] == row["target_project_id"])
    return next((row for row in own if row["source_branch"] == branch), None)


def create_pull_request(
    client: ForgeClient, repository: RemoteRepository, wanted: PullRequest, base: str
) -> Any:
    body = {"title": wanted.title, "description": wanted.text, "source_branch": wanted.branch}
    return client.post(f"{repository_path(repository)}/merge_requests", {**body, "target_branch": base})


def base_of(row: Mapping[str, Any]) -> Any:
    return row["target_branch"]
