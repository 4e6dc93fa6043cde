"""What `pancode models ls --servers` and `pancode models` print, also where nothing or little is known."""

from __future__ import annotations

from typing import Any

from node_agent.wire.endpoint import Dialect, EndpointFact, Health, ModelFact, ModelWire, Residence
from pancode.agents.commands.models import _format_endpoints, _format_models
from pancode.fleet.commands.fleet import endpoint_words as in_status
from pancode.fleet.model_service import endpoint_shape, passport_shape

QWEN = ModelFact(
    id="qwen3:8b",
    parameters=8_190_735_360,
    quantisation="Q4_K_M",
    ctx_usable=4_096,
    ctx_max=40_960,
    residence=Residence.LOADED,
    size=5_225_388_164,
    tools=True,
    vision=False,
)


def told(**changes: Any) -> Any:
    fact = EndpointFact(
        name="ollama", dialect=Dialect.OLLAMA, at="127.0.0.1:11434", version="0.14.2", models=(QWEN,), slots=1
    )
    shape = endpoint_shape(fact.model_copy(update={"wires": (ModelWire.CHAT,), **changes}))
    return {"node": "gpubox", **shape}


def model(fact: ModelFact, tier: str | None = "mid") -> Any:
    shape = {**fact.model_dump(mode="json"), "passport": passport_shape(None), "tier": tier}
    return {**shape, "node": "gpubox", "ref": f"gpubox/ollama/{fact.id}"}


def words(line: str) -> list[str]:
    return [word for word in line.split("  ") if word.strip()]


def test_endpoints() -> None:
    head, line = _format_endpoints([told(age_ms=12_400)]).splitlines()
    assert [w.strip() for w in words(line)] == [
        "gpubox",
        "ollama",
        "ollama 0.14.2",
        "127.0.0.1:11434",
        "ok",
        "?/1 free",
        "1",
        "chat",
        "none",
        "12 s ago",
    ]


def test_what_is_wrong_stands_below_with_what_mends_it() -> None:
    shown = _format_endpoints([told(health=Health.WEDGED, words="a slot stands", fix="restart it")])
    assert shown.splitlines()[2:] == ["  gpubox/ollama: a slot stands", "    restart it"]


def test_models() -> None:
    vectors = ModelFact(id="embed", embedding=True)
    _, first, unknown, none = _format_models(
        [model(QWEN), model(ModelFact(id="x"), None), model(vectors)], None
    ).splitlines()
    assert [w.strip() for w in words(first)] == [
        "gpubox/ollama/qwen3:8b",
        "mid",
        "8.2 B",
        "Q4_K_M",
        "4k of 40k",
        "loaded",
        "5 G",
        "yes",
        "no",
        "not yet",
    ]
    assert [w.strip() for w in words(unknown)][1:] == ["?", "?", "?", "? of ?", "?", "-", "?", "?", "not yet"]
    assert "embeddings only" in none and none.split()[-1] == "-"


def test_nothing_says_what_to_do() -> None:
    for shown in (_format_endpoints([]), _format_models([], None)):
        assert "no model server was found" in shown and "endpoints.json" in shown
    assert (
        _format_models([], "frontier") == "no models of tier frontier; to list all models: pancode models\n"
    )


def test_in_the_table_of_machines() -> None:
    assert in_status(told()) == "ollama: qwen3:8b 4k"
    assert in_status(told(more=2)) == "ollama: qwen3:8b 4k, +2"
    assert in_status(told(models=())) == "ollama: no model"
    assert in_status(told(health=Health.NEEDS_KEY)) == "ollama NEEDS A KEY"
