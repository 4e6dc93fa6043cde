"""Lands a result as commits on a branch of the user's repository; work tree, index and other refs stay."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

from node_agent.wire.git import shown, stamp_env
from pancode.code.git.depot import Depot
from pancode.code.git.filters import unless_filtered
from pancode.code.git.landing.land import CalledOffError, merge_result, not_passed, unless_called_off
from pancode.code.git.landing.land_commits import commits_of, explained
from pancode.code.git.landing.land_state import free_branch
from pancode.code.git.landing.session import LandingSession
from pancode.code.git.merge import tree_of
from pancode.code.git.objects import import_tip
from pancode.code.git.project import GitProject
from pancode.code.git.safe import GitRefusal, translated
from pancode.life.land_values import (
    CalledOff,
    Gates,
    How,
    LandReport,
    LandRequest,
    LandStatus,
    OnBranch,
    never,
)

NOBODY = {"user.name": "pancode", "user.email": "pancode@localhost"}
"""Author and committer where the user has named neither to git."""
TRIES = 5


@translated("the landing")
def land_on_branch(
    project: Path,
    depot: Depot,
    request: LandRequest,
    target: OnBranch,
    gates: Gates | None = None,
    called_off: CalledOff = never,
    session: LandingSession | None = None,
) -> LandReport:
    """Merge the result into the tip of the branch, which is made at HEAD when it is new; commit it there.

    GitRefusal for a branch that is checked out anywhere: its files would no longer be those of its tip.
    A branch that somebody else moves meanwhile is merged into anew, and its gates run again. `session`: what
    landings one after the other share; None: this is the only one.
    """
    session = session or LandingSession(depot, request.repo_id)
    with session.lock:
        session.begin(target.now_ms)
        return _tried(session, project, depot, request, target, (gates, called_off))


def _tried(
    session: LandingSession,
    project: Path,
    depot: Depot,
    request: LandRequest,
    target: OnBranch,
    way: tuple[Gates | None, CalledOff],
) -> LandReport:
    seen = session.project(project, request.environ)
    try:
        for _ in range(TRIES):
            report = _land(session, project, depot, request, target, way)
            if report is not None:
                break
        else:
            raise GitRefusal(
                f"branch {target.name} is moved faster than it can be landed on",
                fix=f"pancode land {request.run or 'RUN'} --branch {target.name}",
            )
    except CalledOffError:
        report = LandReport(LandStatus.CALLED_OFF)
    return replace(report, tree=str(seen.top), branch=target.name)


def _land(
    session: LandingSession,
    project: Path,
    depot: Depot,
    request: LandRequest,
    target: OnBranch,
    way: tuple[Gates | None, CalledOff],
) -> LandReport | None:
    """None: somebody else has moved the branch meanwhile, and nothing was written."""
    gates, called_off = way
    seen = session.project(project, request.environ)
    branch = free_branch(seen, target.name)
    if not branch.tip:  # it is made at HEAD, which may have moved since that was read
        session.fresh()
        seen = session.project(project, request.environ)
    tip = branch.tip or seen.head
    if tip is None or tip != session.tip:
        import_tip(seen, depot, tip)
    git = depot.git(seen.repo_id)
    ours = branch.tree or (tree_of(git, tip) if tip else git.must("mktree", stdin=b"").text())
    merged, changes = merge_result(depot, request, ours, session)
    if isinstance(merged, LandReport):
        return explained(git, request, tip, merged)
    who = NOBODY | dict(seen.user)
    around = os.environ if request.environ is None else request.environ
    stamp = stamp_env(who["user.name"], who["user.email"], target.now_ms)

    def write(tree: str, parents: tuple[str, ...], words: bytes) -> str:
        if seen.signing is not None:
            return session.sign_commit(seen, around, (tree, parents, words), stamp)
        return session.write_commit(tree, parents, stamp, words)

    made = commits_of(git, write, request, target, tip, merged)
    if isinstance(made, LandReport):
        return made
    unless_filtered(seen, git, changes, ("" if target.how is How.SQUASH else made.commit, tip))
    gate = gates(replace(merged, tree=made.tree)) if gates is not None else None
    unless_called_off(called_off)
    if gate is not None and not gate.ok:
        return not_passed(gate)
    _bring(seen, depot, made.commit, tip)
    unless_called_off(called_off)
    if free_branch(seen, target.name) != branch:
        return None
    old = branch.tip or "0" * len(made.commit)
    args = ("-m", f"pancode: landed {request.run}".strip(), branch.ref, made.commit, old)
    if not seen.git.ask("update-ref", *args).ok:
        if free_branch(seen, target.name) != branch:
            return None
        seen.git.must("update-ref", *args)  # nobody was faster: this says why git could not move it
    session.tip = made.commit
    files = tuple(shown(change.path) for change in changes)
    return LandReport(LandStatus.LANDED, files, gate=gate, commit=made.commit)


def _bring(seen: GitProject, depot: Depot, commit: str, tip: str | None) -> None:
    """The commit's own objects into the user's repository, as a pack."""
    git = depot.git(seen.repo_id)
    revs = "\n".join([commit, *([f"^{tip}"] if tip else [])]) + "\n"
    with tempfile.TemporaryDirectory(prefix="pancode-pack-", dir=depot.path(seen.repo_id)) as folder:
        pack = Path(folder) / "pack"
        git.must("pack-objects", "--revs", "--stdout", "-q", stdin=revs.encode(), stdout=pack)
        seen.git.must("unpack-objects", "-q", stdin=pack)
