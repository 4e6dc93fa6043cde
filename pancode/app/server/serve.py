"""The coordinator's process: one per home, with its socket, threads, signals and shutdown."""

from __future__ import annotations

import asyncio
import gc
import getpass
import logging
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from node_agent.wire import logs
from node_agent.wire.clock import Clock, SystemClock
from pancode import __version__
from pancode.app.http_routes import build_app
from pancode.app.reboot import service_of, unit_of
from pancode.app.server.coordinator_thread import Passes
from pancode.app.server.http_server import QUIET, Answering
from pancode.app.server.tcp_listeners import KEPT_PORT, LoopbackListener, open_places
from pancode.commit import read_commit
from pancode.fleet.systemd.notify import Watched, read_watchdog
from pancode.fleet.systemd.system_unit import SystemService
from pancode.interfaces.client.client import clear_down, down_stamp, home_of, mark_down, not_down_since
from pancode.interfaces.client.connection import SOCKET, open_socket_path
from pancode.interfaces.http.context import ApiContext, CoordinatorApi
from pancode.kernel.host.open_files import raise_limit
from pancode.kernel.host.single_instance import HomeLock, holder_of
from pancode.kernel.processes import start_of
from pancode.kernel.threads import BackgroundThread, end_with_them, share_heap
from pancode.runs.views import format_iso

_CREDENTIALS = struct.Struct("iII")


class PeerProtocol(HttpToolsProtocol):
    """One connection on the unix socket."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.client = caller_of(transport.get_extra_info("socket"))


def caller_of(connection: Any) -> tuple[str, int]:
    """Return (start time, pid) of the connected process, read now because the pid may be reused later."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(credentials)[0]
    return start_of(pid), pid


_SERVICE_LOOK_S, _SERVICE_LOOKS = 0.2, 100
"""Seconds between two checks of a service, and their number: in total longer than the units' RestartSec."""


def left_to_service(root: Path, environ: Mapping[str, str], sleep: Callable[[float], None]) -> bool:
    """Whether a service has started this home's coordinator; waits up to 20 s for a service that is starting.

    Without the wait, a coordinator started here could be first; the service would then find the home locked
    and give up until the next boot.
    """
    unit = unit_of(root, environ)
    services = (service_of(root, (None, None), environ), SystemService(unit))
    for look in range(_SERVICE_LOOKS):
        if not any(service.on_its_way() for service in services):
            return look > 0 and holder_of(root) is not None
        sleep(_SERVICE_LOOK_S)
    return False


log = logging.getLogger("pancode.serve")

Make = Callable[[], CoordinatorApi]


MakeBeside = Callable[[ApiContext], Sequence[BackgroundThread]]


ROUNDS, API = "rounds", "api"
"""The threads that must make progress; if one hangs, the service manager restarts the process."""
STOP_S = 120
"""Seconds until SIGALRM ends a stop by a signal, since what the stop waits for may be dead."""
_SWITCH_S = 0.002
"""Seconds until a thread yields the interpreter, which SSH, passes and the API share, so that tunnel data
does not wait for a pass.

The value is not shorter, as in the node agent, because waiting threads wake up this often.
"""


class Serving:
    """One coordinator with its API; `run` returns after a stop, when all has ended cleanly."""

    def __init__(
        self,
        root: Path,
        make: Make,
        clock: Clock,
        watch: Watched | None = None,
        beside: MakeBeside = lambda context: (),
        stamp: int = 0,
    ) -> None:
        """`stamp`: of the "fleet is down" mark that the caller has seen; a newer mark prevents the start."""
        self._root, self._stamp = root, stamp
        self._watch = watch or read_watchdog({}, clock, frozenset())
        self._make, self._beside = make, beside
        self._clock = clock
        self._stop = threading.Event()
        self._for_good = False

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until a stop; call `ready` once ready. AlreadyRunningError, ConfigError, UnavailableError."""
        lock = HomeLock(self._root)
        lock.take()
        try:
            not_down_since(self._root, self._stamp)
            self._serve(self._make(), ready, lock.held)
        finally:
            (self._root / SOCKET).unlink(missing_ok=True)
            lock.leave()

    def stop(self, *_: object) -> None:
        """Stop, from any thread or signal handler; a second signal ends the process immediately."""
        self._stop.set()
        if threading.current_thread() is threading.main_thread():
            for number in _handled_signals(signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)

    def end(self, by: str) -> None:
        """Stop, and prevent a restart: the user `by` requested it, or (`by` is "") the home was removed."""
        self._for_good = True
        if by:
            mark_down(self._root, by)  # before any waiting caller can see that this process has ended
        self._stop.set()

    def _serve(
        self, coordinator: CoordinatorApi, ready: Callable[[], None], is_ours: Callable[[], bool]
    ) -> None:
        """Start all parts in order, wait, and stop in reverse order: API, passes, a final pass, Valkey."""
        try:
            coordinator.start()
            not_down_since(self._root, self._stamp)  # starting takes a while
            clear_down(self._root)
            gc.freeze()  # these objects stay alive, so garbage collections can skip them
            sys.setswitchinterval(_SWITCH_S)
            context = ApiContext(coordinator, self._list_facts(), self.end, lambda: loopback.url())
            loopback = LoopbackListener(context, self._root / KEPT_PORT)
            heartbeat = self._watch.heartbeat
            passes = Passes(
                context, lambda: is_ours() and not coordinator.is_replaced(), lambda: heartbeat(ROUNDS)
            )
            api = _make_api(context, lambda: heartbeat(API))
            shown: tuple[BackgroundThread, ...] = (*self._beside(context), *open_places(context), loopback)
            passes.start()
            for one in shown:
                one.start()
            try:
                if api.start(listen(self._root)):
                    self._watch.ready()
                ready()
                self._stop.wait()
            finally:
                log.info("stopping")
                self._watch.stopping()
                context.closing.set()
                context.bell.ring()
                api.stop()
                for one in shown:
                    one.stop()
                passes.stop()
        finally:
            coordinator.stop(stop_valkey=True)
            if self._for_good:
                coordinator.stay_down()

    def _list_facts(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "version": __version__,
            "commit": read_commit(),
            "home": str(self._root),
            "started_at": format_iso(self._clock.wall_ms()),
        }


def _make_api(context: ApiContext, heartbeat: Callable[[], None]) -> Answering:
    """Return the API's server; its socket is never accessible to others."""
    config = uvicorn.Config(
        build_app(context),
        http=PeerProtocol,
        timeout_graceful_shutdown=2,
        headers=[("Pancode-Version", __version__)],
        **QUIET,
    )
    return Answering(config, "api", heartbeat)


def listen(root: Path) -> socket.socket:
    """Return the API's socket, accessible only to its owner. An old file is stale, as the lock was taken."""
    draft = root / f"{SOCKET}.new"
    draft.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # umask cannot do this: it applies to the process, so other threads would create folders without access
    with open_socket_path(root, draft.name) as path:
        made.bind(path)
    draft.chmod(0o600)
    made.listen(1024)
    draft.replace(root / SOCKET)  # the socket gets its final name only when it is restricted and listening
    return made


def serve(
    root: Path,
    make: Make,
    clock: Clock | None = None,
    ready: Callable[[], None] = lambda: None,
    watch: Watched | None = None,
    beside: MakeBeside = lambda context: (),
    stamp: int = 0,
) -> None:
    """Run the coordinator in this process until SIGTERM, SIGINT, SIGHUP or `pancode fleet down`."""
    serving = Serving(root, make, clock or SystemClock(), watch, beside, stamp)
    end_with_them()

    def on_signal(number: int, frame: FrameType | None) -> None:
        signal.alarm(STOP_S)
        serving.stop()

    for number in _handled_signals(signal.SIGINT, signal.SIGHUP):
        signal.signal(number, on_signal)
    serving.run(ready)
    signal.alarm(0)


def _handled_signals(*numbers: signal.Signals) -> tuple[signal.Signals, ...]:
    """Return SIGTERM, and those of `numbers` that are not ignored (background shells, nohup ignore some)."""
    ignored = signal.SIG_IGN
    return (signal.SIGTERM, *(number for number in numbers if signal.getsignal(number) is not ignored))


def make_real(root: Path, environ: Mapping[str, str]) -> CoordinatorApi:
    """Return the production coordinator. ConfigError names file and key."""
    from pancode.app.build import build

    return build(root, environ)


def serve_here(
    environ: MutableMapping[str, str], beside: MakeBeside, *, quiet: bool, stamp: int | None = None
) -> None:
    """Serve this environment's home. `quiet`: write only to the log. `stamp`: of the "fleet is down" mark, as
    seen by the process that started this one; None: read it now."""
    from pancode.fleet.ssh.home import Home

    share_heap()
    home_of(environ)  # raises an error for an invalid path
    home = Home.of(environ)
    home.prepare()
    root = home.root
    # a uid without an account, as in a container, has no name, but SSH requires one
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = f"uid{os.getuid()}"
    logs.set_up(environ.get(logs.VARIABLE, ""), sys.stderr)
    files = raise_limit()

    def ready() -> None:
        log.info("serving %s, pid %d, up to %d open files", root, os.getpid(), files)
        if not quiet:
            sys.stderr.write(f"coordinator on {root}, pid {os.getpid()}; Ctrl-C stops it\n")

    watch = read_watchdog(environ, SystemClock(), frozenset({ROUNDS, API}))
    stamp = down_stamp(root) if stamp is None else stamp
    serve(root, lambda: make_real(root, environ), ready=ready, watch=watch, beside=beside, stamp=stamp)
