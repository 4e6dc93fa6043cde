"""Real git repositories for the tests of code transport, and a proof that nothing in one was touched."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from node_agent.wire.git import SAFE_CONFIG, git_env
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Workspace
from node_agent.workspace.git import from_words
from node_agent.workspace.workspaces import Workspaces
from pancode.git.depot import Depot
from pancode.git.runner import Git
from pancode.git.snapshot import Snapshot, SnapshotOptions, take_snapshot

NOW_MS = 1_790_000_000_000
_WHO = {
    f"GIT_{role}_{key}": "tester@localhost" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")
}


class Repo:
    """A repository with a working tree, driven by plain git as a user or an agent would."""

    def __init__(self, path: Path, *, init: bool = True, object_format: str = "sha1") -> None:
        self.path = path
        if init:
            path.mkdir(parents=True, exist_ok=True)
            self.git("init", "-q", "-b", "main", f"--object-format={object_format}")

    def git(self, *args: str, check: bool = True, stdin: bytes = b"") -> str:
        """Plain git without anybody's global configuration; its output without the last newline."""
        plain = {"PATH": os.environ["PATH"], "HOME": str(self.path.parent), "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", *args],
            cwd=self.path,
            env=plain | {"GIT_CONFIG_GLOBAL": "/dev/null", "LC_ALL": "C.UTF-8"} | _WHO,
            input=stdin,
            capture_output=True,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"git {args}: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode("utf-8", "surrogateescape").rstrip("\n")

    def write(self, name: str | bytes, data: str | bytes = "x\n") -> Path:
        target = Path(os.fsdecode(os.path.join(os.fsencode(self.path), os.fsencode(name))))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data.encode() if isinstance(data, str) else data)
        return target

    def commit(self, message: str = "c") -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.head

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    @property
    def common_dir(self) -> Path:
        return Path(self.git("rev-parse", "--path-format=absolute", "--git-common-dir"))


def simple(path: Path, commits: int = 3) -> Repo:
    repo = Repo(path)
    for number in range(1, commits + 1):
        repo.write(f"f{number}", f"{number}\n")
        repo.commit(f"c{number}")
    return repo


def cloned(source: Repo, path: Path, *options: str) -> Repo:
    source.git("clone", "-q", *options, f"file://{source.path}", str(path))
    return Repo(path, init=False)


def fingerprint(folder: Path, *, times: bool = True, without: str = "") -> dict[str, tuple[object, ...]]:
    """Everything about every entry below `folder`: kind, mode, size, times, inode, content."""
    seen: dict[str, tuple[object, ...]] = {}
    for root, folders, files in os.walk(folder):
        if without in folders:
            folders.remove(without)
        for name in [*folders, *files]:
            path = os.path.join(root, name)
            at = os.lstat(path)
            clock = (at.st_mtime_ns, at.st_ctime_ns, at.st_ino) if times else ()
            seen[os.path.relpath(path, folder)] = (
                at.st_mode,
                at.st_size * stat.S_ISREG(at.st_mode),
                *clock,
                _content(path, at),
            )
    return seen


def _content(path: str, at: os.stat_result) -> str:
    if stat.S_ISLNK(at.st_mode):
        return os.readlink(path)
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if stat.S_ISREG(at.st_mode) else ""


def snap(repo: Repo, depot: Depot, run: str = "r-aaaa") -> Snapshot:
    return take_snapshot(repo.path, depot, run, SnapshotOptions(NOW_MS, environ={"PATH": os.environ["PATH"]}))


def tree_of(depot: Depot, taken: Snapshot, commit: str | None = None) -> dict[str, tuple[str, bytes]]:
    """`{path: (mode, content)}` of a commit in the depot."""
    git = depot.git(taken.repo_id)
    listed = git.must("ls-tree", "-r", "-z", commit or taken.snapshot_commit).out.split(b"\0")
    lines = [line.split(b"\t", 1) for line in listed if line]
    entries = [(*head.decode().split(), name.decode("utf-8", "surrogateescape")) for head, name in lines]
    blobs = _blobs(git, sorted({oid for _, kind, oid, _ in entries if kind == "blob"}))
    return {name: (mode, blobs.get(oid, b"")) for mode, _, oid, name in entries}


def _blobs(git: Git, oids: list[str]) -> dict[str, bytes]:
    out = git.must(
        "cat-file", "--batch=%(objectsize)", stdin="".join(f"{oid}\n" for oid in oids).encode()
    ).out
    found, at = {}, 0
    for oid in oids:
        end = out.index(b"\n", at)
        size = int(out[at:end])
        found[oid] = out[end + 1 : end + 1 + size]
        at = end + size + 2
    return found


def sound(depot: Depot, taken: Snapshot) -> None:
    """The depot misses nothing that its refs need."""
    assert depot.git(taken.repo_id).ask("fsck", "--connectivity-only").ok


def workspace_of(taken: Snapshot) -> Workspace:
    return Workspace(
        kind="git",
        repo=taken.repo_id,
        base=taken.base_commit,
        snapshot=taken.snapshot_commit,
        object_format="sha256" if taken.object_format == "sha256" else "sha1",
    )


def attempt(run: str = "r-aaaa", number: int = 1, lease: int = 1) -> AttemptId:
    return AttemptId(run=run, attempt=number, lease=lease)


def leave_a_mess(spaces: Workspaces, workspace: Workspace, who: AttemptId) -> None:
    """An attempt is over whose agent changed every file and its repository: a warm checkout waits."""
    tree = spaces.prepare(who, workspace)
    spaces.home(who, {})
    for path in [path for path in tree.iterdir() if path.name != ".git"]:
        path.unlink()
        path.write_text("of the agent before\n")
    (tree / "planted").mkdir()
    (tree / "planted" / ".gitignore").write_text("*\n")
    agent = Repo(tree, init=False)
    agent.git("config", "core.fsmonitor", "/bin/evil")
    agent.git("branch", "of-the-agent-before")
    spaces.remove(who, workspace)
    assert list((tree.parents[1] / ".warm").iterdir()) != []


class PathTransport:
    """Objects by path instead of over a stream, for tests that are not about the stream."""

    def __init__(self, depot: Depot, repo_id: str) -> None:
        self._depot = depot.path(repo_id)
        self.fetches = 0

    def fetch(self, identity: AttemptId, repository: Path, ref: str) -> None:
        self.fetches += 1
        self._git(
            repository, "fetch", "-q", "--update-shallow", "--no-tags", str(self._depot), f"+{ref}:{ref}"
        )

    def push(self, identity: AttemptId, repository: Path, commit: str) -> None:
        self._git(repository, "push", "-q", str(self._depot), f"{commit}:{identity.ref}")

    def _git(self, repository: Path, *args: str) -> None:
        env = git_env(os.environ, {"protocol.file.allow": "always"}) | {"GIT_DIR": str(repository)}
        assert SAFE_CONFIG["protocol.allow"] == "never"
        done = subprocess.run(["git", *args], cwd=repository, env=env, check=False, capture_output=True)
        if done.returncode:
            raise from_words(f"git {args[0]}", done.stderr.decode())


def unprivileged_git(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions bind git, even where the tests run as root."""
    folder.mkdir()
    wrapper, real = folder / "git", shutil.which("git")
    drop = "setpriv --bounding-set=-dac_override,-dac_read_search" if os.geteuid() == 0 else ""
    wrapper.write_text(f'#!/bin/sh\nexec {drop} {real} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
