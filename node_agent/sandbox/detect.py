"""Checks whether this machine can build the sandbox, and explains what is missing and how to fix it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from node_agent.files.durable import write_atomic
from node_agent.sandbox.policy import BLANK, INSIDE_UID, Network, System, Tools, View, prefix
from node_agent.sandbox.syscalls import FILTER, program
from node_agent.wire.node import NodeProblem, no_sandbox

TRIAL_S = 10
UID = 60_706
"""The first of those that no distribution's accounts and no systemd gives away; a trial steps down to it."""
UIDS = 478
PROCESSES = 100
COUNTS_BY_NAMESPACE = (5, 14)
"""Of Linux: since then a limit of processes that is set inside a user namespace counts what is in it."""
FILES = {
    "passwd": f"agent:x:{INSIDE_UID}:{INSIDE_UID}::/tmp:/bin/sh\n",
    "group": f"agent:x:{INSIDE_UID}:\n",
    "hosts": "127.0.0.1 localhost\n",
}
"""Of /etc inside: some programs fail without an entry of their user, and `localhost` needs a name."""
INSTALL = "sudo apt-get install bubblewrap (or your system's package of that name)"
_KNOWN = (
    (
        "setting up uid map: Permission denied",
        "AppArmor forbids user namespaces",
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for bwrap "
        "that allows `userns,`",
    ),
    (
        "RTM_NEWADDR",
        "AppArmor forbids the sandbox's own network",
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for bwrap "
        "that allows `userns,`",
    ),
    (
        "No permissions to creat",
        "user namespaces are switched off, or a container forbids them",
        "sudo sysctl -w kernel.unprivileged_userns_clone=1; in a container: a seccomp profile that allows "
        "user namespaces",
    ),
    (
        "max_*_namespaces exceeded",
        "no user namespaces are left, or this is a sandbox itself",
        "sudo sysctl -w user.max_user_namespaces=15000",
    ),
    (
        "Can't mount proc",
        "a container hides parts of /proc",
        "run the node agent outside of the container",
    ),
    (
        "PR_SET_SECCOMP",
        "the kernel, or a container, takes no filter of system calls",
        "a kernel with CONFIG_SECCOMP_FILTER, or run the node agent outside of the container",
    ),
    ("Unknown option", "bubblewrap is older than 0.8", INSTALL),
)
"""(part of bubblewrap's words, why, what mends it)."""


UNKNOWN = (
    "bubblewrap failed",
    "see its message; try on that machine: bwrap --ro-bind / / --unshare-user true",
)


@dataclass(frozen=True, slots=True)
class WallTools:
    """`tools`: None when there is no wall; then `problem` says why. `passing`: it may be otherwise soon.

    `landlock`: there is the lesser one in its place.
    """

    tools: Tools | None
    problem: NodeProblem | None = None
    passing: bool = False
    landlock: bool = False


def detect(path: str, folder: Path, system: System, is_root: bool, shown: Sequence[str] = ()) -> WallTools:
    """A real trial: the wall as a run has it, around `true`. Never raises.

    `folder`: for files of ours; `shown`: what every run is shown.
    """
    bwrap = shutil.which("bwrap", path=path)
    if bwrap is None:
        return _none("bubblewrap is not installed", INSTALL)
    setpriv = shutil.which("setpriv", path=path) if is_root else ""
    if setpriv is None:
        return _none(
            "setpriv is not installed, and the node agent is root", "sudo apt-get install util-linux"
        )
    tools = Tools(bwrap, setpriv, UID if is_root else None)
    counting = replace(tools, prlimit=_prlimit(path, is_root))
    try:
        write_etc(folder)
        if counting != tools and not _tried(counting, folder, system, tuple(shown)):
            return WallTools(counting)
        message = _tried(tools, folder, system, tuple(shown))
    except subprocess.TimeoutExpired:
        found = _none(f"bubblewrap was not done within {TRIAL_S} s", "nothing: it is soon tried again")
        return replace(found, passing=True)
    except (OSError, ValueError) as exc:
        return _none(f"bubblewrap does not start: {exc}", INSTALL)
    return WallTools(tools) if not message else explained(message)


def _prlimit(path: str, is_root: bool) -> str:
    """Empty where a limit would count all that this user has running; who steps down is a user of its own."""
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    by_namespace = release is not None and tuple(map(int, release.groups())) >= COUNTS_BY_NAMESPACE
    return (shutil.which("prlimit", path=path) or "") if is_root or by_namespace else ""


def explained(message: str) -> WallTools:
    """Explains an error message of bubblewrap."""
    last = message.strip().splitlines()[-1]
    why, fix = next(((why, fix) for part, why, fix in _KNOWN if part in last), UNKNOWN)
    return _none(f"{why}: {last}"[:500], fix)


def write_etc(folder: Path) -> None:
    """The few files of /etc that are ours, for everybody to read, and the filter of calls. Idempotent."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    files = {name: text.encode() for name, text in FILES.items()}
    for name, data in {**files, FILTER: program(os.uname().machine)}.items():
        target = folder / name
        if not target.is_file() or target.read_bytes() != data:
            write_atomic(target, data, sync=False)  # a step may be about to read it
        target.chmod(0o644)
    blank = folder / BLANK
    if not os.path.lexists(blank):
        blank.touch()
    blank.chmod(0o000)


def _tried(tools: Tools, folder: Path, system: System, shown: tuple[str, ...]) -> str:
    """Nothing when it worked, else what was said."""
    with tempfile.TemporaryDirectory(prefix="trial-", dir=folder) as place:
        tree, home = os.path.join(place, "tree"), os.path.join(place, "home")
        for own in (tree, home):
            os.mkdir(own)
            if tools.uid is not None:
                os.chown(own, tools.uid, tools.uid)
        view = View(tree, home, True, Network.NONE, str(folder), system, shown)
        with (folder / FILTER).open("rb") as calls:
            number = calls.fileno() if os.fstat(calls.fileno()).st_size else None
            done = subprocess.run(
                [*prefix(view, tools, 1, PROCESSES, number), "true"],
                env={"PATH": os.defpath, "LC_ALL": "C"}, cwd="/", pass_fds=(calls.fileno(),),
                stdin=subprocess.DEVNULL, capture_output=True, timeout=TRIAL_S, check=False,
                start_new_session=True,
            )  # fmt: skip
    message = done.stderr.decode("utf-8", "replace").strip()
    return "" if done.returncode == 0 else message or f"exit {done.returncode}"


def _none(why: str, fix: str) -> WallTools:
    return WallTools(None, no_sandbox(why, fix))
