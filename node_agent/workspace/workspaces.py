"""The workspaces of a node: prepares, commits, compares, pushes, salvages and removes an attempt's files."""

from __future__ import annotations

import errno
import os
import posixpath
import shutil
import socket
import threading
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from node_agent.attempt.ports import CommitStamp, Guide, StepFailed
from node_agent.attempt.records import PutBack
from node_agent.wire.failure import FailureKind
from node_agent.wire.git import decode_path, salvage_ref, split_nul
from node_agent.wire.identity import AttemptId, messages_in
from node_agent.wire.job import Job, Workspace
from node_agent.wire.keep import KEEP, NodeKeep
from node_agent.workspace import folders, homes, result
from node_agent.workspace.cache import Cache
from node_agent.workspace.checkout import Checkouts, WarmCheckouts
from node_agent.workspace.folders import lock_file
from node_agent.workspace.git import NodeGit, WorkspaceFailure, translate_os_errors
from node_agent.workspace.mirror import STORES, Mirrors, Transport, borrow_objects, make_bare, reset_config
from node_agent.workspace.set_up import SetUps

FIRST, LAST = 20_000, 32_000
"""Below the ports that Linux gives to outgoing connections."""
_TAKEN = (errno.EADDRINUSE, errno.EACCES)


def reserve_ports(
    folder: Path,
    identity: AttemptId,
    count: int,
    list_live: Callable[[], Collection[str]],
    first: int = FIRST,
    last: int = LAST,
) -> tuple[int, ...]:
    """Return the attempt's ports, reserved while `list_live` names it. Idempotent. StepFailed if fewer are
    free. The folder has a file for each reserved port, which names its attempt."""
    mine = str(identity)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with lock_file(folder / ".lock"):
        live = list_live()  # inside the lock, so that no attempt that has just reserved ports is missing
        held = {int(name): (folder / name).read_text() for name in os.listdir(folder) if name.isdecimal()}
        for port, owner in held.items():
            if owner != mine and owner not in live:
                (folder / str(port)).unlink()
        ports = sorted(port for port, owner in held.items() if owner == mine)[:count]
        taken = {port for port, owner in held.items() if owner == mine or owner in live}
        span = last - first
        start = zlib.crc32(mine.encode()) % span  # another node agent on this machine begins elsewhere
        for n in range(span):
            if len(ports) == count:
                return tuple(ports)
            port = first + (start + n) % span
            if port not in taken and is_free(port):
                (folder / str(port)).write_text(mine)
                ports.append(port)
    if len(ports) == count:
        return tuple(ports)
    raise StepFailed(FailureKind.NODE_INTERNAL, f"the node has no {count} free ports from {first} to {last}")


def is_free(port: int) -> bool:
    """Whether no program listens on the port, at any address."""
    for family, address in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):
        with suppress(OSError), socket.socket(family) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((address, port))
            except OSError as error:
                if family is socket.AF_INET or error.errno in _TAKEN:
                    return False
    return True


def find_absent_programs(job: Job, tree: Path, path: str) -> tuple[str, ...]:
    """Return the programs of gates and of the score command that do not exist.

    `path`: PATH of the run; `tree`: the run's checkout after set-up.

    The agent may still write a program in the checkout, so a program there counts as missing only in the
    folders that set-up makes.
    """
    commands = (*(gate.argv for gate in job.gates), *((job.score,) if job.score else ()))
    programs = dict.fromkeys(argv[0] for argv in commands)
    return tuple(one for one in programs if not _may_be_there(one, job.cache, tree, path))


def _may_be_there(program: str, made: tuple[str, ...], tree: Path, path: str) -> bool:
    if "/" not in program:
        return shutil.which(program, path=path) is not None
    if os.path.isabs(program):
        return os.path.exists(program)
    name = posixpath.normpath(program)
    return os.path.exists(tree / name) or not any(name.startswith(f"{folder}/") for folder in made)


_NOTHING = result.ResultCommit("none")


class Workspaces:
    """All workspaces in a node agent's home (`<home>/{mirrors,work,salvage,cache}`).

    Every method may be called again after a crash at any point. Calls for different attempts may run at the
    same time; those for one attempt run one after another, and only while no process of its agent is running.
    """

    def __init__(
        self,
        home: Path,
        transport: Transport,
        disk_reserve: int = 0,
        machine: str = "this",
        waiting: Iterable[Job] = (),
        keep: NodeKeep = KEEP,
    ) -> None:
        """`waiting`: the jobs whose files were fetched earlier and that have no folder yet."""
        self._home = folders.WorkspaceFolders(home)
        self._cache = Cache(self._home.cache, disk_reserve, keep.set_ups)
        self._set_ups = SetUps(self._home, self._cache, machine)
        self._transport = transport
        self._mirrors = Mirrors(self._home, transport, keep.mirrors)
        self._warm = WarmCheckouts(self._home.warm, lambda: self._cache.has_room(0), bound=keep.checkouts)
        self._checkouts = Checkouts(self._home, self._mirrors, self._warm)
        self._trims = threading.Thread()
        self._fetched = {job.identity: job.workspace.repo for job in waiting}
        """By attempt, the repository whose mirror must keep the attempt's snapshot until `remove`."""

    @translate_os_errors("cannot fetch the snapshot")
    def fetch(self, identity: AttemptId, workspace: Workspace) -> None:
        """Fetch the snapshot into the mirror of its repository, which keeps the snapshot until `remove`."""
        self._fetched[identity] = workspace.repo
        try:
            self._checkouts.fetch(identity, workspace)
        except BaseException:
            self._fetched.pop(identity, None)
            raise

    @translate_os_errors("cannot prepare the workspace")
    def prepare(self, identity: AttemptId, workspace: Workspace) -> Path:
        """Return the agent's folder, with the snapshot checked out, or empty."""
        tree = self._checkouts.prepare(identity, workspace)
        folders.must_hold(tree, workspace.folder)
        return tree

    @translate_os_errors("cannot write the run's home")
    def home(self, identity: AttemptId, files: Mapping[str, bytes], keep: bool = False) -> Path:
        """Create the agent's home next to the checkout, with these files (relative names). Idempotent."""
        places = self._home.places(identity)
        if not places.home.is_dir():
            places.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, data in files.items():
            folders.write_below(places.home, name, data)
        if keep:
            homes.store_files(places, files)
        return places.home

    @translate_os_errors("cannot reserve ports")
    def reserve_ports(
        self, identity: AttemptId, count: int, list_live: Callable[[], Collection[str]]
    ) -> tuple[int, ...]:
        """Return TCP ports that only this attempt gets while it is in `live`."""
        return reserve_ports(self._home.root / "ports", identity, count, list_live)

    @translate_os_errors("cannot restore the run's home")
    def renew(self, identity: AttemptId) -> None:
        """Restore the runtime's own files in the home after set-up, which can write there, too."""
        homes.restore_files(self._home.places(identity))

    @translate_os_errors("cannot write the agent's login")
    def lend(self, identity: AttemptId, files: Mapping[str, bytes], later: bool) -> None:
        """Write the agent login's files for its phase only. `later`: instead remove files written early."""
        homes.lend_login(self._home.places(identity), files, later)

    @translate_os_errors("cannot remove the agent's login")
    def take_back(self, identity: AttemptId) -> None:
        """Remove the agent's login before the gates, which run the repository's commands."""
        homes.take_back(self._home.places(identity))

    @translate_os_errors("cannot read AGENTS.md")
    def guide(self, identity: AttemptId, workspace: Workspace) -> Guide | None:
        """Return AGENTS.md of the checkout as dispatched, before any process of the run has started."""
        return None if workspace.kind == "none" else folders.read_guide(self.tree(identity))

    def tree(self, identity: AttemptId) -> Path:
        """Return the folder in which the agent works and the gates run."""
        return self._home.places(identity).tree

    def git_dir(self, identity: AttemptId) -> Path:
        """Return the agent's own repository, outside its tree."""
        return self._home.places(identity).git

    def repository(self, identity: AttemptId, workspace: Workspace) -> tuple[Path, ...]:
        """Return the paths that a sandbox shows read-only: the agent's repository, the tree's `.git` file,
        and the objects that the repository borrows."""
        if workspace.kind == "none":
            return ()
        places = self._home.places(identity)
        return (places.git, places.tree / ".git", *_list_borrowed(places))

    @translate_os_errors("cannot change the owner of the workspace")
    def hand_over(self, identity: AttemptId, workspace: Workspace, owner: int) -> None:
        """Make `owner` the owner of tree, home and repository, and borrowed objects readable for all."""
        places = self._home.places(identity)
        self._warm.give(places, owner)
        for own in (places.home, places.git):
            folders.change_owner(own, owner)
        for store in _list_borrowed(places):
            folders.open_to_readers(store)

    @translate_os_errors("cannot restore the result of set-up")
    def put_back(self, job: Job, log: Path, env: Mapping[str, str]) -> PutBack:
        """Restore the folders of an earlier set-up with the same key, and record that in `log`."""
        put_back = self._set_ups.put_back(job, log, env)
        if put_back.restored:
            self._checkouts.date_as_new(job.identity, job.workspace)
        return put_back

    def absent(self, job: Job, path: str) -> tuple[str, ...]:
        """Return the programs of gates and of the score command that do not exist."""
        return find_absent_programs(job, self.tree(job.identity), path)

    def keep(self, job: Job, key: str) -> tuple[str, ...]:
        """Store copies of set-up's folders. Return messages with the reason if not stored. Does not raise."""
        return self._set_ups.keep(job, key)

    def trim(self, now_ms: int) -> None:
        """Delete stored folders not used for long, and leftovers of crashes. Idempotent. Mirrors are trimmed
        in a thread: packing one may take minutes, in which the node must stay responsive."""
        self._cache.trim(now_ms)
        self._warm.trim(now_ms)
        if not self._trims.is_alive():
            self._trims = threading.Thread(target=self._trim_quietly, args=(now_ms,), daemon=True)
            self._trims.start()

    def taken_places(self) -> frozenset[str]:
        return self._home.taken_places()

    def _trim_quietly(self, now_ms: int) -> None:
        with suppress(OSError, StepFailed):  # the next call of `trim` tries again
            self.trim_mirrors(now_ms)

    def trim_mirrors(self, now_ms: int) -> None:
        """Delete mirrors that were not used for long, pack the others. Raises StepFailed or OSError."""
        places = [self._home.places(identity) for identity in self.list()]
        lent = [path for one in places for path in _list_borrowed(one)]
        needed = {repo for repo in list(self._fetched.values()) if repo is not None}
        lent += [self._home.mirror(repo) / STORES for repo in needed]
        self._mirrors.trim(now_ms, lent, is_idle=not places)

    @translate_os_errors("cannot deliver a message to the agent")
    def tell(self, identity: AttemptId, name: str, text: str) -> None:
        """Write users' messages to the file that the agent's program reads, replacing any file there."""
        homes.write_file(self._home.places(identity).home, messages_in(str(identity)), name, text.encode())

    @translate_os_errors("cannot read the agent's question")
    def question(self, identity: AttemptId, workspace: Workspace) -> bytes | None:
        """Move the agent's question to a user out of the tree and the result, and return it."""

        return folders.take_question(
            self._home.places(identity), workspace.folder, self._make_tracked_check(workspace)
        )

    @translate_os_errors("cannot copy the ignored files")
    def lay_copied(
        self, identity: AttemptId, workspace: Workspace, files: Mapping[str, bytes]
    ) -> tuple[str, ...]:
        """Write the owner's ignored files into the checkout, and record their names for the result. Return
        findings about files that git tracks, which are not written."""
        is_tracked = self._make_tracked_check(workspace)
        tracked = [name for name in sorted(files) if is_tracked(name)]
        left = {name: data for name, data in files.items() if name not in tracked}
        folders.lay_copied(self._home.places(identity), left)
        return tuple(f"git tracks {name} in this commit, so it cannot be a copy" for name in tracked)

    @translate_os_errors("cannot read the proposed tools")
    def take_tools(self, identity: AttemptId, workspace: Workspace) -> dict[str, dict[str, bytes] | str]:
        """Move the tools that the agent proposes out of the tree and the result, and return them."""
        return folders.take_tools(self._home.places(identity), self._make_tracked_check(workspace))

    @translate_os_errors("cannot remove old report files")
    def clear_reports(self, identity: AttemptId, files: tuple[str, ...]) -> None:
        """Remove files at the paths of the gates' reports, since the agent may have created some."""
        folders.clear_reports(self.tree(identity), files)

    @translate_os_errors("cannot read the report files")
    def read_reports(self, identity: AttemptId, files: tuple[str, ...]) -> tuple[str, dict[str, bytes]]:
        """Return the tree's path, and each regular file's content by name, up to one byte over the limit."""
        tree = self.tree(identity)
        return str(tree), folders.read_reports(tree, files)

    @translate_os_errors("cannot make the checkout for the gates")
    def set_apart(
        self, job: Job, commit: str, copied: Mapping[str, bytes], log: Path, env: Mapping[str, str]
    ) -> PutBack:
        """Keep the attempt's folders aside, and make new ones at their path, as for a run that begins at the
        result `commit`: nothing in them was made by the agent. No link is followed."""
        identity, workspace = job.identity, job.workspace
        places, aside = self._home.places(identity), self._home.aside(identity)
        if not os.path.lexists(aside.folder):
            aside.folder.parent.mkdir(mode=0o700, exist_ok=True)
            self._warm.move(places, aside)
        self._checkouts.make(identity, workspace, places, (aside.out, commit))
        anew = job.model_copy(update={"workspace": workspace.model_copy(update={"snapshot": commit})})
        self._fresh_out(identity, workspace)
        self.lay_copied(identity, workspace, copied)
        homes.lay_anew(places, aside)
        ready = self.put_back(anew, log, env) if job.setup and job.cache else PutBack(None)
        homes.lay_copies(aside.tree, places.tree, job.reads)
        owner = os.lstat(aside.home).st_uid
        if owner != os.geteuid():
            self.hand_over(identity, workspace, owner)
        return ready

    @translate_os_errors("cannot list the agent's other files")
    def beside(self, identity: AttemptId, commit: str) -> tuple[str, ...]:
        """Return the topmost names of files that only the agent's checkout or home has, without the copied
        files; if the gates have made all of them as well, all names."""
        places, aside = self._home.places(identity), self._home.aside(identity)
        index, _ = result.fresh_index(aside, commit, aside.out / "beside.index")
        found = split_nul(index.must("ls-files", "-z", "-o", "-i", "--exclude-standard", "--directory").out)
        every = [decode_path(name.rstrip(b"/")) for name in found if not folders.holds_copied(aside, name)]
        new = [name for name in every if not os.path.lexists(places.tree / name)]
        own = set(os.listdir(aside.home)) - set(os.listdir(places.home))
        return (*(new or every), *sorted(f"~/{name}" for name in own))

    @translate_os_errors("cannot bring the agent's checkout back")
    def bring_back(self, identity: AttemptId) -> None:
        """Undo `set_apart`, and remove what the gates left. Idempotent."""
        places, aside = self._home.places(identity), self._home.aside(identity)
        if os.path.lexists(aside.folder):
            self._warm.keep(places, f"{places.folder.name}.gates")
            folders.erase(places.folder)
            self._warm.move(aside, places)
            folders.read_copied_names.cache_clear()

    def _make_tracked_check(self, workspace: Workspace) -> Callable[[str], bool]:
        """Return a function that tells whether the snapshot contains a file or folder with a given name."""

        def is_tracked(name: str) -> bool:
            mirror = NodeGit(self._home.mirror(str(workspace.repo)))
            return mirror.ask("cat-file", "-e", f"{_require_snapshot(workspace)}:{name}").ok

        return is_tracked if workspace.kind == "git" else lambda name: False

    @translate_os_errors("cannot record the state after set-up")
    def baseline(self, identity: AttemptId, workspace: Workspace) -> str:
        """Record the files as set-up left them. Return a name that identifies this state."""
        if workspace.kind == "none":
            return result.NO_WORKSPACE
        places, snapshot = self._home.places(identity), _require_snapshot(workspace)
        folders.must_be_folder(places.tree)
        self._fresh_out(identity, workspace)
        return result.keep_baseline(result.survey_changes(places, snapshot), places.baseline)

    def _baseline_of(self, identity: AttemptId, baseline: str | None) -> result.Baseline | None:
        return (
            None if baseline is None else result.read_baseline(self._home.places(identity).baseline, baseline)
        )

    @translate_os_errors("cannot build the result commit")
    def commit(
        self, identity: AttemptId, workspace: Workspace, stamp: CommitStamp, baseline: str | None = None
    ) -> result.ResultCommit:
        """Return the result commit, built from the files without hooks or filters. Equal input: equal id."""
        if workspace.kind == "none":
            return _NOTHING
        places, snapshot = self._home.places(identity), _require_snapshot(workspace)
        folders.must_be_folder(places.tree)
        out = self._fresh_out(identity, workspace)
        before = self._baseline_of(identity, baseline)
        history = result.adopt_history(places, out, snapshot, before.head if before is not None else None)
        return result.build_commit(places, out, snapshot, history, stamp, before)

    def _fresh_out(self, identity: AttemptId, workspace: Workspace) -> NodeGit:
        """Create a repository that the agent has never accessed; first erase anything at its path. While the
        attempt's folders are aside, it has the objects of the result."""
        places, aside = self._home.places(identity), self._home.aside(identity)
        folders.erase(places.out)
        make_bare(places.out, workspace.object_format)
        borrow_objects(places.out, self._home.mirror(str(workspace.repo)))
        if os.path.lexists(aside.folder):
            with (places.out / "objects" / "info" / "alternates").open("a") as file:
                file.write(f"{aside.out.resolve() / 'objects'}\n")
        return NodeGit(places.out)

    @translate_os_errors("cannot search the result for secrets")
    def exposed(
        self,
        identity: AttemptId,
        workspace: Workspace,
        commit: str,
        hidden: Mapping[str, str],
        on_the_way: bool = False,
    ) -> tuple[tuple[str, str], ...]:
        """Return (name, file) for each secret value in a changed file that the snapshot's version lacks, and
        for each copied file."""
        places, ends = self._home.places(identity), (_require_snapshot(workspace), commit)
        copied = folders.read_copied_names(places.folder)
        return tuple(result.find_exposed(NodeGit(places.out), places.out, ends, hidden, on_the_way, copied))

    @translate_os_errors("cannot compare the workspace with the result")
    def changed_since(self, identity: AttemptId, commit: str, baseline: str | None = None) -> tuple[str, ...]:
        """Return the files that the gates changed: those whose content differs from the result commit."""
        places = self._home.places(identity)
        folders.must_be_folder(places.tree)
        index, _ = result.fresh_index(places, commit, places.out / "gates.index")
        names = result.changed_after(index, self._baseline_of(identity, baseline))
        return tuple(decode_path(name) for name in names if not folders.is_left_out(places, name))

    @translate_os_errors("cannot push the result")
    def push(self, identity: AttemptId, workspace: Workspace, commit: str) -> None:
        """Push the commit to the git depot. Raises DepotUnavailable (try later) or DepotRefused (final)."""
        places = self._home.places(identity)
        out = self._home.result_folder(identity) / places.out.name
        out = out if out.is_dir() else places.out
        reset_config(out, workspace.object_format)
        borrow_objects(out, self._home.mirror(str(workspace.repo)))
        self._transport.push(identity, out, commit)

    @translate_os_errors("cannot salvage the workspace")
    def salvage(
        self, identity: AttemptId, workspace: Workspace, stamp: CommitStamp, baseline: str | None = None
    ) -> tuple[str, ...]:
        """Keep the files of an attempt that cannot deliver its result: as a commit in the mirror, else in a
        folder. Return where, as messages for users; empty if none are kept. `forget` deletes them."""
        places = self._home.places(identity)
        if not os.path.lexists(places.folder):
            return ()
        try:
            made = self.commit(identity, workspace, stamp, baseline)
            if made.commit is not None:
                return (self._keep(identity, workspace, made.commit),)
        except WorkspaceFailure as failure:
            self.put_aside(identity)
            return (f"{self.place_aside(identity)} ({failure})",)
        if workspace.kind == "none" and any(places.tree.iterdir()):
            self.put_aside(identity)
            return (self.place_aside(identity),)
        return ()

    def _keep(self, identity: AttemptId, workspace: Workspace, commit: str) -> str:
        places, mirror = self._home.places(identity), self._home.mirror(str(workspace.repo))
        pack = places.out / "salvage.pack"
        revs = f"{commit}\n^{_require_snapshot(workspace)}\n".encode()
        NodeGit(places.out).must("pack-objects", "--revs", "--stdout", "-q", stdin=revs, stdout=pack)
        NodeGit(mirror).must("index-pack", "--stdin", "--strict", "--fix-thin", stdin=pack)
        NodeGit(mirror).must("update-ref", salvage_ref(identity), commit)
        return f"commit {commit} in {mirror}"

    @translate_os_errors("cannot keep the workspace")
    def put_aside(self, identity: AttemptId) -> None:
        """Move the attempt's whole folder to `place_aside`, where it stays until `forget`. Idempotent."""
        places, target = self._home.places(identity), self._home.salvage(identity)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.path.lexists(places.folder) and not os.path.lexists(target):
            os.rename(places.folder, target)

    def place_aside(self, identity: AttemptId) -> str:
        """Return the folder in which `put_aside` keeps the attempt's files."""
        return str(self._home.salvage(identity))

    @translate_os_errors("cannot keep the result")
    def keep_result(self, identity: AttemptId) -> None:
        """Keep the attempt's commit after `remove`, in case the coordinator's ledger is restored: `push` can
        send it again. Idempotent."""
        out, kept = self._home.places(identity).out, self._home.result_folder(identity)
        kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        if out.is_dir() and not (kept / out.name).exists():
            os.rename(out, kept / out.name)

    def has_result(self, identity: AttemptId) -> bool:
        return self._home.result_folder(identity).is_dir()

    def list_results(self, before_ms: int) -> tuple[AttemptId, ...]:
        """Return the attempts whose results were kept before this time, by the wall clock."""
        folder = self._home.root / "kept"
        old = list[str]()
        with suppress(FileNotFoundError):
            old = [one.name for one in os.scandir(folder) if one.stat().st_mtime * 1_000 < before_ms]
        return tuple(AttemptId.parse(name) for name in sorted(old))

    @translate_os_errors("cannot delete the result")
    def drop_result(self, identity: AttemptId) -> None:
        """Delete what `keep_result` kept. Idempotent."""
        folders.erase(self._home.result_folder(identity))

    @translate_os_errors("cannot remove the workspace")
    def remove(self, identity: AttemptId, workspace: Workspace) -> None:
        """Remove the attempt's folder; with the run's last folder also the run's snapshot. Idempotent."""
        self.bring_back(identity)
        places = self._home.places(identity)
        self._warm.keep(places)
        folders.erase(places.folder)
        self._home.leave_place(identity)
        self._fetched.pop(identity, None)
        if workspace.repo is not None:
            self._mirrors.release(workspace.repo, identity.run, lambda: self._is_wanted(identity.run))

    def _is_wanted(self, run: str) -> bool:
        """Whether another attempt of the run has a folder or waits for a folder."""
        return any(other.run == run for other in (*self.list(), *list(self._fetched)))

    @translate_os_errors("cannot delete the salvaged files")
    def forget(self, identity: AttemptId, workspace: Workspace) -> None:
        """Delete the files that `salvage` or `put_aside` kept. Idempotent."""
        folders.erase(self._home.salvage(identity))
        mirror = self._home.mirror(workspace.repo) if workspace.repo else None
        if mirror is not None and mirror.is_dir():
            NodeGit(mirror).must("update-ref", "-d", salvage_ref(identity))

    def list(self) -> tuple[AttemptId, ...]:
        """Return every attempt that still has a folder."""
        return self._home.attempts()


def _list_borrowed(places: folders.AttemptFolders) -> tuple[Path, ...]:
    return (Path(places.store.read_text()),) if places.store.is_file() else ()


def _require_snapshot(workspace: Workspace) -> str:
    if workspace.snapshot is None:
        raise WorkspaceFailure("the job's git workspace must name a snapshot")
    return workspace.snapshot
