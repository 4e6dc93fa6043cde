"""The command line: python3 -m tests.lab VERB ... (see README.md)."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from . import Fail, Lab, Unsupported, missing
from .host import FAULTS
from .lab import Spec
from .reports import FORMS
from .system import read

Args = argparse.Namespace


def parser() -> argparse.ArgumentParser:
    ap = argparse.ArgumentParser(
        prog="tests.lab",
        description="Real SSH hosts on one Linux machine. K is a host number, 1,3 or 2-4, or all. "
        "Exit: 0 ok, 1 failed, 2 usage, 77 not possible here.",
    )
    ap.add_argument("--name", default="lab", help="the lab (several can be up side by side)")
    sub = ap.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_lab_verbs(sub)
    _add_host_verbs(sub)
    return ap


def _add_lab_verbs(sub: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    sub.add_parser("check", help="say what this machine lacks")
    for name, text in (
        ("up", "start N hosts"),
        ("run", "up N, run -- CMD with PANCODE_LAB_* set, always down"),
    ):
        p = sub.add_parser(name, help=text, description=text)
        p.add_argument("n", type=int, metavar="N")
        p.add_argument("--user", default="ops")
        p.add_argument("--shell", default="/bin/bash")
        p.add_argument("--home-mb", type=int, default=0, help="homes are tmpfs of this size")
        p.add_argument(
            "--share", action="append", default=[], help="a path of this machine the hosts may read"
        )
        p.add_argument("--systemd", action="store_true", help="a live systemd as PID 1 of each host")
        p.add_argument("--replace", action="store_true", help="down a lab of this name first")
    sub.add_parser("down", help="remove everything of the lab")
    sub.add_parser("status", help="one line of JSON per host")
    sub.add_parser("inventory", help="how to reach the hosts").add_argument(
        "--format", default="json", choices=FORMS
    )


def _add_host_verbs(sub: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    def verb(name: str, text: str) -> argparse.ArgumentParser:
        p = sub.add_parser(name, help=text, description=text)
        p.add_argument("k", metavar="K")
        return p

    verb("exec", "run -- CMD inside hosts without ssh").add_argument("--root", action="store_true")
    verb("poweroff", "kill every process").add_argument("--how", choices=("power", "crash"), default="power")
    verb("boot", "start again: same address, home and host key")
    verb("drop", "cut the link").add_argument("--how", choices=("silent", "unplug"), default="silent")
    p = verb("slow", "add delay (ms), jitter (ms), loss (%%), each way")
    for o in ("--delay", "--jitter", "--loss"):
        p.add_argument(o, type=float, default=0.0)
    verb("heal", "undo drop and slow")
    verb("freeze", "SIGSTOP every process")
    verb("thaw", "SIGCONT every process")
    p = verb("sshd", "the listener only; sessions stay")
    p.add_argument("what", choices=("stop", "start", "restart"))
    p.add_argument("--set", action="append", metavar="LINE", help="sshd_config lines; '' for none")
    verb("rekey", "new host key").add_argument("--trust", action="store_true", help="update known_hosts, too")
    p = verb("fault", "make a fault, or undo it with --off")
    p.add_argument("fault", choices=FAULTS)
    p.add_argument("--off", action="store_true")
    verb("logs", "what sshd said")


def hosts(text: str, have: list[int]) -> list[int]:
    """The host numbers that `2`, `1,3`, `2-4` or `all` names."""
    if text == "all":
        return sorted(have)
    try:
        spans = [part.partition("-") for part in text.split(",")]
        ks = [k for a, _, b in spans for k in range(int(a), int(b or a) + 1)]
    except ValueError:
        raise Fail(f"not a host: {text!r}") from None
    if bad := [k for k in ks if k not in have]:
        raise Fail(f"no such host: {bad}; have {sorted(have)}")
    return ks


def start(lab: Lab, a: Args) -> None:
    t = time.monotonic()
    with lab.locked():
        lab.up(a.n, Spec(a.user, a.shell, a.home_mb, tuple(a.share), a.systemd), replace=a.replace)
    print(f"lab: {a.n} hosts up in {time.monotonic() - t:.1f} s", file=sys.stderr)


def run(lab: Lab, a: Args, argv: list[str]) -> int:
    if not argv:
        raise Fail("give a command after --")
    child = None
    try:
        start(lab, a)
        env = dict(line.split("=", 1) for line in lab.render("env").splitlines())
        child = subprocess.Popen(argv, env={**os.environ, **env})
        return child.wait()
    finally:
        if child and child.poll() is None:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(10)
            child.kill()
        with lab.locked():
            lab.down()


def show_logs(lab: Lab, ks: list[int]) -> None:
    for k in ks:
        print(read(lab.path(k, "boot.log")), end="")


HOST_VERBS: dict[str, Callable[[Lab, list[int], Args], None]] = {
    "boot": lambda lab, ks, a: lab.boot(ks),
    "heal": lambda lab, ks, a: lab.heal(ks),
    "freeze": lambda lab, ks, a: lab.freeze(ks),
    "thaw": lambda lab, ks, a: lab.thaw(ks),
    "poweroff": lambda lab, ks, a: lab.poweroff(ks, a.how),
    "drop": lambda lab, ks, a: lab.drop(ks, a.how),
    "slow": lambda lab, ks, a: lab.slow(ks, a.delay, a.jitter, a.loss),
    "sshd": lambda lab, ks, a: lab.sshd(ks, a.what, [x for x in a.set if x] if a.set else None),
    "rekey": lambda lab, ks, a: lab.rekey(ks, a.trust),
    "fault": lambda lab, ks, a: lab.fault(ks, a.fault, not a.off),
    "logs": lambda lab, ks, a: show_logs(lab, ks),
}
LAB_VERBS: dict[str, Callable[[Lab, Args], None]] = {
    "down": lambda lab, a: lab.down(),
    "status": lambda lab, a: print("\n".join(map(json.dumps, lab.status()))),
    "inventory": lambda lab, a: print(lab.render(a.format), end=""),
}


def check() -> int:
    lacks = missing()
    print("\n".join("lacks " + x for x in lacks) or "this machine can hold test hosts")
    return 77 if lacks else 0


def main(argv: list[str]) -> int:
    cut = argv.index("--") if "--" in argv else len(argv)
    a, tail = parser().parse_args(argv[:cut]), argv[cut + 1 :]
    lab = Lab(a.name)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if a.verb == "check":
        return check()
    if a.verb == "run":
        return run(lab, a, tail)
    if a.verb == "up":
        start(lab, a)
        print(lab.render("json"), end="")
        return 0
    if a.verb == "exec":  # without the lock: it may run long
        return lab.exec(hosts(a.k, list(lab.hosts)), tail, a.root)
    with lab.locked():
        if a.verb in LAB_VERBS:
            LAB_VERBS[a.verb](lab, a)
        else:
            HOST_VERBS[a.verb](lab, hosts(a.k, list(lab.hosts)), a)
    return 0


def entry() -> int:
    try:
        return main(sys.argv[1:])
    except Fail as e:
        print(f"lab: {e}", file=sys.stderr)
        return 77 if isinstance(e, Unsupported) else 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(entry())
