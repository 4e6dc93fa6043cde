"""What a model's name says, which providers there are, and what is told of a near miss."""

from __future__ import annotations

import pytest

from pancode.agents.models import CLOUD, LOCAL, ModelRef, model_ref, resolve_provider
from pancode.kernel.errors import NotFoundError, UsageError


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("opus", ModelRef(None, None, "opus")),
        ("qwen2.5-coder:32b", ModelRef(None, None, "qwen2.5-coder:32b")),
        ("ollama/qwen3:8b", ModelRef(None, "ollama", "qwen3:8b")),
        ("lmstudio/qwen3.5-35b-a3b", ModelRef(None, "lmstudio", "qwen3.5-35b-a3b")),
        ("openai-codex/gpt-5.5", ModelRef(None, "openai", "gpt-5.5")),
        ("llamacpp/model", ModelRef(None, "llamacpp", "model")),
        ("openrouter/hf/qwen/x", ModelRef(None, "openrouter", "hf/qwen/x")),
        ("gpubox/ollama/hf.co/qwen/x:Q4_K_M", ModelRef("gpubox", "ollama", "hf.co/qwen/x:Q4_K_M")),
        ("gpubox/attic/tiny", ModelRef("gpubox", "attic", "tiny")),
        ("attic/tiny", ModelRef(None, "attic", "tiny")),
        # a node's name is one only before a provider's
        ("gpubox/qwen/x", ModelRef(None, "gpubox", "qwen/x")),
        ("elsewhere/ollama/x", ModelRef(None, "elsewhere", "ollama/x")),
    ],
)
def test_the_parts_of_a_reference(text: str, ref: ModelRef) -> None:
    assert model_ref(text, nodes=("gpubox",), providers=("attic",)) == ref


def test_a_node_that_is_called_like_a_provider_is_one_before_a_provider() -> None:
    assert model_ref("ollama/vllm/x", nodes=("ollama",)) == ModelRef("ollama", "vllm", "x")
    assert model_ref("ollama/qwen3:8b", nodes=("ollama",)) == ModelRef(None, "ollama", "qwen3:8b")


@pytest.mark.parametrize("text", ["", " ", "/x", "ollama/", " opus", "opus\n"])
def test_what_is_no_model(text: str) -> None:
    with pytest.raises(UsageError, match="is not a valid model") as caught:
        model_ref(text)
    assert caught.value.fix == "pancode models"


def test_a_reference_is_written_as_it_is_read() -> None:
    ref = model_ref("gpubox/ollama/qwen3:8b", nodes=("gpubox",))
    assert ref.text == "gpubox/ollama/qwen3:8b"
    assert ref.without_node().text == "ollama/qwen3:8b"
    assert not ref.is_cloud
    assert model_ref("groq/x").is_cloud


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("antropic/claude-opus-5", "anthropic"),
        ("olama/qwen3:8b", "ollama"),
        ("atic/tiny", "attic"),
        ("llama.cpp/model", "llamacpp"),
        ("lm-studio/x", "lmstudio"),
        ("OpenAI/gpt-5", "openai"),
    ],
)
def test_a_provider_that_is_nearly_one(text: str, near: str) -> None:
    with pytest.raises(NotFoundError, match="model provider") as caught:
        resolve_provider(model_ref(text), providers=("attic",))
    assert f"{near}?" in caught.value.why
    assert all(name in caught.value.why for name in (*CLOUD, *LOCAL, "attic"))


def test_a_node_with_an_unknown_provider() -> None:
    with pytest.raises(NotFoundError, check=lambda error: error.code == "provider_not_found") as caught:
        resolve_provider(model_ref("gpubox/olama/x", nodes=("gpubox",)), nodes=("gpubox",))
    assert "ollama?" in caught.value.why


def test_what_is_near_no_provider_is_part_of_the_models_own_name() -> None:
    assert resolve_provider(model_ref("Qwen/Qwen3-8B")) == ModelRef(None, None, "Qwen/Qwen3-8B")
    assert resolve_provider(model_ref("ollama/Qwen/Qwen3-8B")) == ModelRef(None, "ollama", "Qwen/Qwen3-8B")
    assert resolve_provider(model_ref("opus")) == ModelRef(None, None, "opus")


def test_every_cloud_provider_names_its_key_and_its_address() -> None:
    assert {p.key for p in CLOUD.values()} >= {"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"}
    assert all(p.key and p.url and p.cloud for p in CLOUD.values())
    assert not any(p.key or p.url or p.cloud for p in LOCAL.values())
