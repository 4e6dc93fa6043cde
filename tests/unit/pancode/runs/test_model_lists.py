"""A list of vendors' models is read while nobody holds the fleet's lock, and only when it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from pancode.agents.models import VendorList
from pancode.config.user_environment import FileSurroundings
from pancode.kernel.errors import NotFoundError
from pancode.kernel.records import Run
from pancode.runs.core import Core, Lists, Unread
from pancode.runs.dispatch import dispatch_run, dry_run
from pancode.runs.request import DispatchRequest
from tests.unit.pancode.runs.world import Desk, Puppet


@dataclass(frozen=True)
class Kept:
    names: tuple[str, ...]

    def knows(self, model: str) -> bool:
        return model in self.names


@dataclass
class Watched(Mapping[str, VendorList]):
    """Takes down at each reading whether another thread could have had the lock."""

    core: Core
    free: list[tuple[str, bool]] = field(default_factory=list)

    def __getitem__(self, vendor: str) -> VendorList:
        with ThreadPoolExecutor(1) as other:
            self.free.append((vendor, other.submit(self._could).result(timeout=30)))
        return {"anthropic": Kept(("claude-opus-5",)), "openai": Kept(("gpt-5.5",))}[vendor]

    def _could(self) -> bool:
        got = self.core.lock.acquire(blocking=False)
        if got:
            self.core.lock.release()
        return got

    def __iter__(self) -> Iterator[str]:
        return iter(("anthropic", "openai"))

    def __len__(self) -> int:
        return 2


@pytest.fixture
def coordinator() -> Desk:
    coordinator = Desk()
    puppet = Puppet(coordinator)
    puppet.breathe()
    return coordinator


@pytest.fixture
def kept(coordinator: Desk) -> Watched:
    core = coordinator.core
    watched = Watched(core)
    core.ports = replace(core.ports, vendors=watched)
    core.lists = Lists(watched)
    return watched


@pytest.fixture
def around(tmp_path: Path) -> FileSurroundings:
    return FileSurroundings(tmp_path, {}, machine=tmp_path / "none")


def asked(model: str | None = None, runtime: str | None = None) -> DispatchRequest:
    return DispatchRequest("true", "ana", workspace="none", model=model, runtime=runtime, told_only=True)


def test_each_list_is_read_once_and_without_the_lock(
    coordinator: Desk, kept: Watched, around: FileSurroundings
) -> None:
    core = coordinator.core
    for _ in range(2):
        with pytest.raises(NotFoundError) as wrong:
            dispatch_run(core, around, asked("mistral-9"))
        assert wrong.value.code == "model_not_found"
    assert kept.free[:2] == [("anthropic", True), ("openai", True)] and all(free for _, free in kept.free)
    assert len({vendor for vendor, _ in kept.free}) == len(kept.free), "each list is read once"
    assert coordinator.rows(Run) == []


def test_a_dry_run_reads_them_too(coordinator: Desk, kept: Watched, around: FileSurroundings) -> None:
    judged = dry_run(coordinator.core, around, asked("gpt-5.5"))
    assert judged.runtime.name == "codex", "the program of the vendor that lists it"
    assert kept.free == [("anthropic", True), ("openai", True)]


def test_what_needs_none_reads_none(coordinator: Desk, kept: Watched, around: FileSurroundings) -> None:
    done = dispatch_run(coordinator.core, around, asked(runtime="shell"))
    assert [run.id for run in coordinator.rows(Run)] == [done.run.id]
    assert kept.free == []


def test_a_vendor_of_which_there_is_no_list_is_not_waited_for(kept: Watched) -> None:
    lists = Lists(kept)
    assert lists.get("groq") is None and (list(lists), len(lists)) == (["anthropic", "openai"], 2)
    with pytest.raises(Unread):
        lists.get("openai")
    lists.read("openai")
    assert lists["openai"].knows("gpt-5.5")
