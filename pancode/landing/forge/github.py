"""GitHub's API dialect for pull requests (REST, version 2022-11-28), also of GitHub Enterprise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pancode.git.forge_rules import RemoteRepository
from pancode.kernel.errors import RefusedError
from pancode.landing.forge.http import REFUSED, ForgeClient
from pancode.landing.pull_request import PullRequest

LINK, NUMBER = "html_url", "number"


def make_headers(token: str) -> dict[str, str]:
    version = {"accept": "application/vnd.github+json", "x-github-api-version": "2022-11-28"}
    return {**version, "authorization": f"Bearer {token}"}


def repository_path(repository: RemoteRepository) -> str:
    return f"/repos/{quote(repository.owner, safe='')}/{quote(repository.name, safe='')}"


def find_pull_request(
    client: ForgeClient, repository: RemoteRepository, branch: str
) -> Mapping[str, Any] | None:
    """Return the open pull request of this repository's own branch."""
    rows = client.get(
        f"{repository_path(repository)}/pulls", state="open", head=f"{repository.owner}:{branch}", per_page=10
    )
    return next((row for row in rows if row["head"]["ref"] == branch), None)


def create_pull_request(
    client: ForgeClient, repository: RemoteRepository, wanted: PullRequest, base: str
) -> Any:
    body = {"title": wanted.title, "body": wanted.text, "head": wanted.branch, "base": base}
    return client.post(f"{repository_path(repository)}/pulls", body)


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
