"""API dialect of Forgejo and Gitea, with GitHub's paths, another header, and lists without a filter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pancode.git.forge import github
from pancode.git.forge.http import ForgeClient
from pancode.git.forge.pulls import Sides

LINK, NUMBER = github.LINK, github.NUMBER
repository_path, create_pull_request, base_of, parent_of = (
    github.repository_path,
    github.create_pull_request,
    github.base_of,
    github.parent_of,
)
PAGES, ROWS = 20, 50


def make_headers(token: str) -> dict[str, str]:
    return {"authorization": f"token {token}"}


def find_pull_request(client: ForgeClient, sides: Sides, branch: str) -> Mapping[str, Any] | None:
    """Return the open pull request of the branch or None; old versions cannot filter by it."""
    for page in range(1, PAGES + 1):
        rows = client.get(f"{repository_path(sides.target)}/pulls", state="open", limit=ROWS, page=page)
        for row in rows:
            if row["head"]["ref"] == branch and row["head"].get("repo_id") == sides.own["id"]:
                return dict(row)
        if not rows:
            return None
    return None
