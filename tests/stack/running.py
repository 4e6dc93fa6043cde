"""Starts the services of docker-compose.yml as plain processes, each when those before it are healthy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.crowd import crowded
from tests.lab.system import wait_for
from tests.stack.borrowed import borrow
from tests.stack.compose import Service, read
from tests.stack.network import network
from tests.stack.plain import Ground, Image, build

PROFILES = ("dashboard", "monitoring")
"""What is tried besides."""
HEALTHY_S = 120
STOP_S = 60


@dataclass
class Running:
    """One service at work; `said` is its output so far."""

    service: Service
    image: Image
    process: subprocess.Popen[bytes]
    pid: int
    log: Path

    def exec(self, *words: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """A command in it, as `docker compose exec` runs one."""
        inside = self.image.inside(words, self.service.environ)
        argv = ["nsenter", "-t", str(self.pid), "-m", "-p", "-n", *inside]
        limit_s = timeout_s * crowded()
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=limit_s)

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_healthy(self) -> None:
        def healthy() -> bool:
            assert self.process.poll() is None, f"{self.service.name} has ended: {self.said()}"
            return self.exec(*self.service.health).returncode == 0

        wait_for(healthy, HEALTHY_S * crowded(), f"{self.service.name} is healthy")

    def stop(self) -> None:
        """As a stop of a container: SIGTERM to its first program, and then the hard way."""
        self.exec("sh", "-c", "kill -TERM $(cat /proc/1/task/1/children) 2>/dev/null || kill -TERM -1")
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def running(ground: Ground, file: Path, folder: Path, made: dict[str, Image]) -> Iterator[dict[str, Running]]:
    """Every service, healthy; all ended and their network gone afterwards. `made`: images that are there."""
    services = read(file, PROFILES)
    with ExitStack() as stack:
        places = stack.enter_context(network([service.name for service in services]))
        hosts = folder / "hosts"
        hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{a} {n}\n" for n, (_, a) in places.items()))
        out: dict[str, Running] = {}
        for service in services:
            image, entry = _image(ground, service, folder, made)
            one = _start(service, image, entry, (folder, hosts, places[service.name][0]))
            stack.callback(one.stop)
            out[service.name] = one
            one.wait_healthy()
        yield out


def _image(
    ground: Ground, service: Service, folder: Path, made: dict[str, Image]
) -> tuple[Image, tuple[str, ...]]:
    if service.target is None:
        return borrow(service, folder / f"image-{service.name}")
    if service.target not in made:
        made[service.target] = build(ground, service.target, folder / f"image-{service.target}")
    return made[service.target], made[service.target].stage.last("ENTRYPOINT")


def _start(service: Service, image: Image, entry: Sequence[str], where: tuple[Path, Path, str]) -> Running:
    folder, hosts, space = where
    log, status = folder / f"{service.name}.log", folder / f"{service.name}.status"
    more = ["--ro-bind", str(hosts), "/etc/hosts", *_mounts(service, image, folder)]
    with log.open("wb") as output, status.open("wb") as told:
        more += ["--json-status-fd", str(told.fileno())]
        argv = image.command([*entry, *service.command], service.environ, more)
        process = subprocess.Popen(
            ["ip", "netns", "exec", space, *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[told.fileno()],
        )
    while not status.read_text().endswith("\n"):
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
    pid = json.loads(status.read_text().splitlines()[0])["child-pid"]
    return Running(service, image, process, pid, log)


def _mounts(service: Service, image: Image, folder: Path) -> list[str]:
    out: list[str] = []
    for place in service.tmpfs:
        out += ["--tmpfs", place, "--chmod", "1777", place]
    for place, name in service.volumes.items():
        volume = folder / "volumes" / name
        volume.mkdir(parents=True)
        os.chown(volume, *image.stage.user())
        if place.startswith("/var/"):
            (image.folder / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
        out += ["--bind", str(volume), place]
    for target, source in service.configs.items():
        inner = _below(target, service, image, folder)
        inner.parent.mkdir(mode=0o755, exist_ok=True)
        inner.touch()
        out += ["--ro-bind", str(source), target]
    secrets = folder / f"secrets-{service.name}"
    secrets.mkdir(mode=0o755)
    for name, source in service.secrets.items():
        shutil.copy(source, secrets / name)
    return [*out, "--ro-bind", str(secrets), "/run/secrets"]


def _below(target: str, service: Service, image: Image, folder: Path) -> Path:
    """Where a file that is mounted lies outside: in a volume, else in the image."""
    for place, name in service.volumes.items():
        if target.startswith(f"{place}/"):
            return folder / "volumes" / name / target.removeprefix(f"{place}/")
    return image.folder / target.lstrip("/")
