"""The checkout where a person stands, and its copy on the coordinator's machine, when that is another one.

Before a command asks for work, the files travel: HEAD, and the working tree as a dispatch would send it. What
has landed in the copy meanwhile comes home first, by the same landing as on one machine: merged beside edits,
whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node_agent.wire.git import stamp_env
from pancode.client import Client, path_of
from pancode.code.git.checkouts import HERE, SENT
from pancode.code.git.depot import Depot
from pancode.code.git.landing.land import land
from pancode.code.git.project import GitProject, open_project
from pancode.code.git.safe import Git, GitRefusal, safe_env
from pancode.code.git.snapshot import SnapshotOptions, tree_now
from pancode.errors import UnavailableError, WorkspaceError
from pancode.life.land_values import LandReport, LandRequest, LandStatus
from pancode.plain import counted, safe
from pancode.remote.place import RemoteCoordinator

FINE = (LandStatus.LANDED, LandStatus.NOTHING)
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class OwnCheckout:
    """`seen`: the repository here; `depot`: the store here of what travels; `copy`: its name there."""

    there: RemoteCoordinator
    client: Client
    seen: GitProject
    depot: Depot
    copy: str
    note: Callable[[str], None]

    @property
    def _git(self) -> Git:
        return self.depot.git(self.seen.repo_id)

    @property
    def _last(self) -> str:
        """The ref of the files as both sides had them last."""
        return f"refs/pancode/client/{self.copy}"

    def travel(self) -> str:
        """The folder there that is as the one here; what has landed there is here first."""
        self.depot.ensure(self.seen.repo_id, self.seen.object_format)
        with self.depot.locked(self.seen.repo_id, "client"):
            state = self._ask("", {"object_format": self.seen.object_format})
            last = self.depot.commit_at(self.seen.repo_id, self._last)
            if last is not None and state["commit"] is not None:
                state = self._home(state, last)
            commit = self._commit()
            if commit != state["commit"] or self.seen.branch != state["branch"]:
                self._carry("receive-pack", "push", f"+{commit}:{SENT}")
                about = {"commit": commit, "head": self.seen.head, "branch": self.seen.branch}
                state = {**state, **self._ask("files", about)}
            self._git.must("update-ref", self._last, commit)
        below = Path(os.path.realpath(os.curdir)).relative_to(self.seen.top)
        return str(Path(state["top"]) / below)

    def _home(self, state: dict[str, Any], last: str) -> dict[str, Any]:
        """What was landed there since both were the same. WorkspaceError where it does not fit."""
        if state["commit"] == last:
            return state
        self._carry("upload-pack", "fetch", f"+{HERE}:{HERE}")
        request = LandRequest(self.seen.repo_id, last, state["commit"])
        report = land(self.seen.top, self.depot, request)
        if report.status not in FINE:
            raise _stays(self.there, report)
        if report.files:
            words = counted(len(report.files), "file")
            self.note(
                f"landed on {self.there} and now here: {words}: {', '.join(map(safe, report.files[:5]))}"
            )
        return state

    def branch_home(self, name: str) -> None:
        """The commits of a landing on this branch there. WorkspaceError where it has others here."""
        ref, theirs = f"refs/heads/{name}", f"refs/pancode/branch/{self.copy}"
        with self.depot.locked(self.seen.repo_id, "client"):
            self._carry("upload-pack", "fetch", f"+{ref}:{theirs}")
            new, mine = self._git.text("rev-parse", theirs), self.seen.git
            old = mine.ask("rev-parse", "-q", "--verify", ref).text()
            open_in = mine.text("for-each-ref", "--format=%(worktreepath)", ref)
            have = [f"^{one}" for one in filter(None, (self.seen.head, old))]
            if old and (open_in or not self._git.ask("merge-base", "--is-ancestor", old, new).ok):
                raise _other_branch(self.there, name, open_in)
            asked = "\n".join([new, *have]) + "\n"
            pack = self._git.must("pack-objects", "--revs", "--stdout", "-q", stdin=asked.encode())
            mine.must("unpack-objects", "-q", stdin=pack.out)
            mine.must("update-ref", ref, new, old or "0" * len(new))
        self.note(f"branch {safe(name)} is here now, at {new[:12]}")

    def _commit(self) -> str:
        """The same files above the same HEAD are the same commit."""
        tree = tree_now(self.seen.top, self.depot, SnapshotOptions(0))
        git = self._git.having(**stamp_env("pancode", "pancode@localhost", 0))
        parents = ("-p", self.seen.head) if self.seen.head else ()
        return git.must("commit-tree", tree, *parents, stdin=b"The copy as it is\n").text()

    def _carry(self, service: str, verb: str, refs: str) -> None:
        with closing(self.there.open_git(self.copy, service)) as peer:
            _speak(self._git, peer, verb, refs)

    def _ask(self, act: str, body: dict[str, Any]) -> dict[str, Any]:
        path = path_of("checkouts", *self.copy.split("/"), *([act] if act else []))
        answer: dict[str, Any] = self.client.post(path, body)
        return answer


def _speak(git: Git, peer: socket.socket, verb: str, refs: str) -> None:
    """UnavailableError where the line was cut."""
    allowed = safe_env({"protocol.fd.allow": "always"}) | {"GIT_DIR": str(git.env["GIT_DIR"])}
    peer.setblocking(True)
    done = subprocess.run(
        ["git", verb, "--quiet", f"fd::{peer.fileno()}", refs],
        env=allowed,
        cwd=git.cwd,
        pass_fds=(peer.fileno(),),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        why = done.stderr.decode("utf-8", "replace").strip()[-500:]
        raise UnavailableError("the files did not travel", why=safe(why), fix="the same command again")


def _stays(there: RemoteCoordinator, report: LandReport) -> WorkspaceError:
    why = "; ".join(f"{one.path}: {one.why}" for one in report.conflicts)
    return WorkspaceError(
        f"what has landed on {there} does not fit the files here",
        why=safe(why),
        fix="commit or undo your edits of these files, then the same command again",
        code="not_home",
    )


def _other_branch(there: RemoteCoordinator, name: str, open_in: str) -> WorkspaceError:
    why = (
        f"it is checked out in {open_in}"
        if open_in
        else "the one here has commits that the one there has not"
    )
    return WorkspaceError(
        f"the commits for {safe(name)} are on {there}, and not here",
        why=safe(why),
        fix=f"land on another branch: pancode land RUN --branch OTHER-THAN-{safe(name)}",
        code="not_home",
    )


def checkout_of(there: RemoteCoordinator, note: Callable[[str], None]) -> OwnCheckout | None:
    """The checkout around the folder where the person stands; None: it is in no repository."""
    try:
        seen = open_project(Path.cwd())
    except GitRefusal:
        return None
    place = f"{socket.gethostname()}\0{seen.top}"
    name = _UNSAFE.sub("-", seen.top.name).strip("-.")[:64] or "checkout"
    copy = f"c-{hashlib.sha256(place.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}/{name}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return OwnCheckout(there, Client(there, works=True), seen, Depot(cache / "pancode/checkouts"), copy, note)
