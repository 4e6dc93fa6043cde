"""Reads `gateway.json` in the node's home: how the owner wants model calls to go out."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from node_agent.home.settings import SettingsError, read_owned
from node_agent.wire.model import WireModel
from node_agent.wire.node import NodeProblem

FILE = "gateway.json"
_NAME = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*")


class GatewaySettings(WireModel):
    """`https_proxy`: on the way to servers behind TLS; `proxy_login`: the name of a secret, `user:password`.

    `no_proxy`: hosts, domains with all below them, and networks that are reached directly. `hosted_tools`:
    what becomes of tools that the vendor would run; `fetched_urls`: of addresses that it would fetch.
    """

    https_proxy: str | None = None
    proxy_login: str | None = None
    no_proxy: tuple[str, ...] = Field(default=(), max_length=200)
    hosted_tools: Literal["refuse", "strip", "allow"] = "refuse"
    fetched_urls: Literal["refuse", "allow"] = "refuse"

    @field_validator("https_proxy")
    @classmethod
    def _is_proxy(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.username or parts.password:
            raise ValueError(
                "no login in it: put user:password into secrets.json, and its name into proxy_login"
            )
        if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/") or not _port(url):
            raise ValueError("it must be http://HOST:PORT (traffic through it is TLS all the same)")
        return url

    @field_validator("no_proxy")
    @classmethod
    def _are_hosts(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _NAME.fullmatch(name.lower().lstrip(".")) and not _is_network(name):
                raise ValueError(f"{name!r} is neither a host, a domain, nor a network such as 10.0.0.0/8")
        return names


def read_wish(home: Path) -> GatewaySettings:
    """The file's settings; without a file the defaults. SettingsError names file, key and problem."""
    return read_owned(GatewaySettings, home / FILE)


def problems_of(home: Path) -> tuple[NodeProblem, ...]:
    """For `fleet status`: a file that means something and cannot be read lets no gateway open."""
    try:
        read_wish(home)
    except SettingsError as wrong:
        return (NodeProblem(what=str(wrong)[:500], fix=f"mend or remove {home / FILE}"),)
    return ()


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return None


def _is_network(name: str) -> bool:
    try:
        ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False
    return True
