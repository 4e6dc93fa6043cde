"""Reads a model's name: node, provider and model. Knows the providers, and refuses near misses."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from node_agent.wire.endpoint import OTHER_NAMES, VENDOR_VARIABLES
from pancode.kernel.errors import UsageError
from pancode.kernel.names import find_nearest, not_found


class VendorList(Protocol):
    """The known models of one vendor; a newer one may be missing."""

    @property
    def names(self) -> Sequence[str]:
        """The names of the models that could do a run's work."""

    def knows(self, model: str) -> bool:
        """Whether the list has the model, also by another of its names, as with a date at its end."""


@dataclass(frozen=True, slots=True)
class Provider:
    """The provider of a model. `key`, `url`: variables that hold them; a local one is found on a node."""

    name: str
    key: str = ""
    url: str = ""
    cloud: bool = True


CLOUD: dict[str, Provider] = {name: Provider(name, *both) for name, both in VENDOR_VARIABLES.items()}
"""The vendors whose models anybody with a key can use."""
LOCAL: dict[str, Provider] = {
    name: Provider(name, cloud=False) for name in ("ollama", "lmstudio", "llamacpp", "vllm")
}
"""Kinds of model server on a node; an endpoint's own name stands for a kind that its owner names."""
PROVIDERS: dict[str, Provider] = {**CLOUD, **LOCAL}


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model as a user writes it. None: not said. `model` may itself hold slashes, colons and dots."""

    node: str | None
    provider: str | None
    model: str

    @property
    def text(self) -> str:
        """The full name."""
        return "/".join(part for part in (self.node, self.provider, self.model) if part)

    @property
    def is_cloud(self) -> bool:
        return self.provider in CLOUD

    def without_node(self) -> ModelRef:
        return ModelRef(None, self.provider, self.model)


def provider_name(word: str, providers: Collection[str] = ()) -> str | None:
    """Return the provider's own name for any of its names; None for a word that is not a provider."""
    if word in providers:
        return word
    name = OTHER_NAMES.get(word, word)
    return name if name in PROVIDERS else None


def model_ref(text: str, nodes: Collection[str] = (), providers: Collection[str] = ()) -> ModelRef:
    """Return the parts of `model`, `provider/model` or `node/provider/model`; UsageError where one is empty.

    `providers`: names of endpoints, beside the providers that everybody knows. A first word that is none is
    still returned as the provider: the caller decides what that means (see `resolve_provider`).
    """
    first, slash, rest = text.partition("/")
    if not text.strip() or text != text.strip() or (slash and not (first and rest)):
        raise UsageError(
            f"{text!r} is not a valid model",
            why="a model must be NAME, PROVIDER/NAME or NODE/PROVIDER/NAME, with no empty part",
            fix="pancode models",
            code="bad_model",
        )
    if not slash:
        return ModelRef(None, None, text)
    second, more, model = rest.partition("/")
    provider = provider_name(second, providers)
    if first in nodes and more and model and provider is not None:
        return ModelRef(first, provider, model)
    return ModelRef(None, provider_name(first, providers) or first, rest)


def resolve_provider(ref: ModelRef, nodes: Collection[str] = (), providers: Collection[str] = ()) -> ModelRef:
    """Return the reference with a provider that exists; UsageError where the word was probably meant to be
    one, NotFoundError where it was meant to be a node.

    Model ids hold slashes of their own (`Qwen/Qwen3-8B`): a word that is near no provider is part of the id.
    """
    if ref.provider is None or provider_name(ref.provider, providers) is not None:
        return ref
    listed = sorted({*PROVIDERS, *providers})
    second, more, _ = ref.model.partition("/")
    if ref.provider in nodes:
        raise _unknown_provider(second, listed, f" of {ref.provider}")
    if more and provider_name(second, providers) in {*LOCAL, *providers}:
        raise not_found("node", ref.provider, nodes, "pancode node ls")
    if find_nearest(ref.provider, listed) is not None:
        raise _unknown_provider(ref.provider, listed)
    return ModelRef(None, None, f"{ref.provider}/{ref.model}")


def _unknown_provider(word: str, listed: Sequence[str], where: str = "") -> UsageError:
    near = find_nearest(word, listed)
    guess = f"did you mean {near}? " if near else ""
    return UsageError(
        f"model provider {word!r} not found{where}",
        why=f"{guess}there are {', '.join(listed)}",
        fix="pancode models",
        code="provider_not_found",
    )
