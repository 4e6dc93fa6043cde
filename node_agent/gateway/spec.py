"""The gateway's settings, read from its standard input; the key is among them and never in a file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from node_agent.gateway.counting import Caps
from node_agent.gateway.dialing import Proxy
from node_agent.gateway.prices import Price, price_of


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """One run's gateway.

    `mount`: the part of a path that `upstream` stands for; `header`: which one carries the key there;
    `token`: what the agent must show in the place of a key; `models`: patterns, none: any; `public`: whether
    the vendors' price list counts; `prices`: the owner's, in words; `folder`: the attempt's; `hosted`,
    `fetched`, `proxy`, `direct`: what the owner's gateway.json says; `tunnel`: the hosts of a
    vendor that is reached by subscription, and then there is no upstream. `local`: a server that costs
    nothing; `slots`: how many calls it takes at once from all runs of this node together, which share
    `slots_folder`, 0: as many as come; `ca`: the file of certificates that it is known by;
    `host`: who serves many makers' models there.
    """

    upstream: str
    mount: str
    header: str
    key: str
    token: str
    folder: str
    models: tuple[str, ...] = ()
    public: bool = False
    prices: tuple[tuple[str, str], ...] = ()
    tokens: int | None = None
    usd: str | None = None
    requests: int | None = None
    wrap_up: bool = False
    hosted: str = "refuse"
    fetched: str = "refuse"
    proxy: str = ""
    proxy_login: str = ""
    direct: tuple[str, ...] = ()
    tunnel: tuple[str, ...] = ()
    local: bool = False
    slots: int = 0
    slots_folder: str = ""
    ca: str = ""
    host: str = ""
    life_s: float = 86_400.0

    def __repr__(self) -> str:
        return f"Spec({self.upstream})"  # a traceback must not show the key

    @property
    def caps(self) -> Caps:
        return Caps(self.tokens, None if self.usd is None else Decimal(self.usd), self.requests)

    @property
    def way(self) -> Proxy:
        return Proxy(self.proxy, self.proxy_login, self.direct)

    def owner_prices(self) -> dict[str, Price]:
        return {name: price_of(words) for name, words in self.prices}

    def to_json(self) -> bytes:
        names = self.__slots__
        return json.dumps({name: getattr(self, name) for name in names}).encode()

    @classmethod
    def from_json(cls, data: bytes) -> GatewaySpec:
        """Raises ValueError, without what it read."""
        try:
            raw: Any = json.loads(data)
            pairs = tuple((str(name), str(words)) for name, words in raw.pop("prices"))
            lists = {name: tuple(raw[name]) for name in ("models", "direct", "tunnel")}
            return cls(**{**raw, **lists}, prices=pairs)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ValueError("this is not what a gateway is told") from None
