"""Issues over HTTP, in the words of each tracker: read, moved, and commented on once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from node_agent.wire.clock import SystemClock
from pancode.git.forge_rules import ForgeAccess, TrackerPlace
from pancode.issues.forge_trackers import HttpTrackers
from pancode.issues.model import Issue, IssueState, task_of, tracker_of
from pancode.kernel.errors import ConfigError, NotFoundError, PancodeError, RefusedError, UnavailableError
from tests.integration.forge.fakes import TOKEN, serving
from tests.integration.forge.trackers import FakeGitHubIssues, FakeGitLabIssues, FakeLinear, FakeTracker

KINDS = {
    "github:o/r": (FakeGitHubIssues, "github.com", "SHOP-12"),
    "gitlab:o/r": (FakeGitLabIssues, "gitlab.com", "SHOP-12"),
    "linear:MIN": (FakeLinear, "linear.app", "MIN-12"),
}
NOTE = "<!-- mark -->\nRun r-1 works on this."


@dataclass
class Forge:
    fake: FakeTracker
    trackers: HttpTrackers
    place: TrackerPlace
    ref: str

    def issue(self) -> Issue:
        return self.trackers.issue(self.place, self.ref)


@pytest.fixture(params=sorted(KINDS))
def world(request: pytest.FixtureRequest) -> Iterator[Forge]:
    make, host, ref = KINDS[request.param]
    fake = make()
    with serving(fake) as api:
        hosts = {host: ForgeAccess("tracker", None, api)}
        trackers = HttpTrackers(lambda: hosts, lambda name: TOKEN, {}, SystemClock())
        yield Forge(fake, trackers, tracker_of(request.param), ref)


def test_an_issue_is_read(world: Forge) -> None:
    one = world.issue()
    assert (one.ref, one.title, one.text) == (world.ref, "Add login", "Users should log in.")
    assert (one.state, one.labels, one.assignees) == (IssueState.OPEN, ("feature",), ("ana",))
    assert one.author == "bea" and one.url.startswith("http")
    prefix = world.ref.partition("-")[0]
    assert [found.ref for found in world.trackers.issues(world.place, prefix, 50)] == [world.ref]


def test_an_issue_is_found_behind_two_pages_of_others(world: Forge) -> None:
    world.fake.newer = 250
    prefix = world.ref.partition("-")[0]
    refs = [one.ref for one in world.trackers.issues(world.place, prefix, 1_000)]
    assert (len(refs), refs[-1]) == (251, world.ref) and len(set(refs)) == 251
    assert len(world.trackers.issues(world.place, prefix, 120)) == 120
    assert [one.ref for one in world.trackers.issues(world.place, prefix, 10, "Feature")] == [world.ref]


def test_an_issue_goes_through_its_states_and_each_step_may_come_twice(world: Forge) -> None:
    for state in (IssueState.PROGRESS, IssueState.REVIEW, IssueState.DONE):
        for _ in range(2):
            world.trackers.move(world.place, world.issue(), state)
        assert world.issue().state is state
    assert "feature" in world.issue().labels, "other labels stay"
    assert world.trackers.issues(world.place, "SHOP", 50) == []


def test_one_comment_is_written_and_changed_also_after_a_kill_before_its_name_was_kept(world: Forge) -> None:
    world.fake.comments["1" if "linear" not in str(world.place) else "c9"] = "a user's message"
    known = world.trackers.comment(world.place, world.issue(), NOTE, "")
    assert world.trackers.comment(world.place, world.issue(), f"{NOTE} More.", known) == known
    assert world.trackers.comment(world.place, world.issue(), f"{NOTE} Again.", "") == known
    assert len(world.fake.comments) == 2 and world.fake.comments[known].endswith("Again.")


def test_a_pull_request_and_an_issue_that_is_not_there_are_no_issues(world: Forge) -> None:
    with pytest.raises((NotFoundError, RefusedError)):
        world.trackers.issue(world.place, world.ref.replace("12", "99"))


@pytest.mark.parametrize(
    "answer", [(429, {"Retry-After": "60"}, b"{}"), (502, {}, b"<html>"), (200, {}, b"{")]
)
def test_a_tracker_that_limits_or_fails_is_said_in_its_words(
    world: Forge, answer: tuple[int, dict[str, str], bytes]
) -> None:
    world.fake.answers.append(answer)
    with pytest.raises(PancodeError) as caught:
        world.issue()
    assert caught.value.fix


def test_a_token_that_expires_in_the_middle_is_named_with_its_command_and_a_new_one_counts_at_once(
    world: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = [TOKEN]
    monkeypatch.setattr(world.trackers, "_secret", lambda name: token[0])
    issue = world.issue()
    known = world.trackers.comment(world.place, issue, NOTE, "")
    token[0] = "tok-expired"
    for act in (
        world.issue,
        lambda: world.trackers.move(world.place, issue, IssueState.PROGRESS),
        lambda: world.trackers.comment(world.place, issue, f"{NOTE} More.", known),
    ):
        with pytest.raises(ConfigError) as caught:
            act()
        assert caught.value.code == "forge_token" and "pancode config secret tracker" in caught.value.fix
        assert "tok-expired" not in f"{caught.value}{caught.value.why}"
    token[0] = TOKEN
    assert world.trackers.comment(world.place, issue, f"{NOTE} More.", known) == known
    assert len(world.fake.comments) == 1


def test_an_issue_of_a_megabyte_is_read_whole_and_a_longer_answer_is_refused(world: Forge) -> None:
    world.fake.text = "x" * (1 << 20)
    assert len(world.issue().text) == 1 << 20
    world.fake.text = "x" * (9 << 20)
    with pytest.raises(UnavailableError) as caught:
        world.issue()
    assert "too long" in caught.value.why and len(caught.value.why) < 400


def test_a_link_to_an_inner_address_is_never_fetched_nor_a_redirect_followed(world: Forge) -> None:
    inner = FakeGitHubIssues()
    with serving(inner) as address:
        world.fake.text = f"![x]({address}/secret.png) <img src='{address}/a'> {address}/latest/meta-data/"
        issue = world.issue()
        assert address in issue.text and address in task_of(issue, has_plan=False), (
            "its words are material as they are"
        )
        world.trackers.issues(world.place, world.ref.partition("-")[0], 50)
        world.trackers.move(world.place, issue, IssueState.PROGRESS)
        world.trackers.comment(world.place, issue, NOTE, "")
        world.fake.answers.append((302, {"Location": f"{address}/repos/o/r/issues/12"}, b""))
        with pytest.raises(ConfigError, check=lambda error: error.code == "forge_moved"):
            world.issue()
    assert inner.asked == []


def test_an_answer_that_still_holds_is_not_sent_again(world: Forge) -> None:
    prefix = world.ref.partition("-")[0]
    first = world.trackers.issues(world.place, prefix, 50)
    assert world.trackers.issues(world.place, prefix, 50) == first
    asked = [heads for method, _, heads, _ in world.fake.asked if method == "GET"]
    assert not asked or "if-none-match" in {name.lower() for name in asked[-1]}, "Linear takes POST alone"
    world.fake.title = "Add logout"
    assert [one.title for one in world.trackers.issues(world.place, prefix, 50)] == ["Add logout"]
