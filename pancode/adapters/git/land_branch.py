"""Lands a result as a commit on a branch of the user's repository; work tree, index and other refs stay."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from node_agent.wire.gitsafe import shown, stamp_env
from pancode.adapters.git.depot import Depot
from pancode.adapters.git.errors import GitRefusal, translated
from pancode.adapters.git.land import (
    CalledOff,
    CalledOffError,
    Gates,
    LandReport,
    LandRequest,
    LandStatus,
    merge_result,
    never,
    not_passed,
    unless_called_off,
)
from pancode.adapters.git.merge import tree_of
from pancode.adapters.git.objects import import_base
from pancode.adapters.git.project import GitProject, asked_of_user, open_project

NOBODY = ("pancode", "pancode@localhost")
"""Author and committer where the user has named neither to git."""
_HEADS = "refs/heads/"


@dataclass(frozen=True, slots=True)
class OnBranch:
    """Which branch, the commit's message, and the wall time of its date."""

    name: str
    message: str
    now_ms: int


@translated("the landing")
def land_on_branch(
    project: Path,
    depot: Depot,
    request: LandRequest,
    target: OnBranch,
    gates: Gates | None = None,
    called_off: CalledOff = never,
) -> LandReport:
    """Merge the result into the tip of the branch, which is made at HEAD when it is new; commit it there.

    GitRefusal for a branch that is checked out anywhere: its files would no longer be those of its tip.
    """
    seen = replace(open_project(project, request.environ), repo_id=request.repo_id)
    ref = _ref(seen, target.name)
    try:
        report = _land(seen, depot, request, (ref, target), (gates, called_off))
    except CalledOffError:
        report = LandReport(LandStatus.CALLED_OFF)
    return replace(report, tree=str(seen.top), branch=target.name)


def _land(
    seen: GitProject,
    depot: Depot,
    request: LandRequest,
    where: tuple[str, OnBranch],
    way: tuple[Gates | None, CalledOff],
) -> LandReport:
    (ref, target), (gates, called_off) = where, way
    old = seen.git.ask("rev-parse", "-q", "--verify", f"{ref}^{{commit}}").text()
    tip = old or seen.head
    import_base(replace(seen, head=tip), depot)
    git = depot.git(seen.repo_id)
    ours = tree_of(git, tip) if tip else git.must("mktree", stdin=b"").text()
    merged, changes = merge_result(depot, request, ours)
    if isinstance(merged, LandReport):
        return merged
    gate = gates(merged) if gates is not None else None
    unless_called_off(called_off)
    if gate is not None and not gate.ok:
        return not_passed(gate)
    named = git.having(**stamp_env(*_identity(seen, request.environ), target.now_ms))
    parents = ("-p", tip) if tip else ()
    words = f"{target.message.strip()}\n".encode()
    commit = named.must("commit-tree", merged.tree, *parents, stdin=words).text()
    _bring(seen, depot, commit, tip)
    unless_called_off(called_off)
    seen.git.must("update-ref", "-m", "pancode: landed", ref, commit, old or "0" * len(commit))
    files = tuple(shown(change.path) for change in changes)
    return LandReport(LandStatus.LANDED, files, gate=gate, commit=commit)


def _bring(seen: GitProject, depot: Depot, commit: str, tip: str | None) -> None:
    """The commit's own objects into the user's repository, as a pack."""
    git = depot.git(seen.repo_id)
    revs = "\n".join([commit, *([f"^{tip}"] if tip else [])]) + "\n"
    with tempfile.TemporaryDirectory(prefix="pancode-pack-", dir=depot.path(seen.repo_id)) as folder:
        pack = Path(folder) / "pack"
        git.must("pack-objects", "--revs", "--stdout", "-q", stdin=revs.encode(), stdout=pack)
        seen.git.must("unpack-objects", "-q", stdin=pack)


def _ref(seen: GitProject, name: str) -> str:
    ref = f"{_HEADS}{name}"
    if name.startswith("-") or not seen.git.ask("check-ref-format", ref).ok:
        raise GitRefusal(f"{name!r} is no name of a branch", fix="--branch agent/my-change")
    listed = seen.git.must("worktree", "list", "--porcelain").text().split("\n\n")
    for one in listed:
        lines = one.splitlines()
        if f"branch {ref}" in lines:
            raise GitRefusal(
                f"branch {name} is checked out in {lines[0].removeprefix('worktree ')}",
                why="a commit there would leave its files behind",
                fix="leave --branch out to land in the files, or name another branch",
            )
    return ref


def _identity(seen: GitProject, environ: Mapping[str, str] | None) -> tuple[str, str]:
    """As git itself would name the user, of the repository's own settings first."""
    outer = os.environ if environ is None else environ
    found = []
    for key, otherwise in zip(("user.name", "user.email"), NOBODY, strict=True):
        own = seen.git.ask("config", "--get", key).text()
        found.append(
            own or asked_of_user(outer, "--get", key).decode("utf-8", "replace").strip() or otherwise
        )
    return found[0], found[1]
