"""GPUs read through the real nvidia-ml-py from a library that loses one, talks nonsense, fails and hangs."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from node_agent.machine.gpus import Gpus, GpuState, Nvml
from node_agent.sandbox import landlock
from node_agent.wire.clock import SystemClock
from tests.crowd import crowded
from tests.gpu.standins import GIB, GpuMachine, gpu, uuid
from tests.integration.sandbox.test_landlock import place as place
from tests.integration.sandbox.test_landlock import run, view


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> GpuMachine:
    return GpuMachine(tmp_path_factory.mktemp("gpu"))


@pytest.fixture
def gpus(machine: GpuMachine) -> Gpus:
    machine.says(gpu(0), gpu(1, free=5 * GIB, busy=99))
    return Gpus((Nvml(str(machine.library)),), QuickClock(), str(machine.devices), wait_s=0.05)


class QuickClock(SystemClock):
    """Runs twenty times as fast, so that an answer is soon an old one."""

    def mono_ms(self) -> int:
        return super().mono_ms() * 20


def seen(gpus: Gpus, holds: Callable[[GpuState], bool]) -> GpuState:
    end = time.monotonic() + 20 * crowded()
    while not holds(state := gpus.look()) and time.monotonic() < end:
        time.sleep(0.01)
    assert holds(state), state
    return state


def test_two_are_read_with_their_figures(gpus: Gpus) -> None:
    one, two = gpus.look().gpus
    assert (one.fact.uuid, one.fact.name, one.fact.memory) == (uuid(0), "NVIDIA H100 80GB HBM3", 80 * GIB)
    assert (one.fact.driver, one.device, one.memory_free, one.busy) == ("580.0", "nvidia0", 78 * GIB, 3)
    assert (two.device, two.memory_free, two.busy) == ("nvidia1", 5 * GIB, 99)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("lost|x|1|1|1|1", "GPU 1 is gone: GPU is lost"),
        (gpu(1, total=0, free=0), "GPU 1 reports invalid values"),
        (gpu(1).replace(uuid(1), "a b\tc"), "GPU 1 reports invalid values: UUID 'a b?c'"),
        (gpu(1, total=1 << 60), "GPU 1 reports invalid values"),
    ],
)
def test_one_that_is_lost_or_talks_nonsense_is_left_out(
    machine: GpuMachine, gpus: Gpus, line: str, why: str
) -> None:
    assert len(gpus.look().gpus) == 2
    machine.says(gpu(0), line)
    state = seen(gpus, lambda state: len(state.gpus) == 1)
    assert state.odd and state.odd[0].startswith(why) and state.since_ms is None


def test_figures_that_cannot_be_are_not_known(machine: GpuMachine, gpus: Gpus) -> None:
    machine.says(gpu(0, free=81 * GIB, busy=101))
    (one,) = seen(gpus, lambda state: len(state.gpus) == 1).gpus
    assert (one.memory_free, one.busy) == (None, None)


def test_a_driver_that_fails_is_begun_anew(machine: GpuMachine, gpus: Gpus) -> None:
    gpus.look()
    machine.says("fail")
    state = seen(gpus, lambda state: bool(state.trouble))
    assert len(state.gpus) == 2 and "Unknown Error" in state.trouble
    machine.says(gpu(0))
    assert len(seen(gpus, lambda state: not state.trouble).gpus) == 1


def test_a_driver_that_hangs_holds_nobody_up(machine: GpuMachine, gpus: Gpus) -> None:
    gpus.look()
    machine.says("hang")
    try:
        began = time.monotonic()
        for _ in range(1_000):
            assert len(gpus.look().gpus) == 2
        assert time.monotonic() - began < 2 * crowded(), "it is waited for once, and shortly"
    finally:
        machine.says(gpu(0))
    assert len(seen(gpus, lambda state: len(state.gpus) == 1).loads()) == 1


@pytest.mark.skipif(landlock.read_abi() < landlock.LEAST_ABI, reason="kernel lacks Landlock")
def test_under_landlock_a_device_file_opens_only_where_it_is_named(machine: GpuMachine, place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root makes device files")
    if not (machine.devices / "nvidia0").exists():
        machine.make_devices()
    path, other = f"{machine.devices}/nvidia0", f"{machine.devices}/nvidia1"

    def use(*devices: tuple[str, str]) -> subprocess.CompletedProcess[str]:
        words = f"echo x > {path} && echo used; echo x > {other} && echo other"
        return run(place, replace(view(place), devices=devices), "sh", "-c", words)

    assert use((path, "/dev/nvidia0")).stdout == "used\n"
    assert use().stdout == ""
