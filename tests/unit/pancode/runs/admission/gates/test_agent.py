"""Gate 9: what an agent's definition asks of a run, and of whoever dispatches it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from node_agent.wire.endpoint import ModelFact, Sampling
from node_agent.wire.node import Allowed, no_sandbox
from node_agent.wire.policy import Isolation, Mode, NetworkAccess, Safety
from pancode.agents.agents import AgentIsolation, Autonomy, Role, Tier
from pancode.agents.runtimes import RUNTIMES
from pancode.agents.tiers import ModelTier
from pancode.kernel.errors import ExitCode
from pancode.runs.admission.gates import NAMES, judge, refusal_error
from pancode.runs.request import AdmissionView, Defaults, Parent
from tests.unit.pancode.kernel.fleets import BUILDER, SCOUT, endpoint, node, resolved
from tests.unit.pancode.runs.admission.gates.test_gates import DAY, VIEW, gate


def own(**changes: Any) -> dict[str, Any]:
    """Settings with a builder of one's own."""
    return {"agents": {"builder": replace(BUILDER, **changes), "scout": SCOUT}}


def test_why_an_agent_was_chosen_is_said() -> None:
    words = gate("agent", task="add a flag").words
    assert words.startswith("agent builder (nothing in the task suggests another agent): changes files")


def test_a_confirmatory_agent_needs_a_users_yes() -> None:
    asks = own(autonomy=Autonomy.CONFIRMATORY)
    refused = gate("agent", settings=asks)
    assert not refused.passed and "$0.75" in refused.words
    assert refusal_error(refused).code == "needs_yes"
    assert "--yes" in refused.fix and "--ask" in refused.fix
    assert refusal_error(refused).exit_code is ExitCode.REFUSED
    assert gate("agent", settings=asks, confirmed=True).passed


def test_a_run_cannot_say_a_users_yes() -> None:
    asks = own(autonomy=Autonomy.CONFIRMATORY)
    inside = AdmissionView((DAY,), parent=Parent("r-1", Mode.BUILD, Safety.AUTO_EDIT, False, unheld=True))
    verdict = gate("agent", inside, settings=asks, confirmed=True, depth=1)
    assert not verdict.passed and "run r-1 is not a user" in verdict.words
    assert verdict.code != "needs_yes", "no face asks for it"


@pytest.mark.parametrize(
    ("autonomy", "land", "passes"),
    [
        (Autonomy.AUTONOMOUS, True, True),
        (Autonomy.SUPERVISED, False, True),
        (Autonomy.SUPERVISED, True, False),
        (Autonomy.CONFIRMATORY, True, False),
    ],
)
def test_what_is_supervised_is_never_landed_by_itself(autonomy: Autonomy, land: bool, passes: bool) -> None:
    verdict = gate("agent", settings=own(autonomy=autonomy), land=land, confirmed=True)
    assert verdict.passed is passes
    assert passes or "pancode land RUN" in verdict.fix


def test_sampling_is_refused_by_name_where_nobody_can_set_it() -> None:
    warm = own(sampling=Sampling(temperature=Decimal("0.2")), origin="panagents.yaml:7")
    verdict = gate("agent", settings=warm)
    assert not verdict.passed
    assert "builder sets sampling, but runtime claude does not support it [panagents.yaml:7]" in verdict.words
    assert gate("agent", settings=warm, runtime="shell").passed, "a program of one's own asks no model"
    ours = replace(resolved(settings=warm), runtime=RUNTIMES["native"])
    assert judge(ours, VIEW)[NAMES.index("agent")].passed


def test_an_agent_that_runs_only_in_a_sandbox() -> None:
    walled = own(isolations=AgentIsolation.CONTAINER)
    both = (node("bare"), node("walled", isolation=Isolation.SANDBOX))
    verdict = gate("routing", settings=walled, nodes=both)
    assert verdict.words == "runtime claude on walled"
    lacks = no_sandbox("bwrap is missing", "apt install bubblewrap")
    bare = gate("routing", settings=walled, nodes=(node("bare", problems=(lacks,)),))
    assert (
        not bare.passed
        and "bare has no sandbox, but its agent, or the run that started it, requires one" in bare.words
    )
    assert "(apt install bubblewrap)" in bare.words and bare.fix == "pancode doctor --all"
    outside = gate("agent", settings=walled, runtime="shell", workspace="none", nodes=both)
    assert not outside.passed and "for the node itself" in outside.words
    for asked, why in (
        ({"network": NetworkAccess.NONE}, "as --network"),
        ({"walled": True}, "the parent run"),
    ):
        outside = gate("agent", runtime="shell", workspace="none", nodes=both, **asked)
        assert not outside.passed and why in outside.words
        assert "isolation: container" not in outside.words
    assert gate("agent", settings=walled, nodes=both).passed


ANY_MODEL: dict[str, Any] = {"runtime": "opencode", "nodes": (node("desk", {"opencode": "ok"}),)}


@pytest.mark.parametrize(
    ("tier", "model", "strict", "passes", "warns"),
    [
        (Tier.MID, "qwen3:4b", False, True, True),
        (Tier.MID, "qwen3:4b", True, False, False),
        (Tier.SMALL, "qwen3:4b", True, True, False),
        (Tier.ANY, "qwen3:4b", True, True, False),
        (Tier.FRONTIER, "qwen3:32b", True, False, False),
        (Tier.FRONTIER, "anthropic/claude-opus-4", True, True, False),
        (Tier.FRONTIER, "nobody-knows", False, True, False),
        (Tier.FRONTIER, "nobody-knows", True, False, False),
        (Tier.FRONTIER, None, True, True, False),
    ],
)
def test_a_model_below_the_tier_of_its_agent(
    tier: Tier, model: str | None, strict: bool, passes: bool, warns: bool
) -> None:
    settings = {**own(tier=tier), "defaults": Defaults(strict_tiers=strict)}
    verdict = gate("agent", settings=settings, model=model, **ANY_MODEL)
    assert (verdict.passed, verdict.warning) == (passes, warns)
    if not passes or warns:
        assert f"requires a {tier} model, but {model} is" in verdict.words and "models.tiers" in verdict.fix


@pytest.mark.parametrize(
    ("model", "passes", "words"),
    [
        (ModelFact(id="gpt-5-tiny", parameters=140_000, ctx_usable=32_768), False, "0.00014 billion"),
        (
            ModelFact(id="gpt-5-tiny", ctx_usable=32_768),
            False,
            "unknown tier: the model's server does not report",
        ),
        (ModelFact(id="gpt-5-tiny", parameters=120 * 10**9, ctx_usable=4096), False, "context of 4096"),
        (ModelFact(id="gpt-5-tiny", parameters=120 * 10**9, ctx_usable=65_536), True, ""),
    ],
)
def test_a_model_of_the_fleet_is_judged_by_what_its_server_tells(
    model: ModelFact, passes: bool, words: str
) -> None:
    strong = node("desk", {"native": "ok"}, endpoints=(endpoint("ollama", model),))
    settings = {**own(tier=Tier.FRONTIER), "defaults": Defaults(strict_tiers=True)}
    verdict = gate("agent", settings=settings, model="ollama/gpt-5-tiny", runtime="native", nodes=(strong,))
    assert verdict.passed is passes, verdict.words
    assert words in verdict.words


def test_an_owner_knows_better_how_able_a_model_is() -> None:
    knows = Defaults(strict_tiers=True, tiers={"qwen3*": ModelTier.FRONTIER})
    settings = {**own(tier=Tier.FRONTIER), "defaults": knows}
    assert gate("agent", settings=settings, model="qwen3:4b", **ANY_MODEL).passed


def test_the_fix_is_of_the_machine_that_comes_nearest() -> None:
    gpu = (node("alder", labels={"os": "arch"}), node("gpubox", labels={"gpu": "24g"}))
    label = gate("routing", nodes=gpu, require={"gpuu": "24g"})
    assert "gpubox" in label.words and "gpuu=24g" in label.words
    assert label.fix == "--require gpu=24g", "nobody is told to give a typo to a machine"
    bare = node("a", {}, isolation=Isolation.SANDBOX)
    full = node("b", {"claude": "ok"}, allows=Allowed(runtimes=("shell",)))
    assert "ceiling.json on b" in gate("routing", nodes=(bare, full)).fix


def test_an_orchestrator_on_a_program_that_cannot_ask_for_the_fleets_tools_is_told_of() -> None:
    leads, interactive_run = own(said_role=Role.LEAD), {"idle_ms": 1_000, "turn_ms": 1_000}
    told = {
        name: gate("agent", settings=leads, turns=interactive_run, runtime=name)
        for name in ("codex", "claude")
    }
    assert told["codex"].warning and "no fleet tools on codex" in told["codex"].words
    assert "--runtime claude" in told["codex"].fix and not told["claude"].warning
