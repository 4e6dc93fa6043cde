"""Users who look: every route of the API that looks, while the fleet is as the schedule has made it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tests.simulation.coordinator import SimDesk
from tests.simulation.invariants import must
from tests.unit.pancode.interfaces.http.lies import gets
from tests.unit.pancode.interfaces.http.world import Http, MemoryCoordinator, app_of
from tests.unit.pancode.issues.memory import track_issues

if TYPE_CHECKING:
    from tests.simulation.world import SimWorld

NO_HOME = Path("/nonexistent/pancode")


def every_look_is_answered(w: SimWorld, runs: list[str], node: str) -> None:
    """No GET breaks on what a node has said; the coordinator is there to answer."""
    if w.coordinator.awake is None or w.redis.down or not runs:
        return
    with w.coordinator.unharmed():
        http = _http(w.coordinator)
        answers = {path: http.get(path) for path in gets(runs, node)}
    broken = {path: told.text[:200] for path, told in answers.items() if told.status_code >= 500}
    must(not broken, f"GETs that do not answer: {broken}")


def _http(coordinator: SimDesk) -> Http:
    seen = MemoryCoordinator(cast(Any, coordinator), NO_HOME)
    track_issues(seen)
    app, api = app_of(seen)
    api.closing.set()  # a stream of events ends at once
    return Http(app)
