"""A machine to attack: a node's home with secrets, another run, open sockets; and the sandbox
around a probe."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from node_agent.sandbox.detect import MACHINES, UID, write_etc
from node_agent.sandbox.policy import FILTER, FILTER_FD, Network, Tools, View, build_prefix
from node_agent.sandbox.shown import Programs, this_system
from tests.crowd import crowded

PROBE = Path(__file__).with_name("probe.py")
CALLS = MACHINES[os.uname().machine].numbers
PRLIMIT, PROCESSES = "/usr/bin/prlimit", 40
STRANGER = 61_190
"""Whom the node agent is where it is not root."""
ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
PYTHON = shutil.which("python3", path="/usr/bin:/bin") or os.path.realpath(sys.executable)


@dataclass
class Ground:
    """`as_root`: the node agent is root and steps down; else it is a user as any."""

    root: Path
    as_root: bool
    given: dict[str, str] = field(default_factory=dict)

    @property
    def tree(self) -> Path:
        return self.root / "n/work/r-1.1.1/tree"

    @property
    def home(self) -> Path:
        return self.tree.parent / "home"

    def build(self) -> None:
        git = self.tree.parent / "git"
        for folder in (
            self.tree,
            self.home,
            self.root / "n/key",
            self.root / "n/work/r-2.1.1",
            self.root / "o",
        ):
            folder.mkdir(parents=True)
        secret, other, theirs = (
            self.root / "n/key/node.key",
            self.root / "n/work/r-2.1.1/x",
            self.root / "o/x",
        )
        for file in (secret, other, theirs, self.root / "t"):
            file.write_text("secret\n")
        _repository(self.tree, git)
        write_etc(self.root / "n/run/wall")
        self.given |= {
            **{"tree": str(self.tree), "git": str(git), "node": str(self.root / "n"), "secret": str(secret)},
            **{"other": str(self.root / "o"), "other_run": str(other), "other_home": str(theirs)},
            **{"tmp_file": str(self.root / "t"), "socket": str(self.root / "s")},
            **{f"call {name}": str(number) for name, number in CALLS.items()},
        }
        owners = [self.tree, self.home, git] if self.as_root else [self.root]
        for owner in owners:
            _give(owner, UID if self.as_root else STRANGER)
        if self.as_root:
            (self.root / "n").chmod(0o700)

    def view(self, network: Network = Network.NONE, writable: bool = True, **more: object) -> View:
        system = this_system()
        programs = Programs(ENV["PATH"], "/root", system).shown(PYTHON)
        git = (self.given["git"], f"{self.tree}/.git")
        shown = (*programs, *git, str(PROBE), str(self.root / "n/run"))
        known = {"shown": shown, "hidden": (str(self.root / "n"),), "system": system, **more}
        etc = str(self.root / "n/run/wall")
        return View(str(self.tree), str(self.home), writable, network, etc, **known)  # type: ignore[arg-type]

    def argv(self, view: View, *command: str, as_first: bool = False) -> list[str]:
        if self.as_root:
            tools = Tools("/usr/bin/bwrap", "/usr/bin/setpriv", UID, PRLIMIT)
            return [
                *build_prefix(view, tools, processes=PROCESSES, calls=FILTER_FD, as_first=as_first),
                *command,
            ]
        down = ["setpriv", "--reuid", str(STRANGER), "--regid", str(STRANGER), "--clear-groups"]
        tools = Tools("/usr/bin/bwrap", prlimit=PRLIMIT)
        return [
            *down,
            *build_prefix(view, tools, processes=PROCESSES, calls=FILTER_FD, as_first=as_first),
            *command,
        ]

    def run(
        self, view: View, *command: str, as_first: bool = False, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """To its end; bubblewrap's own word on it is not asked for. `more`: of its environment."""
        env = {**ENV, "HOME": str(self.home), **more}
        calls = f"{view.etc}/{FILTER}"
        argv = ["sh", "-c", 'exec 4<"$1"; shift; exec "$@" 3>/dev/null', "sh", calls]
        argv += self.argv(view, *command, as_first=as_first)
        return subprocess.run(
            argv, env=env, capture_output=True, text=True, timeout=20 * crowded(), check=False, cwd="/"
        )

    def probe(self, view: View, given: Mapping[str, str] | None = None) -> dict[str, str]:
        done = self.run(view, PYTHON, "-I", "-S", str(PROBE), json.dumps({**self.given, **(given or {})}))
        assert done.stdout, done.stderr
        found: dict[str, str] = json.loads(done.stdout)
        return found


@contextmanager
def ground(as_root: bool) -> Iterator[Ground]:
    """Not below a folder of root's, or another could not enter; nor in one that is another one inside."""
    root = Path(tempfile.mkdtemp(prefix="pcw-", dir="/var/lib"))
    root.chmod(0o755)
    made = Ground(root, as_root)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, root)
        port, abstract = _listener(stack, socket.AF_INET, ("127.0.0.1", 0)), f"pcw-{os.getpid()}-{as_root}"
        _listener(stack, socket.AF_UNIX, f"\0{abstract}")
        _listener(stack, socket.AF_UNIX, str(root / "s"))
        (root / "s").chmod(0o777)
        made.given |= {"port": str(port), "abstract": abstract}
        made.build()
        yield made


def _listener(stack: ExitStack, family: int, address: object) -> int:
    sock = stack.enter_context(socket.socket(family))
    sock.bind(address)  # type: ignore[arg-type]
    sock.listen(8)
    return int(sock.getsockname()[1]) if family == socket.AF_INET else 0


def _repository(tree: Path, git: Path) -> None:
    who = ("-c", "user.name=n", "-c", "user.email=n@example.org")
    for words in (
        ("init", "-q", f"--separate-git-dir={git}", "."),
        ("add", "-A"),
        (*who, "commit", "-q", "--allow-empty", "-m", "one"),
    ):
        subprocess.run(["git", *words], cwd=tree, check=True, capture_output=True)


def _give(path: Path, owner: int) -> None:
    for root, folders, files in os.walk(path):
        for name in (".", *folders, *files):
            os.chown(os.path.join(root, name), owner, owner, follow_symlinks=False)
