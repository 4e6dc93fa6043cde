"""Implements the port of deliveries: settings and secrets from files, Apprise as a child, HTTP with care."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from pancode import __version__
from pancode.kernel.errors import ConfigError, NotFoundError, RefusedError, UnavailableError
from pancode.kernel.host.files import write_durable
from pancode.notices.rules import NotifyRules


class Deadline:
    """The time limit of one conversation: a peer that sends byte by byte escapes a time-out of each step."""

    def __init__(self) -> None:
        self._lock, self._over = threading.Lock(), False
        self._wire: socket.socket | None = None
        self._ends: SimpleQueue[tuple[str, Exception | None]] = SimpleQueue()

    def hold(self, wire: socket.socket) -> None:
        """Set the connection that is cut when the time is over. TimeoutError where it is over already.

        A duplicate of the descriptor is kept: TLS takes the given one away from its object.
        """
        with self._lock:
            if self._over:
                raise TimeoutError
            self._wire = wire.dup()

    def run(self, work: Callable[[], str], seconds: float) -> str:
        """Return or raise what `work` does; TimeoutError. A thread does it, as a resolver cannot be ended."""
        threading.Thread(target=self._go, args=(work,), name="post", daemon=True).start()
        try:
            result, error = self._ends.get(timeout=seconds)
        except Empty:
            # Whoever reads or writes there is woken by it.
            with self._lock:
                self._over = True
                if self._wire is not None:
                    with contextlib.suppress(OSError):
                        socket.socket.shutdown(self._wire, socket.SHUT_RDWR)
            raise TimeoutError(f"no whole answer within {seconds:g} s") from None
        if error is not None:
            raise error
        return result

    def _go(self, work: Callable[[], str]) -> None:
        try:
            self._ends.put((work(), None))
        except Exception as exc:  # whoever waits raises it
            self._ends.put(("", exc))
        finally:
            with self._lock:
                if self._wire is not None:
                    self._wire.close()
                self._wire = None


if TYPE_CHECKING:
    import httpx2

CHILD = ("-I", "-m", "pancode.notices.delivery.child")
CHILD_S, POST_S, LOOK_S = 30.0, 10.0, 3.0
"""Seconds for a notice, for a whole POST, and to look up the name of an address."""
_OURS = "PANCODE_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_CLOUDS = (ipaddress.ip_network("fd00:ec2::/32"), ipaddress.ip_network("100.64.0.0/10"))
"""Networks in which a cloud gives out credentials, amid addresses that are private or a provider's own."""
Resolve = Callable[[str, int], list[str]]


class KeptSecrets:
    """Secrets in the folder `secrets` of the home, one file for each, readable only for its owner."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> str:
        """Return the secret. NotFoundError; ConfigError for a file that others may read."""
        path = self._path(name)
        try:
            if path.stat().st_mode & 0o077:
                raise ConfigError(f"others may read {path}", fix=f"chmod 600 {path}", code="secret_open")
            return path.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as exc:
            fix = f"pancode notify secret {name}"
            raise NotFoundError(
                f"there is no secret {name}", why=str(exc), fix=fix, code="no_secret"
            ) from exc

    def keep(self, name: str, value: str | None) -> None:
        """Keep a secret; None: forget it."""
        path = self._path(name)
        if value is None:
            path.unlink(missing_ok=True)
            return
        self._folder.mkdir(mode=0o700, exist_ok=True)
        write_durable(path, value.encode())

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{name[:80]!r} cannot be the name of a secret", fix="letters, digits, - and _")
        return self._folder / name


class Sender:
    """Sends notices and posts: the `OutgoingPort` of pancode.notices.store."""

    def __init__(
        self, read: Callable[[], NotifyRules], secrets: KeptSecrets, resolve: Resolve | None = None
    ) -> None:
        self._read, self._secrets = read, secrets
        self._resolve = resolve or _resolved

    def rules(self) -> NotifyRules:
        return self._read()

    def secret(self, name: str) -> str:
        return self._secrets.read(name)

    def notify(self, address: str, notice: Mapping[str, Any]) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        request = json.dumps({"address": address, "notice": dict(notice)})
        try:
            done = subprocess.run(
                [sys.executable, *CHILD],
                input=request.encode(),
                capture_output=True,
                timeout=CHILD_S,
                env=environ,
                check=False,
                start_new_session=True,
            )
            answer = json.loads(done.stdout)
        except subprocess.TimeoutExpired as exc:
            raise UnavailableError("the service did not answer", why=f"no end after {CHILD_S:g} s") from exc
        except (OSError, ValueError) as exc:
            raise UnavailableError(
                "Apprise could not be run", why="its process ended without an answer"
            ) from exc
        if not answer["ok"]:
            kind = RefusedError if answer["final"] else UnavailableError
            raise kind(str(answer["why"]))

    def judge(self, url: str) -> None:
        import httpx2

        try:
            parts = httpx2.URL(url)
            Deadline().run(lambda: self._allowed(parts), LOOK_S)
        except httpx2.InvalidURL as exc:
            raise RefusedError(f"{url[:200]!r} is no address of a webhook", why=str(exc)) from exc
        except (OSError, ValueError):  # a name that is not there yet: each delivery looks again
            return

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> str:
        import httpx2  # for the first webhook: most fleets have none

        deadline = Deadline()
        try:
            parts = httpx2.URL(url)
            return deadline.run(lambda: self._posted(deadline, parts, headers, body), POST_S)
        except (OSError, ValueError, httpx2.HTTPError, httpx2.InvalidURL) as exc:
            raise UnavailableError(
                "the address cannot be reached", why=f"{type(exc).__name__}: {exc}"[:200]
            ) from exc

    def _allowed(self, parts: httpx2.URL) -> str:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return allowed(parts.scheme, parts.host, self._resolve(parts.host, port))

    def _posted(self, deadline: Deadline, parts: httpx2.URL, headers: Mapping[str, str], body: bytes) -> str:
        """Post to the address that was judged, under the name that was asked for."""
        import httpx2

        def opened(event: str, about: dict[str, Any]) -> None:
            if event == "connection.connect_tcp.complete":
                deadline.hold(about["return_value"].get_extra_info("socket"))

        pinned = parts.copy_with(host=self._allowed(parts), userinfo=b"", fragment=None)
        own = {
            "Host": parts.netloc.decode("ascii"),
            "Accept-Encoding": "identity",
            "User-Agent": f"pancode/{__version__}",
        }
        tls: Any = ssl.create_default_context() if parts.scheme == "https" else False
        told = {"sni_hostname": parts.host, "trace": opened}
        with (
            httpx2.Client(verify=tls, trust_env=False, timeout=POST_S, follow_redirects=False) as client,
            client.stream(
                "POST", pinned, content=body, headers={**own, **headers}, extensions=told
            ) as answer,
        ):
            code = answer.status_code
        if not 200 <= code < 300:
            why = "a redirect is not followed" if code // 100 == 3 else ""
            raise UnavailableError(f"HTTP {code}", why=why)
        return f"HTTP {code}"


def allowed(scheme: str, host: str, addresses: list[str]) -> str:
    """The first address, where all of them may be told of the fleet. RefusedError.

    Private addresses and loopback may: a homelab's receivers are there, and only the fleet's owner adds a
    webhook. Link-local ones and `_CLOUDS` never, as credentials are given out there; a public one by HTTPS.
    """
    for text in addresses:
        ip = _meant(text)
        if (
            any(ip in one for one in _CLOUDS)
            or ip.is_link_local
            or ip.is_multicast
            or ip.is_unspecified
            or (ip.is_reserved and not ip.is_private)
        ):
            raise RefusedError(f"nothing is sent to {host}", why=f"{text} is an address that no receiver has")
        if scheme != "https" and not (ip.is_private or ip.is_loopback):
            raise RefusedError(
                f"nothing is sent to {host} by http", why=f"{text} is a public address", fix="https://"
            )
    return addresses[0]


def _meant(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the address; an IPv4 address written as IPv6 is judged as IPv4."""
    ip = ipaddress.ip_address(text.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return mapped or ip


def _resolved(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(one[4][0]) for one in found]
