"""The settings that give a call more context, in the words of each server."""

from __future__ import annotations

import json
import shlex

import pytest

from node_agent.wire.endpoint import Dialect, EndpointFact, ModelFact, PassportFact, advise_widen


def said(dialect: Dialect, model: ModelFact, wanted: int = 32_768, slots: int | None = None) -> str:
    return advise_widen(
        EndpointFact(name="x", dialect=dialect, at="127.0.0.1:1", slots=slots), model, 16_384, wanted
    )


@pytest.mark.parametrize("dialect", list(Dialect))
def test_every_server_is_told_the_number(dialect: Dialect) -> None:
    assert "32768" in said(dialect, ModelFact(id="m"))
    assert "20000" in said(dialect, ModelFact(id="m", ctx_max=20_000)), "no more than it was made for"
    assert said(dialect, ModelFact(id="m", ctx_max=8_192)).startswith(
        "use another model: m supports at most 8192 tokens"
    )


def test_slots_of_llama_cpp_share_what_is_set() -> None:
    """Of a router each model has its own."""
    alone, shared = (
        said(Dialect.LLAMACPP, ModelFact(id="m")),
        said(Dialect.LLAMACPP, ModelFact(id="m"), slots=4),
    )
    assert alone == "start llama-server with --ctx-size 32768"
    assert shared == "start llama-server with --ctx-size 131072 --parallel 4 (they share the context)"
    assert said(Dialect.LLAMACPP, ModelFact(id="m", slots=2), slots=4).startswith(
        "start llama-server with --ctx-size 65536 --parallel 2"
    )


def test_a_name_is_one_word_of_a_command() -> None:
    told = said(Dialect.LMSTUDIO, ModelFact(id="a b; x"))
    assert shlex.split(told.split(",")[0])[2] == "a b; x"
    assert "ollama create m-x-64k -f Modelfile" in said(Dialect.OLLAMA, ModelFact(id="hub/m:x"), 65_536)


def test_a_model_is_found_without_the_ending_that_its_server_does_not_need() -> None:
    def served(dialect: Dialect, name: str) -> EndpointFact:
        return EndpointFact(name="x", dialect=dialect, at="h:1", models=(ModelFact(id=name),))

    assert served(Dialect.LLAMACPP, "model.gguf").model("model") == ModelFact(id="model.gguf")
    assert served(Dialect.LLAMACPP, "model.gguf").model("model.gguf") is not None
    assert served(Dialect.OLLAMA, "qwen3:latest").model("qwen3") is not None
    assert served(Dialect.VLLM, "model.gguf").model("model") is None


def test_a_passport_of_an_earlier_node_agent_has_only_the_checks_of_today() -> None:
    """Node agents of 0.1.0 also report how a model edits files, and its speed."""
    answers = {"check": "answers", "grade": "passed", "words": "first token"}
    edits = {"check": "edits", "grade": "failed", "words": "its edit has no old text"}
    earlier = {"taken_ms": 1, "took_ms": 2, "checks": [answers, edits], "ctx": 4096, "tok_s": 31.5}
    passport = PassportFact.model_validate_json(json.dumps(earlier))
    today = {"taken_ms": 1, "took_ms": 2, "checks": [{**answers, "fix": ""}], "ctx": 4096}
    assert passport.model_dump(mode="json") == today
