"""The git refs of a run, and git commands that run no program of the repository. No input or output."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node_agent.wire.identity import AttemptId

_RUN = re.compile(r"r-[a-z0-9]{4,24}")
_REPO = re.compile(r"[a-z0-9-]{4,80}")
_OBJECT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_STREAM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,119}")

AT_ONCE = 1 << 16
"""The bytes of a log that a node may send directly after its request, before the git depot agrees."""


def snap_ref(run: str) -> str:
    """Return the ref of the commit that contains the user's files at the time of the dispatch."""
    return f"refs/pancode/snap/{checked_run(run)}"


def base_ref(run: str) -> str:
    """Return the ref of the user's own commit at the time of the dispatch."""
    return f"refs/pancode/base/{checked_run(run)}"


def store_ref(commit: str) -> str:
    """Return a node mirror's ref for a commit where runs began, so that later fetches can skip it."""
    return f"refs/pancode/stores/{checked_object(commit)}"


def result_prefix(run: str) -> str:
    """Return the prefix of all result refs of a run; each attempt with its lease has one ref."""
    return f"refs/pancode/{checked_run(run)}/"


def salvage_ref(identity: AttemptId) -> str:
    """Return the ref of a result that a node saved but never delivered."""
    return f"refs/pancode/salvage/{identity}"


def checked_run(run: str) -> str:
    """Return `run`; raises ValueError if it is not a run's id."""
    return _check_text(_RUN, run, "a run id")


def checked_repo(repo: str) -> str:
    """Return `repo`; raises ValueError if it is not a repository's id."""
    return _check_text(_REPO, repo, "a repository id")


def checked_object(oid: str) -> str:
    """Return `oid`; raises ValueError if it is not a full object id."""
    return _check_text(_OBJECT, oid, "an object id")


def checked_stream(name: str) -> str:
    """Return `name`. Raises ValueError unless it is a plain file name (no slash, no leading dot or dash)."""
    return _check_text(_STREAM, name, "a stream's name")


def _check_text(pattern: re.Pattern[str], text: str, what: str) -> str:
    if pattern.fullmatch(text) is None:
        raise ValueError(f"not {what}: {text!r}")
    return text


INHERITED = ("PATH", "LANG", "TMPDIR")
"""The only variables that a git process inherits: never GIT_*, HOME, XDG_*, EDITOR, SSH_*."""

# A value set through the environment overrides the repository's own for every single-valued key.
SAFE_CONFIG: dict[str, str] = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.untrackedCache": "false",
    "core.attributesFile": "/dev/null",
    "core.excludesFile": "/dev/null",
    "core.sshCommand": "false",
    "core.askPass": "",
    "core.pager": "cat",
    "core.editor": "false",
    "core.alternateRefsCommand": "true",
    "core.quotePath": "false",
    "core.splitIndex": "false",
    "core.safecrlf": "false",
    "core.logAllRefUpdates": "false",
    # Referenced objects must survive a power failure; `batch` syncs many loose objects with a single sync.
    "core.fsync": "all",
    "core.fsyncMethod": "batch",
    "protocol.allow": "never",
    "protocol.version": "0",
    "credential.helper": "",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "commit.gpgSign": "false",
    "push.gpgSign": "false",
    "diff.external": "",
    "submodule.recurse": "false",
    "advice.addEmbeddedRepo": "false",
    "fetch.fsckObjects": "true",
    "index.threads": "1",
    "pack.threads": "1",
}

_PROGRAMS = ("clean", "smudge", "process", "textconv", "command", "driver")
DRIVER_KEYS = r"^(filter|diff|merge)\..*\.(clean|smudge|process|required|textconv|command|driver)$"
"""For `git config --null --name-only --get-regexp`: the keys in which a repository names programs to run."""


@dataclass(frozen=True, slots=True)
class GitCall:
    """One call of git. `stdin`: bytes, or a file to read; `stdout`: a file to write, instead of memory.

    `keep_fds` are file descriptors that the process inherits. After `timeout_s` the whole process group is
    killed.
    """

    args: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    stdin: bytes | Path | None = None
    stdout: Path | None = None
    keep_fds: tuple[int, ...] = ()
    timeout_s: float = 900.0


@dataclass(frozen=True, slots=True)
class GitDone:
    """The result of a git process: exit status (negative: a signal), output, the end of its error output."""

    status: int
    out: bytes
    err: str

    @property
    def ok(self) -> bool:
        return self.status == 0

    def text(self) -> str:
        return self.out.decode("utf-8", "replace").strip()


def git_env(
    outer: Mapping[str, str], config: Mapping[str, str] | None = None, more: Iterable[tuple[str, str]] = ()
) -> dict[str, str]:
    """Return hardened git's environment. `config` overrides SAFE_CONFIG; `more` adds multi-valued keys."""
    env = {name: outer[name] for name in INHERITED if name in outer}
    env |= {
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ASKPASS": "false",
        "GIT_LITERAL_PATHSPECS": "1",
    }
    return with_config(env, [*{**SAFE_CONFIG, **(config or {})}.items(), *more])


def with_config(env: Mapping[str, str], pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return `env` with `pairs` appended to the git configuration that it already contains."""
    count = int(env.get("GIT_CONFIG_COUNT", "0"))
    grown = dict(env)
    for number, (key, value) in enumerate(pairs, start=count):
        grown[f"GIT_CONFIG_KEY_{number}"] = key
        grown[f"GIT_CONFIG_VALUE_{number}"] = value
    grown["GIT_CONFIG_COUNT"] = str(count + len(pairs))
    return grown


def stamp_env(name: str, email: str, date_ms: int) -> dict[str, str]:
    """Return the variables for author and committer; equal arguments lead to equal commit ids."""
    # Without the @, git reads a small number as a day or a year.
    date = f"@{date_ms // 1000} +0000"
    roles = ("AUTHOR", "COMMITTER")
    values = {"NAME": _clean_name(name), "EMAIL": _clean_name(email), "DATE": date}
    return {f"GIT_{role}_{key}": value for role in roles for key, value in values.items()}


def _clean_name(text: str) -> str:
    kept = "".join(c for c in text if c.isprintable() and c not in "<>").strip(" .,:;\"'\\")
    return kept or "pancode"


def neutral_drivers(names: bytes) -> dict[str, str]:
    """Return configuration that disables all filter, diff and merge programs that the repository names."""
    keys = [key.decode("utf-8", "surrogateescape") for key in split_nul(names)]
    return {key: "false" if key.endswith(".required") else "" for key in keys}


def filter_names(names: bytes) -> frozenset[str]:
    """Return the names of filters with a program. `names`: the output of `git config --null --name-only`."""
    keys = (key.decode("utf-8", "surrogateescape") for key in split_nul(names))
    parts = (key.split(".") for key in keys)
    return frozenset(".".join(p[1:-1]) for p in parts if p[0] == "filter" and p[-1] in _PROGRAMS)


def repository_config(object_format: str, *, bare: bool = True) -> str:
    """Return the text of a PanCode repository's `config` file, which is written again before each use."""
    version = "1" if object_format == "sha256" else "0"
    lines = [
        "[core]",
        f"\trepositoryformatversion = {version}",
        "\tfilemode = true",
        f"\tbare = {str(bare).lower()}",
    ]
    # Without this threshold, serving 200 MB of binaries takes 22 s of delta search instead of 1.6 s.
    lines += [
        "\tbigFileThreshold = 1m",
        "[gc]",
        "\tauto = 0",
        "[receive]",
        "\tautogc = false",
        "\tunpackLimit = 1",
    ]
    lines += ["[fetch]", "\tunpackLimit = 1", "[maintenance]", "\tauto = false"]
    if object_format == "sha256":
        lines += ["[extensions]", "\tobjectformat = sha256"]
    return "\n".join(lines) + "\n"


def split_nul(raw: bytes) -> list[bytes]:
    """Return the items of a list in which NUL ends each item."""
    return [item for item in raw.split(b"\0") if item]


def join_nul(names: Iterable[bytes]) -> bytes:
    return b"".join(name + b"\0" for name in names)


def decode_path(name: bytes) -> str:
    """Return a file name for users and JSON: UTF-8, with other bytes as \\xNN."""
    return name.decode("utf-8", "backslashreplace")


def list_parents(name: bytes) -> list[bytes]:
    """Return the folders above a name, outermost first: `a/b/c` -> `a`, `a/b`."""
    parts = name.split(b"/")
    return [b"/".join(parts[:depth]) for depth in range(1, len(parts))]


@dataclass(frozen=True, slots=True)
class Change:
    """One line of `diff-tree --raw -z --no-renames --no-abbrev`. Mode 000000 means an absent file."""

    old_mode: str
    new_mode: str
    old: str
    new: str
    path: bytes


def parse_raw_diff(raw: bytes) -> Iterator[Change]:
    """Yield the changes in the output of `git diff-tree -r -z --raw --no-renames --no-abbrev`."""
    fields = raw.split(b"\0")
    for head, path in zip(fields[0::2], fields[1::2], strict=False):
        old_mode, new_mode, old, new, _ = head.decode("ascii").lstrip(":").split()
        yield Change(old_mode, new_mode, old, new, path)
