"""Forwards connections in the sandbox from 127.0.0.1 to a unix socket: `relay.py PORT SOCKET -- COMMAND`.

Standard library only, this one file, mounted read-only. The relay, a child, listens before the command
starts; this process becomes the command, with the same pid, standard input and exit status. PORT 0: no relay.

As the sandbox's first process, it remains: it hides its files in /proc, starts the command, closes its
standard files and ends with the command's status. So no process in the sandbox finds PanCode's descriptors or
environment. The relay has neither and stays readable: the shim measures the sandbox's memory through it.
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
    """Accept connections and forward them to the socket `path` until the namespace ends."""
    threading.stack_size(STACK_BYTES)
    while True:
        try:
            near, _ = listener.accept()
        except OSError:  # the connection is already closed, or too many are open
            continue
        threading.Thread(target=_carry_connection, args=(near, path), daemon=True).start()


def _carry_connection(near: socket.socket, path: str) -> None:
    """Forward one connection to the socket `path` in both directions; close each end after the other."""
    with near, socket.socket(socket.AF_UNIX) as far:
        try:
            far.connect(path)
        except OSError:
            return
        back = threading.Thread(target=_copy_bytes, args=(far, near), daemon=True)
        back.start()
        _copy_bytes(near, far)
        back.join()


def _copy_bytes(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(CHUNK):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:  # one end failed: close both, so that the other end does not wait
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


def main(argv: list[str]) -> int:
    """Run the command. Returns if it could not be started, or, as the first process, after its end."""
    if len(argv) < 5 or argv[3] != "--" or not argv[1].isdigit():
        return _report_failure(BAD_USAGE, "usage: relay.py PORT SOCKET -- COMMAND [ARG...]")
    is_first = os.getpid() == 1
    if is_first and not _hide_process():
        return _report_failure(
            CANNOT_HIDE, "cannot hide this process's memory and environment from other processes"
        )
    listener = None
    try:
        listener = socket.create_server(("127.0.0.1", int(argv[1])), backlog=128) if int(argv[1]) else None
    except OSError as exc:
        return _report_failure(CANNOT_LISTEN, f"cannot listen on 127.0.0.1:{argv[1]}: {exc.strerror}")
    if is_first:
        _on_a_stop(signal.SIG_IGN)
    if (is_first or listener is not None) and os.fork() == 0:
        _close_standard_files()
        _serve_relay(listener, argv[2], anew=is_first)
    if listener is not None:
        listener.close()
    if is_first and (command := os.fork()):
        return _wait_as_init(command)
    if is_first:
        _on_a_stop(signal.SIG_DFL)
    try:
        os.execvp(argv[4], argv[4:])
    except OSError as exc:
        status = NOT_FOUND if isinstance(exc, FileNotFoundError) else NOT_RUNNABLE
        os._exit(_report_failure(status, f"{argv[4]}: {exc.strerror}"))


def _hide_process() -> bool:
    """Hide this process's memory, environment and descriptors from other processes; False if that failed."""
    import ctypes  # imported only here, as the relay does not need it

    return int(ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)) == 0


def _serve_relay(listener: socket.socket | None, path: str, anew: bool) -> None:
    """Run the relay. `anew`: start it as a new program without the inherited environment."""
    folder, name = os.path.split(path)
    os.chdir(folder or ".")  # the path of a unix socket may have 107 bytes, and the home's path may be long
    if anew:
        fd = -1 if listener is None else listener.fileno()
        if listener is not None:
            os.set_inheritable(fd, True)
        os.execve(sys.executable, [sys.executable, "-I", "-S", __file__, SERVE, str(fd), name], {})
    if listener is not None:
        serve(listener, name)


def _on_a_stop(do: signal.Handlers) -> None:
    """Set how this process handles stop signals, meant for the command: if pid 1 ended, all would end."""
    for number in _BY_STOPS:
        signal.signal(number, do)


def _wait_as_init(command: int) -> int:
    """Wait for the command as the first process, and reap all others. Return the status as a shell does."""
    _close_standard_files()
    while True:
        pid, status = os.wait()
        if pid == command:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _serve_socket(fd: int, name: str) -> None:
    if fd < 0:
        while True:
            signal.pause()
    with socket.socket(fileno=fd) as listener:
        serve(listener, name)


def _close_standard_files() -> None:
    """Close our copies of the command's standard files, so that their readers do not wait for the relay."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)


def _report_failure(status: int, why: str) -> int:
    os.write(2, f"relay: {why}\n".encode("utf-8", "replace"))
    return status


if __name__ == "__main__":
    if sys.argv[1:2] == [SERVE]:
        _serve_socket(int(sys.argv[2]), sys.argv[3])
    sys.exit(main(sys.argv))
