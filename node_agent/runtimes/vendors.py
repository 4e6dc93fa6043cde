"""Decides which model server a run's calls reach through the gateway, and with which key. No input or output.

The gateway does not store a vendor's own login (a subscription): the run has the login, and may reach only
that vendor's hosts. If the job itself contains login variables, the run bypasses the gateway.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from node_agent.wire.endpoint import VENDOR_VARIABLES, wire_of
from node_agent.wire.node import LoggedIn
from node_agent.wire.other_runtimes import is_other


@dataclass(frozen=True, slots=True)
class RuntimeProvider:
    """One provider of models. `key`, `url`: the node's variables for them. `home`: the vendor's own server.
    `suffix`: added to either address for the chat API; other programs read the variable without it."""

    name: str
    key: str
    url: str
    home: str
    suffix: str = ""
    priced: bool = False
    """Whether the public price list applies to this provider."""


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
"""The provider of a model name without a provider: OPENAI_BASE_URL may be any server with this API."""
KEY, URL, NAME, HOSTED = (f"PANCODE_MODEL_{word}" for word in ("KEY", "URL", "NAME", "HOSTED"))
"""Variables that the gateway sets for every provider: key, address, the model's name at the server if it
differs from the job's, and a mark that the vendor's own server is behind the gateway."""
CONTEXT = "PANCODE_MODEL_CONTEXT"
"""The variable with the model's context size in tokens, if the node's owner sets it."""
LOGINS = tuple(dict.fromkeys(name for one in _ALL for name in (one.key, one.url)))


def split_model(model: str | None) -> tuple[RuntimeProvider, str]:
    """Return the provider that a model's name begins with, and the name as that provider knows it."""
    name, slash, rest = (model or "").partition("/")
    provider = PROVIDERS.get(name) if slash and rest else None
    return (ANY, model or "default") if provider is None else (provider, rest)


@dataclass(frozen=True, slots=True)
class Vendor:
    """The model server of one runtime. `keys`: each key variable with its HTTP header; `url`: the variable
    for another server; `home`: the vendor's own server, or empty; `mount`: the path at the end of a base URL;
    `logins`: variables that log in without a key; `models`: patterns of models allowed besides the job's
    model; `hosts`: the hosts that a run with a subscription needs."""

    keys: tuple[tuple[str, str], ...]
    url: str
    home: str
    mount: str
    logins: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    @property
    def variables(self) -> frozenset[str]:
        return frozenset({*(name for name, _ in self.keys), self.url, *self.logins})


OTHER_KEY, OTHER_URL = "OPENAI_API_KEY", "OPENAI_BASE_URL"
"""The variables with the model server of a program that the node's owner chose."""
OURS = frozenset({"native", "openai-agents"})
"""PanCode's own programs, which can use the provider of any model name."""
_OF_COPILOT = tuple(
    f"api.{plan}githubcopilot.com" for plan in ("", "individual.", "business.", "enterprise.")
)
"""The hosts of Copilot for each account plan; GitHub tells the program which host to use."""
OPENAI = "https://api.openai.com/v1"
_OPENAI = Vendor((("OPENAI_API_KEY", "authorization"),), "OPENAI_BASE_URL", OPENAI, "/v1")
_ANTHROPIC = Vendor(
    (("ANTHROPIC_API_KEY", "x-api-key"), ("ANTHROPIC_AUTH_TOKEN", "authorization")),
    "ANTHROPIC_BASE_URL",
    "https://api.anthropic.com",
    "",
    ("CLAUDE_CODE_OAUTH_TOKEN",),
    ("claude-*",),  # `sonnet` is only an alias, and Claude Code uses smaller models for side requests
    ("api.anthropic.com",),
)
VENDORS: Mapping[str, Vendor] = {
    "claude": _ANTHROPIC,
    "claude-sdk": _ANTHROPIC,
    "codex": replace(_OPENAI, models=("gpt-*", "codex-*"), logins=("CODEX_LOGIN",), hosts=("chatgpt.com",)),
    "opencode": replace(_OPENAI, logins=("OPENCODE_LOGIN",), hosts=("chatgpt.com",)),
    **dict.fromkeys(OURS, Vendor(((KEY, "authorization"),), URL, "", "/v1", logins=LOGINS)),
    "gemini": Vendor(
        (("GEMINI_API_KEY", "x-goog-api-key"),),
        "GOOGLE_GEMINI_BASE_URL",
        "https://generativelanguage.googleapis.com",
        "",
        logins=("GOOGLE_CLOUD_ACCESS_TOKEN",),
        models=("gemini-*",),
        hosts=("cloudcode-pa.googleapis.com",),
    ),
    "copilot": Vendor(
        (("COPILOT_PROVIDER_API_KEY", "authorization"),),
        "COPILOT_PROVIDER_BASE_URL",
        "",
        "/v1",
        logins=("COPILOT_GITHUB_TOKEN",),
        hosts=("api.github.com", *_OF_COPILOT),
    ),
}


@dataclass(frozen=True, slots=True)
class Way:
    """A run's route through the gateway. `public`: whether the route leads to the vendor's own server, where
    the vendor's price list applies; `host`: the provider of the server, if the program names one."""

    upstream: str
    mount: str
    header: str
    key: str = field(repr=False)
    public: bool
    models: tuple[str, ...]
    variables: frozenset[str]
    placeholder: str
    """The variable in which the program gets its key; `url`: the variable with the server's address."""
    url: str
    more: tuple[tuple[str, str], ...] = ()
    """Further variables that the program gets with this route."""
    host: str = ""

    def inside(self, base: str, token: str) -> dict[str, str]:
        """Return the agent's variables: the gateway's address, and a token valid only at this gateway."""
        return {self.placeholder: token, self.url: base + self.mount, **dict(self.more)}


def _find_vendor(runtime: str) -> Vendor | None:
    """Return the runtime's vendor; OpenAI for an owner-chosen program, as most programs use its variables."""
    return _OPENAI if is_other(runtime) else VENDORS.get(runtime)


def way_of(
    runtime: str, values: Mapping[str, str], named: Collection[str], model: str | None = None
) -> Way | None:
    """Return the run's route; None: vendor unknown, no key or server set, or the run bypasses the gateway."""
    if runtime in OURS:
        return _native_way(values, named, model)
    vendor = _find_vendor(runtime)
    if vendor is None or vendor.variables & set(named):
        return None
    name, header = next((pair for pair in vendor.keys if values.get(pair[0])), vendor.keys[0])
    key, url = values.get(name, ""), values.get(vendor.url, "")
    logged_in = any(values.get(login) for login in vendor.logins)
    upstream = url or vendor.home
    if not upstream or (not key and (logged_in or not url)):
        return None
    return Way(
        upstream=upstream,
        mount=vendor.mount,
        header=header,
        key=key,
        public=bool(vendor.home) and _find_host(upstream) == _find_host(vendor.home),
        models=(model, *vendor.models) if model else (),
        variables=vendor.variables,
        placeholder=name,
        url=vendor.url,
    )


def local_way(runtime: str, model: str | None, url: str = "", key: str = "") -> Way | None:
    """Return the route to a model endpoint on the node; None when the runtime cannot use one. An endpoint
    serves every path of every API at its root, so no part of a path is removed."""
    vendor = _find_vendor(runtime) or _OPENAI
    if wire_of(runtime) is None:
        return None
    return Way(
        upstream=url,
        mount=vendor.mount,
        header="authorization",
        key=key,
        public=False,
        models=(model,) if model else (),
        variables=vendor.variables,
        placeholder=vendor.keys[0][0],
        url=vendor.url,
    )


def _native_way(values: Mapping[str, str], named: Collection[str], model: str | None) -> Way | None:
    """Return the route to the provider that `model` names; if None, to the first with a key or address."""
    able = [one for one in PROVIDERS.values() if values.get(one.key) or values.get(one.url)]
    provider, name = (able[0], "") if model is None and able else split_model(model)
    key, url = values.get(provider.key, ""), values.get(provider.url, "")
    if set(LOGINS) & set(named) or not (key or url):
        return None
    upstream = (url or provider.home).rstrip("/") + provider.suffix
    hosted = _find_host(upstream) == _find_host(provider.home)
    return Way(
        upstream=upstream,
        mount="/v1",
        header="authorization",
        key=key,
        public=hosted and provider.priced,
        host=provider.name if hosted else "",
        models=(name,) if name else (),
        variables=frozenset({*LOGINS, KEY, URL, NAME, HOSTED}),
        placeholder=KEY,
        url=URL,
        more=((NAME, name), *(((HOSTED, "1"),) if hosted else ())),
    )


def _find_host(url: str) -> str | None:
    return urlsplit(url).hostname


def tunnel_of(runtime: str, values: Mapping[str, str], named: Collection[str]) -> tuple[str, ...]:
    """Return the hosts that a run with a subscription may reach; empty for other runs."""
    vendor = _find_vendor(runtime)
    if vendor is None or vendor.variables & set(named) or way_of(runtime, values, named) is not None:
        return ()
    # another server gets this vendor's login: the hosts of that server are unknown
    if values.get(vendor.url):
        return ()
    return vendor.hosts if any(values.get(login) for login in vendor.logins) else ()


def how_logged_in(runtime: str, values: Mapping[str, str]) -> LoggedIn:
    """Return how the run logs in to its model server, which also decides whether its calls are metered."""
    if way_of(runtime, values, ()) is not None:
        return LoggedIn.KEY
    return LoggedIn.SUBSCRIPTION if tunnel_of(runtime, values, ()) else LoggedIn.OTHER


def proxy_variables(base: str, token: str) -> dict[str, str]:
    """Return the proxy variables for CONNECT to a vendor, in both spellings, since programs differ."""
    proxy = base.replace("://", f"://pancode:{token}@", 1)
    return {
        name: proxy for upper in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY") for name in (upper, upper.lower())
    }
