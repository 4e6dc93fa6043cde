"""Changes copies of skills on this computer and fetches commits with skills, without a coordinator."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pancode.git.runner import Git, run_git, safe_env
from pancode.kernel.errors import ConfigError, NotFoundError, UsageError
from pancode.kernel.formatting import count_noun, format_bytes
from pancode.skills.copies import act
from pancode.skills.copy_requests import SkillsAsked

FETCH_S = 300.0
MOST_FETCHED, MOST_BLOBS = 64 << 20, 2000
_EVERY_REF = "+refs/*:refs/fetched/*"
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PROTOCOLS = ("https", "ssh", "file")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://|[^/\s]+@[^/\s]+:|[^/\s:]+:[^\s]")


def act_here(request: SkillsAsked, home: Path) -> dict[str, Any]:
    """Carry out a request on the copies below this home. ConfigError with the text of the answer's error."""
    answer = act(home, request.request())
    if "need" in answer:
        answer = act(home, request.request(answer["need"]))
    if "error" in answer:
        fix = f"check: ls -la {home}/.pancode-skills"
        raise ConfigError("cannot read or write the copies of skills", why=answer["error"], fix=fix)
    return answer


def is_address(where: str) -> bool:
    """Whether this is a git address and not a folder."""
    return not Path(where).exists() and _ADDRESS.match(where) is not None


@contextmanager
def fetch_folder(address: str, commit: str | None, path: str) -> Iterator[Path]:
    """Yield a temporary folder with that commit's files below `path`; none of them is run. UsageError without
    a full commit id; NotFoundError if the commit cannot be fetched."""
    if commit is None or not _COMMIT.fullmatch(commit):
        raise UsageError(
            "a skill from a git address requires the full id of the commit that you reviewed",
            why="a branch may contain other instructions tomorrow",
            fix=f"git ls-remote {address} HEAD; then: pancode skills add {address} --commit COMMIT",
            code="no_commit",
        )
    with tempfile.TemporaryDirectory(prefix="pancode-skills-") as made:
        top = Path(made)
        git = _make_git(top)
        git.must("init", "--quiet", "--bare", str(top / "git"))
        # Some servers only send commits that a ref names.
        if not (
            _fetch_commit(git, commit, address, commit, "--depth=1")
            or _fetch_commit(git, commit, address, _EVERY_REF)
        ):
            raise NotFoundError(
                f"cannot read commit {commit[:12]} from {address}",
                fix=f"git ls-remote {address}; if the address needs a password, clone it and add the "
                "directory",
                code="commit_not_found",
            )
        files = top / "files"
        files.mkdir()
        _write(git, commit, path, files)
        yield files / path


def find_newest_commit(address: str) -> str:
    """Return the commit that HEAD has at the address. NotFoundError."""
    with tempfile.TemporaryDirectory(prefix="pancode-skills-") as made:
        output = _make_git(Path(made)).call("ls-remote", "--", address, "HEAD")
        done = run_git(replace(output, timeout_s=FETCH_S))
    commit = done.text().partition("\t")[0]
    if not done.ok or not _COMMIT.fullmatch(commit):
        raise NotFoundError(
            f"cannot read {address}, or it has no commits",
            fix=f"git ls-remote {address} HEAD",
            code="commit_not_found",
        )
    return commit


def _make_git(top: Path) -> Git:
    """Return a git for untrusted addresses: no local settings, no prompts, only the listed protocols."""
    config = {f"protocol.{name}.allow": "always" for name in _PROTOCOLS}
    config |= {"protocol.version": "2", "core.sshCommand": "ssh -o BatchMode=yes"}
    login = {name: os.environ[name] for name in ("SSH_AUTH_SOCK",) if name in os.environ}
    return Git(top, {**safe_env(config), **login, "GIT_DIR": str(top / "git")})


def _fetch_commit(git: Git, commit: str, address: str, refs: str, *options: str) -> bool:
    """Fetch the commit, and return whether it arrived."""
    call = git.call("fetch", "--quiet", "--no-tags", *options, "--", address, refs)
    return (
        run_git(replace(call, timeout_s=FETCH_S)).ok and git.ask("cat-file", "-e", f"{commit}^{{commit}}").ok
    )


def _write(git: Git, commit: str, below: str, folder: Path) -> None:
    """Write the commit's files without git's checkout, to ignore the repository's hooks and attributes."""
    listed = git.text("ls-tree", "-r", "-z", "-l", "--full-tree", commit, *([below] if below else []))
    entries = [line.split("\t", 1) for line in listed.split("\0") if line]
    blobs = [(*about.split(), path) for about, path in entries]
    total = sum(int(blob[3]) for blob in blobs if blob[3] != "-")
    if total > MOST_FETCHED or len(blobs) > MOST_BLOBS:
        most = f"at most {MOST_BLOBS} files and {format_bytes(MOST_FETCHED)} are allowed"
        what = f"the commit has {count_noun(len(blobs), 'file')}, {format_bytes(total)}; {most}"
        raise UsageError(what, fix="name the directory of the skill: --path FOLDER", code="too_big")
    for mode, kind, digest, _, path in blobs:
        target = folder / path
        if kind != "blob" or ".." in path.split("/") or path.startswith("/"):
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if mode == "120000":
                # The link is reported later as a link; its real target is not used.
                target.symlink_to("/dev/null/link")
                continue
            git.must("cat-file", "blob", digest, stdout=target)
            target.chmod(0o755 if mode == "100755" else 0o644)
        except OSError as exc:  # On a case-insensitive file system, a link may be in the way of this file.
            what = f"cannot write {path} of the commit next to its other files"
            raise UsageError(
                what, why=str(exc), fix="clone the repository and add the directory", code="bad_tree"
            ) from exc
