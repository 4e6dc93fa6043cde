"""The checkout in the user's working directory, and its copy on the machine of a remote coordinator.

Before a command requests work, HEAD and the working tree are sent, as a dispatch would send them. Changes
that have landed in the copy are brought back first, with the same landing as locally: merged with edits,
completely or not at all. A change that does not apply is kept as a branch in the checkout.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from node_agent.wire.clock import Ids
from pancode.checkouts.answers import CHECKOUT, FILL, CheckoutAnswer
from pancode.checkouts.copies import FILLED, HERE, SAME, SENT, WORDS
from pancode.git.depot import Depot
from pancode.git.file_list import ListingLimits
from pancode.git.landings import LandRequest, LandStatus
from pancode.git.objects import import_base
from pancode.git.repository import GitProject, open_project
from pancode.git.runner import Git, GitRefusal, safe_env, translate_os_errors
from pancode.git.snapshot import capture_tree, index_copy
from pancode.git.tree.tree_landing import land
from pancode.interfaces.client.client import Client
from pancode.interfaces.client.remote.place import RemoteCoordinator
from pancode.kernel.errors import ApiError, UnavailableError, WorkspaceError
from pancode.kernel.formatting import count_noun, escape_line

FINE = (LandStatus.LANDED, LandStatus.NOTHING)
TRIES = 3
"""How often the files are sent again if a change lands in the copy while they are being sent."""
NAME = "pancode-copy"
"""A file in the checkout's git folder: the name of its copy, and the checkout's path at that time."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class OwnCheckout:
    """A checkout and its remote copy. `seen`: the repository; `depot`: the local store; `copy`: its name."""

    there: RemoteCoordinator
    client: Client
    seen: GitProject
    depot: Depot
    copy: str
    note: Callable[[str], None]

    @property
    def _git(self) -> Git:
        return self.depot.git(self.seen.repo_id)

    def travel(self, *, lands: bool = False) -> str:
        """Update the copy from this checkout, after bringing back changes landed there. Return its folder.

        A change that does not apply here is kept and reported; with `lands`, WorkspaceError is raised.
        """
        self.depot.ensure(self.seen.repo_id, self.seen.object_format)
        with self.depot.locked(self.seen.repo_id, "client"):
            top = self._sync_copy(lands)
        return self._find_subfolder(top)

    def folder_there(self) -> str:
        """Return the copy's folder for the working directory, with the files as last sent."""
        return self._find_subfolder(self._read_state()["top"])

    def _find_subfolder(self, top: str) -> str:
        return str(Path(top) / Path(os.path.realpath(os.curdir)).relative_to(self.seen.top))

    def _sync_copy(self, lands: bool) -> str:
        for _ in range(TRIES):
            state = self._read_state()
            beside = self._land_here(state)
            if self._send_files(state):
                if beside and lands:
                    what = (
                        f"the change landed on {self.there}, but does not apply to the files in this checkout"
                    )
                    fix = f"to view it: git diff {beside}; to apply it: git merge {beside}"
                    raise WorkspaceError(
                        what, why="no file in this checkout was changed", fix=fix, code="not_home"
                    )
                return state["top"]
        what = f"the files of {self.seen.top} on {self.there} changed in the meantime"
        raise UnavailableError(what, fix="run the same command again")

    def _send_files(self, state: CheckoutAnswer) -> bool:
        """Send the files here to the copy. False if a change landed in it since `state`."""
        commit, warnings = self._commit()
        if (commit, commit, self.seen.branch) == (state["commit"], state["filled"], state["branch"]):
            return True
        for words in warnings:
            self.note(f"warning: {words}")
        self._run_transfer("receive-pack", "push", f"+{commit}:{SENT}")
        about = {"commit": commit, "head": self.seen.head, "branch": self.seen.branch}
        try:
            self.client.post(FILL.at(*self.copy.split("/")), {**about, "before": state["commit"]})
        except ApiError as changed:
            if changed.code != "copy_changed":
                raise
            return False
        return True

    def _land_here(self, state: CheckoutAnswer) -> str:
        """Land here what landed in the copy since the last fill. Return "" or a failed landing's branch."""
        here, filled = state["commit"], state["filled"]
        if here is None or filled is None or here == filled:
            return ""
        self._run_transfer("upload-pack", "fetch", f"+{HERE}:{HERE}", f"+{FILLED}:{FILLED}")
        if state["branch"] != self.seen.branch:
            return self._keep_branch(here, f"your files are now on {self.seen.branch or 'no branch'}")
        report = land(self.seen.top, self.depot, LandRequest(self.seen.repo_id, filled, here))
        if report.status not in FINE:
            return self._keep_branch(here, "; ".join(f"{one.path}: {one.why}" for one in report.conflicts))
        if report.files:
            words, names = count_noun(len(report.files), "file"), escape_line(", ".join(report.files[:5]))
            self.note(f"landed on {self.there}, now also here: {words}: {names}")
        return ""

    def _keep_branch(self, commit: str, why: str) -> str:
        """Keep the commit as a new branch of the user's repository; return the branch's name."""
        name = f"pancode/from-{_UNSAFE.sub('-', str(self.there)).strip('-.')}-{commit[:8]}"
        self._import_commit(commit, f"refs/heads/{name}", "")
        away = f"a change landed on {self.there} is not in your files ({escape_line(why)})"
        self.note(f"{away}: it is on branch {name}")
        return name

    def branch_home(self, name: str) -> None:
        """Fetch a landing's commits to this branch. WorkspaceError if the user's branch has other commits."""
        ref, theirs = f"refs/heads/{name}", f"refs/pancode/branch/{self.copy}"
        with self.depot.locked(self.seen.repo_id, "client"):
            self._run_transfer("upload-pack", "fetch", f"+{ref}:{theirs}")
            new, mine = self._git.text("rev-parse", theirs), self.seen.git
            old = mine.ask("rev-parse", "-q", "--verify", ref).text()
            open_in = mine.text("for-each-ref", "--format=%(worktreepath)", ref)
            if old and (open_in or not self._git.ask("merge-base", "--is-ancestor", old, new).ok):
                shown, own = escape_line(name), "the branch in this checkout has commits of its own"
                what = f"the commits for {shown} are on {self.there}, but not here"
                why = escape_line(f"it is checked out in {open_in}" if open_in else own)
                fix = f"land on another branch: pancode land RUN --branch OTHER-THAN-{shown}"
                raise WorkspaceError(what, why=why, fix=fix, code="not_home")
            self._import_commit(new, ref, old)
        self.note(f"branch {escape_line(name)} is now in this checkout, at {new[:12]}")

    def _import_commit(self, commit: str, ref: str, old: str) -> None:
        """Copy the commit with its history into the user's repository, and set the ref to it."""
        there = filter(None, (self.seen.head, old))
        have = [f"^{one}" for one in there if self._git.ask("cat-file", "-e", one).ok]
        request = "\n".join([commit, *have]) + "\n"
        pack = self._git.must("pack-objects", "--revs", "--stdout", "-q", stdin=request.encode())
        self.seen.git.must("unpack-objects", "-q", stdin=pack.out)
        self.seen.git.must("update-ref", ref, commit, *((old or "0" * len(commit),) if old else ()))

    @translate_os_errors("the snapshot")
    def _commit(self) -> tuple[str, tuple[str, ...]]:
        """Return a commit of the files on top of HEAD, as a dispatch would send them, and its warnings."""
        import_base(self.seen, self.depot)
        with index_copy(self.seen, self.depot.path(self.seen.repo_id)) as index:
            tree, listing = capture_tree(self.seen, self.depot, index, ListingLimits())
        parents = ("-p", self.seen.head) if self.seen.head else ()
        made = self._git.having(**SAME).must("commit-tree", tree, *parents, stdin=WORDS)
        return made.text(), listing.warnings

    def _run_transfer(self, service: str, verb: str, *refs: str) -> None:
        with closing(self.there.open_git(self.copy, service)) as peer:
            allowed = safe_env({"protocol.fd.allow": "always"}) | {"GIT_DIR": str(self._git.env["GIT_DIR"])}
            peer.setblocking(True)
            done = subprocess.run(
                ["git", verb, "--quiet", f"fd::{peer.fileno()}", *refs],
                env=allowed,
                cwd=self._git.cwd,
                pass_fds=(peer.fileno(),),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
            if done.returncode:
                why = escape_line(done.stderr.decode("utf-8", "replace").strip()[-500:])
                fix = "run the same command again"
                raise UnavailableError("the files were not copied", why=why, fix=fix)

    def _read_state(self) -> CheckoutAnswer:
        """Return the state of the copy, which is made if it is missing."""
        body = {"object_format": self.seen.object_format}
        return self.client.post(CHECKOUT.at(*self.copy.split("/")), body)


def checkout_of(there: RemoteCoordinator, note: Callable[[str], None], ids: Ids) -> OwnCheckout | None:
    """Return the checkout around the working directory; None: it is not in a repository."""
    try:
        seen = open_project(Path.cwd())
    except GitRefusal:
        return None
    name = _UNSAFE.sub("-", seen.top.name).strip("-.")[:64] or "checkout"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    depot = Depot(cache / "pancode/checkouts")
    return OwnCheckout(there, Client(there, works=True), seen, depot, f"{_own_id(seen, ids)}/{name}", note)


def _own_id(seen: GitProject, ids: Ids) -> str:
    """Return the id of this checkout; a copied or moved checkout gets a new one."""
    place, here = seen.git_dir / NAME, os.fsencode(seen.top)
    with suppress(OSError):
        made, _, lay = place.read_bytes().partition(b"\n")
        if lay == here and re.fullmatch(rb"c-[0-9a-f]{16}", made):
            return made.decode()
    fresh = f"c-{ids.token(8)}"
    beside = place.with_name(f"{NAME}.{fresh}")
    beside.write_bytes(fresh.encode() + b"\n" + here)
    beside.replace(place)
    return fresh
