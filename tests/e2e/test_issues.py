"""From an issue of a tracker to a landed change and a closed issue; the coordinator is killed in between."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from tests.clis.launched import NATIVE
from tests.e2e.ground import kill_coordinator
from tests.e2e.owner import Owner, until
from tests.e2e.programs import PORT, await_state, give_prices, give_secrets, installed, model_on, project
from tests.integration.forge.fakes import TOKEN, serving
from tests.integration.forge.trackers import FakeGitHubIssues, FakeGitLabIssues, FakeLinear, FakeTracker
from tests.lab import Lab

THERE = 2
MADE = "echo login\n"
USED = {"input": 1200, "output": 34}
BUILDS = [
    {"tool": "write", "args": {"path": "${cwd}/login.sh", "content": MADE}, "usage": USED},
    {"text": "I wrote it.", "usage": USED},
]
WHERE = ("--node", f"node{THERE}", "--runtime", "native", "--model", NATIVE.model)


TRACKERS = {
    "github:o/r": (FakeGitHubIssues, "github.com", "SHOP"),
    "gitlab:o/r": (FakeGitLabIssues, "gitlab.com", "SHOP"),
    "linear:MIN": (FakeLinear, "linear.app", "MIN"),
}


def having(folder: Path, text: str) -> list[Path]:
    """The files below the folder in which this text is."""
    found = []
    for path in sorted(one for one in folder.rglob("*") if one.is_file() and not one.is_symlink()):
        with suppress(FileNotFoundError):  # a file of the moment
            if text.encode() in path.read_bytes():
                found.append(path.relative_to(folder))
    return found


@pytest.mark.parametrize("place", TRACKERS)
def test_an_issue_becomes_a_landed_change_and_is_closed(fleet: Owner, healed: Lab, place: str) -> None:
    """It takes more than 30 s: a run on another host, and three starts of a coordinator."""
    make, host, prefix = TRACKERS[place]
    tracker: FakeTracker = make()
    top, issue = project(fleet, f"tracked-{host}"), f"{prefix}-12"
    tracker.text = "Write login.sh."
    settings = fleet.fleet_home / "pancode.yaml"
    before = settings.read_text() if settings.exists() else None
    with serving(tracker) as api, installed(healed, "native", [THERE]):
        give_secrets(healed, THERE, dict(NATIVE.env(f"http://127.0.0.1:{PORT}")))
        give_prices(healed, THERE, {NATIVE.model: "1 1 1 1"})
        await_state(fleet, THERE, "native", "ok")
        forge = {host: {"token": "secret:tracker", "url": api}}
        settings.write_text(json.dumps({**(yaml.safe_load(before or "") or {}), "forge": forge}))
        try:
            fleet.run("config", "secret", "tracker", stdin=TOKEN).ok()
            fleet.run(
                "project", "add", str(top), "--name", "tracked", "--tracker", place, "--prefix", prefix
            ).ok()
            assert "Add login" in fleet.run("issues", "ls", cwd=top).ok().out
            assert "Write login.sh." in fleet.run("issues", "show", issue).ok().out
            assert "Write login.sh." in fleet.run("work", issue, "--dry-run", *WHERE).ok().out
            fleet.run("fleet", "drain", "--queue").ok()
            waits = fleet.ask("work", issue, *WHERE)["run"]
            told = fleet.run("work", "tell", issue, "leave the old API in place").ok()
            assert f"{waits}  told with its task" in told.out
            fleet.run("work", "kill", issue).ok()
            until(lambda: fleet.show(waits)["outcome"] == "interrupted", "it was stopped", 30)
            assert "leave the old API in place" in fleet.show(waits)["task"]
            fleet.run("fleet", "resume", "--queue").ok()
            with model_on(healed, THERE, {"count": "assistant", "turns": BUILDS}):
                run = fleet.ask("work", issue, *WHERE)["run"]
                told_of = f"Run {run}: agent"
                until(lambda: told_of in "".join(tracker.comments.values()), "the tracker is told of it", 60)
                assert "in progress" in tracker.says()
                kill_coordinator(fleet)
                until(lambda: fleet.show(run)["outcome"], "its run ends", 90)
            assert fleet.show(run)["outcome"] == "done", fleet.show(run)
            until(lambda: "in review" in tracker.says(), "the tracker knows of its end", 60)
            assert "in progress" not in tracker.says() and "feature" in tracker.labels
            landed = fleet.run("land", "--branch", "shipped", run, cwd=top, timeout_s=120).ok()
            assert f"  tracker: {issue} is closed, with a comment: " in landed.out
            kill_coordinator(fleet)
            row = fleet.ask("work", "status")["works"][0]
            assert (row["issue"], row["run"]) == (issue, run)
            until(lambda: "done" in tracker.says(), "the issue is closed", 60)
            (comment,) = tracker.comments.values()
            assert run in comment and "has landed on shipped" in comment
            assert fleet.git(top, "show", "shipped:login.sh") == MADE
            refused = fleet.run("work", issue)
            assert refused.code != 0 and "done" in refused.err
            kept = fleet.run("work", "tell", issue, "thank you").ok()
            assert f"stored for: pancode runs continue {run}" in kept.out
            found = having(fleet.fleet_home, TOKEN)
            assert {path.parts[0] for path in found} == {"secrets"}, found
        finally:
            fleet.run("fleet", "resume", "--queue")
            fleet.run("project", "rm", "tracked")
            fleet.run("workspace", "rm", issue.lower(), "--force")
            settings.write_text(before or "{}")
