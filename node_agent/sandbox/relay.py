"""Inside the sandbox: forwards connections to 127.0.0.1 to a unix socket: `relay.py PORT SOCKET -- COMMAND`.

Standard library only, this one file, shown read-only inside. The relay is a child; this process becomes the
command: the same pid, standard input and exit status. It listens before the command starts.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

CHUNK = 65536
STACK_BYTES = 256 << 10
BAD_USAGE, CANNOT_LISTEN, NOT_FOUND, NOT_RUNNABLE = 64, 71, 127, 126


def serve(listener: socket.socket, path: str) -> None:
    """Serve until the end of the namespace ends it."""
    threading.stack_size(STACK_BYTES)
    while True:
        try:
            near, _ = listener.accept()
        except OSError:  # it has gone again, or there are too many
            continue
        threading.Thread(target=_carry, args=(near, path), daemon=True).start()


def _carry(near: socket.socket, path: str) -> None:
    """One connection, both ways; each end hears when the other has no more to say."""
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
            _break_off(end)


def _break_off(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def main(argv: list[str]) -> int:
    """Returns only when nothing was started."""
    if len(argv) < 5 or argv[3] != "--" or not argv[1].isdigit():
        return _fail(BAD_USAGE, "usage: relay.py PORT SOCKET -- COMMAND [ARG...]")
    try:
        listener = socket.create_server(("127.0.0.1", int(argv[1])), backlog=128)
    except OSError as exc:
        return _fail(CANNOT_LISTEN, f"cannot listen on 127.0.0.1:{argv[1]}: {exc.strerror}")
    if os.fork() == 0:
        _let_go()
        folder, name = os.path.split(argv[2])
        os.chdir(folder or ".")  # a socket's path may have 107 bytes, and a home may be deep
        serve(listener, name)
    listener.close()
    try:
        os.execvp(argv[4], argv[4:])
    except OSError as exc:
        status = NOT_FOUND if isinstance(exc, FileNotFoundError) else NOT_RUNNABLE
        return _fail(status, f"{argv[4]}: {exc.strerror}")


def _let_go() -> None:
    """Close the command's standard files, so that nobody waits for the relay to close them."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)


def _fail(status: int, why: str) -> int:
    os.write(2, f"relay: {why}\n".encode("utf-8", "replace"))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv))
