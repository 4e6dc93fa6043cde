"""Decides which HTTP requests over TCP are accepted: by host, origin, content type and query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pancode.kernel.visitors import PREFIX, AccessError

HOOKS = "/v1/hooks/"
"""Other services call paths that begin with this; a signature over the whole request authenticates them."""
_LOCAL = ("localhost", "127.0.0.1", "::1")
_SECRETS = (
    "token",
    "access_token",
    "auth_token",
    "authorization",
    "bearer",
    "api_key",
    "apikey",
    "key",
    "code",
)


@dataclass(frozen=True, slots=True)
class KnockedBy:
    """The facts about a request that are checked before its body is read; header names in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ListenerRules:
    """The rules for accepted requests. `names`: host names of this coordinator besides the local ones."""

    scheme: str
    host: str
    names: tuple[str, ...] = ()

    def check(self, caller: KnockedBy) -> None:
        """Raise AccessError for a request that comes neither from PanCode's programs nor its web pages."""
        host = caller.headers.get("host", "")
        self._check_host(host)
        # Browsers report the page that sent a request. A page from another port of this machine counts as
        # foreign too.
        origin, site = caller.headers.get("origin"), caller.headers.get("sec-fetch-site", "none")
        ours = {f"{self.scheme}://{host}"}
        if _name_of(host) in self._list_names():  # for a proxy that serves HTTPS in front of PanCode
            ours.add(f"https://{host}")
        strange = origin is not None and origin.lower() not in {one.lower() for one in ours}
        if strange or (site not in ("none", "same-origin") and caller.path.startswith("/v1/")):
            raise AccessError(
                "the request comes from a page of another origin",
                why=f"origin {origin!r}, site {site!r}"[:200],
                fix="open the console of this coordinator: pancode web",
                code="wrong_origin",
            )
        # Query strings end up in browser histories, logs and Referer headers.
        for name, value in caller.query.items():
            if name.lower() in _SECRETS or value.startswith(PREFIX):
                raise AccessError(
                    f"the request has a secret in its query string: {name[:40]!r}",
                    why="browser histories, proxies and logs store query strings",
                    fix="send it in the Authorization header; then revoke this token: pancode admin tokens "
                    "--revoke NAME",
                    code="token_in_query",
                )
        if caller.method in ("GET", "HEAD") or caller.path.startswith(HOOKS):
            return
        if caller.path.startswith("/v1/"):
            content_type = caller.headers.get("content-type", "")
            if content_type.partition(";")[0].strip().lower() != "application/json":
                raise AccessError(
                    "the request must be sent as JSON",
                    why=f"the request's Content-Type is {content_type[:80]!r}",
                    fix="send the header Content-Type: application/json",
                    code="not_json",
                )

    def _check_host(self, host: str) -> None:
        """Raise AccessError for an unknown host name, because a page can make its own name point at this
        machine (DNS rebinding). The port is not checked, because it may be a tunnel's."""
        name = _name_of(host)
        if name in (*_LOCAL, self.host.lower(), *self._list_names()) or name.endswith(".localhost"):
            return
        raise AccessError(
            f"host {host[:80]!r} is not a name of this coordinator",
            fix="use 127.0.0.1 or localhost, or add the host to the setting api.hosts",
            code="wrong_host",
        )

    def _list_names(self) -> tuple[str, ...]:
        return tuple(_name_of(name) for name in self.names)


def parse_bearer(header: str) -> str | None:
    """Return the Authorization header's secret; None without a header. AccessError without a bearer token."""
    if not header:
        return None
    kind, _, secret = header.partition(" ")
    if kind.lower() != "bearer" or not secret.strip():
        fix = "send the header Authorization: Bearer TOKEN"
        raise AccessError(
            "the Authorization header does not contain a bearer token", fix=fix, code="no_token"
        )
    return secret.strip()


def must_have_token() -> AccessError:
    return AccessError(
        "the request has no token",
        fix="pancode admin tokens --create NAME --allow read; then send the header Authorization: Bearer "
        "TOKEN",
        code="no_token",
    )


def _name_of(host: str) -> str:
    """Return the host name without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().removesuffix(".")
