"""A user's dirty tree, a snapshot of it in a depot, and an agent's copy in which results are made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pancode.git.depot import Depot
from pancode.git.landings import LandReport, LandRequest
from pancode.git.tree.tree_landing import land
from tests.integration.git.repos import Repo, fingerprint, snap

Act = Callable[[Repo], object]
LINES = "".join(f"{number}\n" for number in range(1, 21))


class Trees:
    """The user's dirty tree, a snapshot of it, and an agent's copy to make a result in."""

    def __init__(self, tmp_path: Path, depot: Depot) -> None:
        self.depot = depot
        self.user = Repo(tmp_path / "user")
        for name in "abcde":
            self.user.write(name, LINES)
        self.user.write("x.sh", "x\n")
        self.user.write("dd/inner", "i\n")
        self.user.write(".gitignore", "ig\nigdir/\n")
        self.user.commit("base")
        self.user.write("a", LINES.replace("20\n", "user20\n"))
        self.user.write("u", "untracked\n")
        self.user.write("e", LINES + "staged\n")
        self.user.git("add", "e")
        self.user.write("ig", "secret")
        self.taken = snap(self.user, depot)
        self.agent = Repo(tmp_path / "agent")
        self.agent.git("fetch", "-q", str(depot.path(self.taken.repo_id)), "refs/pancode/snap/r-aaaa")
        self.agent.git("checkout", "-q", "--detach", "FETCH_HEAD")

    def result(self, act: Act) -> LandRequest:
        act(self.agent)
        self.agent.git("add", "-A", "-f")
        self.agent.git("commit", "-q", "-m", "agent", "--allow-empty")
        target = str(self.depot.path(self.taken.repo_id))
        self.agent.git("push", "-q", "-f", target, "HEAD:refs/pancode/r-aaaa/1.1")
        return LandRequest(self.taken.repo_id, self.taken.snapshot_commit, self.agent.head, {})

    def land(self, request: LandRequest, **more: object) -> LandReport:
        return land(self.user.path, self.depot, request, **more)  # type: ignore[arg-type]

    def tree(self) -> dict[str, tuple[object, ...]]:
        """Every file of the tree, to mode, size, modification time, inode and content."""
        seen = fingerprint(self.user.path, without=".git")
        files = {name: value for name, value in seen.items() if not (self.user.path / name).is_dir()}
        # Not the time of the inode's last change: a file that was moved aside and back has another one.
        return {name: (*value[:3], *value[4:]) for name, value in files.items()}

    def contents(self) -> dict[str, tuple[object, ...]]:
        """Every file of the tree, to mode and content."""
        seen = fingerprint(self.user.path, times=False, without=".git")
        return {name: value for name, value in seen.items() if not (self.user.path / name).is_dir()}


def edit_c(agent: Repo) -> None:
    agent.write("c", LINES + "k\n")


def edit_a_line(agent: Repo) -> None:
    text = (agent.path / "a").read_text()
    agent.write("a", text.replace("1\n2\n", "agent1\n2\n", 1))


def everything(agent: Repo) -> None:
    """Edit, create, delete, in folders that appear and vanish; a mode and a link."""
    edit_a_line(agent)
    agent.write("new", "n\n")
    agent.write("dir/sub/z", "z\n")
    (agent.path / "b").unlink()
    (agent.path / "dd" / "inner").unlink()
    (agent.path / "x.sh").chmod(0o755)
    (agent.path / "ln").symlink_to("a")
