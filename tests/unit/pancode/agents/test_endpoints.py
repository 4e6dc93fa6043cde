"""A model of an endpoint: where it is, why not elsewhere, and what its owner has to do for it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from node_agent.wire.endpoint import (
    CheckFact,
    Dialect,
    EndpointFact,
    ExamCheck,
    Grade,
    Health,
    ModelFact,
    ModelWire,
    PassportFact,
    Residence,
)
from node_agent.wire.node import NodeProblem
from pancode.agents.endpoints import OWN_TOKENS
from pancode.kernel.errors import ExitCode, NotFoundError
from pancode.kernel.node import NodeView
from pancode.runs.admission.plan import Plan
from pancode.runs.admission.resolution import Unresolved, resolve
from pancode.runs.placement.placement import Placed, Standing, Unplaced, decide_placements, explain_misfit
from tests.unit.pancode.kernel.fleets import catalogue, endpoint, node, request, resolved

OPENCODE = {"opencode": "not_logged_in", "gemini": "ok", "codex": "ok"}
GOOD = PassportFact(
    taken_ms=1,
    took_ms=1,
    checks=tuple(CheckFact(check=one, grade=Grade.PASSED, words="fine") for one in ExamCheck),
)
COLD = ModelFact(id="qwen3:8b", residence=Residence.NOT_LOADED, ctx_usable=65_536)
TRAP = ModelFact(id="qwen3:8b", residence=Residence.NOT_LOADED, ctx_usable=4_096, ctx_max=40_960)


def box(name: str, *endpoints: EndpointFact, **more: Any) -> NodeView:
    return node(name, OPENCODE, endpoints=endpoints, **more)


def asked(*nodes: NodeView, **more: Any) -> Plan:
    return resolved(*nodes, **{"model": "ollama/qwen3:8b", "runtime": "opencode", **more})


def problem(*nodes: NodeView, **more: Any) -> NotFoundError:
    options = {"model": "ollama/qwen3:8b", "runtime": "opencode", **more}
    wrong = resolve(request(**options), catalogue(*nodes))
    assert isinstance(wrong, Unresolved)
    assert isinstance(wrong.error, NotFoundError) and wrong.error.exit_code == ExitCode.NOT_FOUND
    return wrong.error


def why(resolution: Plan, name: str) -> str:
    return next(one.why for one in resolution.candidates if one.name == name)


def test_a_runtime_that_is_not_logged_in_runs_at_an_endpoint() -> None:
    found = asked(box("gpubox", endpoint("ollama", "qwen3:8b")), box("desk"))
    assert [(c.name, c.ready) for c in found.candidates] == [("desk", False), ("gpubox", True)]
    assert why(found, "desk") == "has no endpoint ollama now"
    assert why(found, "gpubox") == "can take it, and has it loaded"


@pytest.mark.parametrize(
    ("server", "words", "fix"),
    [
        (endpoint("ollama", COLD), "can take it, and will load it, which may take minutes", ""),
        (endpoint("ollama", more=3), "can take it, and may have it loaded", ""),
        (endpoint("ollama", "other"), "has no model qwen3:8b at ollama", "ollama pull qwen3:8b"),
        (
            endpoint("ollama", "qwen3:8b", health=Health.WEDGED, words="a slot stands", fix="restart it"),
            "its ollama is wedged: a slot stands (restart it)",
            "pancode models ls --servers",
        ),
        (
            endpoint("ollama", "qwen3:8b", health=Health.NEEDS_KEY, words="it requires a key", fix="give it"),
            "its ollama needs a key: it requires a key (give it)",
            "pancode models ls --servers",
        ),
        (
            endpoint("ollama", ModelFact(id="qwen3:8b", tools=False)),
            "qwen3:8b at its ollama cannot call tools, so it cannot change files",
            "pancode models",
        ),
        (
            endpoint("ollama", ModelFact(id="qwen3:8b", embedding=True)),
            "qwen3:8b at its ollama is an embedding model",
            "pancode models",
        ),
        (
            endpoint("ollama", TRAP),
            "its ollama gives qwen3:8b a context of 4096 tokens, but this run starts with about ",
            "OLLAMA_CONTEXT_LENGTH=",
        ),
        (
            endpoint("ollama", TRAP, dialect=Dialect.LMSTUDIO),
            "its ollama gives qwen3:8b a context of 4096 tokens",
            "lms load qwen3:8b --context-length",
        ),
        (
            endpoint("ollama", TRAP.model_copy(update={"ctx_max": 4_608}), dialect=Dialect.LLAMACPP),
            "its ollama gives qwen3:8b a context of 4096 tokens",
            "4608 tokens",
        ),
    ],
)
def test_why_a_node_does_or_does_not(server: EndpointFact, words: str, fix: str) -> None:
    found = asked(box("a", endpoint("ollama", "qwen3:8b")), box("b", server))
    candidate = next(one for one in found.candidates if one.name == "b")
    assert candidate.why.startswith(words)
    assert fix in candidate.fix
    assert candidate.fits is words.startswith("can take it")


def test_the_wire_that_a_runtime_asks_on() -> None:
    chat = endpoint("ollama", "qwen3:8b", wires=(ModelWire.CHAT,))
    found = asked(box("a", chat), runtime="codex")
    assert why(found, "a") == "its ollama does not offer responses, the API that codex uses"


def test_a_model_that_is_nowhere_names_the_nearest_and_the_command() -> None:
    wrong = problem(box("gpubox", endpoint("ollama", "qwen3:8b")), model="ollama/qwen3:9b")
    assert wrong.code == "model_not_found"
    assert "ollama/qwen3:8b?" in wrong.why
    assert "ollama pull qwen3:9b;" in wrong.fix and "pancode models" in wrong.fix


def test_a_command_takes_a_strange_name_whole() -> None:
    wrong = problem(box("gpubox", endpoint("ollama", "qwen3:8b")), model="ollama/a b; x")
    assert "ollama pull 'a b; x'" in wrong.fix


def test_what_an_endpoint_has_that_wants_a_key_nobody_knows() -> None:
    locked = endpoint("ollama", health=Health.NEEDS_KEY, words="it requires a key", fix="write it down")
    found = asked(box("gpubox", locked))
    assert why(found, "gpubox") == "its ollama needs a key: it requires a key (write it down)"


@pytest.mark.parametrize("name", ["vllm", "tower"])
def test_one_that_its_owner_lists_and_cannot_be_used_is_no_unknown_one(name: str) -> None:
    wrong_one = NodeProblem(what=f"endpoint {name} (10.0.0.5:8000) is not trusted: expired", fix="renew it")
    wrong = problem(box("desk"), box("gpubox", problems=(wrong_one,)), model=f"{name}/m")
    assert name in str(wrong)
    assert "10.0.0.5:8000" in wrong.why
    assert "pancode node show gpubox" in wrong.fix


def test_it_may_be_at_another_endpoint() -> None:
    lm = endpoint("lmstudio", "gemma", dialect=Dialect.LMSTUDIO)
    wrong = problem(box("gpubox", endpoint("ollama", "qwen3:8b"), lm), model="ollama/gemma")
    assert "gpubox/lmstudio" in wrong.why
    wrong = problem(box("gpubox", lm), model="ollama/gemma")
    assert wrong.code == "endpoint_not_found"
    assert "gpubox/lmstudio" in wrong.why
    assert "ollama pull gemma" in wrong.fix


def test_a_pinned_node_is_asked_alone() -> None:
    nodes = (box("desk"), box("gpubox", endpoint("ollama", "qwen3:8b")))
    wrong = problem(*nodes, model="desk/ollama/qwen3:8b")
    assert wrong.code == "endpoint_not_found"


def test_while_a_node_was_not_heard_nobody_says_that_there_is_none() -> None:
    found = asked(box("desk"), node("away", mute=True))
    assert why(found, "away") == "has sent no heartbeat yet"


def test_an_owners_own_name_is_a_provider() -> None:
    found = asked(box("gpubox", endpoint("tower", "Qwen/Qwen3-8B")), model="tower/Qwen/Qwen3-8B")
    assert (found.model, found.wanted and found.wanted.endpoint) == ("Qwen/Qwen3-8B", "tower")
    other = asked(
        box("gpubox", endpoint("tower", "Qwen/Qwen3-8B")), model="gpubox/tower/Qwen/Qwen3-8B", runtime=None
    )
    assert other.request.node == "gpubox"


def test_no_money_is_held_for_what_costs_nothing() -> None:
    mine = box("a", endpoint("ollama", "qwen3:8b"))
    assert asked(mine).due.usd == Decimal(0)
    assert asked(mine).due.tokens > 0
    assert asked(box("a", endpoint("ollama", "qwen3:8b", free=False))).due.usd > 0
    cloud = ModelFact(id="qwen3:8b", remote=True)
    assert asked(box("a", endpoint("ollama", cloud))).due.usd > 0


def test_money_is_held_while_nobody_has_told_of_the_endpoint() -> None:
    """It may be one that costs, and then the ceiling would be passed without a hold."""
    assert asked(node("away", mute=True)).due.usd > 0


def test_the_job_says_which_endpoint() -> None:
    run = asked(box("a", endpoint("ollama", "qwen3:8b"))).run("r-1", 1, "t", {"kind": "none"})
    assert (run.endpoint, run.model) == ("ollama", "qwen3:8b")
    assert run.context is not None and run.context > OWN_TOKENS["opencode"]
    other = resolved(model="opus").run("r-2", 1, "t", {"kind": "none"})
    assert (other.endpoint, other.context) == (None, None)


def placed(*nodes: NodeView) -> Placed | Unplaced:
    run = asked(*nodes, untested=True).run("r-1", 1, "t", {"kind": "none"})
    (found,) = decide_placements([run], Standing(nodes, {view.node.name: 4 for view in nodes}))
    return found


def test_where_it_is_loaded_comes_first() -> None:
    cold, warm = box("a", endpoint("ollama", COLD)), box("b", endpoint("ollama", "qwen3:8b"))
    found = placed(cold, warm)
    assert isinstance(found, Placed)
    assert (found.node.node.name, found.why) == (
        "b",
        "of 2 nodes that can take it, most free slots (4), has it loaded",
    )
    found = placed(cold)
    assert isinstance(found, Placed) and found.why.endswith("will load it, which may take minutes")


def passed(**said: Any) -> ModelFact:
    return ModelFact(
        id="qwen3:8b", residence=Residence.LOADED, **{"ctx_usable": 65_536, "passport": GOOD, **said}
    )


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (
            endpoint("ollama", passed(), free=False),
            "b charges for qwen3:8b at its ollama, but nothing is reserved for this run: "
            "it was dispatched as free (dispatch again with --node b)",
        ),
        (endpoint("ollama", passed(remote=True)), "b charges for qwen3:8b at its ollama"),
        (
            endpoint("ollama", passed(ctx_usable=2_048)),
            "b its ollama gives qwen3:8b a context of 2048 tokens",
        ),
        (endpoint("ollama", passed(tools=False)), "b qwen3:8b at its ollama cannot call tools"),
    ],
)
def test_what_an_endpoint_tells_only_after_the_admission_is_judged_there(
    told: EndpointFact, why: str
) -> None:
    free = endpoint("ollama", passed())
    alone = asked(box("a", free), box("b")).run("r-1", 1, "t", {"kind": "none"})
    assert alone.estimate_usd == 0 and alone.terms.items() >= {"free": True, "trusted": ["a"]}.items()
    (found,) = decide_placements([alone], Standing((box("b", told),), {"b": 4}))
    assert isinstance(found, Unplaced) and found.why.startswith(why)


def test_a_model_that_nobody_told_of_at_the_admission_is_tested_before_it_works() -> None:
    run = asked(box("b", mute=True)).run("r-1", 1, "t", {"kind": "none"})
    assert run.terms["trusted"] == [] and "free" not in run.terms and run.estimate_usd > 0
    untested = box("b", endpoint("ollama", "qwen3:8b"))
    (found,) = decide_placements([run], Standing((untested,), {"b": 4}))
    assert isinstance(found, Unplaced)
    assert found.why == "b has not tested qwen3:8b yet (pancode models test b/ollama/qwen3:8b)"
    (after,) = decide_placements([run], Standing((box("b", endpoint("ollama", passed())),), {"b": 4}))
    assert isinstance(after, Placed)
    (anyway,) = decide_placements([replace(run, untested=True)], Standing((untested,), {"b": 4}))
    assert isinstance(anyway, Placed)


def test_a_passport_that_is_lost_after_the_admission_holds_nobody_up() -> None:
    run = asked(box("a", endpoint("ollama", passed()))).run("r-1", 1, "t", {"kind": "none"})
    (found,) = decide_placements([run], Standing((box("a", endpoint("ollama", "qwen3:8b")),), {"a": 4}))
    assert isinstance(found, Placed)


def test_money_is_held_where_an_endpoint_takes_it_and_then_it_may_go_there() -> None:
    paid = box("a", endpoint("ollama", passed(), free=False))
    run = asked(paid).run("r-1", 1, "t", {"kind": "none"})
    assert run.estimate_usd == Decimal("0.75") and "free" not in run.terms
    (found,) = decide_placements([run], Standing((paid,), {"a": 4}))
    assert isinstance(found, Placed)


def test_it_waits_while_its_endpoint_is_gone() -> None:
    there = box("a", endpoint("ollama", "qwen3:8b"))
    run = asked(there, untested=True).run("r-1", 1, "t", {"kind": "none"})
    assert explain_misfit(run, there) == ""
    (found,) = decide_placements([run], Standing((box("a"),), {"a": 4}))
    assert isinstance(found, Unplaced)
    assert found.why == "a has no endpoint ollama now (start it on a, then: pancode models ls --servers)"
    assert explain_misfit(replace(run, runtime="gemini"), there).startswith("its ollama does not offer None")
