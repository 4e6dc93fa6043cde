"""Starts a run's gateway with the owner's settings, reports its state, and ends it: the Gateways port."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import re
import select
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from node_agent.attempt.gateways import GatewayAccess, ModelCount
from node_agent.attempt.ports import StepFailed
from node_agent.endpoints.places import is_at_home
from node_agent.endpoints.table import EndpointServer
from node_agent.files.durable import make_folder
from node_agent.gateway import spec as places
from node_agent.gateway.counting import Grant
from node_agent.gateway.prices import Price, Prices, price_of
from node_agent.gateway.slots import folder_of
from node_agent.gateway.spec import GatewaySpec
from node_agent.machine.home import SettingsError, read_owner_settings
from node_agent.runtimes.vendors import Way, local_way, tunnel_of, way_of
from node_agent.shim import process
from node_agent.wire.clock import Ids
from node_agent.wire.control import BudgetAnswers
from node_agent.wire.endpoint import Health, wire_of
from node_agent.wire.failure import FailureKind
from node_agent.wire.job import Job
from node_agent.wire.model import WireModel
from node_agent.wire.node import NodeProblem
from node_agent.wire.receipt import ModelCalls, Usage

WISH_FILE = "gateway.json"
_NAME = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*")


class GatewaySettings(WireModel):
    """The owner's gateway.json. `https_proxy`: for servers with TLS; `proxy_login`: the name of a secret with
    `user:password`.

    `no_proxy`: hosts, domains with subdomains, and networks that are reached directly. `hosted_tools`: how to
    treat tools that the vendor would run; `fetched_urls`: how to treat addresses that the vendor would fetch.
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
                "https_proxy must not contain a login: put user:password into secrets.json, and its name "
                "into proxy_login"
            )
        if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/") or not _find_port(url):
            raise ValueError("it must be http://HOST:PORT (traffic through it is still TLS)")
        return url

    @field_validator("no_proxy")
    @classmethod
    def _are_hosts(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _NAME.fullmatch(name.lower().lstrip(".")) and not _is_network(name):
                raise ValueError(f"{name!r} is neither a host, a domain, nor a network such as 10.0.0.0/8")
        return names


def read_wish(home: Path) -> GatewaySettings:
    """Return the file's settings; the defaults without a file. SettingsError: file, key and problem."""
    return read_owner_settings(GatewaySettings, home / WISH_FILE)


def problems_of(home: Path) -> tuple[NodeProblem, ...]:
    """Return the problems for `fleet status`: no gateway starts while the settings file is unreadable."""
    try:
        read_wish(home)
    except SettingsError as wrong:
        return (NodeProblem(what=str(wrong)[:500], fix=f"correct or remove {home / WISH_FILE}"),)
    return ()


def _find_port(url: str) -> int | None:
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


@dataclass(frozen=True, slots=True)
class Lead:
    """The route to an endpoint. `free`: the model costs nothing; `slots`: parallel calls, 0: any number."""

    way: Way
    free: bool
    slots: int
    slots_folder: Path
    ca: str

    def told(self) -> dict[str, Any]:
        """Return the fields of the gateway's spec for this route."""
        at = str(self.slots_folder.absolute())
        return {"slots": self.slots, "slots_folder": at, "ca": self.ca}


class Near:
    """The endpoints of this node by name. `folder`: the folder of the locks of their slots."""

    def __init__(self, find: Callable[[str], EndpointServer | None], folder: Path) -> None:
        self._find, self._folder = find, folder

    def lead(self, job: Job) -> Lead:
        """Return the route to the job's endpoint. Raises StepFailed, and OSError of the disk."""
        name = job.endpoint or ""
        server = self._find(name)
        if server is None:
            words = f"endpoint {name} is not available: its server is stopped or does not answer"
            raise StepFailed(FailureKind.MODEL_FAILED, words)
        fact = server.fact
        if fact.health is Health.NEEDS_KEY:
            raise StepFailed(FailureKind.MODEL_AUTH, f"endpoint {name}: {fact.words}; {fact.fix}")
        wire = wire_of(job.runtime)
        way = local_way(job.runtime, job.model, server.url, server.key)
        if way is None or wire not in fact.wires:
            words = f"endpoint {name} offers {', '.join(fact.wires)}, but {job.runtime} needs {wire}"
            raise StepFailed(FailureKind.CANNOT_START, words)
        model = fact.model(job.model or "")
        folder = folder_of(self._folder, name)
        make_folder(self._folder)
        make_folder(folder)
        free = fact.free and not (model is not None and model.remote)
        slots = (model.slots if model is not None and fact.slots is None else fact.slots) or 0
        return Lead(replace(way, mount=""), free, slots, folder, server.ca or "")


PROGRAM = str(Path(__file__).with_name("program.py"))
"""The path of the gateway's program, which runs in its own process to save memory in the node agent."""
END_MS = 5_000
SPARE_S = 600.0
"""Seconds that a gateway may live beyond the time limit, for grace periods of a stop or a slow node."""
TOKEN_BYTES = 16
BACKLOG = 128
FIRST_FD = 3
_TLS = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""The node's variables that tell a gateway where its certificates are."""
_DEFAULTS = tuple(n for n in signal.valid_signals() if n not in (signal.SIGKILL, signal.SIGSTOP))


@dataclass(frozen=True, slots=True)
class _Led:
    """The destination of a run's calls: `way`, or `hosts` by subscription. Determined at each opening.
    `prices`: the owner's, as text; `wrong`: why they are unreadable. `lead`: the route to the endpoint."""

    way: Way | None
    hosts: tuple[str, ...] = ()
    prices: tuple[tuple[str, str], ...] = ()
    wrong: str = ""
    lead: Lead | None = None

    def is_priced(self, model: str | None) -> bool:
        """Whether the price is known. A vendor's model without a number is one of its newest and has one."""
        if self.way is None:
            return False
        if self.is_free:
            return True
        model = next(iter(self.way.models), model)  # this name lacks the provider's prefix
        if self.way.public and not any(letter.isdigit() for letter in model or ""):
            return True
        owner = self._read_owner_prices()
        return (
            not self.wrong and Prices(owner, self.way.public, host=self.way.host).of(model or "") is not None
        )

    @property
    def is_free(self) -> bool:
        """Whether the server is the owner's own, and the owner has set no price for the model. A vendor's
        model at a private address is behind a proxy, which has to pay for it."""
        if self.lead is not None or self.way is None:
            return self.lead is not None and self.lead.free
        name, *vendors = self.way.models or ("",)
        if not name or self.wrong or not is_at_home(urlsplit(self.way.upstream).hostname or ""):
            return False
        newest = vendors and not any(letter.isdigit() for letter in name)
        sold = newest or any(fnmatchcase(name, one) for one in vendors) or Prices({}, public=True).of(name)
        return not sold and Prices(self._read_owner_prices(), public=False).of(name) is None

    def _read_owner_prices(self) -> dict[str, Price]:
        return {name: price_of(words) for name, words in self.prices}


class GatewayProcesses:
    """Gateways as real processes. Thread-safe.

    `values`: the node's current variables and secrets by name. `prices`: the owner's, by model, as text.
    `wish`: the owner's gateway.json. Both raise SettingsError. `near`: the node's model servers.
    """

    def __init__(
        self,
        python: str,
        ids: Ids,
        values: Callable[[], Mapping[str, str]],
        prices: Callable[[], Mapping[str, str]] = dict,
        wish: Callable[[], GatewaySettings] = GatewaySettings,
        near: Near | None = None,
    ) -> None:
        self._python, self._ids, self._values, self._near = python, ids, values, near
        self._prices, self._wish = prices, wish
        self._mine: dict[Path, int] = {}  # pids of our child processes
        self._lock = threading.Lock()

    def open(self, job: Job, folder: Path) -> GatewayAccess | None:
        given = places.read_access(folder)
        alive = given is not None and self.is_alive(folder)
        if given is not None and alive and job.endpoint is not None:  # the endpoint may no longer exist
            return GatewayAccess(*given)
        try:
            values = self._values()
            led = self._find_led(job, values)
            if led is None:
                return None
            priced = led.is_priced(job.model)
            if given is not None and alive:
                return GatewayAccess(*given, led.way is None, priced)
            port, token = given or (0, f"pancode-{self._ids.token(TOKEN_BYTES)}")
            return self._start(job, folder, GatewayAccess(port, token, led.way is None, priced), led, values)
        except OSError as exc:
            kind = FailureKind.DISK_FULL if exc.errno == errno.ENOSPC else FailureKind.NODE_INTERNAL
            raise StepFailed(kind, f"the model gateway cannot be started: {exc}") from exc

    def _find_led(self, job: Job, values: Mapping[str, str]) -> _Led | None:
        """Return the destination of the run's calls; None: the run calls its model directly."""
        named = (*job.env, *job.secrets)
        lead = self._find_lead(job)
        way = way_of(job.runtime, values, named, job.model) if lead is None else lead.way
        if way is None:
            hosts = tunnel_of(job.runtime, values, named)
            return _Led(None, hosts) if hosts else None
        try:
            prices = tuple(self._prices().items())
            for _, words in prices:
                price_of(words)
        except (ValueError, SettingsError) as exc:
            return _Led(way, wrong=str(exc), lead=lead)
        return _Led(way, prices=prices, lead=lead)

    def _find_lead(self, job: Job) -> Lead | None:
        """Return the route to the endpoint of this node that the job names; None if it names none."""
        if job.endpoint is None:
            return None
        if self._near is None:
            raise StepFailed(FailureKind.CANNOT_START, "this node agent does not use model endpoints")
        return self._near.lead(job)

    def is_alive(self, folder: Path) -> bool:
        return self._find_running(folder) is not None

    def count(self, folder: Path) -> ModelCount | None:
        count = places.read_count(folder)
        if count is None:
            return None
        tokens = count.tokens
        return ModelCount(
            Usage(
                input_tokens=tokens.input + tokens.written,
                cached_tokens=tokens.cached,
                output_tokens=tokens.output,
                cost_usd=count.usd,
                cost_source=count.source,
            ),
            ModelCalls(
                requests=count.requests,
                failed=count.failed,
                refused=count.refused,
                unread=count.unread,
                wrap_up=count.wrap_up,
                subscription=count.tunnelled,
                sent_bytes=count.sent,
                received_bytes=count.received,
                waited_ms=count.waited_ms,
                retry_ms=1_000 * count.retry_s,
            ),
            count.limit,
            count.words,
            count.unpriced,
            count.ended,
            count.failing,
            count.failing_s,
            count.status,
            count.trouble,
            count.waiting,
            count.unsure,
            Decimal(count.beyond),
            count.left,
            1_000 * count.left_until_s,
            count.asked,
            Decimal(count.asked_usd),
        )

    def answer(self, folder: Path, answers: BudgetAnswers) -> None:
        with contextlib.suppress(OSError):
            places.write_grant(folder, Grant(answers.number, answers.usd, answers.words))

    def close(self, folder: Path) -> None:
        found = self._find_running(folder)
        if found is not None:
            process.signal_exact(found, signal.SIGTERM)
            if not _wait_until_gone(found[0], END_MS):
                process.signal_exact(found, signal.SIGKILL)
        self._reap()

    def _find_running(self, folder: Path) -> process.Proc | None:
        found = places.find_gateway(folder)
        with self._lock:
            child = self._mine.get(folder)
        # the server is not identified yet
        seen = process.read_stat(child) if child and found is None else None
        return found if seen is None or seen.gone else (seen.pid, seen.start)

    def _start(
        self, job: Job, folder: Path, entry: GatewayAccess, led: _Led, values: Mapping[str, str]
    ) -> GatewayAccess:
        make_folder(folder / places.FOLDER)
        make_folder(folder / places.GATE)
        (folder / places.GATE).chmod(0o711)
        (folder / places.FOLDER / places.RECORD).unlink(missing_ok=True)
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", entry.port))
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
        tcp, unix = sock, _make_unix_socket(folder / places.GATE / places.SOCKET)
        with tcp, unix, (folder / places.FOLDER / places.LOG).open("ab") as log:
            entry = replace(entry, port=tcp.getsockname()[1])
            places.write_access(folder, entry.port, entry.token)
            spec = self._add_owner_settings(_make_spec(job, folder, entry, led), values)
            env = {"LANG": "C.UTF-8", **{name: values[name] for name in _TLS if name in values}}
            stdin, pipe = os.pipe()
            try:
                child = self._spawn(env, (stdin, log.fileno(), tcp.fileno(), unix.fileno()))
            except OSError:
                os.close(pipe)
                raise
            finally:
                os.close(stdin)
        with self._lock:
            self._mine[folder] = child
        # the gateway's death is detected later
        with contextlib.suppress(BrokenPipeError), open(pipe, "wb") as file:
            file.write(spec.to_json())
        return entry

    def _add_owner_settings(self, spec: GatewaySpec, values: Mapping[str, str]) -> GatewaySpec:
        """Return the spec with the settings of gateway.json. StepFailed if they cannot be applied."""
        try:
            wish = self._wish()
        except SettingsError as exc:
            raise StepFailed(FailureKind.NODE_INTERNAL, str(exc)) from exc
        login = values.get(wish.proxy_login, "") if wish.proxy_login else ""
        if wish.proxy_login and ":" not in login:
            words = (
                f"proxy_login of gateway.json names {wish.proxy_login}, whose value is not user:password "
                "on this node"
            )
            raise StepFailed(FailureKind.NODE_INTERNAL, words)
        return replace(
            spec,
            hosted=wish.hosted_tools,
            fetched=wish.fetched_urls,
            proxy=wish.https_proxy or "",
            proxy_login=login,
            direct=wish.no_proxy,
        )

    def _spawn(self, env: dict[str, str], files: tuple[int, int, int, int]) -> int:
        """Start the gateway without waiting; return its pid. Its sockets listen already, so callers wait."""
        self._reap()
        stdin, log, *sockets = files
        at = range(FIRST_FD, FIRST_FD + len(sockets))
        argv = [self._python, "-I", "-S", PROGRAM, *map(str, at)]
        pairs = [(stdin, 0), (log, 1), (log, 2), *zip(sockets, at, strict=True)]
        return os.posix_spawn(
            argv[0], argv, env, file_actions=_plan_moves(pairs), setsigmask=(), setsigdef=_DEFAULTS
        )

    def _reap(self) -> None:
        with self._lock:
            self._mine = {at: child for at, child in self._mine.items() if not _reap_child(child)}


def _make_spec(job: Job, folder: Path, entry: GatewayAccess, led: _Led) -> GatewaySpec:
    """Return the gateway's spec. StepFailed if the owner's prices cannot be read."""
    way, limits = led.way, job.limits
    life, at = limits.wall_ms / 1000 + SPARE_S, str(folder.absolute())
    if way is None:
        return GatewaySpec("", "", "", "", entry.token, at, tunnel=led.hosts, life_s=life)
    if led.wrong:
        raise StepFailed(FailureKind.NODE_INTERNAL, f"prices.json of this node is invalid: {led.wrong}")
    return GatewaySpec(
        upstream=way.upstream,
        mount=way.mount,
        header=way.header,
        key=way.key,
        token=entry.token,
        folder=at,
        models=way.models,
        public=way.public,
        host=way.host,
        prices=led.prices,
        tokens=limits.tokens,
        usd=None if limits.usd is None else format(limits.usd, "f"),
        requests=limits.requests,
        reserved=None if limits.reserved_usd is None else format(limits.reserved_usd, "f"),
        wrap_up=limits.wrap_up,
        local=led.is_free,
        life_s=life,
        **(led.lead.told() if led.lead is not None else {}),
    )


def _plan_moves(pairs: list[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Return `dup2` moves through higher numbers, so that none overwrites a file that must still be moved."""
    above = max(max(pair) for pair in pairs) + 1
    there = [(os.POSIX_SPAWN_DUP2, fd, above + to) for fd, to in pairs]
    back = [(os.POSIX_SPAWN_DUP2, above + to, to) for _, to in pairs]
    return [*there, *back, *((os.POSIX_SPAWN_CLOSE, above + to) for _, to in pairs)]


def _reap_child(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def _make_unix_socket(path: Path) -> socket.socket:
    """Create a socket through its folder's descriptor, because a socket's path may have only 107 bytes.

    In a sandbox the agent may be another user. No other user reaches the socket: only we can enter the
    attempt's folder, and every caller must show the placeholder key.
    """
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock.bind(f"/proc/self/fd/{folder}/{path.name}")
        path.chmod(0o666)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    finally:
        os.close(folder)
    return sock


def _wait_until_gone(pid: int, ms: int) -> bool:
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return True
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(ms))
    finally:
        os.close(fd)
