"""GPUs are found without a setting; a driver that hangs, fails or talks nonsense holds nothing up."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from node_agent.attempt.ports import StepFailed
from node_agent.machine.gpus import (
    AGAIN_MS,
    SILENT_MS,
    AmdFiles,
    GpuAccess,
    GpuAnswer,
    GpuError,
    GpuReading,
    Gpus,
    Nvml,
    access_of,
    device_problems,
    driver_library,
    without_driver,
)
from node_agent.wire.failure import FailureKind
from node_agent.wire.node import GpuFact, GpuLoad
from node_agent.wire.policy import Enforcement, Isolation
from tests.fakes.node.clock import MemoryClock

GIB = 1 << 30


def reading(number: int, free: int | None = 78 * GIB, device: str | None = None) -> GpuReading:
    fact = GpuFact(index=number, uuid=f"GPU-{number}", name="NVIDIA H100 80GB HBM3", memory=80 * GIB)
    return GpuReading(fact, free, 3, f"nvidia{number}" if device is None else device)


class Driver:
    """A library that answers as the test says."""

    def __init__(self, *gpus: GpuReading) -> None:
        self.answers: Callable[[], GpuAnswer] = lambda: GpuAnswer(gpus)
        self.asked = 0

    def read(self) -> GpuAnswer:
        self.asked += 1
        return self.answers()

    def fails(self) -> GpuAnswer:
        raise GpuError("Driver/library version mismatch")


def test_a_machine_without_a_library_is_asked_nothing() -> None:
    gpus = Gpus((), MemoryClock())
    assert gpus.look().gpus == () and gpus.look().loads() == ()


def test_the_figures_of_each_gpu_are_read_once_for_a_moment() -> None:
    driver, clock = Driver(reading(0), reading(1, free=None)), MemoryClock()
    gpus = Gpus((driver,), clock)
    assert [one.fact.uuid for one in gpus.look().gpus] == ["GPU-0", "GPU-1"]
    assert gpus.look().loads() == (
        GpuLoad(uuid="GPU-0", memory_free=78 * GIB, busy=3),
        GpuLoad(uuid="GPU-1", busy=3),
    )
    assert driver.asked == 1
    clock.advance(AGAIN_MS)
    gpus.look()
    assert driver.asked == 2


def test_a_driver_that_hangs_is_asked_once_and_its_gpus_are_unknown_since_then() -> None:
    driver, clock, free = Driver(reading(0)), MemoryClock(), threading.Event()
    gpus = Gpus((driver,), clock, wait_s=0.001)
    gpus.look()
    good_ms = clock.wall_ms()

    def hangs() -> GpuAnswer:
        free.wait(30)
        return GpuAnswer((reading(0),))

    driver.answers = hangs
    try:
        clock.advance(AGAIN_MS)
        assert gpus.look().trouble == "", "it has not been silent for long"
        clock.advance(SILENT_MS)
        gpus.look()
        clock.advance(AGAIN_MS)
        state = gpus.look()
        assert driver.asked == 2, "no second thread waits for it"
        assert state.loads() == (GpuLoad(uuid="GPU-0", unknown_since_ms=good_ms),)
        (problem,) = gpus.problems()
        assert "the driver does not answer" in problem.what and "dmesg" in problem.fix
    finally:
        free.set()


def test_a_driver_that_fails_keeps_its_gpus_as_unknown_until_it_answers_again() -> None:
    driver, clock = Driver(reading(0)), MemoryClock()
    gpus = Gpus((driver,), clock)
    gpus.look()
    good, driver.answers = driver.answers, driver.fails
    clock.advance(AGAIN_MS)
    state = gpus.look()
    assert state.loads()[0].unknown_since_ms == clock.wall_ms() - AGAIN_MS
    assert "version mismatch" in gpus.problems()[0].what
    driver.answers = good
    clock.advance(AGAIN_MS)
    assert gpus.look().loads()[0].memory_free == 78 * GIB


def test_a_gpu_that_is_gone_or_talks_nonsense_is_told_and_the_others_stay() -> None:
    driver = Driver()
    driver.answers = lambda: GpuAnswer((reading(0, device=""),), ("GPU 1 is gone: GPU is lost",))
    gpus = Gpus((driver,), MemoryClock())
    assert [one.fact.index for one in gpus.look().gpus] == [0]
    assert [one.what for one in gpus.problems()] == ["GPU 1 is gone: GPU is lost"]


HERE = (reading(0), reading(1))


def test_a_plain_run_gets_every_gpu_that_nobody_holds() -> None:
    every = access_of(None, (), HERE, "/dev")
    assert [inside for _, inside in every.files] == [
        *("/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm")
    ]
    assert every.visible is None and every.added_to({"A": "b"}) == {"A": "b"}
    rest = access_of(None, {"GPU-0"}, HERE, "/x")
    assert rest.files[0] == ("/x/nvidia1", "/dev/nvidia1") and rest.visible == "GPU-1"
    assert access_of(None, {"GPU-0", "GPU-1"}, HERE, "/dev") == GpuAccess((), "")


def test_a_run_that_holds_one_gets_that_one_alone_and_one_that_gets_none_no_file() -> None:
    one = access_of(("GPU-1",), {"GPU-0"}, HERE, "/dev")
    assert [inside for _, inside in one.files] == ["/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm"]
    assert one.added_to({})["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    assert access_of((), (), HERE, "/dev") == GpuAccess((), "")


def test_a_gpu_of_another_vendor_is_given_to_nobody() -> None:
    assert access_of(None, (), (reading(0, device=""),), "/dev") == GpuAccess()


def test_a_gpu_that_has_gone_ends_the_attempt_so_that_another_node_is_tried() -> None:
    with pytest.raises(StepFailed, match="GPU-7") as failed:
        access_of(("GPU-7",), (), HERE, "/dev")
    assert failed.value.kind is FailureKind.RUNTIME_MISSING


def test_the_receipt_says_whether_anything_but_a_variable_holds_a_run_to_its_gpus() -> None:
    access = GpuAccess((), "")
    assert access.enforced(Isolation.SANDBOX)[0].how is Enforcement.SANDBOX
    told = access.enforced(Isolation.NONE)[0]
    assert (told.rule, told.how) == ("GPUs none", Enforcement.TOLD_ONLY)
    assert GpuAccess().enforced(Isolation.NONE) == ()


def test_a_drivers_folder_that_the_linker_does_not_know_is_named_to_runs(tmp_path: Path) -> None:
    cache = tmp_path / "ld.so.cache"
    assert Nvml("/usr/local/nvidia/lib64/libnvidia-ml.so.1", cache).folder == "/usr/local/nvidia/lib64"
    cache.write_bytes(b"\0/usr/local/nvidia/lib64/libnvidia-ml.so.1\0")
    assert Nvml("/usr/local/nvidia/lib64/libnvidia-ml.so.1", cache).folder == ""
    assert Nvml("libnvidia-ml.so.1", cache).folder == ""
    access = GpuAccess(folder="/opt/x")
    once = access.added_to({"LD_LIBRARY_PATH": "/own"})
    assert once == {"LD_LIBRARY_PATH": "/own:/opt/x"} == access.added_to(once)


def test_the_library_is_loaded_only_where_a_driver_runs(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").touch()
    sign = tmp_path / "version"
    assert driver_library((str(sign),), (str(tmp_path),)) == "", "an image has it, and the machine no GPU"
    sign.touch()
    assert driver_library((str(sign),), (str(tmp_path),)) == f"{tmp_path}/libnvidia-ml.so.1"
    assert driver_library((str(sign),), ("/nowhere",)) == "libnvidia-ml.so.1", "the linker may know it"


def test_a_missing_or_closed_device_file_is_a_problem_with_its_command(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidiactl"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o666)
    (problem,) = device_problems(("nvidia0",), str(tmp_path))
    assert "nvidia-uvm is missing" in problem.what and "nvidia-modprobe -u -c=0" in problem.fix
    (tmp_path / "nvidia-uvm").touch()
    (tmp_path / "nvidia-uvm").chmod(0o400 if os.geteuid() == 0 else 0)
    (problem,) = device_problems(("nvidia0",), str(tmp_path))
    assert "nvidia-uvm" in problem.what and "chmod 0666" in problem.fix


def test_a_card_without_a_driver_is_a_problem_and_a_sound_card_is_none(tmp_path: Path) -> None:
    for name, vendor, kind in (
        ("0000:01:00.0", "0x10de", "0x030200"),
        ("0000:01:00.1", "0x10de", "0x040300"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(f"{vendor}\n")
        (tmp_path / name / "class").write_text(f"{kind}\n")
    (problem,) = without_driver((), tmp_path)
    assert "0000:01:00.0" in problem.what and "install" in problem.fix
    assert list(without_driver((Nvml("x"),), tmp_path)) == []
    assert list(without_driver((), tmp_path / "0000:01:00.1")) == []


def test_an_amd_card_is_a_fact_by_what_the_kernel_tells(tmp_path: Path) -> None:
    device = tmp_path / "card1" / "device"
    device.mkdir(parents=True)
    told = {"vendor": "0x1002", "device": "0x744c", "unique_id": "12af", "mem_info_vram_total": f"{24 * GIB}"}
    for name, text in (*told.items(), ("mem_info_vram_used", f"{GIB}"), ("gpu_busy_percent", "12")):
        (device / name).write_text(f"{text}\n")
    (tmp_path / "card2" / "device").mkdir(parents=True)
    (tmp_path / "card2" / "device" / "vendor").write_text("0x8086\n")
    (gpu,) = AmdFiles(tmp_path).read().gpus
    assert (gpu.fact.vendor, gpu.fact.name, gpu.fact.uuid) == ("amd", "AMD 0x744c", "12af")
    assert (gpu.fact.memory, gpu.memory_free, gpu.busy, gpu.device) == (24 * GIB, 23 * GIB, 12, "")
