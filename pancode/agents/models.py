"""Parses a model's name into node, provider and model. Knows the providers and rejects near misses."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from node_agent.wire.endpoint import OTHER_NAMES, VENDOR_VARIABLES
from pancode.kernel.errors import NotFoundError, UsageError
from pancode.kernel.names import find_nearest, not_found


class VendorList(Protocol):
    """The known models of one vendor; new ones may be missing."""

    @property
    def names(self) -> Sequence[str]:
        """The names of the models that are able to do a run's work."""

    def knows(self, model: str) -> bool:
        """Whether the list has the model, also under another name, such as one that ends with a date."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A model's provider. `key`, `url`: names of environment variables; a local provider is on a node."""

    name: str
    key: str = ""
    url: str = ""
    cloud: bool = True


CLOUD: dict[str, Provider] = {name: Provider(name, *both) for name, both in VENDOR_VARIABLES.items()}
"""The vendors whose models anyone with a key can use."""
LOCAL: dict[str, Provider] = {
    name: Provider(name, cloud=False) for name in ("ollama", "lmstudio", "llamacpp", "vllm")
}
"""Kinds of model server on a node; an endpoint that its owner named is referred to by that name."""
PROVIDERS: dict[str, Provider] = {**CLOUD, **LOCAL}


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model as a user writes it. None: not given. `model` may contain slashes, colons and dots."""

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
    """Return the canonical name of a provider; None if the word is not a provider."""
    if word in providers:
        return word
    name = OTHER_NAMES.get(word, word)
    return name if name in PROVIDERS else None


def model_ref(text: str, nodes: Collection[str] = (), providers: Collection[str] = ()) -> ModelRef:
    """Parse `model`, `provider/model` or `node/provider/model`; UsageError if a part is empty.

    `providers`: names of endpoints, in addition to the known providers. An unknown first part is still
    returned as the provider; the caller decides what it means (see `resolve_provider`).
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
    """Return the reference with an existing provider. Raises NotFoundError if the provider is probably
    misspelled, or if the first part probably names a node.

    Model ids may contain slashes (`Qwen/Qwen3-8B`): a word that is not near a provider is part of the id.
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


def _unknown_provider(word: str, listed: Sequence[str], where: str = "") -> NotFoundError:
    near = find_nearest(word, listed)
    guess = f"did you mean {near}? " if near else ""
    return NotFoundError(
        f"model provider {word!r} not found{where}",
        why=f"{guess}there are {', '.join(listed)}",
        fix="pancode models",
        code="provider_not_found",
    )
