"""Inside the sandbox: forwards connections to 127.0.0.1 to a unix socket: `relay.py PORT SOCKET -- COMMAND`.

Standard library only, this one file, shown read-only inside. The relay is a child; this process becomes the
command: the same pid, standard input and exit status. It listens before the command starts. PORT 0: none.

As the first process of the sandbox it stays: it hides, starts the command, lets go of what it was given and
ends as the command does. So nobody inside finds our descriptors or our environment in /proc. The relay has
none of both, and stays open: by it the shim sees what lies in the sandbox's memory.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

CHUNK = 65536
STACK_BYTES = 256 << 10
BAD_USAGE, CANNOT_LISTEN, CANNOT_HIDE, NOT_FOUND, NOT_RUNNABLE = 64, 71, 72, 127, 126
SERVE = "--serve"
PR_SET_DUMPABLE = 4
_BY_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def serve(listener: socket.socket, path: str) -> None:
    """Serve connections until the namespace ends."""
    threading.stack_size(STACK_BYTES)
    while True:
        try:
            near, _ = listener.accept()
        except OSError:  # it has gone again, or there are too many
            continue
        threading.Thread(target=_carry, args=(near, path), daemon=True).start()


def _carry(near: socket.socket, path: str) -> None:
    """Carry one connection both ways; each end is told when the other has ended."""
    with near, socket.socket(socket.AF_UNIX) as far:
        try:
            far.connect(path)
        except OSError:
            return
        back = threading.Thread(target=_pour, args=(far, near), daemon=True)
        back.start()
        _pour(near, far)
        back.join()


def _pour(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(CHUNK):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:  # whoever broke off: the other must not wait
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


def main(argv: list[str]) -> int:
    """Run the command. Returns when nothing was started, and, as the first process, after its end."""
    if len(argv) < 5 or argv[3] != "--" or not argv[1].isdigit():
        return _fail(BAD_USAGE, "usage: relay.py PORT SOCKET -- COMMAND [ARG...]")
    is_first = os.getpid() == 1
    if is_first and not _hides():
        return _fail(CANNOT_HIDE, "this process cannot hide what it has from the others")
    listener = None
    try:
        listener = socket.create_server(("127.0.0.1", int(argv[1])), backlog=128) if int(argv[1]) else None
    except OSError as exc:
        return _fail(CANNOT_LISTEN, f"cannot listen on 127.0.0.1:{argv[1]}: {exc.strerror}")
    if is_first:
        _on_a_stop(signal.SIG_IGN)
    if (is_first or listener is not None) and os.fork() == 0:
        _let_go()
        _relay(listener, argv[2], anew=is_first)
    if listener is not None:
        listener.close()
    if is_first and (command := os.fork()):
        return _first(command)
    if is_first:
        _on_a_stop(signal.SIG_DFL)
    try:
        os.execvp(argv[4], argv[4:])
    except OSError as exc:
        status = NOT_FOUND if isinstance(exc, FileNotFoundError) else NOT_RUNNABLE
        os._exit(_fail(status, f"{argv[4]}: {exc.strerror}"))


def _hides() -> bool:
    """Hide our memory, environment and descriptors from all other processes of this user; False: failed."""
    import ctypes  # the relay itself needs none of it

    return int(ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)) == 0


def _relay(listener: socket.socket | None, path: str, anew: bool) -> None:
    """Serve. `anew`: as a program of its own, without our environment."""
    folder, name = os.path.split(path)
    os.chdir(folder or ".")  # a socket's path may have 107 bytes, and a home may be deep
    if anew:
        fd = -1 if listener is None else listener.fileno()
        if listener is not None:
            os.set_inheritable(fd, True)
        os.execve(sys.executable, [sys.executable, "-I", "-S", __file__, SERVE, str(fd), name], {})
    if listener is not None:
        serve(listener, name)


def _on_a_stop(do: signal.Handlers) -> None:
    """Set how a stop is taken. It is for the command: the first process's end would kill all others."""
    for number in _BY_STOPS:
        signal.signal(number, do)


def _first(command: int) -> int:
    """Wait for the command as the first process, and collect whatever else ends. The status as a shell's."""
    _let_go()
    while True:
        pid, status = os.wait()
        if pid == command:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _served(fd: int, name: str) -> None:
    if fd < 0:
        while True:
            signal.pause()
    with socket.socket(fileno=fd) as listener:
        serve(listener, name)


def _let_go() -> None:
    """Close the command's standard files, so that nobody waits for the relay to close them."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)


def _fail(status: int, why: str) -> int:
    os.write(2, f"relay: {why}\n".encode("utf-8", "replace"))
    return status


if __name__ == "__main__":
    if sys.argv[1:2] == [SERVE]:
        _served(int(sys.argv[2]), sys.argv[3])
    sys.exit(main(sys.argv))
