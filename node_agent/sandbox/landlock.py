"""The weaker sandbox, which a process applies to itself: `landlock.py [--read P|--write P|--tcp N] -- CMD`.

Standard library only, this one file. This process and its descendants can open only what the options name.
`--tcp N` allows TCP connections only to port N, `--tcp 0` to none; without it, TCP is unrestricted. `--calls
FILE`: a system call filter. Not restricted: UDP, unix sockets with a path, looking up file names, and
anything inside a writable path.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

CREATE, ADD, RESTRICT = 444, 445, 446
LEAST_ABI = 3
"""The oldest usable Landlock version: earlier versions let a process truncate a read-only file."""
NET_ABI, IOCTL_ABI, SCOPE_ABI = 4, 5, 6
PATH_BENEATH, NET_PORT, CONNECT = 1, 2, 2
READ = 0b1101
FILE_ONLY = 0b111 | 1 << 14 | 1 << 15
SCOPED = 0b11
NO_NEW_PRIVS, SET_SECCOMP, BY_FILTER = 38, 22, 2
LINE_BYTES = 8
BAD_USAGE, CANNOT_HOLD, NOT_FOUND, NOT_RUNNABLE = 64, 71, 127, 126


def read_abi() -> int:
    """Return the kernel's Landlock version; 0 if Landlock is missing or disabled."""
    version: int = _load_libc().syscall(CREATE, None, 0, 1)
    return max(version, 0)


def restrict_process(read: list[str], write: list[str], ports: list[int] | None) -> None:
    """Restrict this process to these paths and TCP ports; skip missing paths. OSError if that fails."""
    have = read_abi()
    if have < LEAST_ABI:
        raise OSError(f"Landlock ABI version {have} of this kernel is too old")
    every = (1 << 16) - 1 if have >= IOCTL_ABI else (1 << 15) - 1
    net = CONNECT if have >= NET_ABI and ports is not None else 0
    attr = struct.pack("QQQ", every, net, SCOPED)[: 24 if have >= SCOPE_ABI else 16 if have >= NET_ABI else 8]
    rules = _call_kernel(CREATE, attr, len(attr), 0)
    for path, mask in [*((one, READ) for one in read), *((one, every) for one in write)]:
        _allow_path(rules, path, mask)
    for port in (ports or ()) if net else ():
        if port:
            _call_kernel(ADD, rules, NET_PORT, struct.pack("QQ", CONNECT, port), 0)
    _load_libc().prctl(NO_NEW_PRIVS, 1, 0, 0, 0)
    _call_kernel(RESTRICT, rules, 0)
    os.close(rules)


def hold_calls(program: bytes) -> None:
    """Install this system call filter, after `restrict_process`; an empty filter does nothing. Raises OSError
    when the kernel rejects the filter."""
    if not program:
        return
    text = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("@HP", len(program) // LINE_BYTES, ctypes.addressof(text))
    if _load_libc().prctl(SET_SECCOMP, BY_FILTER, fprog, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _allow_path(rules: int, path: str, mask: int) -> None:
    try:
        at = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        allowed = mask if os.path.isdir(f"/proc/self/fd/{at}") else mask & FILE_ONLY
        _call_kernel(ADD, rules, PATH_BENEATH, struct.pack("=Qi", allowed, at), 0)
    finally:
        os.close(at)


def _call_kernel(*words: int | bytes) -> int:
    done: int = _load_libc().syscall(*words)
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


def _load_libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def main(argv: list[str]) -> int:
    """Restrict this process and start the command. Returns only if the command could not be started."""
    options: dict[str, list[str]] = {"--read": [], "--write": [], "--tcp": [], "--calls": []}
    words = argv[1:]
    while len(words) > 1 and words[0] in options:
        options[words[0]].append(words[1])
        words = words[2:]
    if len(words) < 2 or words[0] != "--" or not all(port.isdigit() for port in options["--tcp"]):
        return _report_failure(
            BAD_USAGE, "usage: landlock.py [--read P|--write P|--tcp N]... -- COMMAND [ARG...]"
        )
    places = _find_places(words[1])  # computed now, since this process may lose access to its own interpreter
    try:
        filters = list(map(_read_content, options["--calls"]))
        restrict_process(options["--read"], options["--write"], list(map(int, options["--tcp"])) or None)
        for one in filters:
            hold_calls(one)
    except OSError as exc:
        return _report_failure(CANNOT_HOLD, str(exc))
    return _execute_command(places, words[1:])


def _read_content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _find_places(name: str) -> list[str]:
    return [name] if "/" in name else [os.path.join(folder, name) for folder in os.get_exec_path()]


def _execute_command(places: list[str], argv: list[str]) -> int:
    """Execute the command like a shell: try each PATH folder; report "permission denied" over "not found"."""
    failed: OSError = FileNotFoundError(2, "not found")
    for place in places:
        try:
            os.execv(place, argv)
        except OSError as exc:
            failed = exc if not isinstance(exc, FileNotFoundError) else failed
    status = NOT_FOUND if isinstance(failed, FileNotFoundError) else NOT_RUNNABLE
    return _report_failure(status, f"{argv[0]}: {failed.strerror}")


def _report_failure(status: int, why: str) -> int:
    os.write(2, f"landlock: {why}\n".encode("utf-8", "replace"))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv))
