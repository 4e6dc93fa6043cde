"""Decides to which forge a remote belongs: the forge's kind, API, repository and the name of its token."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from urllib.parse import SplitResult, unquote, urlsplit

from pancode.kernel.errors import ConfigError, UsageError

_SCP = re.compile(r"(?:[^@/:\s]+@)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):(?!//)(.+)")
_SCHEMES = ("https", "http", "ssh", "git+ssh", "git")


class ForgeKind(StrEnum):
    """The API dialect of a forge. Gitea uses that of Forgejo."""

    GITHUB = "github"
    GITLAB = "gitlab"
    FORGEJO = "forgejo"


READABLE = (ForgeKind.GITHUB, ForgeKind.GITLAB)
"""The forges of which PanCode reads checks and remarks on pull requests."""


class TrackerKind(StrEnum):
    """The kind of a project's issue tracker."""

    GITHUB = "github"
    GITLAB = "gitlab"
    LINEAR = "linear"


_KNOWN = {"github.com": ForgeKind.GITHUB, "gitlab.com": ForgeKind.GITLAB, "codeberg.org": ForgeKind.FORGEJO}
_BY_SSH = {"ssh.github.com": "github.com", "altssh.gitlab.com": "gitlab.com"}
"""Hosts on which forges accept SSH on port 443, mapped to the forge's own host."""
_PATHS = {ForgeKind.GITHUB: "/api/v3", ForgeKind.GITLAB: "/api/v4", ForgeKind.FORGEJO: "/api/v1"}
"""Where the API is below the address of a forge of one's own."""
_OF_GITHUB = ".ghe.com"
"""How the hosts of GitHub Enterprise Cloud with data residency end; their API is on `api.HOST`."""
_OTHERS = re.compile(r"(.*\.)?(bitbucket\.org|dev\.azure\.com|visualstudio\.com|amazonaws\.com|sr\.ht)")
"""Hosts of forges whose API PanCode does not know."""


@dataclass(frozen=True, slots=True)
class ForgeAccess:
    """The settings of one host. `token`: the name under which the coordinator stores the token."""

    token: str
    kind: ForgeKind | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class RemoteRepository:
    """A repository on a forge, without login data. `port`: of the forge's web pages, if in the address."""

    host: str
    owner: str
    name: str
    port: int | None = None
    alias: str = ""

    @property
    def path(self) -> str:
        return f"{self.owner}/{self.name}"


@dataclass(frozen=True, slots=True)
class ForgePlace:
    """What a request needs except the token itself: the forge, API address, token name and repository."""

    kind: ForgeKind
    api: str
    token: str
    repository: RemoteRepository
    base: RemoteRepository | None = None
    """The repository to which pull requests of this one belong, as the user has answered; None: not answered,
    which a fork requires."""

    @property
    def target(self) -> RemoteRepository:
        return self.base or self.repository


@dataclass(frozen=True, slots=True)
class TrackerPlace:
    """The place of a project's issues. `repository`: on a forge; for Linear, its `name` is the team's key."""

    kind: TrackerKind
    repository: RemoteRepository
    api: str = ""
    """The address of the tracker's API; empty: the usual one."""
    token: str = ""
    """The name of the tracker's token, to show to a user; never the token itself."""


def repository_of(url: str) -> RemoteRepository:
    """Parse a remote's address; drop login data. Raises UsageError if it is not a repository on a forge."""
    parts = _split_url(url.strip())
    scp = _SCP.fullmatch(url.strip()) if parts is None else None
    host, path = (parts.hostname or "", parts.path) if parts else (scp[1], scp[2]) if scp else ("", "")
    words = unquote(path).strip("/").removesuffix(".git").split("/")
    bad = any(word in ("", ".", "..") or not word.isprintable() or " " in word for word in words)
    if not host or len(words) < 2 or bad:
        raise UsageError(
            "this remote is not a repository on a forge",
            why="the address has no host, or no owner and repository",
            fix="push to a remote such as https://HOST/OWNER/REPOSITORY.git, or omit --pull-request",
            code="no_forge",
        )
    port = parts.port if parts is not None and parts.scheme == "https" else None
    host = host.strip("[]").lower()
    return RemoteRepository(_BY_SSH.get(host, host), "/".join(words[:-1]), words[-1], port)


def ssh_host_of(url: str) -> str:
    """Return the host that git passes to ssh for this address; empty: git does not use ssh."""
    parts = _split_url(url.strip())
    if parts is not None:
        return (parts.hostname or "") if parts.scheme in ("ssh", "git+ssh") else ""
    scp = _SCP.fullmatch(url.strip())
    return scp[1] if scp else ""


def behind_alias(repository: RemoteRepository, host: str) -> RemoteRepository:
    """Return the repository on the host that SSH's settings name instead of the address's host."""
    host = _BY_SSH.get(host, host)
    return repository if host == repository.host else replace(repository, host=host, alias=repository.host)


def is_forge_address(url: str) -> bool:
    """Whether the text contains a host, an owner and a repository, as a forge's address does."""
    try:
        repository_of(url)
    except UsageError:
        return False
    return True


def _split_url(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.scheme in _SCHEMES and "://" in url else None


def place_of(
    repository: RemoteRepository, hosts: Mapping[str, ForgeAccess], kind: ForgeKind | None = None
) -> ForgePlace:
    """Return the forge's place. ConfigError if its host has no token, UsageError if its kind is unknown."""
    host = repository.host
    of_host = hosts.get(host)
    if kind is None and _OTHERS.fullmatch(host) and (of_host is None or of_host.kind is None):
        raise UsageError(
            f"PanCode cannot open a pull request on {host}",
            why=f"it knows the API of {', '.join(ForgeKind)}",
            fix="land with --push and without --pull-request, then open it on the web page of the forge",
            code="forge_kind",
        )
    # An alias may have its own token, as for a second account; its forge is that of the host.
    access = hosts.get(repository.alias) or of_host
    if access is None:
        raise ConfigError(
            f"no token is set for {host}",
            why="the API of the forge needs a token to open a pull request",
            fix=f"pancode config secret forge, and in pancode.yaml of your PANCODE_HOME: "
            f"forge: {{{host}: {{token: secret:forge}}}}",
            code="no_forge_token",
        )
    usual = ForgeKind.GITHUB if host.endswith(_OF_GITHUB) else _KNOWN.get(host)
    found = kind or access.kind or (of_host and of_host.kind) or usual
    api = access.url or (of_host and of_host.url)
    if found is None:
        raise UsageError(
            f"the kind of forge {host} is unknown",
            fix=f"--forge {'|'.join(ForgeKind)}, or in pancode.yaml: forge.{host}.kind; for another forge, "
            "omit --pull-request and open the pull request by hand",
            code="forge_kind",
        )
    # A forge below a path, such as https://HOST/gitlab, has that path in its remotes over HTTPS, too.
    below = urlsplit(api or "").path.rstrip("/").removesuffix(_PATHS[found]).strip("/")
    if (
        below
        and repository.path.startswith(f"{below}/")
        and repository.path.count("/") > below.count("/") + 1
    ):
        owner, _, name = repository.path.removeprefix(f"{below}/").rpartition("/")
        repository = replace(repository, owner=owner, name=name)
    if found is not ForgeKind.GITLAB and "/" in repository.owner:
        raise UsageError(
            f"repository {repository.path} not found on {found}", why="its path has more than two parts",
            fix=f"check the address: git remote -v; or set another kind: --forge {ForgeKind.GITLAB}",
            code="no_forge",
        )  # fmt: skip
    return ForgePlace(found, (api or api_of(repository, found)).rstrip("/"), access.token, repository)


def api_of(repository: RemoteRepository, kind: ForgeKind) -> str:
    """Return the address of the API as the forge's documents give it."""
    if repository.host == "github.com" or repository.host.endswith(_OF_GITHUB):
        return f"https://api.{repository.host}"
    port = f":{repository.port}" if repository.port is not None else ""
    return f"https://{repository.host}{port}{_PATHS[kind]}"


def with_base(place: ForgePlace, answered: str) -> ForgePlace:
    """Return the place with the user's answer, `OWNER/NAME`; empty: there is none."""
    owner, _, name = answered.rpartition("/")
    return replace(place, base=replace(place.repository, owner=owner, name=name)) if owner else place
