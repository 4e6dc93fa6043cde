"""The CallsPort: on memory, and on the files of a run's home that every program of the run may write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from node_agent.attempt.ports import CallsPort
from node_agent.shim.shim import PATIENCE
from node_agent.wire.identity import AttemptId, calls_in
from node_agent.wire.policy import CallAsked
from node_agent.workspace.folders import WorkspaceFolders
from node_agent.workspace.homes import HomeCalls
from tests.fakes.node import MemoryCalls, MemoryClock, MemoryHost

WHO, OTHER = AttemptId(run="r-0001", attempt=1, lease=1), AttemptId(run="r-0001", attempt=2, lease=2)
ONE, TWO = (CallAsked(call=f"{n:016x}", command=f"git push {n}", pattern="push") for n in (1, 2))


@dataclass
class Calls:
    port: CallsPort
    ask: Callable[[AttemptId, CallAsked], None]
    phase: Path
    is_patient: Callable[[], bool]


def on_disk(root: Path) -> Calls:
    folders = WorkspaceFolders(root)
    phase = root / "phase"
    phase.mkdir()

    def ask(identity: AttemptId, asked: CallAsked) -> None:
        folder = folders.places(identity).home / calls_in(str(identity))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{asked.call}.json").write_text(asked.model_dump_json())

    return Calls(HomeCalls(root), ask, phase, (phase / PATIENCE).exists)


def in_memory(root: Path) -> Calls:
    host = MemoryHost(MemoryClock())

    def ask(identity: AttemptId, asked: CallAsked) -> None:
        host.calls.setdefault(str(identity), []).append(asked)

    return Calls(MemoryCalls(host), ask, Path("/j/work"), lambda: bool(host.patient))


@pytest.fixture(params=[in_memory, on_disk])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Calls]:
    yield request.param(tmp_path)


def test_a_question_is_a_name_that_appears_in_a_folder(tmp_path: Path) -> None:
    calls = on_disk(tmp_path)

    def names() -> list[Path]:
        return [one for folder in calls.port.folders(WHO) if folder.is_dir() for one in folder.iterdir()]

    assert names() == []
    calls.ask(WHO, ONE)
    assert ONE.call in {one.stem for one in names()}


def test_a_question_is_open_until_it_is_answered(world: Calls) -> None:
    assert world.port.open(WHO) == ()
    world.ask(WHO, ONE)
    world.ask(WHO, TWO)
    assert set(world.port.open(WHO)) == {ONE, TWO} and world.port.open(OTHER) == ()
    world.port.answer(WHO, ONE.call, b"signed")
    world.port.answer(WHO, ONE.call, b"signed")
    assert world.port.open(WHO) == (TWO,)


def test_patience_comes_and_goes(world: Calls) -> None:
    world.port.patience(world.phase, False)
    for waits in (True, True, False, False):
        world.port.patience(world.phase, waits)
        assert world.is_patient() is waits


def test_what_an_agent_puts_there_is_no_question_and_harms_nothing(tmp_path: Path) -> None:
    world = on_disk(tmp_path)
    world.ask(WHO, ONE)
    folder = WorkspaceFolders(tmp_path).places(WHO).home / calls_in(str(WHO))
    (folder / f"{'a' * 16}.json").write_text(ONE.model_dump_json())  # under another name
    (folder / f"{'b' * 16}.json").write_text("{}")
    (folder / f"{'c' * 16}.json").symlink_to("/etc/passwd")
    (folder / f"{'d' * 16}.json").mkdir()
    (folder / f"{'e' * 16}.json").write_bytes(b"\xff" * (1 << 20))
    assert world.port.open(WHO) == (ONE,)
    outside = tmp_path / "outside"
    outside.mkdir()
    (folder / f".{ONE.call}.answer").symlink_to(outside / "file")
    world.port.answer(WHO, ONE.call, b"signed")
    assert world.port.open(WHO) == () and not list(outside.iterdir())
