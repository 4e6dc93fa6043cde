"""What was measured in the real programs carries what dispatch decides by, and is whole."""

from __future__ import annotations

from itertools import product

import pytest

from node_agent.runtimes.base import LaunchRequest, Place
from node_agent.runtimes.registry import RUNTIMES
from node_agent.wire.job import Limits
from node_agent.wire.policy import Enforcement, Isolation, Mode, Safety
from pancode.agents.runtimes import RULES, EnforcementRequest, find_rule
from pancode.agents.runtimes import RUNTIMES as BELIEVED
from pancode.agents.safety_evidence import ACTS, ISOLATIONS, SafetyMatrix, TryResult, load_evidence
from tests.clis.install import NATIVE, PACKAGES, VERSIONS

AGENTS = sorted(name for name, runtime in RUNTIMES.items() if runtime.program is not None)
TRIED = (*AGENTS, NATIVE)
"""Their tools are ours."""
LIMITS = Limits(wall_ms=60_000, idle_ms=60_000, output_bytes=1 << 20)


@pytest.fixture(scope="module")
def found() -> SafetyMatrix:
    return load_evidence()


@pytest.mark.parametrize(("name", "rule", "wall"), list(product((*TRIED, "shell"), RULES, ISOLATIONS)))
def test_every_act_was_tried_in_every_program(
    name: str, rule: str, wall: Isolation, found: SafetyMatrix
) -> None:
    fitting = {act.name for act in ACTS if name != "shell" or not act.agents}
    assert found.cells[name, rule, wall].keys() == fitting


@pytest.mark.parametrize(("name", "rule"), list(product((*TRIED, "shell"), RULES)))
def test_behind_the_wall_nothing_forbidden_happened(name: str, rule: str, found: SafetyMatrix) -> None:
    assert found.happened(name, rule, Isolation.SANDBOX) == []


@pytest.mark.parametrize(("name", "rule"), list(product(TRIED, RULES)))
def test_a_rule_is_believed_to_be_held_exactly_where_it_was(
    name: str, rule: str, found: SafetyMatrix
) -> None:
    assert (rule in BELIEVED[name].holds) is found.holds(name, rule)


@pytest.mark.parametrize(("name", "rule", "told_only"), list(product(TRIED, RULES, (False, True))))
def test_without_a_wall_what_did_not_hold_is_refused_unless_the_user_says_so(
    name: str, rule: str, told_only: bool, found: SafetyMatrix
) -> None:
    read_only = rule not in list(Safety)
    safety = Safety.AUTO_EDIT if read_only else Safety(rule)
    needs = find_rule(
        BELIEVED[name], EnforcementRequest(Mode.BUILD, safety, read_only, told_only, "git", depth=0)
    )
    assert needs.enough(Isolation.NONE) is (told_only or found.holds(name, rule))
    assert needs.by(Isolation.SANDBOX) is Enforcement.SANDBOX and needs.enough(Isolation.SANDBOX)


@pytest.mark.parametrize("name", TRIED)
def test_the_tries_were_real(name: str, found: SafetyMatrix) -> None:
    """What is allowed does happen, in the sandbox, too: an act that is stopped was not just badly tried."""
    for wall in ISOLATIONS:
        assert found.cells[name, "auto-edit", wall]["tool-work"] is TryResult.HAPPENED
        assert found.cells[name, "full-auto", wall]["shell-work"] is TryResult.HAPPENED
        asks = TryResult.STOPPED if RUNTIMES[name].capabilities.asks_first else TryResult.ENDED
        assert found.cells[name, "full-auto", wall]["command"] is asks
    assert found.cells[name, "auto-edit", Isolation.SANDBOX]["shell-test"] is TryResult.HAPPENED


def test_without_any_wall_every_kind_of_act_but_one_is_seen_to_happen(found: SafetyMatrix) -> None:
    """So each witness works. What a run leaves is ended by the node agent, wall or no sandbox; and each
    program asks before the command that a rule forbids: `tests/integration/node/test_rules.py` sees that one
    happen.
    """
    bare = (came for (_, _, wall), came in found.cells.items() if wall is Isolation.NONE)
    happened = {act for came in bare for act, how in came.items() if how is not TryResult.STOPPED}
    assert {act.name for act in ACTS} - happened == {"shell-outlive", "command"}


@pytest.mark.parametrize("name", AGENTS)
def test_it_was_measured_with_the_version_that_the_runtime_knows(name: str, found: SafetyMatrix) -> None:
    program = RUNTIMES[name].program
    assert program is not None
    assert found.versions[name] == PACKAGES[name].version
    assert found.versions[name].startswith(program.known)
    assert found.versions[NATIVE] == VERSIONS[NATIVE]


@pytest.mark.parametrize(("name", "wall"), list(product(TRIED, ISOLATIONS)))
def test_suggest_and_read_only_at_any_level_are_one_and_the_same_launch(name: str, wall: Isolation) -> None:
    """So one measurement of read-only stands for all of them."""

    def launched(mode: Mode, safety: Safety, read_only: bool) -> object:
        request = LaunchRequest("task", "prompt", mode, safety, read_only, "/w", "/h", LIMITS, model="m")
        place = Place("/bin", "python3", is_root=True, isolation=wall, env={})
        return RUNTIMES[name].launch(request, place)

    cases = product(Mode, Safety, (False, True))
    withheld = [case for case in cases if case[0] is not Mode.BUILD or case[1] is Safety.SUGGEST or case[2]]
    assert len({repr(launched(*case)) for case in withheld}) == 1
