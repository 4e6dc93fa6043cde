"""The sandbox of this node, tested at first use and again after some minutes, and applied to each step."""

from __future__ import annotations

import json
import os
import sys
import threading
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from node_agent.attempt.ports import StepFailed
from node_agent.files.durable import create_exclusive
from node_agent.sandbox.detect import MACHINES, UID, UIDS, SandboxTools, detect_sandbox, fence_holds
from node_agent.sandbox.policy import (
    FILTER,
    FILTER_FD,
    Covers,
    Network,
    Tools,
    View,
    build_fence,
    build_prefix,
)
from node_agent.sandbox.shown import (
    GATE,
    MOST_COVERED,
    MOST_SEEN,
    RELAY,
    Ground,
    Programs,
    covers_of,
    first_words,
    is_begun_by_us,
    is_clean,
    list_guarded,
    named_programs,
    open_own,
    own_folders,
    read_covered,
    this_system,
    write_covered,
)
from node_agent.shim.spool import PhasePlan, StepKind
from node_agent.wire.clock import Clock
from node_agent.wire.failure import FailureKind
from node_agent.wire.node import no_sandbox
from node_agent.wire.policy import PathRule

OWNERS = "owners"


def list_user_ids() -> set[int]:
    """Return the user ids that have a process on this node."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                found.add(os.stat(f"/proc/{name}").st_uid)
            except OSError:  # the process has ended
                continue
    return found


class UserIdPool:
    """User ids for attempts, each with its attempt's name in a file that survives a restart. Thread-safe. Two
    attempts with one id could end each other's processes, and would share a process limit."""

    def __init__(
        self, folder: Path, count: int = UIDS, living: Callable[[], set[int]] = list_user_ids
    ) -> None:
        self._folder, self._count, self._living = folder, count, living
        self._lock = threading.Lock()

    def owner_of(self, attempt: str) -> int:
        """Return the attempt's user id, the same each time. OSError if no id is free or can be stored."""
        with self._lock:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            assigned = {int(one.name): one for one in self._folder.iterdir() if one.name.isdigit()}
            for uid, place in assigned.items():
                if place.read_bytes() == attempt.encode():
                    os.utime(place)
                    return uid
            return self._assign_id(attempt, assigned)

    def _assign_id(self, attempt: str, assigned: dict[int, Path]) -> int:
        busy = self._living()  # the ids include those of attempts of other fleets on this node
        first = zlib.crc32(attempt.encode()) % self._count
        every = [UID + (first + step) % self._count for step in range(self._count)]
        free = [uid for uid in every if uid not in busy]
        # Ids that were never assigned come first, then those used least recently.
        free.sort(key=lambda uid: assigned[uid].stat().st_mtime_ns if uid in assigned else 0)
        if not free:
            raise OSError("no user id is free for this attempt: every id has running processes")
        if free[0] in assigned:
            assigned[free[0]].unlink()
        create_exclusive(self._folder / str(free[0]), attempt.encode())
        return free[0]


AGAIN_MS = 600_000
SOON_MS = 30_000
"""Milliseconds until the next trial after an unfinished one, as on a node that is too busy."""
OWN_FILE = "sandbox.json"
TOO_MANY = (
    f"the sandbox cannot cover all paths that the path rules name: more than {MOST_COVERED} paths of the "
    f"checkout match, or the checkout has more than {MOST_SEEN} entries; fix: name folders or full paths in "
    "the rules"
)


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a phase may do. `port`: the model gateway's port, also used by the relay in the sandbox. `paths`:
    the users' path rules, whose paths are covered. `devices`: as in `View`."""

    writable: bool
    network: Network
    port: int = 0
    paths: tuple[PathRule, ...] = ()
    devices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class OwnersWish:
    """The node owner's `sandbox.json`. `off`: why the sandbox is disabled; `read`: further paths to show."""

    off: str = ""
    read: tuple[str, ...] = ()
    trouble: str = ""


class Sandbox:
    """The node's sandbox. Thread-safe. The first use makes a trial; its result is reused for some minutes."""

    def __init__(self, home: Path, path: str, clock: Clock, user_home: str) -> None:
        """`home`: the node agent's home; `user_home`: the home of its user; `path`: PATH for programs."""
        self._home, self._path, self._clock = home, path, clock
        self._system, self._user_home = this_system(), user_home
        self._programs = Programs(path, user_home, self._system)
        self._owners = UserIdPool(home / OWNERS)
        self._lock = threading.Lock()
        self._found: SandboxTools | None = None
        self._tried_ms = 0
        self._seen: tuple[tuple[int, int], tuple[str, ...]] = ((0, 0), ())

    def find(self) -> SandboxTools:
        """Return the sandbox's tools, or the reason why there are none. Searches again after some minutes, or
        when bubblewrap or the owner's file changes."""
        wish = self._read_wish()
        if wish.off or wish.trouble:
            return SandboxTools(None, no_sandbox(wish.off or wish.trouble, self._repair()))
        with self._lock:
            seen, now = (self._stamp_tools(), wish.read), self._clock.mono_ms()
            if self._found is None or seen != self._seen or now - self._tried_ms >= _lasts_ms(self._found):
                shown = self._list_shown(wish, sys.executable)
                is_root = os.geteuid() == 0
                found = detect_sandbox(self._path, self._etc, self._system, is_root, shown)
                fenced = found.tools is None and not is_root and fence_holds(self._etc, self._system)
                self._found = replace(found, landlock=fenced)
                self._tried_ms, self._seen = now, seen
            return self._found

    def owner_of(self, attempt: str) -> int | None:
        """Return the user id that must own this attempt's files; None: the node agent's own user id."""
        tools = self.find().tools
        if tools is None or tools.uid is None:
            return None
        return self._owners.owner_of(attempt)

    def around(self, plan: PhasePlan, allowed: Permissions, shown: Sequence[Path]) -> PhasePlan | None:
        """Return the plan with each step in a new sandbox instead of any old one; None if none works now.

        Landlock is used if only it is available, unless the plan was in a full sandbox.

        `shown`: read-only paths besides the programs, such as the repository. The steps' outputs and the
        gateway's socket are in the attempt's folder.
        """
        found = self.find()
        tools = found.tools
        if tools is None:
            fenced = found.landlock and not any(step.walled for step in plan.steps)
            return self._fence_plan(plan, allowed, shown) if fenced else None
        if any(step.walled and not step.wall for step in plan.steps):
            return plan  # a plan of an older node agent, whose arguments already include the sandbox
        if tools.uid is not None:
            tools = replace(tools, uid=self.owner_of(plan.marker))
            open_own(plan)
        view = self._view(plan, allowed, shown)
        view = replace(view, covers=self._find_covers(plan, view, allowed, tools))
        calls = f"{view.etc}/{FILTER}" if os.uname().machine in MACHINES else ""
        ours = is_begun_by_us(plan, allowed.network)
        fd = FILTER_FD if calls else None
        words = build_prefix(view, tools, processes=plan.limits.processes, calls=fd, as_first=ours)
        before = (*words, *first_words(view, allowed.port)) if ours else words
        inside = (replace(one, wall=before, walled=True, calls=calls) for one in plan.steps)
        return replace(plan, steps=tuple(inside))

    def _fence_plan(self, plan: PhasePlan, allowed: Permissions, shown: Sequence[Path]) -> PhasePlan:
        words = build_fence(self._view(plan, allowed, shown), allowed.port)
        return replace(plan, steps=tuple(replace(one, wall=words) for one in plan.steps))

    def _find_covers(self, plan: PhasePlan, view: View, allowed: Permissions, tools: Tools) -> Covers:
        """Return existing paths that path rules name, except those the sandbox needs. Raises StepFailed."""
        system = (*view.system.folders, *view.system.links)
        needed = (view.tree, view.home, view.etc, RELAY, os.path.realpath(sys.executable), *system)
        ground = Ground(view.tree, (*view.shown, *system), self._user_home, (*needed, tools.bwrap))
        folder = Path(plan.steps[0].stdout).parent
        before = read_covered(folder)
        covers = covers_of(allowed.paths, ground, view.writable, before)
        # The result check finds files that an agent adds; every file from before the agent must be covered.
        if covers.lost or (covers.left and all(step.kind is not StepKind.GATE for step in plan.steps)):
            raise StepFailed(FailureKind.SANDBOX, TOO_MANY)
        write_covered(folder, view.tree, covers, () if view.writable else before)
        return covers

    def _view(self, plan: PhasePlan, allowed: Permissions, shown: Sequence[Path]) -> View:
        return View(
            tree=plan.cwd,
            below=plan.below,
            home=plan.env["HOME"],
            writable=allowed.writable,
            network=allowed.network,
            etc=str(self._etc),
            system=self._system,
            shown=(
                *map(str, shown),
                *self._list_shown(self._read_wish(), sys.executable, *named_programs(plan)),
                *own_folders(plan),
                *list_guarded(plan.env["HOME"], any(step.kind is StepKind.AGENT for step in plan.steps)),
                *((RELAY,) if is_begun_by_us(plan, allowed.network) else ()),
            ),
            hidden=(str(self._home),),
            gate=str(Path(plan.steps[0].stdout).parent / GATE) if allowed.network is Network.MODEL else "",
            devices=allowed.devices,
        )

    def _list_shown(self, wish: OwnersWish, *programs: str) -> tuple[str, ...]:
        return (*self._programs.shown(*programs), *filter(os.path.exists, wish.read))

    @property
    def _etc(self) -> Path:
        return self._home / "run" / "wall"

    def _stamp_tools(self) -> tuple[int, int]:
        """Return a value that changes when bubblewrap is installed, removed or replaced."""
        for folder in self._path.split(":"):
            try:
                state = os.stat(os.path.join(folder, "bwrap"))
            except OSError:
                continue
            return state.st_ino, state.st_mtime_ns
        return 0, 0

    def _read_wish(self) -> OwnersWish:
        """Return the owner's settings; a file that cannot be read disables the sandbox with that reason."""
        file = self._home / OWN_FILE
        try:
            raw = json.loads(file.read_bytes())
            read = tuple(os.path.expanduser(str(one)) for one in raw.get("read", ()))
            wish = OwnersWish(str(raw.get("off", "")), read)
            if set(raw) - {"off", "read"} or not all(is_clean(one) for one in read):
                raise ValueError(
                    "allowed keys: `read`, a list of normalized absolute paths, and `off`, a reason"
                )
        except FileNotFoundError:
            return OwnersWish()
        except (OSError, ValueError, AttributeError, TypeError) as exc:
            return OwnersWish(trouble=f"{file} cannot be used: {exc}"[:400])
        return wish

    def _repair(self) -> str:
        return f"correct or remove {self._home / OWN_FILE}"


def _lasts_ms(found: SandboxTools) -> int:
    return SOON_MS if found.passing else AGAIN_MS
