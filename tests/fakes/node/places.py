"""Workspaces and the depot in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

from node_agent.attempt.ports import AttemptResult, CommitStamp, Guide, LinkDown, StepFailed
from node_agent.attempt.records import PutBack
from node_agent.policy.judging import FileChange, Touch
from node_agent.vault.redact import SHORTEST
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Job, Workspace
from node_agent.wire.receipt import Blob
from tests.fakes.node.host import MemoryHost
from tests.fakes.node.runner import MemoryRunner

MOST_ENTRIES, IDLE_MS = 8, 14 * 24 * 3_600_000
EMPTIED = "emptied-by-a-power-cut"
"""What a commit names where the files it was made of were lost."""


@dataclass(slots=True)
class MemoryDepot:
    """The far end: what arrived there. `down`: the link to it; `refuses`: it says no to results."""

    down: bool = False
    refuses: bool = False
    commits: dict[str, str] = field(default_factory=dict)
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def reach(self) -> None:
        if self.down:
            raise LinkDown("the depot cannot be reached")


class MemoryWorkspaces:
    """The Workspaces port over a MemoryHost and a MemoryDepot."""

    def __init__(self, host: MemoryHost, depot: MemoryDepot) -> None:
        self._host, self._depot = host, depot

    def fetch(self, identity: AttemptId, workspace: Workspace) -> None:
        if workspace.kind == "git" and str(identity) not in self._host.mirrored:
            self._depot.reach()
            if self._host.full:
                raise StepFailed(FailureKind.DISK_FULL, "the disk is full")
            self._host.mirrored.add(str(identity))

    def prepare(self, identity: AttemptId, workspace: Workspace) -> Path:
        torn = str(identity) in self._host.torn  # a checkout says in which boot it was made
        if str(identity) not in self._host.trees or torn:
            self.fetch(identity, workspace)
            if self._host.full:
                raise StepFailed(FailureKind.DISK_FULL, "the disk is full")
            self._host.trees[str(identity)] = False
            self._host.torn.discard(str(identity))
            self._host.homes.pop(str(identity), None)
            self._host.set_up.discard(str(identity))
        return Path("/work") / str(identity) / "tree"

    def home(self, identity: AttemptId, files: Mapping[str, bytes], keep: bool = False) -> Path:
        self._host.homes.setdefault(str(identity), {}).update(files)
        if keep:
            self._host.kept_homes[str(identity)] = dict(files)
        return Path("/homes") / str(identity)

    def reserve_ports(
        self, identity: AttemptId, count: int, list_live: Callable[[], Collection[str]]
    ) -> tuple[int, ...]:
        held, mine, live = self._host.ports, str(identity), list_live()
        for name in [name for name in held if name != mine and name not in live]:
            del held[name]
        taken = {port for name, ports in held.items() if name != mine for port in ports}
        free = (port for port in range(20_000, 32_000) if port not in taken)
        return held.setdefault(mine, tuple(islice(free, count)))

    def renew(self, identity: AttemptId) -> None:
        host, name = self._host, str(identity)
        host.homes[name] = {**host.kept_homes.get(name, {}), **host.lent.get(name, {})}

    def lend(self, identity: AttemptId, files: Mapping[str, bytes], later: bool) -> None:
        self._host.lent[str(identity)] = dict(files)
        if not later:
            self.home(identity, files)

    def take_back(self, identity: AttemptId) -> None:
        for name in self._host.lent.pop(str(identity), {}):
            self._host.homes.get(str(identity), {}).pop(name, None)

    def repository(self, identity: AttemptId, workspace: Workspace) -> tuple[Path, ...]:
        return () if workspace.kind == "none" else (Path("/work") / str(identity) / "git",)

    def hand_over(self, identity: AttemptId, workspace: Workspace, owner: int) -> None:
        self._host.owners[str(identity)] = owner

    def guide(self, identity: AttemptId, workspace: Workspace) -> Guide | None:
        said = self._host.guide
        return None if said is None or workspace.kind == "none" else Guide(said)

    def put_back(self, job: Job, log: Path, env: Mapping[str, str]) -> PutBack:
        host, name = self._host, str(job.identity)
        host.set_up.discard(name)
        host.logs.pop(str(log), None)
        if job.workspace.kind == "none" or host.lockfile is None:
            return PutBack(
                None, findings=("nothing of set-up is cached: there is no lockfile",), told="set-up runs"
            )
        recipe = repr((job.workspace.repo, job.setup, job.cache, host.lockfile))
        key = hashlib.sha256(recipe.encode()).hexdigest()
        if key not in host.cache or host.full:
            return PutBack(key, told="set-up runs: no result is kept")
        host.cache[key] = host.clock.wall_ms()
        host.set_up.add(name)
        host.logs[str(log)] = f"set-up was not run: put back (key {key})\n".encode()
        return PutBack(key, restored=True, told="set-up was not run: restored")

    def absent(self, job: Job, path: str) -> tuple[str, ...]:
        programs = [gate.argv[0] for gate in job.gates] + list(job.score or ())[:1]
        return tuple(name for name in programs if name in self._host.absent)

    def keep(self, job: Job, key: str) -> tuple[str, ...]:
        if self._host.full:
            return ("the result of set-up was not stored for later attempts: the disk is full",)
        self._host.cache.setdefault(key, self._host.clock.wall_ms())
        if str(job.identity) in self._host.torn:
            self._host.built_on_torn.append(str(job.identity))
        return ()

    def trim(self, now_ms: int) -> None:
        oldest_first = sorted(self._host.cache, key=self._host.cache.__getitem__)
        for key in oldest_first:
            many = len(self._host.cache) > MOST_ENTRIES
            if many or self._host.full or now_ms - self._host.cache[key] > IDLE_MS:
                del self._host.cache[key]

    def baseline(self, identity: AttemptId, workspace: Workspace) -> str:
        if workspace.kind == "none":
            return "none"
        if str(identity) not in self._host.trees:
            raise StepFailed(FailureKind.WORKSPACE, "the checkout is gone")
        if self._host.full:
            raise StepFailed(FailureKind.DISK_FULL, "the disk is full")
        left = f"{identity} {self._left(identity)}".encode()
        self._host.baselines[str(identity)] = hashlib.sha256(left).hexdigest()
        return self._host.baselines[str(identity)]

    def tell(self, identity: AttemptId, name: str, text: str) -> None:
        self._host.words.setdefault(str(identity), {})[name] = text

    def lay_copied(
        self, identity: AttemptId, workspace: Workspace, files: Mapping[str, bytes]
    ) -> tuple[str, ...]:
        tracked = [name for name in sorted(files) if name == "uv.lock"]
        self._host.copied[str(identity)] = {name: one for name, one in files.items() if name not in tracked}
        return tuple(f"git tracks {name} in this commit, so it cannot be a copy" for name in tracked)

    def take_tools(self, identity: AttemptId, workspace: Workspace) -> dict[str, dict[str, bytes] | str]:
        return dict(self._host.script(identity).tools)

    def set_apart(
        self, job: Job, commit: str, copied: Mapping[str, bytes], log: Path, env: Mapping[str, str]
    ) -> PutBack:
        host, name = self._host, str(job.identity)
        if name not in host.trees and name not in host.aside:
            raise StepFailed(FailureKind.WORKSPACE, "the checkout is gone")
        if host.full:
            raise StepFailed(FailureKind.DISK_FULL, "the disk is full")
        host.aside.add(name)
        if not (job.setup and job.cache):
            return PutBack(None)
        set_up = name in host.set_up
        ready = self.put_back(job, log, env)
        (host.set_up.add if set_up else host.set_up.discard)(name)  # of the agent's checkout
        return ready

    def beside(self, identity: AttemptId, commit: str) -> tuple[str, ...]:
        assert str(identity) in self._host.aside
        return self._host.script(identity).beside

    def bring_back(self, identity: AttemptId) -> None:
        self._host.aside.discard(str(identity))

    def clear_reports(self, identity: AttemptId, files: tuple[str, ...]) -> None:
        return None

    def read_reports(self, identity: AttemptId, files: tuple[str, ...]) -> tuple[str, dict[str, bytes]]:
        found = dict(self._host.script(identity).reports)
        return "/tree", {name: found[name] for name in files if name in found}

    def question(self, identity: AttemptId, workspace: Workspace) -> bytes | None:
        return self._host.script(identity).question if self._host.trees.get(str(identity)) else None

    def _left(self, identity: AttemptId) -> tuple[str, ...]:
        """What set-up left."""
        return self._host.script(identity).setup_files if str(identity) in self._host.set_up else ()

    def commit(
        self, identity: AttemptId, workspace: Workspace, stamp: CommitStamp, baseline: str | None = None
    ) -> AttemptResult:
        if workspace.kind == "none":
            return AttemptResult("none")
        worked, script = self._host.trees.get(str(identity)), self._host.script(identity)
        if worked is None or script.commit_fails:
            raise StepFailed(FailureKind.WORKSPACE, "the checkout is gone")
        if baseline not in (None, self._host.baselines.get(str(identity))):
            raise StepFailed(FailureKind.WORKSPACE, "what set-up left is not as it was taken down")
        left = self._left(identity) if baseline is None else ()
        if not left and (not worked or script.kind == "empty"):
            return AttemptResult("empty")
        text = f"{identity} {workspace.snapshot} {stamp.message} {stamp.date_ms}".encode()
        commit = hashlib.sha1(text, usedforsecurity=False).hexdigest()
        files = (*left, *(script.files if worked and script.kind == "change" else ()))
        if str(identity) in self._host.torn:
            files = (EMPTIED,)
        changes = tuple(FileChange(name, Touch.CHANGED) for name in files)
        kind: Literal["change", "no_change"] = "change" if files else "no_change"
        return AttemptResult(kind, commit, files, changes=changes, missing=script.missing)

    def changed_since(self, identity: AttemptId, commit: str, baseline: str | None = None) -> tuple[str, ...]:
        return ()

    def exposed(
        self,
        identity: AttemptId,
        workspace: Workspace,
        commit: str,
        hidden: Mapping[str, str],
        on_the_way: bool = False,
    ) -> tuple[tuple[str, str], ...]:
        script = self._host.script(identity)
        if script.search_fails is on_the_way:
            raise StepFailed(FailureKind.WORKSPACE, f"{hidden['S']} is in the way")
        wrote = script.took_back if on_the_way else script.wrote
        return tuple(
            (name, "a.txt") for name, value in hidden.items() if len(value) >= SHORTEST and value in wrote
        )

    def push(self, identity: AttemptId, workspace: Workspace, commit: str) -> None:
        self._depot.reach()
        if self._depot.refuses:
            raise StepFailed(FailureKind.RESULT_REFUSED, "larger than allowed")
        self._depot.commits[str(identity)] = commit

    def salvage(
        self, identity: AttemptId, workspace: Workspace, stamp: CommitStamp, baseline: str | None = None
    ) -> tuple[str, ...]:
        self._host.salvaged.append(str(identity))
        return (f"kept as salvage/{identity}",)

    def remove(self, identity: AttemptId, workspace: Workspace) -> None:
        self._host.trees.pop(str(identity), None)
        self._host.aside.discard(str(identity))
        self._host.mirrored.discard(str(identity))
        self._host.set_up.discard(str(identity))
        self._host.baselines.pop(str(identity), None)
        self._host.homes.pop(str(identity), None)

    def keep_result(self, identity: AttemptId) -> None:
        self._host.results.setdefault(str(identity), self._host.clock.wall_ms())

    def has_result(self, identity: AttemptId) -> bool:
        return str(identity) in self._host.results

    def list_results(self, before_ms: int) -> tuple[AttemptId, ...]:
        old = [name for name, at_ms in self._host.results.items() if at_ms < before_ms]
        return tuple(AttemptId.parse(name) for name in sorted(old))

    def drop_result(self, identity: AttemptId) -> None:
        self._host.results.pop(str(identity), None)

    def put_aside(self, identity: AttemptId) -> None:
        if str(identity) not in self._host.salvaged:
            self._host.salvaged.append(str(identity))

    def place_aside(self, identity: AttemptId) -> str:
        return f"salvage/{identity}"

    def forget(self, identity: AttemptId, workspace: Workspace) -> None:
        self._host.salvaged = [name for name in self._host.salvaged if name != str(identity)]

    def taken_places(self) -> frozenset[str]:
        return frozenset(self._host.taken)

    def list(self) -> tuple[AttemptId, ...]:
        return tuple(AttemptId.parse(name) for name in self._host.trees)


class MemoryDepotLink:
    """The DepotLink port: reads outputs through a runner, as there are no files."""

    def __init__(self, depot: MemoryDepot, runner: MemoryRunner) -> None:
        self._depot, self._runner = depot, runner

    def upload(self, identity: AttemptId, name: str, path: Path) -> Blob:
        self._depot.reach()
        data = self._runner.tail(path, 0, 1 << 30)
        self._depot.blobs[(str(identity), name)] = data
        return Blob(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())

    def follow(self, identity: AttemptId, name: str, path: Path, stays: bool = False) -> None:
        self.upload(identity, name, path)

    def close_others(self, live: Collection[AttemptId]) -> None:
        """Nothing stays open."""
