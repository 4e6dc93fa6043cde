"""The network of a run: folded from rules, agent and flag, told in a dry run, held by a sandbox."""

from __future__ import annotations

from dataclasses import replace

from node_agent.wire.policy import Isolation, Mode, NetworkAccess, Rules
from pancode.runs.admission.dry_run import list_networks
from pancode.runs.admission.resolution import Unresolved, resolve
from pancode.runs.life.jobs import rules_of
from pancode.runs.request import Defaults
from tests.unit.pancode.kernel.fleets import BUILDER, SCOUT, catalogue, node, request, resolved

WALLED, BARE = node("a", isolation=Isolation.SANDBOX), node("b")
CLOSED = Rules(network=NetworkAccess.GATEWAY)


def test_a_dry_run_tells_the_truth_of_this_run() -> None:
    told = list_networks(resolved(WALLED))
    assert told["the agent"].startswith("only its model if the gateway has its key")
    assert list_networks(resolved(BARE))["the agent"] == "what the node can reach: no sandbox on b"
    assert list_networks(resolved(WALLED, runtime="shell"))["the agent"] == "what the node can reach"
    closed = list_networks(resolved(WALLED, network=NetworkAccess.GATEWAY))
    assert closed["the agent"] == "only its model, through the gateway"


def test_the_narrowest_counts_and_is_what_the_job_says() -> None:
    agents = {"builder": replace(BUILDER, network=NetworkAccess.GATEWAY), "scout": SCOUT}
    found = resolved(WALLED, settings={"agents": agents}, network=NetworkAccess.MACHINE)
    run = found.run("r-1", 0, "t", {"kind": "none"})
    assert rules_of(run.rules).network is NetworkAccess.GATEWAY, "a flag does not widen it"
    ruled = resolved(WALLED, settings={"rules": CLOSED}, network=NetworkAccess.MACHINE)
    assert ruled.rules.network is NetworkAccess.GATEWAY


def test_a_mode_has_a_network_of_its_own() -> None:
    settings = {
        "defaults": Defaults(network={Mode.REVIEW: NetworkAccess.GATEWAY, Mode.BUILD: NetworkAccess.MACHINE})
    }
    review = resolved(WALLED, BARE, settings=settings, mode=Mode.REVIEW)
    assert review.needs_sandbox and review.rules.network is NetworkAccess.GATEWAY
    assert list_networks(review)["the agent"] == "only its model, through the gateway"
    assert not resolved(WALLED, settings=settings).needs_sandbox, "no more than the rest"
    by_setting = {"defaults": replace(settings["defaults"], mode=Mode.REVIEW)}
    assert resolved(WALLED, settings=by_setting).rules.network is NetworkAccess.GATEWAY
    none = {"defaults": Defaults(network={Mode.BUILD: NetworkAccess.NONE})}
    refused = resolve(request(runtime="claude"), catalogue(WALLED, **none))
    assert isinstance(refused, Unresolved) and "dispatch.network" in refused.error.fix


def test_it_runs_in_a_sandbox_or_not_at_all() -> None:
    found = resolved(WALLED, BARE, network=NetworkAccess.GATEWAY)
    assert found.needs_sandbox and [one.name for one in found.candidates if one.fits] == ["a"]
    assert not resolved(WALLED, BARE).needs_sandbox


def test_an_agent_program_without_its_model_is_refused() -> None:
    asked = request(network=NetworkAccess.NONE, runtime="claude")
    refused = resolve(asked, catalogue(WALLED))
    assert isinstance(refused, Unresolved) and "cannot reach its model" in str(refused.error)
    assert resolved(WALLED, network=NetworkAccess.NONE, runtime="shell").needs_sandbox
