"""Reads facts about the user's repository; does not modify it, and runs no program that it configures."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from shlex import quote

from node_agent.wire.git import DRIVER_KEYS, GitCall, filter_names, git_env, neutral_drivers, stamp_env
from pancode.git.runner import Git, GitRefusal, run_git, safe_env
from pancode.kernel.errors import UsageError
from pancode.kernel.states import IdentityVariable

_NO_GIT_FIX = "run `git init` there, or dispatch with `--workspace none`"


@dataclass(frozen=True, slots=True)
class GitProject:
    """A repository with a working tree. `head` is None on an unborn branch, `branch` None when detached."""

    top: Path
    git_dir: Path
    common_dir: Path
    """The git folder that all worktrees of the repository share."""
    objects: Path
    shallow_file: Path
    head: str | None
    branch: str | None
    object_format: str
    partial: bool
    filters: frozenset[str]
    attributes: str
    """The user's own file of git attributes, or `/dev/null`."""
    line_ends: Mapping[str, str]
    """The settings for line endings."""
    user: Mapping[str, str]
    """The user's identity from git's settings, where set: `user.name`, then `user.email`."""
    signing: tuple[tuple[str, str], ...] | None
    """Git's signing settings if git is configured to sign each commit, else None. A setting that names a
    program is used only if it is in the user's own files."""
    merging: Mapping[str, str]
    """The settings that decide how git merges."""
    merge_drivers: frozenset[str]
    """The names of the merge programs in git's settings."""
    env: Mapping[str, str]
    repo_id: str

    @property
    def shallow(self) -> bool:
        return self.shallow_file.exists()

    @property
    def git(self) -> Git:
        """Return hardened git on the user's repository; read-only unless the caller adds write settings."""
        return Git(self.top, self.env)


NOBODY = {"user.name": "pancode", "user.email": "pancode@localhost"}
"""The author and committer of commits where git knows none."""
_PARTIAL = r"^(extensions\.partialclone|remote\..*\.promisor)$"
_SIGNS = r"^user\.(name|email|signingkey)$|^commit\.gpgsign$|^gpg\."
_MERGES = r"^merge\.(default|renames|renamelimit|directoryrenames|renormalize)$|^diff\.(renames|renamelimit)$"
_SETTINGS = rf"{_PARTIAL}|{DRIVER_KEYS}|{_MERGES}|^core\.(excludesfile|attributesfile|autocrlf|eol)$|{_SIGNS}"
_ASKED = (
    *("--show-toplevel", "--absolute-git-dir", "--git-common-dir"),
    *("--git-path objects", "--git-path shallow", "--show-object-format"),
)


def find_top(folder: str) -> str | None:
    """Return the top of the git repository that contains the folder, links resolved; None if there is none.
    UsageError if it cannot be a directory that one may enter."""
    try:
        here = Path(folder).expanduser().resolve()
        found = next((top for top in (here, *here.parents) if (top / ".git").exists()), None)
    except (OSError, RuntimeError, ValueError) as exc:  # no such user, too long, a loop of links, NUL
        why, fix = str(exc)[:200], "give the absolute path of a folder on this machine"
        raise UsageError(f"{folder[:80]!r} is not a directory", why=why, fix=fix, code="bad_folder") from exc
    return None if found is None else str(found)


def open_project(
    path: Path, environ: Mapping[str, str] | None = None, repo_id: str | None = None
) -> GitProject:
    """Read the facts of the repository around `path`. GitRefusal if there is none that may be used.
    `repo_id`: pass the id if known, because computing it walks the whole history."""
    folder = path.resolve()
    if not folder.is_dir():
        raise GitRefusal(f"{path} is not a directory", fix="give a directory inside a git repository")
    environ = os.environ if environ is None else environ
    around, git_dir, common_dir, objects, shallow_file, *files = _read_facts(folder, environ)
    top, (object_format, head, branch) = _check_top(around, folder), map(os.fsdecode, files)
    rows = _read_settings(environ, folder)
    own = {key: value for own, key, value in rows if own}
    named = [key for own, key, _ in rows if not own]
    config = neutral_drivers(_select_drivers(named)) | {"core.excludesFile": _find_excludes(environ, own)}
    env = safe_env({**config, **_line_ends(own)})
    env |= {"GIT_DIR": os.fsdecode(git_dir), "GIT_WORK_TREE": str(top)}
    return GitProject(
        top=top,
        git_dir=Path(os.fsdecode(git_dir)),
        common_dir=Path(os.fsdecode(common_dir)),
        objects=Path(os.fsdecode(objects)),
        shallow_file=Path(os.fsdecode(shallow_file)),
        head=head or None,
        branch=branch or None,
        object_format=object_format,
        partial=any(key.startswith((b"extensions.", b"remote.")) for key in named),
        filters=filter_names(_select_drivers(key for _, key, _ in rows)),
        attributes=_read_attributes(environ, folder, [key for _, key, _ in rows]),
        line_ends=_line_ends({key: value for _, key, value in rows}) | _line_ends(own),
        user={key.decode(): _text(value) for _, key, value in rows if key.startswith(b"user.") and value},
        signing=_read_signing(environ, folder, rows),
        merging={key.decode(): _text(value) for _, key, value in rows if re.match(_MERGES, key.decode())},
        merge_drivers=frozenset(
            os.fsdecode(key).removeprefix("merge.").removesuffix(".driver")
            for _, key, value in rows
            if key.startswith(b"merge.") and key.endswith(b".driver") and value
        ),
        env=env,
        repo_id=repo_id or _repo_id(Git(top, env), (common_dir, shallow_file), head, object_format),
    )


def read_identity(seen: GitProject, environ: Mapping[str, str], at_ms: int) -> dict[str, str]:
    """Return the variables of author and committer that git would use for a commit there at this time.
    GitRefusal if the user's settings forbid git to guess one."""
    env = _users_env(environ) | {name: environ[name] for name in IdentityVariable if name in environ}
    stamp = dict[str, str]()
    for role in ("AUTHOR", "COMMITTER"):
        done = run_git(GitCall(("var", f"GIT_{role}_IDENT"), env, seen.top))
        if not done.ok and _FORBIDDEN in done.err:
            raise GitRefusal(
                "git does not know who you are in this repository, and user.useConfigOnly forbids a guess",
                why=done.err.splitlines()[-1],
                fix="git config user.email YOU@EXAMPLE.ORG",
            )
        name, _, rest = done.text().rpartition(" <")
        email = rest.partition(">")[0]
        if not done.ok:
            name, email = ((NOBODY | dict(seen.user))[key] for key in NOBODY)
        made = stamp_env(name, email, at_ms)
        stamp |= {key: value for key, value in made.items() if key.startswith(f"GIT_{role}_")}
    return stamp


_FORBIDDEN = "auto-detection is disabled"
"""What git says if it needs a name or an address and may not guess it (user.useConfigOnly)."""


def _read_facts(folder: Path, environ: Mapping[str, str], trusted: Sequence[str] = ()) -> list[bytes]:
    """Return git's answers to _ASKED, the commit of HEAD, and its branch; each is empty if it does not exist.
    One git process answers all, or several if a path contains a line break or HEAD has no commit yet."""
    seen = Git(folder, safe_env(more=[("safe.directory", one) for one in trusted]))
    command = ("rev-parse", "--path-format=absolute")
    words = [word for question in _ASKED for word in question.split()]
    done = seen.ask(*command, *words, "HEAD^{commit}", "--abbrev-ref=loose", "HEAD")
    *files, branch = done.out.removesuffix(b"\n").split(b"\n")
    if done.ok and len(files) == len(_ASKED) + 1:
        return [*files, b"" if branch == b"HEAD" else branch]
    done = seen.ask(*command, *words)
    if not done.ok or not done.out.strip():
        if _FOREIGN in done.err and not trusted and (named := _read_trusted(folder, environ)):
            return _read_facts(folder, environ, named)
        raise _no_tree(folder, done.err)
    files = [seen.must(*command, *question.split()).out.removesuffix(b"\n") for question in _ASKED]
    at = (("rev-parse", "-q", "--verify", "HEAD^{commit}"), ("symbolic-ref", "-q", "--short", "HEAD"))
    return [*files, *(seen.ask(*question).out.strip() for question in at)]


def _read_trusted(folder: Path, environ: Mapping[str, str]) -> list[str]:
    """Return the values of `safe.directory` in the user's and the system's settings, as paths; an empty one
    cancels those before it. A repository's own settings do not count."""
    command = ("config", "--show-scope", "--null", "--type=path", "--get-all", "safe.directory")
    words = os.fsdecode(run_git(GitCall(command, _users_env(environ), folder)).out).split("\0")
    pairs = zip(words[0::2], words[1::2], strict=False)
    return [value for scope, value in pairs if scope in ("system", "global")]


def _read_settings(environ: Mapping[str, str], folder: Path) -> list[tuple[bool, bytes, bytes]]:
    """Return the relevant settings as (whether the user's own files set it, not the repository's, key,
    value). Reading them runs no program."""
    command = ("config", "--show-scope", "--null", "--get-regexp", _SETTINGS)
    done = run_git(GitCall(command, _users_env(environ), folder))
    if done.status not in (0, 1):
        raise GitRefusal(
            "git cannot read its configuration", why=done.err, fix="correct the file that git reports"
        )
    words = done.out.split(b"\0")
    rows = ((scope, row.partition(b"\n")) for scope, row in zip(words[0::2], words[1::2], strict=False))
    return [(scope in (b"system", b"global"), key, value) for scope, (key, _, value) in rows]


def _read_signing(
    environ: Mapping[str, str], folder: Path, rows: list[tuple[bool, bytes, bytes]]
) -> tuple[tuple[str, str], ...] | None:
    if all(key != b"commit.gpgsign" for _, key, _ in rows):
        return None
    command = ("config", "--type=bool", "--get", "commit.gpgSign")
    if run_git(GitCall(command, _users_env(environ), folder)).text() != "true":
        return None
    kept = [(own or not key.endswith((b"program", b"command")), key, value) for own, key, value in rows]
    of = (b"gpg.", b"user.signingkey")
    return tuple((os.fsdecode(key), os.fsdecode(v)) for fine, key, v in kept if fine and key.startswith(of))


def _read_attributes(environ: Mapping[str, str], folder: Path, keys: Iterable[bytes]) -> str:
    if b"core.attributesfile" in keys:
        command = ("config", "--type=path", "--get", "core.attributesFile")
        return os.fsdecode(run_git(GitCall(command, _users_env(environ), folder)).out.rstrip(b"\n"))
    usual = os.path.join(_config_home(environ), "git", "attributes")
    return usual if os.path.exists(usual) else "/dev/null"


def _config_home(environ: Mapping[str, str]) -> str:
    return environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", "/nonexistent"), ".config")


def _select_drivers(keys: Iterable[bytes]) -> bytes:
    """Return the keys of filter drivers in the form that `neutral_drivers` takes."""
    return b"\0".join(key for key in keys if key.startswith((b"filter.", b"diff.", b"merge.")))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace").strip()


def _check_top(around: bytes, folder: Path) -> Path:
    top = Path(os.fsdecode(around)).resolve()
    # A hostile repository's core.worktree may point at any of the user's folders.
    if top != folder and top not in folder.parents:
        raise GitRefusal(
            f"the working tree of the repository at {folder} is in {top}",
            why="the repository's configuration sets core.worktree",
            fix="dispatch from inside the working tree",
            paths=(str(top),),
        )
    return top


_FOREIGN = "dubious ownership"
"""What git says of a repository that belongs to another user and is not in `safe.directory`."""


def _no_tree(folder: Path, err: str) -> GitRefusal:
    if _FOREIGN in err:
        named = re.search(r"in repository at '(.+)'", err)
        top = named[1] if named else str(folder)
        return GitRefusal(
            f"the repository at {folder} belongs to another user",
            why="git and PanCode refuse it: its owner could run programs as you",
            fix=f"if you trust its owner: git config --global --add safe.directory {quote(top)}",
        )
    if "must be run in a work tree" in err:
        return GitRefusal(
            f"{folder} is a bare repository",
            why="a bare repository has no working tree",
            fix="use a clone of the repository",
        )
    return GitRefusal(
        f"{folder} is not in a git repository", why=err.splitlines()[0] if err else "", fix=_NO_GIT_FIX
    )


def _repo_id(git: Git, files: tuple[bytes, bytes], head: str, object_format: str) -> str:
    """Return a hash of a repository's git folder, history and object format, equal for all its worktrees. It
    is a hash so that no path appears in a name that is sent to nodes. `files`: git folder, shallow file."""
    common_dir, shallow_file = files
    cuts = os.stat(shallow_file).st_mtime_ns if os.path.exists(shallow_file) else 0
    root = _find_root(git.cwd, frozenset(git.env.items()), head, cuts) if head else ""
    seed = b"\0".join((object_format.encode(), common_dir, root.encode()))
    return "p-" + hashlib.sha256(seed).hexdigest()[:24]


@lru_cache(maxsize=64)
def _find_root(top: Path, env: frozenset[tuple[str, str]], head: str, cuts: int) -> str:
    """Return the first commit of the history of `head`. `cuts`: the time of the last change of its limits."""
    return Git(top, dict(env)).text("rev-list", "--first-parent", "--max-parents=0", head)


def _users_env(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which git reads the user's own settings."""
    env = {k: v for k, v in git_env(environ).items() if k in ("PATH", "LC_ALL", "GIT_TERMINAL_PROMPT")}
    own = ("HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM")
    return env | {"HOME": "/nonexistent"} | {k: environ[k] for k in own if k in environ}


def _find_excludes(environ: Mapping[str, str], values: Mapping[bytes, bytes]) -> str:
    """Return the ignore file of the user's own git settings, or `/dev/null`."""
    excludes = values.get(b"core.excludesfile", b"")
    if excludes.startswith((b"~", b"%")):  # of the user, or of git itself
        # An invalid GIT_DIR keeps git from reading the settings of the repository around us.
        env = _users_env(environ) | {"GIT_DIR": "/dev/null/none"}
        command = ("config", "--type=path", "--get", "core.excludesFile")
        excludes = run_git(GitCall(command, env, Path("/"))).out.rstrip(b"\n")
    fallback = os.path.join(_config_home(environ), "git", "ignore")
    return os.fsdecode(excludes) or (fallback if os.path.exists(fallback) else "/dev/null")


def _line_ends(values: Mapping[bytes, bytes]) -> dict[str, str]:
    lines = {key: _text(values.get(key.encode(), b"")) for key in ("core.autocrlf", "core.eol")}
    return {key: value for key, value in lines.items() if value}
