"""What a heartbeat says: names that stay, models up to a bound, what is wrong and what repairs it."""

from __future__ import annotations

from node_agent.endpoints.dialects import ServerKind, ServerReading
from node_agent.endpoints.places import EndpointAddress
from node_agent.endpoints.table import (
    MOST_MODELS,
    DecodeProgress,
    KnownServer,
    limit_models,
    list_problems,
    make_endpoint_fact,
    name_places,
)
from node_agent.wire.endpoint import Dialect, EndpointFact, Health, ModelFact, Residence

HERE, OTHER = EndpointAddress("127.0.0.1", 8080), EndpointAddress("127.0.0.1", 9931)
LAN, BOX = EndpointAddress("10.0.0.5", 1234, listed=True), EndpointAddress("10.0.0.6", 1234, prefix="gpu")
MINE = EndpointAddress("10.0.0.7", 8000, listed=True, name="mine")


def endpoint(name: str, models: int) -> EndpointFact:
    listed = tuple(ModelFact(id=f"m{i}") for i in range(models))
    return EndpointFact(name=name, dialect=Dialect.OLLAMA, at="h:1", models=listed)


def test_names_are_the_dialects_and_stay() -> None:
    there = [(p, Dialect.LLAMACPP) for p in (HERE, OTHER)] + [(p, Dialect.LMSTUDIO) for p in (LAN, BOX, MINE)]
    names = name_places(there, {})
    assert list(names.values()) == ["llamacpp", "llamacpp-9931", "lmstudio-10.0.0.5", "gpu-lmstudio", "mine"]
    assert name_places([(OTHER, Dialect.LLAMACPP)], {OTHER: "llamacpp-9931"}) == {OTHER: "llamacpp-9931"}
    assert name_places([(HERE, None)], {}) == {}


def test_a_heartbeat_has_a_bound_and_says_what_is_left_out() -> None:
    told = limit_models([endpoint("big", 100), endpoint("small", 3)])
    assert [(one.name, len(one.models), one.more) for one in told] == [
        ("big", MOST_MODELS - 3, 100 - MOST_MODELS + 3),
        ("small", 3, 0),
    ]


def test_loaded_models_are_told_first_and_those_of_vectors_last() -> None:
    models = (
        ModelFact(id="vectors", embedding=True, residence=Residence.LOADED),
        ModelFact(id="cold", residence=Residence.NOT_LOADED),
        ModelFact(id="warm", residence=Residence.LOADED),
    )
    known = KnownServer(ServerKind(Dialect.OLLAMA), reading=ServerReading(models=models), seen_ms=5)
    told = make_endpoint_fact("ollama", HERE, known, 12)
    assert told is not None
    assert ([one.id for one in told.models], told.age_ms) == (["warm", "cold", "vectors"], 7)


def test_what_is_wrong_comes_with_what_mends_it() -> None:
    locked = KnownServer(ServerKind(Dialect.OPENAI, True), reading=ServerReading(locked=True))
    refused = KnownServer(ServerKind(Dialect.OPENAI, True), reading=ServerReading(locked=True), key="k")
    stuck = KnownServer(
        ServerKind(Dialect.LLAMACPP),
        progress=DecodeProgress(words="a slot has been stuck"),
        reading=ServerReading(),
    )
    gone = KnownServer(trouble="cannot be reached: refused")
    told = [
        (name, place, known, make_endpoint_fact(name, place, known, 0))
        for name, place, known in (
            ("lan", LAN, locked),
            ("mine", MINE, refused),
            ("here", HERE, stuck),
            ("gone", MINE, gone),
            ("not", OTHER, gone),  # nobody said that anything is there
        )
    ]
    assert [one.health for *_, one in told if one] == [Health.NEEDS_KEY, Health.NEEDS_KEY, Health.WEDGED]
    said = list_problems(told)
    assert [one.what.partition(": ")[0] for one in said] == [
        "endpoint lan (10.0.0.5:1234)",
        "endpoint mine (10.0.0.7:8000)",
        "endpoint here (127.0.0.1:8080)",
        "endpoint gone (10.0.0.7:8000) cannot be reached",
    ]
    assert "endpoints.json" in said[0].fix and "secrets.json" in said[0].fix
    assert "restart" in said[2].fix and "endpoints.json" in said[3].fix
