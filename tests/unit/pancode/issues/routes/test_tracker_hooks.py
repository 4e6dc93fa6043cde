"""Signed webhooks of trackers, each by its tracker's own way: one only has the tracker asked again."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from pancode.kernel.threads import PeriodicThread
from pancode.pull_requests.hooks import WatchedPulls
from tests.unit.pancode.interfaces.http.test_tcp import code_of
from tests.unit.pancode.issues.memory import track_issues
from tests.unit.pancode.schedules.routes.test_hooks import HookWorld

TRACKERS = {"github": "github:example/shop", "gitlab": "gitlab:example/shop", "linear": "linear:SHOP"}
OF_LINEAR = "lin_wh_0123456789abcdef"


class TrackerWorld(HookWorld):
    """A project `shop` with a tracker, and that tracker."""

    def follow(self, tracker: str, home: Path) -> dict[str, Any]:
        subprocess.run(["git", "init", "-q", str(home / "shop")], check=True)
        said = {"by": "ana", "path": str(home / "shop"), "tracker": TRACKERS[tracker]}
        assert self.http.post("/v1/projects", said).status_code == 200
        self.tracker, self.tracking = tracker, track_issues(self.coordinator)
        body = {"by": "ana", **({"secret": OF_LINEAR} if tracker == "linear" else {})}
        answer = self.http.post("/v1/projects/shop/webhook", body)
        assert answer.status_code == 200, answer.text
        self.shared = answer.json()["secret"] or OF_LINEAR
        return dict(answer.json())

    def body(self, late_ms: int = 0) -> bytes:
        return json.dumps({"webhookTimestamp": self.context.clock.wall_ms() - late_ms}).encode()

    def of_tracker(self, body: bytes, secret: str = "") -> dict[str, str]:
        signed = hmac.new((secret or self.shared).encode(), body, hashlib.sha256).hexdigest()
        return {
            "github": {"X-Hub-Signature-256": f"sha256={signed}"},
            "gitlab": {"X-Gitlab-Token": secret or self.shared},
            "linear": {"Linear-Signature": signed},
        }[self.tracker]

    def tells(self, said: dict[str, str], body: bytes, name: str = "shop") -> Any:
        return self.send({"Content-Type": "application/json", **said}, body, f"trackers/{name}")


@pytest.fixture
def world(tmp_path: Path) -> TrackerWorld:
    return TrackerWorld(tmp_path / "home")


@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_signed_one_has_the_tracker_asked_and_no_other_does(
    world: TrackerWorld, tmp_path: Path, tracker: str
) -> None:
    made = world.follow(tracker, tmp_path)
    assert made["tracker"] == tracker and (made["secret"] is None) == (tracker == "linear")
    body = world.body()
    for _ in "once", "and again":
        answer = world.tells(world.of_tracker(body), body)
        assert (answer.status_code, answer.json()) == (202, {"project": "shop"}), answer.text
    pulls = world.coordinator.part(WatchedPulls)
    assert world.tracking.hurried == pulls.hurried == 2  # type: ignore[attr-defined]
    other = world.of_tracker(body, "some-other-secret")
    wrong = [world.tells(other, body), world.tells(other, body, "none")]
    assert code_of(world.tells({}, body), 403) == code_of(world.tells({}, body, "none"), 403) == "unsigned"
    if tracker != "gitlab":  # which signs nothing
        wrong.append(world.tells(world.of_tracker(body), b"{}"))
    assert {code_of(one, 403) for one in wrong} == {"wrong_signature"}
    assert len({one.text for one in wrong}) == 1, "a stranger does not learn which projects there are"
    assert world.tracking.hurried == 2
    assert code_of(world.tells(world.of_tracker(body), b"x" * (1024 * 1024 + 1)), 400) == "too_large"


def test_one_of_linear_that_is_late_is_refused(world: TrackerWorld, tmp_path: Path) -> None:
    world.follow("linear", tmp_path)
    for body in (world.body(61_000), world.body(-61_000), b"{}", b"[", b'{"webhookTimestamp": "now"}'):
        assert code_of(world.tells(world.of_tracker(body), body), 403) == "stale_webhook"
    assert world.tracking.hurried == 0


def test_a_new_secret_takes_the_place_of_the_old_one_and_goes_with_its_project(
    world: TrackerWorld, tmp_path: Path
) -> None:
    world.follow("github", tmp_path)
    body = world.body()
    old = world.of_tracker(body)
    world.follow("github", tmp_path)
    assert code_of(world.tells(old, body), 403) == "wrong_signature"
    now = world.of_tracker(body)
    assert world.tells(now, body).status_code == 202
    world.http.post("/v1/projects/shop/remove", {"by": "ana"})
    assert world.coordinator.kept == {"schedule-ci": world.secret}
    assert code_of(world.tells(now, body), 403) == "wrong_signature"


def test_what_is_asked_for_within_a_moment_is_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pancode.kernel.threads.SOON_S", 0.2)
    looked = threading.Semaphore(0)

    class Watch(PeriodicThread):
        def look(self) -> None:
            looked.release()

    watch = Watch("w", 3_600)
    watch.start()
    for _ in range(50):
        watch.hurry()
    assert looked.acquire(timeout=20)
    assert not looked.acquire(timeout=0.5), "fifty were one"
    watch.hurry()
    assert looked.acquire(timeout=20)
    watch.stop()
