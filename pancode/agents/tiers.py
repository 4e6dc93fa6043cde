"""The capability and price of models by the vendors' figures, and the checks before a vendor login."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from pancode.agents.models import CLOUD, ModelRef
from pancode.agents.runtimes import RUNTIMES, RuntimeKind, no_runtime, resolve_alias
from pancode.kernel.errors import NotFoundError, UsageError
from pancode.kernel.node import with_words

FRONTIER_BILLIONS, MID_BILLIONS = 100.0, 7.0
MID_CONTEXT = 16_384
"""The minimum context for a coding task; with less, a model's tier is small, whatever its size."""


class ModelTier(StrEnum):
    """The capability of a model."""

    SMALL = "small"
    MID = "mid"
    FRONTIER = "frontier"


RANK: dict[ModelTier, int] = {tier: rank for rank, tier in enumerate(ModelTier)}


@dataclass(frozen=True, slots=True)
class Tiered:
    """A tier and how it was determined; `tier` None: unknown."""

    tier: ModelTier | None
    why: str


_FAMILIES: tuple[tuple[str, ModelTier], ...] = (
    ("*-nano*", ModelTier.SMALL),
    ("*flash-lite*", ModelTier.SMALL),
    ("gpt-4o-mini*", ModelTier.SMALL),
    ("ministral*", ModelTier.SMALL),
    ("phi-4-mini*", ModelTier.SMALL),
    ("gpt-*-luna*", ModelTier.SMALL),
    ("gpt-3.5*", ModelTier.SMALL),
    ("claude-*haiku*", ModelTier.MID),
    ("haiku*", ModelTier.MID),
    ("gpt-*-mini*", ModelTier.MID),
    ("gpt-*-terra*", ModelTier.MID),
    ("gpt-4*", ModelTier.MID),
    ("o?-mini*", ModelTier.MID),
    ("gemini-*flash*", ModelTier.MID),
    ("codestral*", ModelTier.MID),
    ("devstral*", ModelTier.MID),
    ("mistral-small*", ModelTier.MID),
    ("mistral-medium*", ModelTier.MID),
    ("phi4*", ModelTier.MID),
    ("claude-?-*", ModelTier.MID),
    ("gemini-1*", ModelTier.MID),
    ("claude-opus-*", ModelTier.FRONTIER),
    ("claude-sonnet-*", ModelTier.FRONTIER),
    ("claude-fable-*", ModelTier.FRONTIER),
    ("claude-mythos-*", ModelTier.FRONTIER),
    ("opus*", ModelTier.FRONTIER),
    ("sonnet*", ModelTier.FRONTIER),
    ("gpt-5*", ModelTier.FRONTIER),
    ("gpt-6*", ModelTier.FRONTIER),
    ("o1*", ModelTier.FRONTIER),
    ("o3*", ModelTier.FRONTIER),
    ("gemini-*-pro*", ModelTier.FRONTIER),
    ("mistral-large*", ModelTier.FRONTIER),
    ("deepseek-v3*", ModelTier.FRONTIER),
    ("deepseek-r1*", ModelTier.FRONTIER),
    ("kimi-k2*", ModelTier.FRONTIER),
)
"""Known families by name, narrower patterns first. A size in the name takes precedence."""
_MIXTURE = re.compile(r"(?<![a-z0-9.])(\d+)x(\d+(?:\.\d+)?)b(?![a-z0-9])")
_SIZE = re.compile(r"(?<![a-z0-9.])e?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])")


def parse_billions(model: str) -> float | None:
    """Read the number of parameters, in billions, from a name: `qwen3:8b`, `mixtral-8x7b`, `gemma-3-270m`;
    None if the name has none.

    For `35b-a3b` it is the total, 35; active parameters have a letter before the number.
    """
    name = model.lower()
    mixture = _MIXTURE.search(name)
    if mixture:
        return int(mixture[1]) * float(mixture[2])
    sizes = [float(number) / (1000 if unit == "m" else 1) for number, unit in _SIZE.findall(name)]
    return max(sizes, default=None)


def tier_of(
    ref: ModelRef,
    parameters: float | None = None,
    context: int | None = None,
    overrides: dict[str, ModelTier] | None = None,
    served: bool = False,
) -> Tiered:
    """Return the tier. `parameters`: in billions; `context`: usable tokens; None: unknown.

    `served`: a model server of the fleet serves it. Such a server may use any name, so the name can only
    lower the tier, and the model's family is ignored.

    `overrides`: patterns (`*` and `?`) over `model`, `provider/model` or `node/provider/model`; the last
    match wins, so later files override earlier ones. The context can lower a tier, but never raise it.
    """
    for pattern, tier in reversed((overrides or {}).items()):
        if any(fnmatchcase(name, pattern) for name in (ref.model, ref.without_node().text, ref.text)):
            return Tiered(tier, f"models.tiers: {pattern}")
    if context is not None and context < MID_CONTEXT:
        return Tiered(ModelTier.SMALL, f"a usable context of {context} tokens")
    size = parameters if parameters is not None else parse_billions(ref.model)
    if size is not None and (parameters is not None or not served or _of_size(size) is ModelTier.SMALL):
        return Tiered(_of_size(size), f"{size:.3g} billion parameters")
    if served:
        return Tiered(None, "the model's server does not report how many parameters the model has")
    name = ref.model.rpartition("/")[2].lower()
    for pattern, tier in _FAMILIES:
        if fnmatchcase(name, pattern):
            return Tiered(tier, f"its family, {pattern}")
    return Tiered(None, "neither the model's size nor its family is known")


def _of_size(size: float) -> ModelTier:
    if size >= FRONTIER_BILLIONS:
        return ModelTier.FRONTIER
    return ModelTier.MID if size >= MID_BILLIONS else ModelTier.SMALL


_NO_WORKER = re.compile(
    r"embed|tts|audio|speech|image|whisper|transcri|realtime|live|moderation|ocr|guard|voxtral|orpheus|robotics"
    r"|computer-use|search|translate|banana|omni|cyber|rosalind|davinci|^(ada|babbage|curie)|^ft:|\.ft-$|:batch$|:extended$"
)
"""Parts of the names of models that do audio, images, moderation or search, or that are sold separately."""
_OWN_FAMILIES = {"anthropic": ("claude-",), "google": ("gemini-",)}
"""Prefixes of these vendors' own models; the vendors also resell others, which their programs cannot use."""


@dataclass(frozen=True, slots=True)
class CloudModel:
    """One model of a vendor. Prices in USD per million tokens at the lowest price tier; None: unknown."""

    provider: str
    id: str
    context: int | None
    input_usd: Decimal | None
    cached_usd: Decimal | None
    output_usd: Decimal | None

    @property
    def could_work(self) -> bool:
        """Whether the model reads and writes text, has a price, and is the vendor's own if that matters."""
        families = _OWN_FAMILIES.get(self.provider, ("",))
        sold = self.input_usd is not None and self.output_usd is not None
        return sold and self.id.startswith(families) and not _NO_WORKER.search(self.id.lower())


def providers_of(name: str) -> tuple[str, ...]:
    """Return the vendors of a runtime's models. NotFoundError: unknown runtime; UsageError: none known."""
    if resolve_alias(name) not in RUNTIMES:
        raise no_runtime(name)
    kind = RUNTIMES[resolve_alias(name)]
    if kind.provider is None and not kind.reaches:
        raise UsageError(
            f"no vendor models are known for runtime {kind.name}", why=_explain_unknown(kind), fix=_FIX
        )
    return (kind.provider,) if kind.provider is not None else tuple(CLOUD)


_BY_LOGIN = {
    "copilot": "GitHub, where your plan determines the models",
    "opencode": "OpenAI, where your ChatGPT plan determines the models",
}
"""Who determines the models of a login, for runtimes for which no list of models is installed."""
_FIX = "pancode models --runtime claude"


def _explain_unknown(kind: RuntimeKind) -> str:
    if kind.own:
        return "it runs your own programs and calls no model that PanCode knows of"
    if kind.name in _BY_LOGIN:
        return f"the runtime uses its node's model server or, with a subscription, {_BY_LOGIN[kind.name]}"
    return "the runtime uses only the model server configured on its node, which lists its own models"


def list_capable(models: Iterable[CloudModel], providers: Sequence[str]) -> list[CloudModel]:
    """Return the models of these vendors that are able to do a run's work, by vendor and name."""
    found = [model for model in models if model.provider in providers and model.could_work]
    return sorted(found, key=lambda model: (providers.index(model.provider), model.id))


def check_login(node: Mapping[str, Any], runtime: str) -> None:
    """Raise NotFoundError for a runtime that is unknown or that the node reports as missing. If the node has
    not reported yet, it checks the runtime itself when the login starts."""
    if runtime not in RUNTIMES:
        raise no_runtime(runtime)
    fact = next((one for one in node["runtimes"] if one["name"] == runtime), None)
    if fact is not None and fact["state"] == "missing":
        raise NotFoundError(
            f"{runtime} is not installed on {node['name']}",
            why=with_words("the node agent did not find it in PATH", fact["says"]),
            fix=f"pancode node install {node['name']} {runtime}"
            if RUNTIMES[runtime].installable
            else f"install it on the node; for details: pancode node show {node['name']}",
            code="runtime_missing",
        )
