"""Green may mean blind: each planted bug must break an invariant in a few schedules of its class."""

from __future__ import annotations

import pytest

from tests.simulation.invariants import Broken
from tests.simulation.planted import BUGS, Bug
from tests.simulation.planted_flows import FLOW_BUGS
from tests.simulation.planted_interactive_runs import INTERACTIVE_RUN_BUGS
from tests.simulation.planted_nights import NIGHT_BUGS
from tests.simulation.schedule import Schedule


@pytest.mark.parametrize(
    "bug", (*BUGS, *FLOW_BUGS, *NIGHT_BUGS, *INTERACTIVE_RUN_BUGS), ids=lambda bug: bug.name.replace(" ", "-")
)
def test_a_planted_bug_is_seen(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    bug.plant(monkeypatch)
    for seed in range(bug.first, bug.first + bug.seeds):
        try:
            Schedule(seed, bug.kind).run()
        except Broken as seen:
            # A mistake in the plant itself breaks a schedule, too.
            assert not isinstance(seen.__cause__, TypeError | AttributeError | NameError), seen
            return
    pytest.fail(f"{bug.seeds} schedules of class {bug.kind} did not see it: {bug.name}")
