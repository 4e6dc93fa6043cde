"""Each forge by its dialect, over real HTTP: open, find again, every refusal with its fix, no token told."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.wire.clock import SystemClock
from pancode.git.forge import http as asking
from pancode.git.forge.forges import HttpForges
from pancode.git.forge.pulls import OpenedPull, PullRequest
from pancode.git.forge_rules import ForgeKind, ForgePlace, RemoteRepository, with_base
from pancode.git.remotes import PULLS_TO, read_base
from pancode.kernel.errors import (
    ConfigError,
    NotFoundError,
    PancodeError,
    RefusedError,
    UnavailableError,
    UsageError,
)
from tests.integration.forge.fakes import TOKEN, FakeForge, FakeForgejo, FakeGitHub, FakeGitLab, serving

WANTED = PullRequest("agent/x", "fix the list", "text with ünïcode\n")
REPOSITORY = RemoteRepository("git.example.org", "o", "r")
FAKES = {ForgeKind.GITHUB: FakeGitHub, ForgeKind.GITLAB: FakeGitLab, ForgeKind.FORGEJO: FakeForgejo}


class Talk:
    """One forge, and the adapter that asks it."""

    def __init__(self, kind: ForgeKind, fake: FakeForge, api: str) -> None:
        self.fake, self.token = fake, TOKEN
        self.place = ForgePlace(kind, api, "forge", REPOSITORY)
        self.forges = HttpForges(dict, lambda name: {"forge": self.token}[name], SystemClock())

    def open(self, wanted: PullRequest = WANTED) -> OpenedPull:
        return self.forges.open(self.place, wanted)

    def refused(self, kind: type[PancodeError], code: str) -> PancodeError:
        with pytest.raises(kind) as caught:
            self.open()
        error = caught.value
        told = f"{error} {error.why} {error.fix} {error.details}"
        assert error.code == code and error.fix, told
        assert TOKEN not in told
        return error


@pytest.fixture(params=list(ForgeKind))
def talk(request: pytest.FixtureRequest) -> Iterator[Talk]:
    fake = FAKES[request.param]()
    with serving(fake) as api:
        yield Talk(request.param, fake, api)


def test_it_is_opened_once_and_found_again(talk: Talk) -> None:
    made = talk.open()
    assert (made.number, made.base, made.fresh) == (1, "main", True) and made.url.startswith(talk.fake.web)
    again = talk.open()
    assert (again.url, again.fresh, len(talk.fake.rows)) == (made.url, False, 1)
    (row,) = talk.fake.rows
    assert row["title"] == WANTED.title
    assert WANTED.text in (row.get("body"), row.get("description"))
    for _, address, headers, body in talk.fake.asked:
        assert TOKEN not in address and TOKEN not in json.dumps(body)
        assert headers["user-agent"].startswith("pancode/")


def test_somebody_was_faster(talk: Talk) -> None:
    talk.fake.late = True
    made = talk.open()
    assert (made.number, made.fresh) == (1, False)


def test_the_default_branch_is_no_branch_of_a_pull_request(talk: Talk) -> None:
    talk.fake.default = "agent/x"
    error = talk.refused(UsageError, "same_branch")
    assert "--push" in error.fix and talk.fake.rows == []


def test_a_token_that_is_not_accepted_is_not_told(talk: Talk) -> None:
    talk.token = "another"
    error = talk.refused(ConfigError, "forge_token")
    assert "pancode config secret forge" in error.fix
    talk.token = "two words"
    talk.refused(ConfigError, "forge_token")
    talk.token = f"{TOKEN}\r\nx: y"
    asked = len(talk.fake.asked)
    talk.refused(ConfigError, "forge_token")
    assert len(talk.fake.asked) == asked


@pytest.mark.parametrize(
    ("status", "headers", "kind", "code"),
    [
        (403, {}, RefusedError, "forge_forbidden"),
        (403, {"x-ratelimit-remaining": "0"}, UnavailableError, "forge_limit"),
        (429, {"retry-after": "60"}, UnavailableError, "forge_limit"),
        (404, {}, NotFoundError, "forge_not_found"),
        (422, {}, RefusedError, "forge_refused"),
        (302, {"location": "http://127.0.0.1:1/elsewhere"}, ConfigError, "forge_moved"),
        (503, {}, UnavailableError, "forge_unreachable"),
    ],
)
def test_each_refusal_has_its_fix(
    talk: Talk, status: int, headers: dict[str, str], kind: type[PancodeError], code: str
) -> None:
    words = json.dumps({"message": f"no \x1b[31m {TOKEN}"}).encode()
    talk.fake.answers = [(status, headers, words)]
    error = talk.refused(kind, code)
    assert "\x1b" not in error.why and f"HTTP {status}" in error.why and len(talk.fake.asked) == 1


def test_an_organization_with_saml_names_where_the_token_is_authorized(talk: Talk) -> None:
    address = "https://github.com/orgs/corp/sso?authorization_request=A1"
    talk.fake.answers = [(403, {"x-github-sso": f"required; url={address}"}, b"{}")]
    error = talk.refused(RefusedError, "forge_forbidden")
    assert "SAML" in str(error) and f"open {address} and authorize" in error.fix


def test_a_repository_that_was_renamed_is_named(talk: Talk) -> None:
    to = f"{talk.fake.web}{talk.fake.api}/repositories/1"  # type: ignore[attr-defined]
    there = json.dumps({"full_name": "new/name", "path_with_namespace": "new/name"}).encode()
    talk.fake.answers = [(301, {"location": to}, b"{}"), (200, {}, there)]
    with pytest.raises(ConfigError) as caught:
        talk.forges.check(talk.place)
    assert caught.value.code == "forge_moved" and "new/name" in caught.value.fix
    # The token does not go to another host.
    talk.fake.answers = [(301, {"location": "http://127.0.0.1:1/repositories/1"}, b"{}")]
    with pytest.raises(ConfigError) as caught:
        talk.forges.check(talk.place)
    assert "127.0.0.1:1" in caught.value.why and talk.fake.answers == []


def test_what_is_no_such_forge(talk: Talk) -> None:
    for words in (b'{"a": 1}', b"[1]", b"null", b'[{"head": {"ref": "agent/x"}}]'):
        talk.fake.answers = [(200, {}, words)] * 2
        talk.refused(UnavailableError, "forge_answer")
    talk.fake.answers = [(200, {}, b"<html>log in</html>")]
    talk.refused(UnavailableError, "forge_unreachable")
    talk.fake.answers = [(404, {}, b"<html>")]
    talk.refused(NotFoundError, "forge_not_found")


def test_an_endless_answer_is_cut(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MOST_BYTES", 100_000)
    talk.fake.answers = [(200, {}, b" " * 200_000)]
    assert "too long" in talk.refused(UnavailableError, "forge_unreachable").why


def test_a_branch_of_the_same_name_in_a_fork_is_another_one(talk: Talk) -> None:
    fake = talk.fake
    if isinstance(fake, FakeGitLab):
        theirs = {"source_branch": "agent/x", "target_branch": "main", "title": "t", "description": ""}
        fake.rows = [fake.row(theirs, source=2)]
    elif isinstance(fake, FakeGitHub):
        other = {"head": "agent/x", "base": "main", "title": "t", "body": ""}
        fake.rows = [fake.row(other, repo=2) for _ in range(60)]
        for row in fake.rows:
            row["head"]["label"] = "somebody:agent/x"
    there = len(fake.rows)
    assert talk.open().number == there + 1
    assert not talk.open().fresh


def test_a_pull_request_of_a_fork_goes_where_the_user_says(talk: Talk) -> None:
    talk.fake.parent = "corp/r"
    error = talk.refused(UsageError, "fork")
    assert error.details == {"parent": "corp/r", "fork": "o/r"}
    assert all(f"git config {PULLS_TO} {name}" in error.fix for name in ("corp/r", "o/r"))
    with pytest.raises(UsageError):
        talk.forges.check(talk.place)
    assert not [one for one in talk.fake.asked if one[0] != "GET"], "something was sent without an answer"
    own, talk.place = talk.place, with_base(talk.place, "corp/r")
    opened = talk.open()
    assert (opened.base, opened.fresh) == ("develop", True) and not talk.open().fresh
    (posted,) = [one for one in talk.fake.asked if one[0] == "POST"]
    if talk.place.kind is ForgeKind.GITLAB:
        assert "o/r/merge_requests" in posted[1] and posted[3]["target_project_id"] == 2
    else:
        assert "corp/r/pulls" in posted[1] and posted[3]["head"] == "o:agent/x"
    talk.place, talk.fake.rows = with_base(own, "o/r"), []
    assert talk.open().base == talk.fake.default


@pytest.mark.parametrize(
    ("rows", "base"),
    [
        ({}, ""),
        ({"remote.upstream.gh-resolved": "base"}, "corp/r"),
        ({"remote.origin.gh-resolved": "corp/other"}, "corp/other"),
        ({"remote.upstream.gh-resolved": "base", PULLS_TO: "o/r"}, "o/r"),
    ],
)
def test_the_answer_to_gh_counts_and_our_own_first(
    tmp_path: Path, rows: dict[str, str], base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    subprocess.run(["git", "init", "-q", tmp_path / "r"], check=True)
    remotes = {f"remote.{name}.url": f"git@github.com:{path}.git" for name, path in
               (("origin", "o/r"), ("upstream", "corp/r"))}  # fmt: skip
    for key, value in (remotes | rows).items():
        subprocess.run(["git", "-C", tmp_path / "r", "config", key, value], check=True)
    assert read_base(tmp_path / "r") == base


def test_nobody_answers(talk: Talk) -> None:
    gone = ForgePlace(talk.place.kind, "http://127.0.0.1:1/api", "forge", REPOSITORY)
    with pytest.raises(UnavailableError) as caught:
        talk.forges.open(gone, WANTED)
    assert caught.value.code == "forge_unreachable" and "git.example.org" in str(caught.value)


def test_a_remote_is_one_of_the_repository(tmp_path: Path) -> None:
    forges = HttpForges(dict, str, SystemClock())
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    add = ["git", "-C", str(tmp_path), "remote", "add", "origin", "https://ana:pw@git.example.org/o/r.git"]
    subprocess.run(add, check=True)
    assert forges.remote(str(tmp_path), "origin") == "https://ana:pw@git.example.org/o/r.git"
    for name in ("nowhere", "--all", "https://ana:pw@git.example.org/o/r.git"):
        with pytest.raises(NotFoundError) as caught:
            forges.remote(str(tmp_path), name)
        assert "pw" not in f"{caught.value}{caught.value.why}"
