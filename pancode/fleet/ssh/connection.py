"""Opens one authenticated connection to a node, through its jump hosts, with every host key pinned."""

from __future__ import annotations

import asyncio
import shlex
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import asyncssh

from pancode.fleet.ssh.credentials import OfferedKeys, SshLogin, find_keys, make_lack_error
from pancode.fleet.ssh.errors import ConnectError, LinkFault, classify_error, translate_ssh_errors
from pancode.fleet.ssh.hostkey import HostKey
from pancode.fleet.ssh.proxy import ProxyCommand
from pancode.fleet.ssh.revoked import refuse_revoked
from pancode.fleet.ssh.target import Target, in_session

Pins = Mapping[str, HostKey]
"""Returns the key that a server must present, by its Target.endpoint."""

_FAMILY = {"any": socket.AF_UNSPEC, "inet": socket.AF_INET, "inet6": socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class SshTiming:
    """Times in seconds. A link without traffic is noticed after keepalive_s x (keepalive_count + 1). The
    heartbeats, one every five seconds, count as traffic. `address_s`: for each address but the last one."""

    connect_s: float = 10
    address_s: float = 3
    login_s: float = 10
    keepalive_s: float = 6
    keepalive_count: int = 3
    total_s: float = 30


@dataclass(slots=True)
class Session:
    """A live connection; `lost` completes when the connection is lost, with the reason or None."""

    conn: asyncssh.SSHClientConnection
    lost: asyncio.Future[Exception | None]
    through: list[asyncssh.SSHClientConnection] = field(default_factory=list)
    proxy: ProxyCommand | None = None

    async def close(self) -> None:
        """Close the connection and the connections to jump hosts; idempotent."""
        for conn in [self.conn, *reversed(self.through)]:
            conn.close()
        for conn in [self.conn, *reversed(self.through)]:
            try:
                async with asyncio.timeout(2):
                    await conn.wait_closed()
            except TimeoutError:
                conn.abort()
        if self.proxy is not None:
            await self.proxy.close()


class _Pinned(asyncssh.SSHClient):
    """Offers the keys of a login; remembers a refused host key, and why the connection ended."""

    def __init__(
        self, lost: asyncio.Future[Exception | None], proxy: ProxyCommand | None, keys: OfferedKeys
    ) -> None:
        self.lost, self.proxy, self._keys = lost, proxy, keys
        self.presented: HostKey | None = None
        self.logs_in = False
        """The server requires a key, and has not accepted any of those offered so far."""
        self.prompts: tuple[str, ...] = ()
        """The questions to a user that the server sent during login."""
        self.agent: asyncssh.SSHAgentClient | None = None
        self._places = [self._of_files, self._of_agent]

    async def public_key_auth_requested(self) -> list[asyncssh.SSHKeyPair] | None:
        """Return the next keys to try; None: there are no more."""
        self.logs_in = True
        while self._places:
            if pairs := await self._places.pop(0)():
                return pairs
        return None

    async def _of_files(self) -> list[asyncssh.SSHKeyPair]:
        return list(self._keys.pairs)

    async def _of_agent(self) -> list[asyncssh.SSHKeyPair]:
        if self._keys.agent_path is None:
            return []
        try:
            self.agent = await asyncssh.connect_agent(self._keys.agent_path)
            return await self._keys.of_agent(self.agent)
        except (OSError, ValueError):  # the agent has ended, or is not an SSH agent
            return []

    def kbdint_auth_requested(self) -> str:
        return ""

    def kbdint_challenge_received(
        self, name: str, instructions: str, lang: str, prompts: Sequence[tuple[str, bool]]
    ) -> list[str] | None:
        """Answer no question, since no user is present; a server may send none and then decide by itself."""
        self.prompts += tuple(prompt.strip() for prompt, _ in prompts)
        return None if prompts else []

    def auth_completed(self) -> None:
        self.logs_in = False

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.presented = as_host_key(key)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self.proxy is not None:
            self.proxy.end()
        if not self.lost.done():
            self.lost.set_result(exc)


def as_host_key(key: asyncssh.SSHKey) -> HostKey:
    return HostKey.parse(key.export_public_key("openssh").decode())


# A tunnel carries many small packets; with AES-GCM a packet takes a quarter of the time of ChaCha20.
_CIPHERS = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"


def _make_options(target: Target, pin: HostKey, timing: SshTiming) -> dict[str, Any]:
    trusted = asyncssh.import_public_key(pin.line)
    return {
        "port": target.port,
        "username": target.user,
        "known_hosts": ([trusted], [], []),
        "config": None,
        "connect_timeout": target.connect_s or timing.connect_s,
        "login_timeout": timing.login_s,
        "keepalive_interval": timing.keepalive_s,
        "keepalive_count_max": timing.keepalive_count,
        "preferred_auth": "publickey,keyboard-interactive",
        "x509_trusted_certs": None,
        "encryption_algs": _CIPHERS,
        **dict(target.algorithms),
        "client_keys": None,  # _Pinned offers the keys
    }


def _make_trust_error(target: Target, pin: HostKey, presented: HostKey | None, why: str) -> ConnectError:
    seen = presented.fingerprint if presented else "a key of another type"
    return ConnectError(
        LinkFault.HOST_KEY_CHANGED,
        f"the host key of {target.alias} has changed",
        why=f"pinned {pin.fingerprint}, presented {seen} by {target.endpoint} ({why})",
        fix=f"check on the node itself (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub); only if it shows"
        f" the presented fingerprint, not the pinned one: pancode node trust {target.alias}",
    )


def _make_login_error(
    target: Target, keys: OfferedKeys, client: _Pinned, error: asyncssh.DisconnectError
) -> Exception:
    """Return the error of a failed login. A disconnect counts as a refusal: retries might lock the owner
    out."""
    if client.prompts:
        return ConnectError(
            LinkFault.LOGIN_REFUSED,
            f"{target.alias} requires interactive login",
            why=f"it asks: {client.prompts[0][:200]!r}, and no user is present to answer",
            fix=f"allow login with only a key: in the server's sshd_config, Match User {target.user} with "
            "AuthenticationMethods publickey",
        )
    lack = keys.lack or (make_lack_error(target) if target.lacks else None)
    if isinstance(error, asyncssh.PermissionDenied):
        return lack or error
    if not client.logs_in or isinstance(error, asyncssh.ConnectionLost):
        return error
    if lack is not None:
        return lack
    return ConnectError(
        LinkFault.LOGIN_REFUSED,
        f"{target.alias} closed the connection during login",
        why=str(error),
        fix="offer fewer keys: remove some from your SSH agent (ssh-add -d), or choose the right one: "
        "pancode node rm NODE, then pancode node add NODE --identity FILE",
    )


async def _dial_target(
    target: Target,
    pins: Pins,
    login: SshLogin,
    timing: SshTiming,
    tunnel: asyncssh.SSHClientConnection | None,
) -> Session:
    pin = pins.get(target.endpoint)
    if pin is None:
        raise ConnectError(
            LinkFault.HOST_KEY_UNKNOWN,
            f"no host key is pinned for {target.endpoint}",
            fix=f"pancode node trust {target.alias}",
        )
    if target.revoked:
        await asyncio.to_thread(refuse_revoked, target.alias, target.revoked, pin)
    options, keys = _make_options(target, pin, timing), find_keys(target, login)
    async with _open_proxy(target, login) as proxy:
        client = _Pinned(asyncio.get_running_loop().create_future(), proxy, keys)
        options |= await _find_way(target, timing, proxy, tunnel)
        try:
            conn = await asyncssh.connect(target.host, client_factory=lambda: client, **options)
        except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
            if client.presented is None and isinstance(error, asyncssh.KeyExchangeFailed):
                raise
            raise _make_trust_error(target, pin, client.presented, str(error)) from error
        except ValueError as error:
            if "sock" in options:  # the library has refused its settings, and has not taken the socket
                options["sock"].close()
            raise ConnectError(
                LinkFault.BAD_CREDENTIALS,
                f"cannot use the SSH settings of {target.alias}",
                why=str(error),
                fix=f"compare the settings with: ssh -G {target.alias}",
            ) from error
        except asyncssh.DisconnectError as error:
            raise _make_login_error(target, keys, client, error) from error
        finally:
            if client.agent is not None:
                client.agent.close()
        return Session(conn, client.lost, proxy=proxy)


async def _find_way(
    target: Target, timing: SshTiming, proxy: ProxyCommand | None, tunnel: asyncssh.SSHClientConnection | None
) -> dict[str, Any]:
    """Return asyncssh's arguments for how to reach the target: by a command, a jump host, or a socket that is
    connected to the first of its addresses that answers, in order, as ssh does. OSError: none answers."""
    if proxy is not None or tunnel is not None:
        return {"tunnel": tunnel} if proxy is None else {"sock": proxy.socket}
    loop, errors = asyncio.get_running_loop(), list[OSError]()
    found = await loop.getaddrinfo(
        target.host, target.port, family=_FAMILY.get(target.family, 0), type=socket.SOCK_STREAM
    )
    last_s = target.connect_s or timing.connect_s
    for place, (family, kind, number, _, address) in enumerate(found, 1):
        sock = socket.socket(family, kind, number)
        sock.setblocking(False)
        try:
            if target.bind_address:
                sock.bind((target.bind_address, 0))
            async with asyncio.timeout(last_s if place == len(found) else min(last_s, timing.address_s)):
                await loop.sock_connect(sock, address)
            return {"sock": sock}
        except OSError as error:  # also a TimeoutError
            sock.close()
            errors.append(error)
        except BaseException:
            sock.close()
            raise
    raise errors[0]


@asynccontextmanager
async def _open_proxy(target: Target, login: SshLogin) -> AsyncIterator[ProxyCommand | None]:
    """Run the target's ProxyCommand during the block, and end it if the block fails. The error then names the
    target and contains the command's output."""
    proxy = await ProxyCommand.start(target.proxy, login.environ) if target.proxy else None
    try:
        with translate_ssh_errors():
            yield proxy
    except BaseException as error:
        if isinstance(error, ConnectError) and not error.permanent:
            error.why = f"{target.endpoint}: {error.why}".removesuffix(": ")
            error.fix = error.fix.replace("ssh HOST", target.by_hand)
        if proxy is not None:
            if isinstance(error, ConnectError) and not error.permanent:
                error.why = f"{error.why}; {await proxy.why()}"
                error.fix = f"to see its error, run the ProxyCommand by hand: {shlex.join(target.proxy)}"
            await proxy.close()
        raise


async def open_session(
    target: Target, pins: Pins, login: SshLogin, timing: SshTiming | None = None
) -> Session:
    """Connect and log in. Raises ConnectError; cancellation leaves nothing open."""
    timing, target = timing or SshTiming(), in_session(target, login.environ)
    through: list[asyncssh.SSHClientConnection] = []
    proxy = None
    try:
        with translate_ssh_errors():
            async with asyncio.timeout(timing.total_s * (1 + len(target.hops))):
                for hop in target.hops:
                    session = await _dial_target(hop, pins, login, timing, through[-1] if through else None)
                    through.append(session.conn)
                    proxy = proxy or session.proxy
                session = await _dial_target(target, pins, login, timing, through[-1] if through else None)
                session.through, session.proxy = through, proxy or session.proxy
                return session
    except BaseException:
        for conn in through:
            conn.abort()
        raise


async def presented_key(
    target: Target,
    pins: Pins,
    login: SshLogin,
    timing: SshTiming | None = None,
    known: Sequence[HostKey] = (),
) -> HostKey:
    """Return the host key that the target presents now, for a user to confirm. Jump hosts must be pinned.
    `known`: a server with several keys is asked for one of these types, as OpenSSH does."""
    first = [name.decode() for key in known for name in asyncssh.import_public_key(key.line).sig_algorithms]
    algorithms = "^" + ",".join(dict.fromkeys(first)) if first else ()
    async with _way_without_login(target, pins, login, timing or SshTiming()) as way:
        key = await asyncssh.get_server_host_key(
            target.host, target.port, config=None, server_host_key_algs=algorithms, **way
        )
    if key is None:
        raise classify_error(ConnectionResetError(f"{target.endpoint} sent no host key"))
    return as_host_key(key)


async def certified_key(
    target: Target,
    pins: Pins,
    login: SshLogin,
    authorities: Sequence[HostKey],
    revoked: Sequence[HostKey],
    timing: SshTiming | None = None,
) -> HostKey | None:
    """Return the key of the target if it presents a valid certificate of one of these authorities for its
    name; else None."""
    lists = [[asyncssh.import_public_key(one.line) for one in many] for many in (authorities, revoked)]
    client = _Certified()
    async with _way_without_login(target, pins, login, timing or SshTiming()) as way:
        try:
            conn = await asyncssh.connect(
                target.host,
                target.port,
                config=None,
                host_key_alias=target.key_name or None,
                known_hosts=([], *lists),
                username=target.user,
                client_keys=None,
                agent_path=None,
                preferred_auth="publickey",
                client_factory=lambda: client,
                **way,
            )
            conn.abort()
        except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed):
            return None
        except asyncssh.DisconnectError as error:
            # A server whose certificate is valid refuses a login without a key.
            if not isinstance(error, asyncssh.PermissionDenied):
                raise
    return client.read_key()


class _Certified(asyncssh.SSHClient):
    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._conn = conn

    def read_key(self) -> HostKey | None:
        key = self._conn.get_server_host_key()
        return None if key is None else as_host_key(key)


@asynccontextmanager
async def _way_without_login(
    target: Target, pins: Pins, login: SshLogin, timing: SshTiming
) -> AsyncIterator[dict[str, Any]]:
    """Yield asyncssh's arguments for how to reach the target, whose host key is still to be judged."""
    bridge: Session | None = None
    try:
        with translate_ssh_errors():
            async with asyncio.timeout(timing.total_s):
                if target.hops:
                    *before, last = target.hops
                    bridge = await open_session(replace(last, hops=tuple(before)), pins, login, timing)
                async with _open_proxy(target, login) as proxy:
                    yield await _find_way(target, timing, proxy, bridge.conn if bridge else None)
                    if proxy is not None:
                        await proxy.close()
    finally:
        if bridge is not None:
            await bridge.close()
