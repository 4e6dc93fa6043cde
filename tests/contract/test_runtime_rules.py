"""What the coordinator believes of a runtime is what the node's runtime says of itself."""

from __future__ import annotations

import itertools

import pytest

from node_agent.runtimes.registry import RUNTIMES
from node_agent.wire.policy import Enforcement, Isolation, Mode, Safety
from pancode.domain.runtimes import RUNTIMES as BELIEVED
from pancode.domain.runtimes import rule_of


@pytest.mark.parametrize("name", sorted(RUNTIMES))
@pytest.mark.parametrize(
    ("mode", "safety", "read_only"), list(itertools.product(Mode, Safety, (False, True)))
)
def test_a_rule_is_believed_to_be_held_exactly_when_it_is(
    name: str, mode: Mode, safety: Safety, read_only: bool
) -> None:
    held = RUNTIMES[name].enforcement(mode, safety, read_only, Isolation.NONE) is Enforcement.RUNTIME
    assert held is (rule_of(mode, safety, read_only) in BELIEVED[name].holds)
