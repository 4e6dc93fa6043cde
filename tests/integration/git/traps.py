"""A repository in which every key that names a program names a trap; a trap that is run leaves evidence."""

from __future__ import annotations

from pathlib import Path

from tests.integration.git.repos import Repo, simple

HOOKS = (
    "post-index-change",
    "reference-transaction",
    "pre-commit",
    "post-commit",
    "commit-msg",
    "prepare-commit-msg",
    "pre-push",
    "post-checkout",
    "post-merge",
    "pre-auto-gc",
    "pre-receive",
    "update",
    "post-receive",
    "post-update",
    "proc-receive",
)
KEYS = (
    "core.fsmonitor",
    "core.sshCommand",
    "core.gitProxy",
    "core.alternateRefsCommand",
    "core.pager",
    "core.editor",
    "core.askPass",
    "diff.external",
    "diff.evil.textconv",
    "diff.evil.command",
    "filter.evil.clean",
    "filter.evil.smudge",
    "filter.evilproc.process",
    "merge.evil.driver",
    "gpg.program",
    "sequence.editor",
    "trailer.x.command",
    "uploadpack.packObjectsHook",
)


class Traps:
    """Where the traps and their evidence lie."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder

    def trap(self, name: str) -> str:
        path = self._folder / f"trap-{name}"
        path.write_text(f"#!/bin/sh\ntouch '{self._folder}/RAN-{name}'\ncat\n")
        path.chmod(0o755)
        return str(path)

    def sprung(self) -> list[str]:
        return sorted(path.name for path in self._folder.glob("RAN-*"))

    def reset(self) -> None:
        for path in self._folder.glob("RAN-*"):
            path.unlink()

    def arm(self, git_dir: Path, repo: Repo) -> None:
        """Name a trap in every key and hook of a repository (`repo` may be an agent's view of `git_dir`)."""
        (git_dir / "hooks").mkdir(exist_ok=True)
        for hook in HOOKS:
            (git_dir / "hooks" / hook).symlink_to(self.trap(f"hook-{hook}"))
        for key in KEYS:
            repo.git("config", key, self.trap(key))
        repo.git("config", "filter.evilproc.required", "true")
        repo.git("config", "commit.gpgSign", "true")
        repo.git("config", "credential.helper", "!" + self.trap("credential"))
        for alias in ("add", "status", "ls-files", "update-index", "write-tree", "commit-tree"):
            repo.git("config", f"alias.{alias}", "!" + self.trap(f"alias-{alias}"))
        repo.git("config", "remote.origin.url", "ext::" + self.trap("ext"))
        repo.git("config", "remote.origin.promisor", "true")
        repo.git("config", "extensions.partialClone", "origin")


def hostile(path: Path, traps: Traps) -> Repo:
    """Armed, and dirty in every way that makes git look at its programs."""
    repo = simple(path)
    attributes = "*.dat filter=evil diff=evil merge=evil\n*.proc filter=evilproc\n*.crypt filter=evil\n"
    repo.write(".gitattributes", attributes)
    repo.write("b.dat", "b\n")
    repo.write("run.sh", "#!/bin/sh\n").chmod(0o755)
    (path / "link").symlink_to("/etc/passwd")
    repo.commit()
    for name in ("sub", "nested"):
        inner = simple(path / name, 1)
        if name == "sub":
            repo.git("add", "sub")
            repo.git("commit", "-q", "-m", "sub")
        inner.write("f1", "dirty\n")
        inner.write(".gitattributes", "* filter=evil\n")
        traps.arm(path / name / ".git", inner)
    Repo(path / "nested-unborn")
    repo.write("f1", "changed\n")
    repo.write("new", "new\n")
    traps.arm(path / ".git", repo)
    traps.reset()
    return repo
