"""Merges as the user's git does: with the attributes of the tree, and with the user's settings."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from node_agent.wire.git import decode_path, split_nul, with_config
from pancode.git.repository import GitProject
from pancode.git.runner import Git, GitRefusal

_DECIDE = (b"merge", b"binary", b"[attr]")
"""Words without one of which an attributes file cannot change a merge; `binary` is a macro that can."""
_BUILT_IN = (b"set", b"unset", b"unspecified", b"text", b"binary", b"union")
_RENORMALIZES, _FALSE = "merge.renormalize", ("false", "no", "off", "0")


@dataclass(frozen=True, slots=True)
class MergeRules:
    """What decides a merge besides the trees. `settings`: of git, by key; `drivers`: the merge programs that
    the settings name; `user_file`, `repository_file`: attributes outside of the tree, empty if there are
    none."""

    settings: Mapping[str, str] = field(default_factory=dict)
    drivers: frozenset[str] = frozenset()
    user_file: bytes = b""
    repository_file: bytes = b""
    run: str = "RUN"
    """The run whose change is merged."""


def rules_of(seen: GitProject, run: str) -> MergeRules:
    """Return the rules of the user's repository. An attributes file that cannot be read counts as empty, as
    for git."""
    info = _read_file(seen.common_dir / "info/attributes")
    user = _read_file(Path(seen.attributes))
    return MergeRules(seen.merging, seen.merge_drivers, user, info, run or "RUN")


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@contextmanager
def git_with_rules(git: Git, ours: str, rules: MergeRules) -> Iterator[Git]:
    """Yield git for a merge into the commit `ours`: if attributes decide it, with a scratch repository around
    the depot's objects that has those of `ours`. git reads them from the files of a checkout, which a depot
    does not have."""
    settings = {key: value for key, value in rules.settings.items() if key != _RENORMALIZES}
    names = split_nul(git.must("ls-tree", "-r", "-z", "--name-only", ours).out)
    found = {name: b"" for name in names if name == b".gitattributes" or name.endswith(b"/.gitattributes")}
    for name in found:
        found[name] = git.must("cat-file", "blob", f"{ours}:{decode_path(name)}").out
    texts = (*found.values(), rules.user_file, rules.repository_file)
    if not any(word in text for text in texts for word in _DECIDE) and "merge.default" not in settings:
        yield Git(git.cwd, with_config(git.env, list(settings.items())))
        return
    with tempfile.TemporaryDirectory(prefix="pancode-merge-", dir=git.cwd) as folder:
        top, inner = Path(folder), Path(folder) / ".git"
        files = {inner / "info/attributes": rules.repository_file, inner / "user": rules.user_file}
        files |= {inner / "HEAD": b"ref: refs/heads/none\n", inner / "config": _read_file(git.cwd / "config")}
        files |= {top / decode_path(name): text for name, text in found.items()}
        (inner / "refs").mkdir(parents=True)
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        given = settings | {"core.bare": "false", "core.attributesFile": str(inner / "user")}
        own = git.having(
            GIT_DIR=str(inner), GIT_WORK_TREE=folder, GIT_OBJECT_DIRECTORY=str(git.cwd / "objects")
        )
        yield Git(top, with_config(own.env, list(given.items())))


def refuse_other_rules(git: Git, rules: MergeRules, merged: Iterable[bytes]) -> None:
    """Raise GitRefusal if one of these files, which both sides changed, is merged by a rule that PanCode does
    not follow. `git`: of `git_with_rules`."""
    names, renormalizes = sorted(merged), rules.settings.get(_RENORMALIZES, "false").lower()
    if not names:
        return
    if renormalizes not in _FALSE:
        raise _make_refusal(names[0], "merge.renormalize is set", rules.run)
    done = git.must("check-attr", "-z", "--stdin", "merge", stdin=b"".join(name + b"\0" for name in names))
    words = done.out.split(b"\0")
    for name, value in zip(words[0::3], words[2::3], strict=False):
        if value not in _BUILT_IN and value.decode("utf-8", "replace") in rules.drivers:
            why = f"its attribute is merge={value.decode('utf-8', 'replace')}, a program of your settings"
            raise _make_refusal(name, why, rules.run)


def _make_refusal(name: bytes, why: str, run: str) -> GitRefusal:
    path = decode_path(name)
    return GitRefusal(
        f"{path} was changed here and by the run, and git merges it by a rule that PanCode does not follow",
        why=f"{why}; PanCode starts no such program",
        fix=f"let git merge it: pancode diff {run} | git apply --3way",
        paths=(path,),
    )
