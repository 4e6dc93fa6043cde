"""Reads facts about the user's repository; changes no byte of it and runs no program that it names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from node_agent.wire.git.gitsafe import (
    DRIVER_KEYS,
    GitCall,
    filter_names,
    git_env,
    neutral_drivers,
    split_nul,
)
from pancode.adapters.git.errors import GitRefusal
from pancode.adapters.git.safe import Git, run_git, safe_env

_NO_GIT_FIX = "run `git init` there, or dispatch with `--workspace none`"


@dataclass(frozen=True, slots=True)
class UserSettings:
    """The used part of the user's own git configuration: ignore file, line ends, filters with a program."""

    excludes: str
    line_ends: Mapping[str, str]
    filters: frozenset[str]


@dataclass(frozen=True, slots=True)
class GitProject:
    """A repository with a working tree. `head` is None on an unborn branch, `branch` None when detached."""

    top: Path
    git_dir: Path
    common_dir: Path
    """Of all its worktrees."""
    objects: Path
    shallow_file: Path
    head: str | None
    branch: str | None
    object_format: str
    partial: bool
    filters: frozenset[str]
    env: Mapping[str, str]
    repo_id: str

    @property
    def shallow(self) -> bool:
        return self.shallow_file.exists()

    @property
    def git(self) -> Git:
        """Hardened git on the user's repository; reads only, as long as its caller does."""
        return Git(self.top, self.env)


_PARTIAL = r"^(extensions\.partialclone|remote\..*\.promisor)$"
_ASKED = (
    *("--show-toplevel", "--absolute-git-dir", "--git-common-dir"),
    *("--git-path objects", "--git-path shallow", "--show-object-format"),
)


def open_project(
    path: Path, environ: Mapping[str, str] | None = None, repo_id: str | None = None
) -> GitProject:
    """Look at the repository around `path`. GitRefusal when there is none that may be used.

    `repo_id`: where it is known already; to find it, the history is walked.
    """
    folder = path.resolve()
    if not folder.is_dir():
        raise GitRefusal(f"{path} is not a folder", fix="give a folder inside a git repository")
    seen = Git(folder, safe_env())
    around, git_dir, common_dir, objects, shallow_file, told = _facts(seen, folder)
    top, object_format = _top(around, folder), os.fsdecode(told)
    settings = user_settings(os.environ if environ is None else environ)
    named = seen.ask("config", "--null", "--name-only", "--get-regexp", f"{DRIVER_KEYS}|{_PARTIAL}").out
    partial = [name for name in split_nul(named) if name.startswith((b"extensions.", b"remote."))]
    drivers = b"\0".join(name for name in split_nul(named) if name not in partial)
    config = {**neutral_drivers(drivers), "core.excludesFile": settings.excludes, **settings.line_ends}
    env = safe_env(config) | {"GIT_DIR": os.fsdecode(git_dir), "GIT_WORK_TREE": str(top)}
    git = Git(top, env)
    head = git.ask("rev-parse", "-q", "--verify", "HEAD^{commit}").text() or None
    return GitProject(
        top=top,
        git_dir=Path(os.fsdecode(git_dir)),
        common_dir=Path(os.fsdecode(common_dir)),
        objects=Path(os.fsdecode(objects)),
        shallow_file=Path(os.fsdecode(shallow_file)),
        head=head,
        branch=git.ask("symbolic-ref", "-q", "--short", "HEAD").text() or None,
        object_format=object_format,
        partial=bool(partial),
        filters=filter_names(drivers) | settings.filters,
        env=env,
        repo_id=repo_id or _repo_id(git, top, head, object_format),
    )


def _facts(seen: Git, folder: Path) -> list[bytes]:
    """The answers to _ASKED. All by one git, and one by one where a name has a line end in it."""
    asked = ("rev-parse", "--path-format=absolute")
    done = seen.ask(*asked, *(word for question in _ASKED for word in question.split()))
    if not done.ok or not done.out.strip():
        raise _no_tree(folder, done.err)
    told = done.out.removesuffix(b"\n").split(b"\n")
    if len(told) == len(_ASKED):
        return told
    return [seen.must(*asked, *question.split()).out.removesuffix(b"\n") for question in _ASKED]


def _top(around: bytes, folder: Path) -> Path:
    top = Path(os.fsdecode(around)).resolve()
    # core.worktree of a hostile repository may point at any folder of the user's.
    if top != folder and top not in folder.parents:
        raise GitRefusal(
            f"the repository around {folder} says that its files are in {top}",
            why="its configuration has core.worktree",
            fix="dispatch from inside the working tree",
            paths=(str(top),),
        )
    return top


def _no_tree(folder: Path, err: str) -> GitRefusal:
    if "dubious ownership" in err:
        return GitRefusal(
            f"the repository around {folder} belongs to another user",
            why="git refuses it, and so does PanCode: its owner could run programs as you",
            fix=f"change its owner (chown -R), or work in a clone of your own: git clone {folder}",
        )
    if "must be run in a work tree" in err:
        return GitRefusal(
            f"{folder} is a bare repository", why="it has no working tree", fix="use a clone of it"
        )
    return GitRefusal(
        f"{folder} is not in a git repository", why=err.splitlines()[0] if err else "", fix=_NO_GIT_FIX
    )


def _repo_id(git: Git, top: Path, head: str | None, object_format: str) -> str:
    """The same for one path, history and object format; a hash, so that no path enters a wire name."""
    root = git.text("rev-list", "--first-parent", "--max-parents=0", head) if head else ""
    seed = b"\0".join((object_format.encode(), os.fsencode(top), root.encode()))
    return "p-" + hashlib.sha256(seed).hexdigest()[:24]


def asked_of_user(environ: Mapping[str, str], *question: str) -> bytes:
    """The user's own configuration (never the repository's): reading it runs nothing."""
    env = {k: v for k, v in git_env(environ).items() if k in ("PATH", "LC_ALL", "GIT_TERMINAL_PROMPT")}
    env |= {
        k: environ[k]
        for k in ("HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM")
        if k in environ
    }
    # A GIT_DIR that is no repository keeps the one around us out of the answer.
    env |= {"GIT_DIR": "/dev/null/none"}
    return run_git(GitCall(("config", *question), env, Path("/"))).out


def user_settings(environ: Mapping[str, str]) -> UserSettings:
    """The part of it that is used here."""
    asked = rf"^core\.(excludesfile|autocrlf|eol)$|{DRIVER_KEYS}"
    rows = [
        row.partition(b"\n") for row in split_nul(asked_of_user(environ, "--null", "--get-regexp", asked))
    ]
    values = {key: value for key, _, value in rows}
    home = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", "/nonexistent"), ".config")
    excludes = values.get(b"core.excludesfile", b"")
    if excludes.startswith((b"~", b"%")):  # of a user's home, or of git's own folder
        excludes = asked_of_user(environ, "--type=path", "--get", "core.excludesFile").rstrip(b"\n")
    fallback = os.path.join(home, "git", "ignore")
    lines = {key: values.get(key.encode(), b"").decode().strip() for key in ("core.autocrlf", "core.eol")}
    return UserSettings(
        excludes=os.fsdecode(excludes) or (fallback if os.path.exists(fallback) else "/dev/null"),
        line_ends={key: value for key, value in lines.items() if value},
        filters=filter_names(b"\0".join(values)),
    )
