"""Sends requests to a forge or tracker as JSON over HTTPS; limited answers, errors as PancodeError."""

from __future__ import annotations

import json
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from node_agent.wire.clock import Clock
from node_agent.wire.proxies import SCHEMES
from pancode import __version__
from pancode.git.forge_rules import ForgePlace, TrackerPlace
from pancode.git.remotes import http_setting
from pancode.kernel.errors import (
    ConfigError,
    NotFoundError,
    PancodeError,
    RefusedError,
    UnavailableError,
    describe_cause,
)
from pancode.kernel.formatting import escape_line, mask_passwords

PATIENCE_S, WHOLE_S = 10.0, 30.0
MOST_BYTES = 8 << 20
PAGE, MOST_PAGES = 100, 10
"""Rows per page of an answer, and the most pages that are requested."""
_WORDS = 300
REFUSED, FORBIDDEN = "forge_refused", "forge_forbidden"
_RIGHTS = "give a new token that may write pull requests and issues (GitLab: the scope api)"


KnownAnswers = dict[str, tuple[str, Any, int]]
"""Cached answers for one token (another token may see less), by request: the forge's ETag, the answer, and
the number of the last page, 0 if unknown."""
MOST_KNOWN = 200
_LAST_PAGE = re.compile(r'[?&]page=(\d{1,6})[^>,]*>; *rel="last"')
_UNCHANGED = 304


class ForgeClient:
    """A connection to a forge; use it as a context manager. The token is sent only in a header.

    `proxy`, `authority`: as in the user's git settings for that host; empty: from the environment. `known`:
    cached answers; a check whether one is still current does not count against the rate limit. `most_chars`:
    of each text in an answer, the rest is dropped; None: nothing is.
    """

    def __init__(
        self,
        place: ForgePlace | TrackerPlace,
        token: str,
        headers: Mapping[str, str],
        clock: Clock,
        proxy: str = "",
        authority: str = "",
        known: KnownAnswers | None = None,
        most_chars: int | None = None,
    ) -> None:
        import httpx2  # imported for the first pull request, because most fleets open none

        self._place, self._token, self._clock = place, token, clock
        self._known, self._most_chars = known, most_chars
        # `trouble`: why a list could not be read completely; empty: all were.
        self._last_page, self.trouble = 0, ""
        own = {
            "accept": "application/json",
            "accept-encoding": "identity",
            "user-agent": f"pancode/{__version__}",
        }
        self._proxy = _read_proxy(proxy or _proxy_around(place.api), place)
        tls: Any = False
        if place.api.startswith("https:"):
            tls = _make_tls_context(authority or os.environ.get("GIT_SSL_CAINFO") or None)
        self._client = httpx2.Client(
            verify=tls,
            trust_env=False,
            proxy=self._proxy,
            timeout=PATIENCE_S,
            headers={**own, **headers},
            follow_redirects=False,
        )

    def __enter__(self) -> ForgeClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @property
    def api(self) -> str:
        """Return the base address of the forge's API; a request may also use a whole address."""
        return self._place.api

    def get(self, path: str, **params: str | int) -> Any:
        return self._ask("GET", path, params, None)

    def rows(self, path: str, key: str = "", **params: str) -> Iterator[Mapping[str, Any]]:
        """Yield the rows of all pages. `key`: where an answer has them; empty: it is a list. Of more than
        `MOST_PAGES`, the last two follow those, and `trouble` says that the list is not complete."""
        pages = list(range(1, MOST_PAGES + 1))
        for page in pages:
            found = self.get(path, per_page=PAGE, page=page, **params)
            rows = found[key] if key else found
            yield from rows
            if len(rows) < PAGE:
                return
            if page == MOST_PAGES:
                self.trouble = f"{path} has more than {PAGE * MOST_PAGES} rows; merge it on the forge"
                pages += range(max(page + 1, self._last_page - 1), self._last_page + 1)

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        return self._ask("POST", path, {}, body)

    def send(self, method: str, path: str, body: Mapping[str, object] | None) -> Any:
        """Send a request of any method and return the answer; None if the answer has no body."""
        return self._ask(method, path, {}, body)

    def _ask(
        self, method: str, path: str, params: Mapping[str, str | int], body: Mapping[str, object] | None
    ) -> Any:
        """Send a request; return the answer. ConfigError, RefusedError, NotFoundError, UnavailableError."""
        key = f"{self._place.api}{path}?{sorted(params.items())}"
        known = self._known if method == "GET" else None
        mark, before, self._last_page = ("", None, 0) if known is None else known.get(key, ("", None, 0))
        status, headers, data = self._send_request(method, path, params, body, mark)
        if status == _UNCHANGED and mark:
            return before
        good = 200 <= status < 300
        if good and not data:
            return None
        try:
            parsed = json.loads(data, object_hook=self._cut_texts if self._most_chars else None)
        except ValueError as exc:
            if good:
                raise self._make_reach_error("the answer is not JSON") from exc
            parsed = None
        if 300 <= status < 400:
            raise self._make_moved_error(method, headers.get("location", ""), status, parsed)
        if not good:
            raise self._make_error(status, headers, parsed)
        if known is not None:
            found = _LAST_PAGE.search(headers.get("link", ""))
            self._last_page = int(found[1]) if found else 0
            if mark := headers.get("etag", ""):
                if len(known) >= MOST_KNOWN:
                    known.clear()
                known[key] = mark, parsed, self._last_page
        return parsed

    def _cut_texts(self, row: dict[str, Any]) -> dict[str, Any]:
        return {key: one[: self._most_chars] if isinstance(one, str) else one for key, one in row.items()}

    def _send_request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int],
        body: Mapping[str, object] | None,
        mark: str,
    ) -> tuple[int, Mapping[str, str], bytes]:
        import httpx2
        from socksio import SOCKSError

        until = self._clock.mono_ms() + int(WHOLE_S * 1000)
        url = path if path.startswith("http") else f"{self._place.api}{path}"
        try:
            heads = {"if-none-match": mark} if mark else {}
            with self._client.stream(method, url, params=dict(params), json=body, headers=heads) as answer:
                data = bytearray()
                for piece in answer.iter_bytes():
                    data += piece
                    if len(data) > MOST_BYTES or self._clock.mono_ms() > until:
                        raise self._make_reach_error("the answer is too long, or takes too much time")
                return answer.status_code, answer.headers, bytes(data)
        except (httpx2.HTTPError, httpx2.InvalidURL, SOCKSError) as exc:
            raise self._make_reach_error(describe_cause(exc)) from exc

    def _make_reach_error(self, why: str) -> UnavailableError:
        if self._proxy:
            why = f"{why}; through the proxy {mask_passwords(self._proxy)}"
        fix = f"check the setting forge.{self._place.repository.host}.url: {self._place.api}"
        if self._proxy:
            fix = f"check that the proxy runs; {fix}"
        what = f"{self._place.repository.host} does not answer"
        return UnavailableError(what, why=self._clean_text(why), fix=fix, code="forge_unreachable")

    def _make_moved_error(self, method: str, to: str, status: int, body: Any) -> ConfigError:
        """Return the error for a redirect; it names where the repository is now if the same API says so."""
        host, path = self._place.repository.host, self._place.repository.path
        name = ""
        if method == "GET" and urlsplit(to)[:2] == urlsplit(self._place.api)[:2]:
            status_there, _, data = self._send_request("GET", to, {}, None, "")
            try:
                row = json.loads(data) if status_there == 200 else None
            except ValueError:
                row = None
            found = (
                (row.get("full_name") or row.get("path_with_namespace")) if isinstance(row, dict) else None
            )
            name = self._clean_text(str(found)) if found else ""
        if name:
            fix = f"use {name} instead of {path} in the remote's address: git remote set-url REMOTE ADDRESS"
            return ConfigError(f"{path} is now {name} on {host}", fix=fix, code="forge_moved")
        what = f"{path} or the API of {host} has moved: redirects are not followed"
        why = self._clean_text(f"HTTP {status}: {words_of(body)}" + (f"; it points to {to}" if to else ""))
        return ConfigError(
            what,
            why=why,
            fix=f"check the address (git remote -v) and the setting forge.{host}.url",
            code="forge_moved",
        )

    def _make_error(self, status: int, headers: Mapping[str, str], body: Any) -> PancodeError:
        host, path, name = self._place.repository.host, self._place.repository.path, self._place.token
        why = self._clean_text(f"HTTP {status}: {words_of(body)}")
        keep = f"pancode config secret {name}"
        if is_rate_limit(status, headers, body):
            return rate_limit_error(
                f"{host} does not accept more requests now", why, wait_of(headers, self._clock.wall_ms())
            )
        if status == 401:
            what = f"{host} does not accept the token {name}"
            return ConfigError(what, why=why, fix=f"{keep}: {_RIGHTS}", code="forge_token")
        if status == 403:
            what = f"the token {name} does not have permission for this on {path}"
            sso = self._clean_text(headers.get("x-github-sso", "").partition("url=")[2].partition(";")[0])
            if sso:
                what = (
                    f"the token {name} is not authorized for the organization of {path}, which requires SAML"
                )
                fix = f"open {sso} and authorize the token; then run the command again"
                return RefusedError(what, why=why, fix=fix, code=FORBIDDEN)
            return RefusedError(what, why=why, fix=f"{keep}: {_RIGHTS}", code=FORBIDDEN)
        if status == 404:
            fix = (
                "check the address: git remote -v; a forge also answers this if the token lacks "
                f"permissions: {keep}"
            )
            return NotFoundError(f"{path} not found on {host}", why=why, fix=fix, code="forge_not_found")
        if status < 500:
            what = f"{host} refused the request"
            return RefusedError(what, why=why, fix=f"check {path} on {host}", code=REFUSED)
        return UnavailableError(f"{host} failed", why=why, fix="try again later", code="forge_unreachable")

    def _clean_text(self, words: str) -> str:
        return escape_line(words.replace(self._token, "***"))[:_WORDS]


@contextmanager
def open_client(
    place: ForgePlace | TrackerPlace,
    token: str,
    headers: Mapping[str, str],
    clock: Clock,
    fix: str,
    known: KnownAnswers | None = None,
    most_chars: int | None = None,
) -> Iterator[ForgeClient]:
    """Yield a connection that reaches the host as the user's git does. Raises UnavailableError, with this
    fix, for an answer of an unexpected form."""
    proxy, authority = (http_setting(place.api, key) for key in ("proxy", "sslCAInfo"))
    try:
        with ForgeClient(place, token, headers, clock, proxy, authority, known, most_chars) as client:
            yield client
    except (LookupError, TypeError, ValueError, AttributeError) as exc:
        raise UnavailableError(
            f"{place.repository.host} does not answer as {place.kind} does",
            why=f"{place.api}: {describe_cause(exc)}"[:200],
            fix=fix,
            code="forge_answer",
        ) from exc


def _make_tls_context(authority: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as exc:
        raise ConfigError(
            "cannot read the certificate authority that git trusts",
            why=f"http.sslCAInfo: {authority}: {exc}",
            fix="check the setting: git config --show-origin --get-regexp sslcainfo",
            code="forge_authority",
        ) from exc


_PROXIES = ("http", "https", "socks5", "socks5h")


def _read_proxy(proxy: str, place: ForgePlace | TrackerPlace) -> str | None:
    """Return the proxy's URL, with a scheme that can be used. ConfigError, with a fix, for another one."""
    if not proxy:
        return None
    scheme, _, rest = (proxy if "://" in proxy else f"http://{proxy}").partition("://")
    scheme = SCHEMES.get(scheme.lower(), scheme.lower())
    try:
        known = scheme in _PROXIES and bool(urlsplit(f"http://{rest}").hostname)
        _ = urlsplit(f"http://{rest}").port
    except ValueError:
        known = False
    if not known:
        raise ConfigError(
            f"the proxy for {place.repository.host} is not valid: {mask_passwords(proxy)}",
            why=f"it must begin with {', '.join(f'{one}://' for one in _PROXIES)} or {', '.join(SCHEMES)}://",
            fix=f"git config --global http.{place.api}.proxy http://HOST:PORT, or unset ALL_PROXY and "
            "HTTPS_PROXY where the coordinator is started",
            code="forge_proxy",
        )
    return f"{scheme}://{rest}"


def _proxy_around(url: str) -> str:
    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return ""
    around = getproxies_environment()
    return around.get(parts.scheme) or around.get("all") or ""


def is_rate_limit(status: int, headers: Mapping[str, str], body: Any) -> bool:
    """Whether the forge refused due to a rate limit; for that, GitHub also uses 403, and Linear 400."""
    spent = headers.get("x-ratelimit-remaining") == "0" or "retry-after" in headers
    errors = body.get("errors") if isinstance(body, dict) else None
    rows = [row for row in errors if isinstance(row, dict)] if isinstance(errors, list) else []
    linears = any((row.get("extensions") or {}).get("code") == "RATELIMITED" for row in rows)
    return status == 429 or (status == 403 and spent) or linears


def rate_limit_error(what: str, why: str, wait_s: int) -> UnavailableError:
    """Return the error for a rate limit. `wait_s`: seconds until the limit ends; 0 if unknown."""
    fix, details = f"wait {wait_s or 'some'} seconds", {"wait_s": str(wait_s)}
    return UnavailableError(what, why=why, fix=fix, code="forge_limit", details=details)


MOST_WAIT_S = 3_600
_RESETS = ("x-ratelimit-reset", "ratelimit-reset", "x-ratelimit-requests-reset")
"""Headers with the end of the rate limit: GitHub and GitLab in seconds, Linear in milliseconds."""


def wait_of(headers: Mapping[str, str], now_ms: int) -> int:
    """Return the seconds until the forge accepts requests again, at most an hour; 0 if no header says."""
    after, *resets = (headers.get(name, "")[:15] for name in ("retry-after", *_RESETS))
    if after.isdecimal():
        return min(int(after), MOST_WAIT_S)
    at = next((int(one) for one in resets if one.isdecimal()), 0)
    left_ms = (at if at > 10**11 else at * 1000) - now_ms
    return max(0, min(-(-left_ms // 1000), MOST_WAIT_S))


def words_of(body: Any) -> str:
    """Return the reason in an error's body, whose `message` is a text, a list or a mapping, by forge."""
    if not isinstance(body, dict):
        return "without a reason"
    parts = [body.get("message"), body.get("error"), body.get("error_description"), body.get("errors")]
    return "; ".join(_format_part(part) for part in parts if part) or "without a reason"


def _format_part(part: Any) -> str:
    if isinstance(part, dict):
        return str(part.get("message") or part)
    return ", ".join(_format_part(one) for one in part[:5]) if isinstance(part, list) else str(part)
