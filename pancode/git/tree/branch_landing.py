"""Lands a result as commits on a branch of the user's repository; files, index and other refs stay as is."""

from __future__ import annotations

import os
import shlex
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from node_agent.wire.git import GitCall, decode_path, with_config
from pancode.git import landings as land_values
from pancode.git.depot import Depot
from pancode.git.file_list import unless_filtered
from pancode.git.merge import tree_of
from pancode.git.merge_rules import rules_of
from pancode.git.objects import copy_objects, import_tip, write_commit
from pancode.git.repository import GitProject, open_project, read_identity
from pancode.git.runner import GitFailure, GitRefusal, must_git, translate_os_errors
from pancode.git.tree import tree_landing
from pancode.git.tree.steps import ABSENT, GITLINK, HEADS, FreeBranch, free_branch
from pancode.git.tree_lock import CalledOffError, unless_called_off
from pancode.kernel.states import How

IDLE_MS = 3_000
"""For how many ms a landing reuses settings read by an earlier one, if no settings file has changed."""
SIGN_S = 60.0
"""How many seconds a user has to respond to the signing agent, for example in a dialog."""
_SIGNERS = (
    *("HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "GNUPGHOME", "SSH_AUTH_SOCK", "PATH"),
    *("DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "SSH_ASKPASS"),
)
"""The environment variables by which signing programs find keys and agents."""
_OWN = ("HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM")


class LandingSession:
    """The state that landings in one repository share; only one landing at a time uses it, under `lock`."""

    def __init__(self, depot: Depot, repo_id: str) -> None:
        self._depot, self.repo_id = depot, repo_id
        self.lock = threading.Lock()
        self._project: tuple[object, GitProject] | None = None
        self._used_ms = 0
        self.tip: str | None = None
        """The commit that the newest landing made: the depot has all of its history."""
        self.left: FreeBranch | None = None
        """The branch as the newest landing left it; a landing compares it before it writes."""

    def begin(self, now_ms: int) -> None:
        """Begin a landing; discard what earlier landings have read if the last one was too long ago."""
        if not 0 <= now_ms - self._used_ms <= IDLE_MS:
            self._project = self.tip = self.left = None
        self._used_ms = now_ms

    def project(self, folder: Path, environ: Mapping[str, str] | None) -> GitProject:
        """Return the project, as last read if no settings file has changed since. Its HEAD may have moved."""
        around = os.environ if environ is None else environ
        mine = tuple(around.get(name, "") for name in _OWN)
        if self._project is None or self._project[0] != _stamp(self._project[1], folder, mine):
            seen = open_project(folder, environ, self.repo_id)
            self._project = _stamp(seen, folder, mine), seen
        return self._project[1]

    def fresh(self) -> None:
        """Make the next use read the repository again."""
        self._project = None

    def sign_commit(
        self,
        seen: GitProject,
        environ: Mapping[str, str],
        made: tuple[str, tuple[str, ...], bytes],
        signed: Mapping[str, str],
    ) -> str:
        """Return a commit (tree, parents, message) with the user's signature, made by the user's git and
        signing program.

        Raises GitRefusal if that fails, for example because a passphrase cannot be entered here.
        """
        tree, parents, words = made
        depot = self._depot.git(self.repo_id)
        around = {name: environ[name] for name in _SIGNERS if name in environ}
        env = with_config({**depot.env, **around, **signed}, seen.signing or ())
        options = [word for parent in parents for word in ("-p", parent)]
        call = GitCall(("commit-tree", "-S", tree, *options), env, seen.top, stdin=words, timeout_s=SIGN_S)
        try:
            return must_git(call).text()
        except GitFailure as failed:
            raise _not_signed(dict(seen.signing or ()), failed) from failed


def _not_signed(settings: Mapping[str, str], failed: GitFailure) -> GitRefusal:
    key = settings.get("user.signingkey", "")
    by_ssh = settings.get("gpg.format") == "ssh" and bool(key)
    unlock = f"ssh-add {shlex.quote(key.removesuffix('.pub'))}" if by_ssh else "echo | gpg --clearsign"
    return GitRefusal(
        "nothing was landed: git could not sign the commit (commit.gpgsign)",
        why=f"{failed.err or failed}; the coordinator has no terminal to prompt for a passphrase",
        fix=f"unlock the key in the agent that the coordinator uses ({unlock}), then land again",
    )


def _stamp(seen: GitProject, folder: Path, mine: tuple[str, ...]) -> object:
    """Return a value that changes when a settings file changes."""
    home, xdg, own, _ = mine
    users = (
        own,
        os.path.join(home, ".gitconfig"),
        os.path.join(xdg or os.path.join(home, ".config"), "git/config"),
    )
    files = (*users, seen.common_dir / "config", seen.git_dir / "config.worktree")
    return folder, mine, tuple(_stat_file(file) for file in files)


def _stat_file(file: str | Path) -> tuple[int, int, int] | None:
    try:
        at = os.stat(file)
    except OSError:
        return None
    return at.st_mtime_ns, at.st_size, at.st_ino


TRIES = 5
MOST_LOOSE = 100
"""The most new objects that are copied one by one; more are packed for the way."""


@translate_os_errors("the landing")
def land_on_branch(
    project: Path,
    depot: Depot,
    request: land_values.LandRequest,
    target: land_values.OnBranch,
    gates: land_values.Gates | None = None,
    called_off: land_values.CalledOff = lambda: False,
    session: LandingSession | None = None,
) -> land_values.LandReport:
    """Merge the result into the tip of the branch and commit it there; a new branch begins at HEAD.

    Raises GitRefusal for a branch that is checked out anywhere, because its files would no longer match its
    tip. If the branch moves meanwhile, the merge and its gates run again. `session`: the state that
    successive landings share; None: a single landing.
    """
    session = session or LandingSession(depot, request.repo_id)
    with session.lock:
        session.begin(target.now_ms)
        way = (gates, called_off)
        seen = session.project(project, request.environ)
        try:
            for _ in range(TRIES):
                report = _land(session, project, depot, request, target, way)
                if report is not None:
                    break
            else:
                raise GitRefusal(
                    f"branch {target.name} changed in the meantime; run the command again",
                    fix=f"pancode land {request.run or 'RUN'} --branch {target.name}",
                )
        except CalledOffError:
            report = land_values.LandReport(land_values.LandStatus.CALLED_OFF)
        return replace(report, tree=str(seen.top), branch=target.name)


def _land(
    session: LandingSession,
    project: Path,
    depot: Depot,
    request: land_values.LandRequest,
    target: land_values.OnBranch,
    way: tuple[land_values.Gates | None, land_values.CalledOff],
) -> land_values.LandReport | None:
    """Try to land once; return None if the branch moved meanwhile. In that case nothing was written."""
    gates, called_off = way
    seen = session.project(project, request.environ)
    left = session.left if session.left and session.left.ref == f"{HEADS}{target.name}" else None
    session.left, branch = None, left or free_branch(seen, target.name)
    if not branch.tip:  # the new branch starts at HEAD, and HEAD may have moved since it was read
        session.fresh()
        seen = session.project(project, request.environ)
    tip = branch.tip or seen.head
    if tip is None or tip != session.tip:
        import_tip(seen, depot, tip)
    git = depot.git(seen.repo_id)
    ours = branch.tree or tree_of(git, tip)
    merged, changed = tree_landing.merge_result(depot, request, ours, seen)
    if isinstance(merged, land_values.LandReport):
        return None if left else tree_landing.explain_merge(git, request, tip, merged)
    changes = tree_landing.files_of(changed)
    around = os.environ if request.environ is None else request.environ
    stamp = read_identity(seen, around, target.now_ms)

    def write(tree: str, parents: tuple[str, ...], words: bytes) -> str:
        if seen.signing is not None:
            return session.sign_commit(seen, around, (tree, parents, words), stamp)
        return write_commit(git.cwd, tree, parents, stamp, words)

    rules = rules_of(seen, request.run)
    made = tree_landing.commits_of(git, write, request, target, tip, merged, rules)
    if isinstance(made, land_values.LandReport):
        return None if left else made
    unless_filtered(seen, git, changes, ("" if target.how is How.SQUASH else made.commit, tip))
    gate = gates(replace(merged, tree=made.tree, commit=made.commit)) if gates is not None else None
    unless_called_off(called_off)
    if gate is not None and not gate.ok:
        return tree_landing.not_passed(gate)
    new = [one.new for one in changed if one.new_mode not in (ABSENT, GITLINK)]
    if target.how is How.SQUASH and len(new) <= MOST_LOOSE:
        copy_objects(git, [*reversed(new), made.tree, made.commit], seen.objects)
    else:
        _bring(seen, depot, made.commit, tip)
    unless_called_off(called_off)
    if free_branch(seen, target.name) != branch:
        return None
    old = branch.tip or "0" * len(made.commit)
    args = ("-m", f"pancode: landed {request.run}".strip(), branch.ref, made.commit, old)
    if not seen.git.ask("update-ref", *args).ok:
        if free_branch(seen, target.name) != branch:
            return None
        # the branch did not move: this raises git's reason for the failure
        seen.git.must("update-ref", *args)
    session.tip, session.left = made.commit, FreeBranch(branch.ref, made.commit, made.tree)
    files = tuple(decode_path(change.path) for change in changes)
    return land_values.LandReport(land_values.LandStatus.LANDED, files, gate=gate, commit=made.commit)


def _bring(seen: GitProject, depot: Depot, commit: str, tip: str | None) -> None:
    """Copy the commit's new objects into the user's repository."""
    git = depot.git(seen.repo_id)
    revs = "\n".join([commit, *([f"^{tip}"] if tip else [])]) + "\n"
    with tempfile.TemporaryDirectory(prefix="pancode-pack-", dir=depot.path(seen.repo_id)) as folder:
        pack = Path(folder) / "pack"
        git.must("pack-objects", "--revs", "--stdout", "-q", stdin=revs.encode(), stdout=pack)
        seen.git.must("unpack-objects", "-q", stdin=pack)
