"""A test and the calls of runs share an endpoint's slots, by the locks of the kernel."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from node_agent.gateway.slots import SlotLocks, folder_of, is_taken
from node_agent.passport.exam import free_slot
from node_agent.wire.endpoint import Dialect, ModelFact
from tests.integration.passport.ground import There, there

MODEL = ModelFact(id="m")


def box(slots: int | None) -> There:
    found = there(Dialect.LLAMACPP, "http://127.0.0.1:1", MODEL)
    found.fact = found.fact.model_copy(update={"slots": slots})
    return found


def test_there_are_as_many_as_the_server_has(tmp_path: Path) -> None:
    place = tmp_path / "endpoints"
    with free_slot(place, box(2), MODEL) as first, free_slot(place, box(2), MODEL) as second:
        with free_slot(place, box(2), MODEL) as third:
            assert (first, second, third) == (True, True, False)
        assert is_taken(folder_of(tmp_path / "endpoints", "box"))
    assert not is_taken(folder_of(tmp_path / "endpoints", "box"))
    with free_slot(place, box(2), MODEL) as again:
        assert again


def test_a_server_that_names_none_is_asked_at_once(tmp_path: Path) -> None:
    with free_slot(tmp_path, box(None), MODEL) as one, free_slot(tmp_path, box(None), MODEL) as two:
        assert one and two


def test_a_run_of_this_node_keeps_a_test_waiting_and_a_test_a_run(tmp_path: Path) -> None:
    waits = list[float]()
    with free_slot(tmp_path, box(1), MODEL) as ours:
        assert ours
        folder = str(folder_of(tmp_path, "box"))
    gateway = SlotLocks(folder, 1, patience_s=20)

    async def call() -> Any:
        async with gateway.one(waits.append):
            with free_slot(tmp_path, box(1), MODEL) as while_it_calls:
                return while_it_calls

    assert asyncio.run(call()) is False and waits == []
