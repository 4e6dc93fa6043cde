"""Issues over HTTP without a socket: whose comment is changed, and what a tracker that limits us says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import httpx2
import pytest

from pancode.git.forge_rules import ForgeAccess, TrackerKind, TrackerPlace
from pancode.issues.auto_start import may_begin
from pancode.issues.forge_trackers import HttpTrackers
from pancode.issues.model import Issue, tracker_of
from pancode.kernel.errors import ConfigError, UnavailableError
from pancode.kernel.values import replace
from pancode.runs.project_rules import NamedProject
from tests.fakes.node.clock import MemoryClock
from tests.integration.forge.fakes import TOKEN
from tests.integration.forge.trackers import ME, FakeGitHubIssues, FakeGitLabIssues, FakeLinear, FakeTracker

KINDS = {
    "github:o/r": (FakeGitHubIssues, "github.com", "SHOP-12"),
    "gitlab:o/r": (FakeGitLabIssues, "gitlab.com", "SHOP-12"),
    "linear:MIN": (FakeLinear, "linear.app", "MIN-12"),
}
LIMITED = '{"errors": [{"message": "Rate limit exceeded", "extensions": {"code": "RATELIMITED"}}]}'
MARK = "<!-- mark -->"


class Asked:
    """A tracker that is asked, and what asks it."""

    def __init__(self, text: str, environ: Mapping[str, str] | None = None) -> None:
        make, host, self.ref = KINDS[text]
        self.fake: FakeTracker = make()
        self.clock = MemoryClock()
        self.place: TrackerPlace = tracker_of(text)
        hosts = {host: ForgeAccess("tracker", None, f"http://tracker.example{self.fake.api}")}
        self.trackers = HttpTrackers(lambda: hosts, lambda name: TOKEN, {}, self.clock)

    def answer(self, asked: httpx2.Request) -> httpx2.Response:
        target = asked.url.raw_path.decode()
        status, headers, data = self.fake.respond(asked.method, target, asked.headers, asked.read())
        return httpx2.Response(status, headers=headers, content=data)

    def issue(self) -> Issue:
        return self.trackers.issue(self.place, self.ref)

    def comment(self, words: str, known: str = "") -> str:
        return self.trackers.comment(self.place, self.issue(), f"{MARK}\n{words}", known)


@pytest.fixture(params=sorted(KINDS))
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Asked:
    return asked(monkeypatch, request.param)


def asked(monkeypatch: pytest.MonkeyPatch, text: str) -> Asked:
    world, real = Asked(text), httpx2.Client
    monkeypatch.setattr(
        httpx2, "Client", lambda **more: real(**more, transport=httpx2.MockTransport(world.answer))
    )
    return world


def test_a_strangers_comment_with_our_mark_is_never_ours(world: Asked) -> None:
    strangers = "1" if "linear" not in str(world.place) else "c9"
    world.fake.comments[strangers] = f"{MARK}\nhas landed"
    key = world.comment("Run r-1 works on this.")
    assert key != strangers and world.fake.comments[strangers] == f"{MARK}\nhas landed"
    assert world.comment("Run r-2.") == key, "its own is found again after a kill"
    assert world.fake.comments[key].endswith("Run r-2.") and len(world.fake.comments) == 2


def test_a_comment_that_this_account_may_not_change_is_written_anew(world: Asked) -> None:
    known = world.comment("Run r-1.")
    world.fake.mine.clear()
    refuses = not isinstance(world.fake, FakeGitHubIssues)  # who may write there may change all comments
    fresh = world.comment("Run r-2.", known)
    assert (fresh != known) is refuses and world.fake.comments[fresh].endswith("Run r-2.")
    assert world.comment("Run r-3.", fresh) == fresh


def test_who_may_start_work_is_decided_by_what_nobody_can_choose_for_themselves(world: Asked) -> None:
    """In Linear everybody chooses the own name, and two may have the same."""
    anas = {"github": "ana", "gitlab": "ana", "linear": "ana@example.org"}[world.place.kind]
    project = NamedProject("shop", "/shop", tracker="x", work_label="feature", work_people=(anas,))
    issue = world.issue()
    assert issue.assignees == ("ana",) and may_begin(issue, project)
    for people in (("ana",), ("",)):
        named = replace(project, work_people=people)
        assert may_begin(issue, named) is (people == ("ana",) and world.place.kind is not TrackerKind.LINEAR)
    if isinstance(world.fake, FakeLinear):
        world.fake.who = {"assignee": None, "creator": {"name": anas, "email": "mallory@example.org"}}
        assert not may_begin(world.issue(), project)
        world.fake.who = {"assignee": None, "creator": {"name": "mallory", "email": anas.upper()}}
        assert may_begin(world.issue(), project)
        world.fake.who = {"assignee": None, "creator": None}
        assert not may_begin(world.issue(), replace(project, work_people=("", anas)))


@pytest.mark.parametrize(
    ("status", "headers", "body", "wait"),
    [
        (429, {"Retry-After": "90"}, "{}", "90"),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "{s}"}, "{}", "600"),
        (429, {"RateLimit-Reset": "{s}"}, "{}", "600"),
        (400, {"X-RateLimit-Requests-Reset": "{ms}"}, LIMITED, "600"),
        (429, {"Retry-After": "999999"}, "{}", "3600"),
        (429, {"Retry-After": "soon", "X-RateLimit-Reset": "7"}, "{}", "0"),
    ],
)
def test_a_limit_says_how_long_it_holds(
    world: Asked, status: int, headers: dict[str, str], body: str, wait: str
) -> None:
    now = world.clock.wall_ms() // 1000
    told = {name: value.format(s=now + 600, ms=(now + 600) * 1000) for name, value in headers.items()}
    world.fake.answers.append((status, told, body.encode()))
    with pytest.raises(UnavailableError) as caught:
        world.issue()
    assert (caught.value.code, caught.value.details) == ("forge_limit", {"wait_s": wait})


def test_a_tracker_that_takes_no_more_requests_is_left_alone_as_long_as_it_says(world: Asked) -> None:
    issue = world.issue()
    world.fake.answers.append((429, {"Retry-After": "90"}, b"{}"))
    with pytest.raises(UnavailableError):
        world.issue()
    count = len(world.fake.asked)
    world.clock.ms += 60_000
    for act in (world.issue, lambda: world.trackers.comment(world.place, issue, MARK, "")):
        with pytest.raises(UnavailableError) as caught:
            act()
        assert (caught.value.code, caught.value.fix) == ("forge_limit", "wait 30 seconds")
        assert caught.value.details == {"wait_s": "30"} and "429" in caught.value.why
    assert len(world.fake.asked) == count
    world.clock.ms += 30_000
    assert world.issue() == issue


@pytest.mark.parametrize(
    ("text", "variable", "program", "words"),
    [
        ("github:o/r", "GITHUB_TOKEN", "gh", "auth token --hostname github.com"),
        ("gitlab:o/r", "GITLAB_TOKEN", "glab", "config get token --host gitlab.com"),
        ("gitlab:git.example.org/o/r", "GITLAB_TOKEN", "glab", "config get token --host git.example.org"),
        ("linear:MIN", "LINEAR_API_KEY", "", ""),
    ],
)
def test_a_token_is_a_secret_a_variable_or_a_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, variable: str, program: str, words: str
) -> None:
    place, asked = tracker_of(text), list[httpx2.Request]()
    host = place.repository.host
    (tmp_path / (program or "none")).write_text(f'#!/bin/sh\n[ "$*" = "{words}" ] && echo of-the-login\n')
    (tmp_path / (program or "none")).chmod(0o755)

    def used(environ: Mapping[str, str], hosts: Mapping[str, ForgeAccess] = {}) -> str:
        """The token that the tracker is sent, and refuses."""
        trackers = HttpTrackers(lambda: hosts, lambda name: f"of-{name}", environ, MemoryClock())
        with pytest.raises(ConfigError) as caught:
            trackers.issue(place, "MIN-12")
        assert caught.value.code == "forge_token" and "of-" not in f"{caught.value}{caught.value.why}"
        heads = asked[-1].headers
        return (heads.get("authorization") or heads["private-token"]).removeprefix("Bearer ")

    def refuses(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(401, json={"message": f"{dict(request.headers)}"})

    real = httpx2.Client
    monkeypatch.setattr(
        httpx2, "Client", lambda **more: real(**{**more, "transport": httpx2.MockTransport(refuses)})
    )
    both = {variable: " of-the-variable\n", "PATH": str(tmp_path)}
    kept = {host: ForgeAccess("tracker", None, "")}
    assert used(both, kept) == "of-tracker", "what is set counts first"
    is_of_another = host == "git.example.org"
    assert used(both) == ("of-the-login" if is_of_another else "of-the-variable"), "it is for its own host"
    if is_of_another:
        assert used({**both, "GITLAB_HOST": "https://git.example.org/"}) == "of-the-variable"
    if program:
        assert used({"PATH": str(tmp_path)}) == "of-the-login"
    others = {"GITHUB_TOKEN", "GITLAB_TOKEN", "LINEAR_API_KEY"} - {variable}
    none = HttpTrackers(
        lambda: {}, lambda name: "", {**dict.fromkeys(others, "x"), "PATH": "/none"}, MemoryClock()
    )
    with pytest.raises(ConfigError) as caught:
        none.issue(place, "MIN-12")
    assert variable in caught.value.why and "config secret" in caught.value.fix and host in caught.value.fix


@pytest.mark.parametrize("api", ["", "/api/v3"], ids=["github.com", "GitHub Enterprise"])
@pytest.mark.parametrize(
    ("says", "is_found"),
    [((200, {"data": {"viewer": {"databaseId": ME}}}), True), ((200, {"errors": [{"message": "no"}]}), False),
     ((404, {"message": "Not Found"}), False)],
)  # fmt: skip
def test_of_an_apps_token_graphql_says_whose_it_is_and_else_no_comment_is_ours(
    monkeypatch: pytest.MonkeyPatch, api: str, says: tuple[int, object], is_found: bool
) -> None:
    monkeypatch.setattr(FakeGitHubIssues, "api", api)
    world = asked(monkeypatch, "github:o/r")
    real, beside = world.fake.answer, "/api/graphql" if api else "/graphql"

    def answer(method: str, path: str, query: dict[str, str], body: object) -> tuple[int, object]:
        refused = {"message": "Resource not accessible by integration"}
        return {"/user": (403, refused), beside: says}.get(path) or real(method, path, query, body)

    world.fake.answer = answer  # type: ignore[method-assign]
    known = world.comment("Run r-1.")
    assert world.comment("Run r-2.", known) == known
    assert (world.comment("Run r-3.") == known) is is_found


def test_where_nobody_says_whose_the_token_is_no_comment_is_taken_for_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = asked(monkeypatch, "gitlab:o/r")
    known, real = world.comment("Run r-1."), world.fake.answer

    def answer(method: str, path: str, query: dict[str, str], body: object) -> tuple[int, object]:
        return (403, {"message": "403 Forbidden"}) if path == "/user" else real(method, path, query, body)

    world.fake.answer = answer  # type: ignore[method-assign]
    assert world.comment("Run r-2.", known) == known
    assert world.comment("Run r-3.") != known
