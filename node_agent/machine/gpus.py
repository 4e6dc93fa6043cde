"""Finds the GPUs of this node, their load and the device files that a run may use. A driver can hang, so a
thread queries it; a caller gets the last known answer after a short wait."""

from __future__ import annotations

import ctypes
import glob
import grp
import importlib
import os
import pwd
import re
import stat
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from node_agent.attempt.ports import StepFailed
from node_agent.machine.home import read_owner_settings
from node_agent.wire.clock import Clock
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Job
from node_agent.wire.model import WireModel
from node_agent.wire.node import MOST_GPUS, GpuFact, GpuLoad, NodeProblem
from node_agent.wire.policy import Enforcement, Isolation
from node_agent.wire.receipt import Enforced

LIBRARY = "libnvidia-ml.so.1"
PLACES = ("/usr/local/nvidia/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib/wsl/lib")
"""Folders of the driver's library that the dynamic linker may not search."""
SIGNS = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg")
"""One of these exists where an NVIDIA driver runs. The library alone proves nothing, because many images
contain it."""
_LINKED = ("", "/lib", "/usr/lib", "/lib64", "/usr/lib64")
CONTROL, MEMORY = "nvidiactl", "nvidia-uvm"
"""The device files that a program needs in addition to those of its GPUs."""
VISIBLE, FOLDERS = "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH"
FIRST_S, WAIT_S = 1.0, 0.2
"""Seconds to wait for the driver: at the first query, and at each later one."""
AGAIN_MS = 1_000
"""The milliseconds for which a driver's answer is reused."""
SILENT_MS = 10_000
"""The milliseconds after which a driver that has not answered is reported as silent."""
_UUID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
_MOST_MEMORY = 1 << 50


class GpuError(Exception):
    """The error when a library cannot read its GPUs; the message is the library's."""


@dataclass(frozen=True, slots=True)
class GpuReading:
    """A GPU at one moment. `device`: the name of its device file; if empty, runs cannot use the GPU."""

    fact: GpuFact
    memory_free: int | None = None
    busy: int | None = None
    device: str = ""


@dataclass(frozen=True, slots=True)
class GpuAnswer:
    """The result of a library's query. `odd`: messages about GPUs that cannot be used."""

    gpus: tuple[GpuReading, ...] = ()
    odd: tuple[str, ...] = ()


class GpuLibrary(Protocol):
    """Reads the GPUs of one vendor. A call may hang forever."""

    def read(self) -> GpuAnswer:
        """Return the GPUs. Raises GpuError if none can be read."""


class Nvml:
    """The library of NVIDIA's driver, through `nvidia-ml-py`. Both are loaded at the first read."""

    def __init__(self, library: str, cache: Path = Path("/etc/ld.so.cache")) -> None:
        self._library = library
        self._nvml: Any = None
        self._handle: ctypes.CDLL | None = None
        folder, known = os.path.dirname(library), b""
        with suppress(OSError):
            known = cache.read_bytes()
        is_linked = folder in _LINKED or f"{folder}/{LIBRARY}".encode() in known
        self.folder = "" if is_linked else folder
        """The folder of the library, if programs cannot find the library by themselves."""

    def read(self) -> GpuAnswer:
        try:
            if self._nvml is None:
                # the package searches the library by name; once it is loaded, its folder does not matter
                self._handle = ctypes.CDLL(self._library, mode=ctypes.RTLD_GLOBAL)
                self._nvml = importlib.import_module("pynvml")
                self._nvml.nvmlInit()
            nvml, most = self._nvml, MOST_GPUS
            driver = _text(nvml.nvmlSystemGetDriverVersion())
            every = [read_gpu(nvml, index, driver) for index in range(min(nvml.nvmlDeviceGetCount(), most))]
        # the library's own errors, and the error for a function that the library lacks
        except Exception as exc:
            if self._nvml is not None:
                with suppress(Exception):
                    self._nvml.nvmlShutdown()
            self._nvml = None  # reinitialize, because a library keeps the list of GPUs of its first call
            raise GpuError(str(exc) or type(exc).__name__) from exc
        odd = tuple(one for one in every if isinstance(one, str))
        return GpuAnswer(tuple(one for one in every if isinstance(one, GpuReading)), odd)


def read_gpu(nvml: Any, index: int, driver: str) -> GpuReading | str:
    """Return a GPU, or the reason why it cannot be used: it is off the bus, or its values are invalid."""
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError as exc:
        if exc.value in (nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_NOT_FOUND):
            return f"GPU {index} is gone: {exc}"
        raise
    uuid, minor = _text(nvml.nvmlDeviceGetUUID(handle)), nvml.nvmlDeviceGetMinorNumber(handle)
    total, free = int(memory.total), int(memory.free)
    if not _UUID.fullmatch(uuid) or not 0 < total <= _MOST_MEMORY or not 0 <= minor < 1 << 12:
        return f"GPU {index} reports invalid values: UUID {uuid[:50]!r}, {total} bytes of memory"
    busy = None
    with suppress(nvml.NVMLError):  # not every GPU reports this value
        busy = int(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    name = _text(nvml.nvmlDeviceGetName(handle))
    return GpuReading(
        GpuFact(index=index, uuid=uuid, name=name, memory=total, driver=driver),
        free if 0 <= free <= total else None,
        busy if busy is not None and 0 <= busy <= 100 else None,
        f"nvidia{minor}",
    )


def _text(value: str | bytes) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return "".join(char if char.isprintable() else "?" for char in text)


class AmdFiles:
    """Reads AMD GPUs as reported by the kernel. Never tested on a node with such a GPU."""

    def __init__(self, cards: Path = Path("/sys/class/drm")) -> None:
        self._cards = cards

    def read(self) -> GpuAnswer:
        found = list[GpuReading]()
        for vendor in sorted(self._cards.glob("card[0-9]*/device/vendor")):
            device = vendor.parent
            total = _read_number(device / "mem_info_vram_total")
            if _read_word(vendor) != "0x1002" or not total:
                continue
            used, name = _read_number(device / "mem_info_vram_used"), _read_word(device / "product_name")
            fact = GpuFact(
                index=len(found),
                uuid=_read_word(device / "unique_id") or os.path.basename(os.path.realpath(device)),
                name=name or f"AMD {_read_word(device / 'device')}",
                memory=total,
                vendor="amd",
            )
            free = None if used is None or used > total else total - used
            found.append(GpuReading(fact, free, _read_number(device / "gpu_busy_percent")))
        return GpuAnswer(tuple(found))


def _read_word(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(errors="replace").strip()
    return ""


def _read_number(path: Path) -> int | None:
    text = _read_word(path)
    return int(text) if text.isdigit() else None


@dataclass(frozen=True, slots=True)
class GpuState:
    """The last known GPUs. `trouble`: why the driver could not be read. `since_ms`: the wall-clock time since
    which the GPUs are unknown; None: they are known."""

    gpus: tuple[GpuReading, ...] = ()
    trouble: str = ""
    since_ms: int | None = None
    odd: tuple[str, ...] = ()

    def loads(self) -> tuple[GpuLoad, ...]:
        """Return the present loads of the GPUs; none while the GPUs are unknown."""
        if self.since_ms is not None:
            return tuple(GpuLoad(uuid=one.fact.uuid, unknown_since_ms=self.since_ms) for one in self.gpus)
        return tuple(
            GpuLoad(uuid=one.fact.uuid, memory_free=one.memory_free, busy=one.busy) for one in self.gpus
        )


class Gpus:
    """The node's GPUs. Thread-safe. No call of `look` waits longer than `first_s`, even if the driver
    hangs."""

    def __init__(
        self,
        libraries: Sequence[GpuLibrary],
        clock: Clock,
        devices: str = "/dev",
        first_s: float = FIRST_S,
        wait_s: float = WAIT_S,
    ) -> None:
        self._libraries, self._clock, self._devices = libraries, clock, devices
        self._first_s, self._wait_s = first_s, wait_s
        self._lock, self._answered = threading.Lock(), threading.Event()
        self._asking = False
        self._asked_ms: int | None = None
        self._good_ms, self._good_wall_ms = clock.mono_ms(), clock.wall_ms()
        self._known = GpuAnswer()
        self._trouble = ""

    def look(self) -> GpuState:
        """Return the GPUs; without waiting if the node cannot have any."""
        if not self._libraries:
            return GpuState()
        with self._lock:
            now, first = self._clock.mono_ms(), self._asked_ms is None
            due = not self._asking and (self._asked_ms is None or now - self._asked_ms >= AGAIN_MS)
            if due:
                self._asking, self._asked_ms = True, now
                self._answered.clear()
                threading.Thread(target=self.ask, name="gpus", daemon=True).start()
        if due:
            self._answered.wait(self._first_s if first else self._wait_s)
        with self._lock:
            is_silent = self._clock.mono_ms() - self._good_ms >= SILENT_MS
            trouble = self._trouble or ("the driver does not answer" if is_silent else "")
            since_ms = self._good_wall_ms if trouble else None
            return GpuState(self._known.gpus, trouble, since_ms, self._known.odd)

    def ask(self) -> None:
        """Query the libraries once and store the results. May hang."""
        answers, trouble = list[GpuAnswer](), ""
        try:
            answers += [library.read() for library in self._libraries]
        except GpuError as exc:
            trouble = str(exc)
        with self._lock:
            self._trouble, self._asking = trouble, False
            if not trouble:
                gpus = tuple(gpu for answer in answers for gpu in answer.gpus)
                self._known = GpuAnswer(gpus, tuple(words for answer in answers for words in answer.odd))
                self._good_ms, self._good_wall_ms = self._clock.mono_ms(), self._clock.wall_ms()
        self._answered.set()

    def access(self, job: Job, holders: Mapping[str, AttemptId]) -> GpuAccess:
        """Return the GPUs that this job's run may use, as `access_of` does. `holders`: the attempt with
        exclusive use of each GPU."""
        held = {uuid for uuid, one in holders.items() if one != job.identity}
        found = access_of(job.gpus, held, self.look().gpus, self._devices)
        folder = next((one.folder for one in self._libraries if isinstance(one, Nvml)), "")
        return replace(found, folder=folder if found.files else "")

    def problems(self) -> tuple[NodeProblem, ...]:
        """Return the reasons why runs cannot use a GPU of this node, with the commands that fix them."""
        state = self.look()
        fix = "run `nvidia-smi` and `dmesg` on the node; after a driver update, restart the node"
        words = [f"the node's GPUs cannot be read: {state.trouble}"] if state.trouble else list(state.odd)
        found = [NodeProblem(what=one[:500], fix=fix) for one in words]
        names = [one.device for one in state.gpus if one.device]
        found += device_problems(names, self._devices) if names and not state.trouble else []
        found += without_driver(self._libraries)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class GpuAccess:
    """The GPUs that a run may use. `files`: device files, each with its path inside a sandbox. `visible`: the
    value of CUDA_VISIBLE_DEVICES; None: the variable is not set, and the run sees all GPUs."""

    files: tuple[tuple[str, str], ...] = ()
    visible: str | None = None
    folder: str = ""
    """The folder of the driver's libraries, if programs cannot find them by themselves."""

    def enforced(self, isolation: Isolation) -> tuple[Enforced, ...]:
        """Return the receipt's entry for the GPU limit, if the run gets fewer than all GPUs."""
        if self.visible is None:
            return ()
        how = Enforcement.TOLD_ONLY if isolation is Isolation.NONE else Enforcement.SANDBOX
        return (Enforced(rule=f"GPUs {self.visible or 'none'}", how=how),)

    def added_to(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return the environment with which programs find only these GPUs."""
        found = {**env} if self.visible is None else {**env, VISIBLE: self.visible}
        folders = [one for one in env.get(FOLDERS, "").split(":") if one]
        if self.folder and self.folder not in folders:
            found[FOLDERS] = ":".join([*folders, self.folder])
        return found


def access_of(
    wanted: Collection[str] | None, held: Collection[str], gpus: Iterable[GpuReading], devices: str
) -> GpuAccess:
    """Return the GPUs that a run may use: the wanted ones or, for None, all that no other run has
    exclusively. Raises StepFailed if a wanted GPU is missing."""
    there = [one for one in gpus if one.device]
    if wanted is None:
        seen = [one for one in there if one.fact.uuid not in held]
    else:
        seen = [one for one in there if one.fact.uuid in wanted]
        missing = set(wanted).difference(one.fact.uuid for one in seen)
        if missing:
            words = f"the GPU assigned to this run no longer exists: {', '.join(sorted(missing))}"
            raise StepFailed(FailureKind.RUNTIME_MISSING, words)
    names = [*(one.device for one in seen), CONTROL, MEMORY] if seen else []
    files = tuple((f"{devices}/{name}", f"/dev/{name}") for name in names)
    is_all = wanted is None and len(seen) == len(there)
    return GpuAccess(files, None if is_all else ",".join(one.fact.uuid for one in seen))


def device_problems(names: Sequence[str], devices: str) -> list[NodeProblem]:
    """Return a problem for each device file that runs need and cannot open. If the node agent is root, runs
    have another user."""
    found = []
    for name in (*names, CONTROL, MEMORY):
        path = f"{devices}/{name}"
        try:
            seen = os.stat(path)
        except OSError:
            makes = "sudo nvidia-modprobe -u -c=0" if name == MEMORY else "sudo nvidia-modprobe -c=0"
            fix = f"{makes}  (at each boot of the node: systemctl enable --now nvidia-persistenced)"
            found.append(NodeProblem(what=f"runs cannot use a GPU on this node: {path} is missing", fix=fix))
            continue
        is_root = os.geteuid() == 0
        opens = bool(seen.st_mode & stat.S_IWOTH) if is_root else os.access(path, os.R_OK | os.W_OK)
        if not opens:
            what = f"runs cannot use a GPU on this node: {path} is closed to {_name_user(is_root)}"
            found.append(NodeProblem(what=what, fix=command_to_open(seen, path, is_root)))
    return found


def _name_user(is_root: bool) -> str:
    if is_root:
        return "the user of the runs"
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def command_to_open(seen: os.stat_result, path: str, is_root: bool) -> str:
    """Return the command that gives the user of the runs access to a device file."""
    if not is_root and seen.st_gid and seen.st_mode & stat.S_IWGRP:
        with suppress(KeyError):
            group = grp.getgrgid(seen.st_gid).gr_name
            return f"sudo usermod -aG {group} {_name_user(is_root)}, then restart the node agent"
    return f"sudo chmod 0666 {path}  (permanent: options nvidia NVreg_DeviceFileMode=0666 in /etc/modprobe.d)"


class GpuSettings(WireModel):
    """The owner's `gpus.json`: the path of the driver's library and the folder of the device files."""

    library: str | None = None
    devices: str = "/dev"


def gpus_here(owners: Path, clock: Clock) -> Gpus:
    """Return the node's GPUs. `owners`: the settings file, for a node with unusual paths. Raises
    SettingsError."""
    settings = read_owner_settings(GpuSettings, owners)
    path = settings.library or driver_library()
    libraries: list[GpuLibrary] = [Nvml(path)] if path else []
    if glob.glob("/sys/class/drm/card*/device/mem_info_vram_total"):
        libraries.append(AmdFiles())
    return Gpus(libraries, clock, settings.devices)


def driver_library(signs: Sequence[str] = SIGNS, places: Sequence[str] = PLACES) -> str:
    """Return the path or name with which the driver's library can be loaded; empty if no driver runs."""
    if not any(map(os.path.exists, signs)):
        return ""
    found = (path for folder in places if os.path.exists(path := f"{folder}/{LIBRARY}"))
    return next(found, LIBRARY)


def without_driver(
    libraries: Sequence[GpuLibrary], pci: Path = Path("/sys/bus/pci/devices")
) -> Iterator[NodeProblem]:
    """Yield a problem if the node has an NVIDIA GPU but no driver for it."""
    if any(isinstance(one, Nvml) for one in libraries):
        return
    for device in sorted(pci.glob("*")):
        if _read_word(device / "vendor") == "0x10de" and _read_word(device / "class").startswith("0x03"):
            what = f"NVIDIA GPU found (PCI {device.name}), but its driver or {LIBRARY} is missing"
            fix = "install the driver there, then restart the node agent: sudo ubuntu-drivers install"
            yield NodeProblem(what=what, fix=f"{fix}  (Debian: sudo apt-get install nvidia-driver)")
            return
