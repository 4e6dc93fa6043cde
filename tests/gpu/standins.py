"""Stands in for a machine with GPUs: the library of NVIDIA's driver, made of nvml.c, and device files."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path(__file__).with_name("nvml.c")
NULL = os.makedev(1, 3)
H100 = "NVIDIA H100 80GB HBM3"
GIB = 1 << 30


class GpuMachine:
    """A folder with a library, the file that says what it answers, and device files.

    `inside`: the folder's path on the machine itself, where that is another one.
    """

    def __init__(self, folder: Path, inside: Path | None = None) -> None:
        self.devices, self._inside = folder / "dev", inside or folder
        self._state, self.library = folder / "gpus", folder / "libnvidia-ml.so.1"
        self.devices.mkdir(parents=True, exist_ok=True)
        words = ["-Wl,-soname,libnvidia-ml.so.1", f'-DSTATE="{self._inside}/gpus"']
        files = ["-o", str(self.library), str(SOURCE)]
        subprocess.run(["gcc", "-shared", "-fPIC", "-w", *words, *files], check=True)
        self.says(gpu(0), gpu(1))

    def says(self, *lines: str) -> None:
        """What the library answers from now on: a line of `gpu` for each GPU, `hang` or `fail`."""
        temporary = self._state.with_suffix(".new")
        temporary.write_text("".join(f"{line}\n" for line in lines))
        temporary.replace(self._state)

    def make_devices(self, names: Sequence[str] = ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm")) -> None:
        """Make device files that read and write as /dev/null. Only root may."""
        for name in names:
            os.mknod(self.devices / name, stat.S_IFCHR | 0o666, NULL)
            os.chmod(self.devices / name, 0o666)

    @property
    def settings(self) -> dict[str, str]:
        """The content of the owner's gpus.json."""
        return {"library": f"{self._inside}/{self.library.name}", "devices": f"{self._inside}/dev"}


def uuid(number: int) -> str:
    return f"GPU-00000000-0000-4000-8000-{number:012}"


def gpu(number: int, total: int = 80 * GIB, free: int = 78 * GIB, busy: int = 3, name: str = H100) -> str:
    """A line for `says`."""
    return f"{uuid(number)}|{name}|{total}|{free}|{busy}|{number}"
