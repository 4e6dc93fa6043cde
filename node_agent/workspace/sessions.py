"""Keeps an agent program's session, so that a later run on this node can resume it."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from node_agent.attempt.ports import StepFailed
from node_agent.attempt.sessions import NotYet
from node_agent.files.walk import walk
from node_agent.wire.failure import FailureKind
from node_agent.wire.order import Order
from node_agent.wire.receipt import Usage
from node_agent.workspace.errors import WorkspaceFailure, translated
from node_agent.workspace.folders import WorkspaceFolders, erase, give, real_folder, write_below

MOST_BYTES, MOST_FILES = 64 << 20, 2000
"""Of one session; a larger one is not kept."""
MOST, LONGEST_DAYS = 32, 30
"""The number and age of the sessions that a node keeps."""
_FACTS, _BEFORE = "session.json", "resumed.json"


class KeptSessions:
    """The Sessions port: one for each run that told one, its newest attempt's, in `<home>/sessions`.

    Paths are part of a conversation, and some programs file it under one. So whoever goes on with it has its
    files where those of before lay. `names`: of a runtime, what of a home is its session.
    """

    def __init__(self, home: Path, names: Callable[[str], Sequence[str]]) -> None:
        self._home, self._names = WorkspaceFolders(home), names
        self._root = home / "sessions"

    def keep(self, order: Order, session: str | None, used: Usage) -> str:
        names = self._names(order.runtime)
        try:
            return self._keep(order, session, used, names) if names and session is not None else ""
        except (OSError, WorkspaceFailure) as failed:
            return f"its session is not kept: {failed}"[:500]

    def _keep(self, order: Order, session: str, used: Usage, names: Sequence[str]) -> str:
        places, run = self._home.places(order.identity), order.identity.run
        found = list(files_below(places.home, names))
        size = sum((places.home / name).lstat().st_size for name in found[:MOST_FILES])
        if not found:
            return ""
        if size > MOST_BYTES or len(found) > MOST_FILES:
            return f"its session is not kept: it has {size >> 20} MiB in {len(found)} files"
        new = self._root / f".{run}"
        erase(new)
        whole = _sum(self.used_before(order), used).model_dump(mode="json")
        facts = {"session": session, "runtime": order.runtime, "used": whole, "place": places.folder.name}
        write_below(new, _FACTS, json.dumps(facts).encode())
        for name in found:
            _copy(places.home / name, new / "home" / name)
        erase(self._root / run)
        os.rename(new, self._root / run)
        for path in self._oldest_first()[:-MOST]:
            erase(path)
        return ""

    @translated("session of an earlier run")
    def go_on(self, order: Order) -> None:
        if order.resume is None:
            return
        run, facts = order.resume.run, self._facts(self._root / order.resume.run / _FACTS)
        if (facts.get("session"), facts.get("runtime")) != (order.resume.session, order.runtime):
            kept = (
                f"it keeps the newest {MOST} sessions, {MOST_BYTES >> 20} MiB each, for {LONGEST_DAYS} days"
            )
            words = f"the session of {run} is not on this node ({kept}); without it: pancode runs retry {run}"
            raise StepFailed(FailureKind.CANNOT_START, words)
        if not self._home.take_place(order.identity, str(facts["place"])):
            raise NotYet(f"files still lie where {run} worked")

    @translated("session of an earlier run")
    def put_back(self, order: Order) -> None:
        if order.resume is None:
            return
        kept, places = self._root / order.resume.run, self._home.places(order.identity)
        tops = os.listdir(kept / "home")
        for name in files_below(kept / "home", tops):
            _copy(kept / "home" / name, places.home / name)
        before = self._facts(kept / _FACTS).get("used")
        write_below(places.folder, _BEFORE, json.dumps(before).encode())
        os.utime(kept)  # it is in use
        owner = os.lstat(places.home).st_uid
        for top in tops if owner != os.geteuid() else ():
            give(places.home / top, owner)
            os.chown(places.home / top, owner, owner, follow_symlinks=False)

    def used_before(self, order: Order) -> Usage:
        """By all runs of the session that the order goes on with: some programs tell the sum."""
        stored = self._facts(self._home.places(order.identity).folder / _BEFORE) if order.resume else {}
        return Usage.model_validate(stored, strict=False) if stored else Usage()

    def trim(self, now_ms: int) -> None:
        """Let go of what nobody has asked for in a long time, and of what crashes left. Idempotent."""
        for path in self._root.iterdir() if self._root.is_dir() else ():
            days = (now_ms / 1000 - path.lstat().st_mtime) / 86_400
            if days > LONGEST_DAYS or (path.name.startswith(".") and days > 1):
                erase(path)

    def _oldest_first(self) -> list[Path]:
        kept = [path for path in self._root.iterdir() if not path.name.startswith(".")]
        return sorted(kept, key=lambda path: path.lstat().st_mtime_ns)

    def _facts(self, path: Path) -> dict[str, Any]:
        try:
            return dict(json.loads(path.read_bytes()))
        except (OSError, ValueError):
            return {}


def _sum(one: Usage, other: Usage) -> Usage:
    costs = [usd for usd in (one.cost_usd, other.cost_usd) if usd is not None]
    return Usage(
        input_tokens=one.input_tokens + other.input_tokens,
        cached_tokens=one.cached_tokens + other.cached_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cost_usd=sum(costs, Decimal(0)) if costs else None,
        cost_source="reported" if costs else "unknown",
        turns=one.turns + other.turns,
    )


def files_below(top: Path, names: Sequence[str]) -> Iterator[str]:
    """Plain files at or below these names; what is a link, or lies behind one, is left out."""
    for name in names:
        path, parts = top, Path(name).parts
        if not all(real_folder(path := path / part) for part in parts[:-1]):
            continue
        path = path / parts[-1]
        if not real_folder(path):
            if os.path.lexists(path) and stat.S_ISREG(path.lstat().st_mode):
                yield name
            continue
        for one in walk(path):
            seen = os.stat(one.name, dir_fd=one.at, follow_symlinks=False)
            if stat.S_ISREG(seen.st_mode):
                yield "/".join((name, *one.way, one.name))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    with (
        os.fdopen(os.open(source, os.O_RDONLY | os.O_NOFOLLOW), "rb") as old,
        os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new,
    ):
        shutil.copyfileobj(old, new)
