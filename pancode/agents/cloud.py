"""The models that vendors sell, from a kept list: which could do a run's work, at which price."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from pancode.agents.models import CLOUD
from pancode.agents.runtimes import RUNTIMES, RuntimeKind, canonical
from pancode.core.names import not_found
from pancode.errors import UsageError

_NO_WORKER = re.compile(
    r"embed|tts|audio|speech|image|whisper|transcri|realtime|live|moderation|ocr|guard|voxtral|orpheus|robotics"
    r"|computer-use|search|translate|banana|omni|cyber|rosalind|davinci|^(ada|babbage|curie)|^ft:|\.ft-$|:batch$|:extended$"
)
"""Parts of the names of models that hear, draw, judge or look up, or are sold in another way."""
_OWN_FAMILIES = {"anthropic": ("claude-",), "google": ("gemini-",)}
"""Models that these vendors resell for others; their own programs cannot use them."""


@dataclass(frozen=True, slots=True)
class CloudModel:
    """One model of a vendor. USD for a million tokens at the lowest step; None: not known."""

    provider: str
    id: str
    context: int | None
    input_usd: Decimal | None
    cached_usd: Decimal | None
    output_usd: Decimal | None

    @property
    def could_work(self) -> bool:
        """Whether it reads and writes text, for a price, and is the vendor's own where that matters."""
        families = _OWN_FAMILIES.get(self.provider, ("",))
        sold = self.input_usd is not None and self.output_usd is not None
        return sold and self.id.startswith(families) and not _NO_WORKER.search(self.id.lower())


def providers_of(name: str) -> tuple[str, ...]:
    """The vendors whose models a runtime can use; UsageError where nobody can say, NotFoundError."""
    kind = RUNTIMES.get(canonical(name))
    if kind is None:
        raise not_found("runtime", name, RUNTIMES, "pancode runtimes")
    if kind.provider is None and not kind.reaches:
        raise UsageError(f"no vendor's models are known of runtime {kind.name}", why=_why(kind), fix=_FIX)
    return (kind.provider,) if kind.provider is not None else tuple(CLOUD)


_BY_LOGIN = {
    "copilot": "GitHub, whose plan says which models it has",
    "opencode": "OpenAI, whose ChatGPT plan says which models it has",
}
"""The vendor of a model for a vendor's own login, which has no kept list."""
_FIX = "pancode models --runtime claude, codex or gemini"


def _why(kind: RuntimeKind) -> str:
    if kind.own:
        return "it runs programs of your own and calls no model that PanCode knows of"
    if kind.name in _BY_LOGIN:
        return (
            f"it asks the model server that its machine knows, or, by a subscription, {_BY_LOGIN[kind.name]}"
        )
    return "it asks the one model server that its machine knows, and that server knows its models"


def offered(models: Iterable[CloudModel], providers: Sequence[str]) -> list[CloudModel]:
    """Those of these vendors that could do a run's work, by vendor and name."""
    found = [model for model in models if model.provider in providers and model.could_work]
    return sorted(found, key=lambda model: (providers.index(model.provider), model.id))
