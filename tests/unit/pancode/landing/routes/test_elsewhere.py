"""Nothing lands in another repository than that where the user stands, unless they ask for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2

from pancode.interfaces.http.routing import FOLDER
from pancode.kernel.records import Run
from pancode.kernel.values import replace
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.runs.routes.test_last import world

__all__ = ["world"]


def asked(world: World, folder: Path, run: str, **body: object) -> httpx2.Response:
    """Lands it; nothing is waited for."""
    head = {FOLDER: quote(str(folder))}
    return world.http.post(f"/v1/runs/{run}/land", {"by": "ada", "wait": False, **body}, head)


def refused(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code != 200 and answer.json()["code"] == "other_repository", answer.text
    return dict(answer.json())


def test_a_landing_in_another_repository_is_refused_with_the_command(world: World, tmp_path: Path) -> None:
    mine, other, outside = tmp_path / "mine", tmp_path / "other", tmp_path
    for run in ("r-mine22", "r-mine2"):
        assert refused(asked(world, other, run))["fix"] == f"pancode -C {mine} land r-mine22"
    for folder, more in ((other, {"elsewhere": True}), (mine, {}), (outside, {})):
        assert asked(world, folder, "r-mine22", **more).status_code == 200
    newest = replace(world.context.row(Run, "r-other2"), created_ms=2**50)
    with world.context.ledger.transaction() as tx:
        tx.put(newest)
    assert "r-other2" in refused(asked(world, outside, "last"))["message"], "it may be anybody's"
    assert asked(world, mine, "last").json()["run"] == "r-mine22"
    (mine / ".git").rename(mine / "gone")
    gone = asked(world, mine, "r-mine22").json()
    assert gone["code"] == "no_repository" and "pancode diff r-mine22" in gone["fix"]
