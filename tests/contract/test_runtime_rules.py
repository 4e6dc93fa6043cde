"""What the coordinator believes of a runtime is what the node's runtime says of itself."""

from __future__ import annotations

import itertools
from urllib.parse import urlsplit

import pytest

from node_agent.runtimes.registry import RUNTIMES
from node_agent.runtimes.vendors import OURS, PROVIDERS, way_of
from node_agent.wire.policy import Enforcement, Isolation, Mode, Safety
from pancode.agents.models import CLOUD
from pancode.agents.runtimes import RUNTIMES as BELIEVED
from pancode.agents.runtimes import EnforcementRequest, find_rule, rule_of


@pytest.mark.parametrize("name", sorted(RUNTIMES))
@pytest.mark.parametrize(
    ("mode", "safety", "read_only"), list(itertools.product(Mode, Safety, (False, True)))
)
def test_a_rule_is_believed_to_be_held_exactly_when_it_is(
    name: str, mode: Mode, safety: Safety, read_only: bool
) -> None:
    held_there = RUNTIMES[name].enforcement(mode, safety, read_only, Isolation.NONE) is Enforcement.RUNTIME
    assert held_there is (rule_of(mode, safety, read_only) in BELIEVED[name].holds)


@pytest.mark.parametrize("name", sorted(RUNTIMES))
@pytest.mark.parametrize("isolation", [Isolation.NONE, Isolation.SANDBOX])
@pytest.mark.parametrize(
    ("mode", "safety", "read_only"), list(itertools.product(Mode, Safety, (False, True)))
)
def test_both_name_the_same_holder(
    name: str, isolation: Isolation, mode: Mode, safety: Safety, read_only: bool
) -> None:
    """What the matrix says is what a receipt will say."""
    asked = EnforcementRequest(mode, safety, read_only, told_only=False, workspace="git", depth=0)
    there = RUNTIMES[name].enforcement(mode, safety, read_only, isolation)
    assert find_rule(BELIEVED[name], asked).by(isolation) is there


def test_both_know_the_users_own_programs() -> None:
    """They alone run unheld without being asked about it."""
    own = {name for name, runtime in RUNTIMES.items() if runtime.capabilities.own}
    assert own == {name for name, kind in BELIEVED.items() if kind.own}


@pytest.mark.parametrize("name", sorted(RUNTIMES))
def test_both_know_the_same_levels_of_reasoning(name: str) -> None:
    assert RUNTIMES[name].capabilities.reasoning == BELIEVED[name].reasons


def reached(runtime: str) -> set[str]:
    """The vendors to whose own servers a run is led on a node that has that vendor's key and no other."""
    ways = {
        name: way_of(runtime, {one.key: "k"}, (), f"{name}/m" if runtime in OURS else "m")
        for name, one in PROVIDERS.items()
    }
    homes = {name: urlsplit(one.home).hostname for name, one in PROVIDERS.items()}
    return {name for name, way in ways.items() if way and urlsplit(way.upstream).hostname == homes[name]}


@pytest.mark.parametrize("name", sorted(RUNTIMES))
def test_both_know_which_vendors_it_asks(name: str) -> None:
    kind = BELIEVED[name]
    assert (reached(name) == set(CLOUD)) is kind.reaches
    assert kind.provider is None or reached(name) == {kind.provider}


def test_what_the_coordinator_knows_a_node_can_run() -> None:
    assert RUNTIMES.keys() == BELIEVED.keys()
