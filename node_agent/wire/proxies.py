"""Decides how a proxy that the environment names is addressed by Python's HTTP libraries."""

from __future__ import annotations

from collections.abc import Mapping

SCHEMES = {"socks": "socks5", "socks4": "socks5", "socks4a": "socks5h"}
"""Schemes of git and of desktops that these libraries lack. Nearly all such proxies speak SOCKS 5 as well."""


def rename_schemes(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment, with each proxy under a scheme that Python's HTTP libraries know."""
    out = dict(environ)
    for name, value in environ.items():
        scheme, mark, rest = value.partition("://")
        if name.lower().endswith("_proxy") and mark:
            out[name] = f"{SCHEMES.get(scheme.lower(), scheme)}://{rest}"
    return out
