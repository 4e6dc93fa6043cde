"""From an issue of a tracker to a landed change and a closed issue; the coordinator is killed in between."""

from __future__ import annotations

import json

import yaml

from tests.clis.launched import NATIVE
from tests.e2e.ground import kill_coordinator
from tests.e2e.owner import Owner, until
from tests.e2e.programs import PORT, await_state, give_prices, give_secrets, installed, model_on, project
from tests.integration.forge.fakes import TOKEN, serving
from tests.integration.forge.trackers import FakeGitHubIssues
from tests.lab import Lab

THERE = 2
MADE = "echo login\n"
USED = {"input": 1200, "output": 34}
BUILDS = [
    {"tool": "write", "args": {"path": "${cwd}/login.sh", "content": MADE}, "usage": USED},
    {"text": "I wrote it.", "usage": USED},
]
WHERE = ("--node", f"node{THERE}", "--runtime", "native", "--model", NATIVE.model)


def test_an_issue_becomes_a_landed_change_and_is_closed(fleet: Owner, healed: Lab) -> None:
    """It takes more than 30 s: a run on another host, and three starts of a coordinator."""
    top, tracker = project(fleet, "tracked"), FakeGitHubIssues()
    tracker.text = "Write login.sh."
    settings = fleet.fleet_home / "pancode.yaml"
    before = settings.read_text() if settings.exists() else None
    with serving(tracker) as api, installed(healed, "native", [THERE]):
        give_secrets(healed, THERE, dict(NATIVE.env(f"http://127.0.0.1:{PORT}")))
        give_prices(healed, THERE, {NATIVE.model: "1 1 1 1"})
        await_state(fleet, THERE, "native", "ok")
        forge = {"github.com": {"token": "secret:tracker", "url": api}}
        settings.write_text(json.dumps({**(yaml.safe_load(before or "") or {}), "forge": forge}))
        try:
            fleet.run("notify", "secret", "tracker", stdin=TOKEN).ok()
            fleet.run("project", "add", str(top), "--tracker", "github:o/r", "--prefix", "SHOP").ok()
            assert "Add login" in fleet.run("issues", "ls", cwd=top).ok().out
            assert "Write login.sh." in fleet.run("issues", "show", "SHOP-12").ok().out
            assert "Write login.sh." in fleet.run("work", "SHOP-12", "--dry-run", *WHERE).ok().out
            with model_on(healed, THERE, {"count": "assistant", "turns": BUILDS}):
                run = fleet.ask("work", "SHOP-12", *WHERE)["run"]
                until(lambda: "in progress" in tracker.labels, "the tracker knows that it is begun", 60)
                kill_coordinator(fleet)
                until(lambda: fleet.show(run)["outcome"], "its run ends", 90)
            assert fleet.show(run)["outcome"] == "done", fleet.show(run)
            until(lambda: "in review" in tracker.labels, "the tracker knows of its end", 60)
            assert "in progress" not in tracker.labels and "feature" in tracker.labels
            fleet.run("land", run, cwd=top, timeout_s=120).ok()
            kill_coordinator(fleet)
            (row,) = fleet.ask("work", "status")["works"]
            assert (row["issue"], row["run"]) == ("SHOP-12", run)
            until(lambda: tracker.state == "completed", "the issue is closed", 60)
            (comment,) = tracker.comments.values()
            assert run in comment and "has landed" in comment and (top / "login.sh").read_text() == MADE
            refused = fleet.run("work", "SHOP-12")
            assert refused.code != 0 and "done" in refused.err
        finally:
            settings.write_text(before or "{}")
