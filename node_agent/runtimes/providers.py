"""Model servers that the native worker can use by name: keys, addresses, chat endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from node_agent.wire.endpoint import VENDOR_VARIABLES


@dataclass(frozen=True, slots=True)
class RuntimeProvider:
    """`key`, `url`: variables of the node. `home`: the vendor's own server. `suffix` comes behind either for
    the chat wire: the same variable tells another program of the same server.
    """

    name: str
    key: str
    url: str
    home: str
    suffix: str = ""
    priced: bool = False
    """The public price list counts for it."""


_SERVERS = {
    "openai": ("https://api.openai.com/v1", "", True),
    "anthropic": ("https://api.anthropic.com", "/v1", True),
    "google": ("https://generativelanguage.googleapis.com", "/v1beta/openai", True),
    "groq": ("https://api.groq.com/openai/v1", "", False),
    "together": ("https://api.together.xyz/v1", "", False),
    "mistral": ("https://api.mistral.ai/v1", "", False),
    "openrouter": ("https://openrouter.ai/api/v1", "", False),
}
_ALL = tuple(
    RuntimeProvider(name, key, url, *_SERVERS[name]) for name, (key, url) in VENDOR_VARIABLES.items()
)
PROVIDERS: Mapping[str, RuntimeProvider] = {one.name: one for one in _ALL}
ANY = PROVIDERS["openai"]
"""Of a model without a provider's name: OPENAI_BASE_URL may be any server with this wire."""
KEY, URL, NAME, HOSTED = (f"PANCODE_MODEL_{word}" for word in ("KEY", "URL", "NAME", "HOSTED"))
"""The gateway's name for all of them: the name is the model's as its server knows it, where
that is not the order's; the last is there where the vendor's own server is behind it."""
CONTEXT = "PANCODE_MODEL_CONTEXT"
"""The tokens that the model can use, if the node's owner says so."""
LOGINS = tuple(dict.fromkeys(name for one in _ALL for name in (one.key, one.url)))


def split_model(model: str | None) -> tuple[RuntimeProvider, str]:
    """The provider that a model's name begins with, and the name as that provider knows it."""
    name, slash, rest = (model or "").partition("/")
    provider = PROVIDERS.get(name) if slash and rest else None
    return (ANY, model or "default") if provider is None else (provider, rest)
