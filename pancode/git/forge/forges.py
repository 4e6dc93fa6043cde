"""Implements the port to forges: reads settings, tokens and a remote's address, and sends requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

from node_agent.wire.clock import Clock
from pancode.git.forge import forgejo, github, gitlab
from pancode.git.forge.http import REFUSED, ForgeClient, KnownAnswers, open_client
from pancode.git.forge.pulls import FORK, OpenedPull, PullRequest, Sides, must_be_readable, name_repository
from pancode.git.forge_rules import ForgeAccess, ForgeKind, ForgePlace, RemoteRepository, is_forge_address
from pancode.git.pull_state import PullState
from pancode.git.remotes import PULLS_TO, push_addresses, read_base, resolve_repository
from pancode.kernel.errors import ConfigError, NotFoundError, RefusedError, UsageError

_DIALECTS: Mapping[ForgeKind, ModuleType] = {
    ForgeKind.GITHUB: github,
    ForgeKind.GITLAB: gitlab,
    ForgeKind.FORGEJO: forgejo,
}
MOST_CHARS = 4_000
"""The most characters that are cached of a text on a pull request."""
_TOKEN = re.compile(r"[!-~]{1,1000}")


class HttpForges:
    """Implements pancode.landing.pull_request.Forges."""

    def __init__(
        self, read: Callable[[], Mapping[str, ForgeAccess]], secret: Callable[[str], str], clock: Clock
    ) -> None:
        self._read, self._secret, self._clock = read, secret, clock
        self._known: dict[tuple[str, ForgePlace, int], KnownAnswers] = {}
        """Cached answers about watched pull requests, by token, place and number."""

    def hosts(self) -> Mapping[str, ForgeAccess]:
        return self._read()

    def remote(self, project: str, name: str) -> str:
        found = push_addresses(Path(project), name)
        if not found:
            fix = f"give the name of a remote, not an address: git -C {project} remote -v"
            raise NotFoundError("the repository has no remote with this name", fix=fix, code="no_remote")
        # A mirror in a folder is on no forge, but the mirror's origin is on one.
        return next((url for url in found if is_forge_address(url)), found[0])

    def repository(self, project: str, remote: str) -> RemoteRepository:
        return resolve_repository(Path(project), self.remote(project, remote))

    def base(self, project: str) -> str:
        return read_base(Path(project))

    def check(self, place: ForgePlace) -> None:
        with self._connect(place) as client:
            _read_both(client, _DIALECTS[place.kind], place)

    def _find_token(self, place: ForgePlace) -> str:
        token = self._secret(place.token)
        if not _TOKEN.fullmatch(token):
            fix = f"store a new token: pancode config secret {place.token}"
            raise ConfigError(f"secret {place.token} is not a valid forge token", fix=fix, code="forge_token")
        return token

    def _connect(self, place: ForgePlace, number: int = 0) -> AbstractContextManager[ForgeClient]:
        """Connect to the forge. `number`: of the pull request whose answers are cached; 0: cache nothing."""
        token = self._find_token(place)
        fix = f"--forge {'|'.join(ForgeKind)}; or forge.{place.repository.host}.kind and .url"
        headers = _DIALECTS[place.kind].make_headers(token)
        known = self._known.setdefault((token, place, number), {}) if number else None
        return open_client(place, token, headers, self._clock, fix, known, MOST_CHARS if number else None)

    def read_pull(self, place: ForgePlace, number: int) -> PullState:
        """Return what the forge shows of the pull request now. UsageError for a forge that cannot be read;
        raises as `open`."""
        must_be_readable(place.kind)
        with self._connect(place, number) as client:
            found: PullState = _DIALECTS[place.kind].read_pull(client, place.repository, number)
        return found

    def forget_pull(self, repository: str, number: int) -> None:
        """Drop the cached answers about a pull request. `repository`: as in `WatchedPull`."""
        for key in list(self._known):
            if (name_repository(key[1].repository), key[2]) == (repository, number):
                self._known.pop(key, None)

    def merge_pull(self, place: ForgePlace, number: int, head: str) -> None:
        """Merge the pull request if its head is this commit. RefusedError if the forge does not merge it;
        raises as `read_pull`, which is called first."""
        with self._connect(place) as client:
            _DIALECTS[place.kind].merge_pull(client, place.repository, number, head)

    def open(self, place: ForgePlace, wanted: PullRequest) -> OpenedPull:
        speaks: Any = _DIALECTS[place.kind]
        with self._connect(place) as client:
            own, target = _read_both(client, speaks, place)
            sides = Sides(place.repository, place.target, own, target)
            there = speaks.find_pull_request(client, sides, wanted.branch)
            if there is not None:
                return _read(there, speaks, fresh=False)
            base = str(target["default_branch"])
            if base == wanted.branch and place.target == place.repository:
                raise UsageError(
                    f"{base} is the base branch of pull requests in {place.target.path}",
                    fix="land on a separate branch: --push REMOTE agent/NAME --pull-request",
                    code="same_branch",
                )
            try:
                return _read(speaks.create_pull_request(client, sides, wanted, base), speaks, fresh=True)
            except RefusedError as refused:
                there = (
                    speaks.find_pull_request(client, sides, wanted.branch)
                    if refused.code == REFUSED
                    else None
                )
                if there is None:
                    raise
                return _read(there, speaks, fresh=False)  # another client was faster and opened it


def _read_both(client: ForgeClient, speaks: Any, place: ForgePlace) -> tuple[Any, Any]:
    """Return the repository of the branch, and that of its pull request, as the forge describes them.
    UsageError for a fork of which the user has not said where its pull requests belong."""
    own = client.get(speaks.repository_path(place.repository))
    if place.base is None and (parent := speaks.parent_of(own)):
        mine, to = place.repository.path, f"git config {PULLS_TO}"
        raise UsageError(
            f"{mine} is a fork of {parent}: to which of them does the pull request belong?",
            why="nothing is sent to another repository without your answer",
            fix=f"in the repository: {to} {parent} (or: {to} {mine}), then run the command again",
            code=FORK,
            details={"parent": parent, "fork": mine},
        )
    is_same = place.target == place.repository
    return own, own if is_same else client.get(speaks.repository_path(place.target))


def _read(row: Mapping[str, Any], speaks: Any, *, fresh: bool) -> OpenedPull:
    url = str(row[speaks.LINK])
    if not url.startswith(("https://", "http://")) or len(url) > 1_000 or not url.isprintable():
        raise LookupError(speaks.LINK)
    return OpenedPull(url, int(row[speaks.NUMBER]), str(speaks.base_of(row))[:200], fresh)
