"""Installs an exact version of an agent program, from npm or with pip, once for each node.

`python3 -m tests.clis.install claude` prints the folder to put on PATH; without a name all programs come.
They lie outside of the clone and of HOME, in a folder that only its owner enters. Each is held to its
digest at its first use in a process.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from node_agent.machine.programs import version_in

ROOT = Path(__file__).resolve().parents[2]
HOLDER = Path(f"/var/tmp/pancode-tests-{os.getuid()}")
CACHE = HOLDER / "clis"
DIGEST = ".digest"


@dataclass(frozen=True, slots=True)
class Package:
    """An npm package at the version that the runtime's command line was measured with.

    `alone`: without the program that it would bring along, and that is here already.
    """

    npm: str
    version: str
    program: str
    alone: bool = False

    @property
    def folder(self) -> Path:
        return CACHE / f"{self.program}-{self.version}"

    @property
    def bin(self) -> Path:
        return self.folder / "node_modules" / ".bin"


@dataclass(frozen=True, slots=True)
class Sdk:
    """A Python package, hash-locked with all that it stands on, in an environment of its own.

    As an owner has it: a link of the runtime's name leads to the environment's Python.
    """

    program: str
    version: str
    pip: str

    @property
    def folder(self) -> Path:
        return CACHE / f"{self.program}-{self.version}"

    @property
    def bin(self) -> Path:
        return self.folder / "link"

    @property
    def lock(self) -> Path:
        return ROOT / "requirements" / f"{self.program}.txt"


PACKAGES: dict[str, Package | Sdk] = {
    package.program: package
    for package in (
        Package("@anthropic-ai/claude-code", "2.1.328", "claude"),
        Package("@openai/codex", "0.169.0", "codex"),
        Package("opencode-ai", "1.18.33", "opencode"),
        Package("@google/gemini-cli", "0.61.0", "gemini"),
        Package("@github/copilot", "1.0.102", "copilot"),
        Package("@qwen-code/qwen-code", "0.15.10", "qwen"),
        Package("@kilocode/cli", "7.7.2", "kilo"),
        Package("@agentclientprotocol/claude-agent-acp", "0.101.0", "claude-agent-acp", alone=True),
        Package("@agentclientprotocol/codex-acp", "2.6.0", "codex-acp", alone=True),
        Sdk("claude-sdk", "0.2.186", "claude-agent-sdk"),
        Sdk("openai-agents", "0.24.0", "openai-agents"),
        Sdk("hermes", "0.19.0", "hermes-agent"),
        Sdk("acp-sdk", "0.12.1", "agent-client-protocol"),
    )
}


NATIVE = "native"
"""The worker of our own: it comes with the node agent, and its version is that of its stream."""
VERSIONS = {**{name: package.version for name, package in PACKAGES.items()}, NATIVE: "1"}


class CannotInstall(Exception):
    """The program is not here and cannot be brought: no npm, no network, no space."""


def cache() -> Path:
    """The folder of all programs. Raises CannotInstall where another user has a hand in it."""
    HOLDER.mkdir(mode=0o700, exist_ok=True)
    found = HOLDER.lstat()
    if HOLDER.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise CannotInstall(f"{HOLDER} is not a folder that only this user enters; move it away")
    CACHE.mkdir(exist_ok=True)
    return CACHE


@functools.cache
def ensure(name: str) -> Path:
    """The folder with the program in it, installed now if need be. Raises CannotInstall."""
    package = PACKAGES[name]
    with _locked():
        if not _there(package):
            _install(package)
    return package.bin


def _there(package: Package | Sdk) -> bool:
    """Whether it is there as it was installed: who can write to this folder could run code in every test."""
    kept = package.folder / DIGEST
    return (
        (package.bin / package.program).exists()
        and kept.exists()
        and kept.read_text() == _digest(package.folder)
    )


def _digest(folder: Path) -> str:
    """Of the names, links and contents of all files but bytecode, which a first run writes."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.name == DIGEST or path.suffix == ".pyc" or (path.is_dir() and not path.is_symlink()):
            continue
        whole.update(f"{path.relative_to(folder)}\0".encode())
        if path.is_symlink():
            whole.update(os.readlink(path).encode())
        else:
            with path.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    with (cache() / ".lock").open("w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def _install(package: Package | Sdk) -> None:
    """Into a folder beside, renamed when it is whole: a killed install leaves nothing that looks like one."""
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=".new-") as folder:
        if isinstance(package, Sdk):
            _pip(package, folder)
        else:
            _npm(package, folder)
        Path(folder).chmod(0o755)  # other users of a test host run it, too
        Path(folder, DIGEST).write_text(_digest(Path(folder)))
        shutil.rmtree(package.folder, ignore_errors=True)
        Path(folder).rename(package.folder)
        Path(folder).mkdir()  # for the context manager to remove


def _pip(package: Sdk, folder: str) -> None:
    # One that other users may run: this one may lie in somebody's home.
    python = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
    _must(folder, [python, "-m", "venv", f"{folder}/env"])
    pip = [f"{folder}/env/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _must(folder, [*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(package.lock)])
    Path(folder, "link").mkdir()
    Path(folder, "link", package.program).symlink_to("../env/bin/python")
    said = version_in(f"{folder}/env", package.pip)
    if said != package.version:
        raise CannotInstall(f"{package.lock.name} brings version {said}")


def _npm(package: Package, folder: str) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise CannotInstall("npm is not installed")
    # Install scripts are needed: one puts the native program in its place.
    argv = [npm, "install", "--no-audit", "--no-fund", "--prefix", folder]
    argv += ["--omit=optional"] if package.alone else []
    _must(folder, [*argv, f"{package.npm}@{package.version}"])
    said = _must(folder, [f"{folder}/node_modules/.bin/{package.program}", "--version"])
    if package.version not in said:
        raise CannotInstall(f"{package.program} says it is version {said.strip()}")


def _must(folder: str, argv: list[str]) -> str:
    """Run it for as long as it needs; what it said on standard output."""
    p = subprocess.run(argv, cwd=folder, capture_output=True, text=True)
    if p.returncode:
        raise CannotInstall(f"{Path(argv[0]).name}: {p.stderr.strip()[-300:]}")
    return p.stdout


if __name__ == "__main__":
    for asked in sys.argv[1:] or PACKAGES:
        try:
            print(ensure(asked))
        except CannotInstall as exc:
            print(f"not proven: cannot install {asked}: {exc}")
