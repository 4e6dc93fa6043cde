"""Carries out the steps of a Containerfile in a plain folder, and runs what comes out as its image would.

No builder of images is needed: bubblewrap shows a process this machine's programs, the folders that the steps
made in their own places, and nothing that can be written but volumes. Packages of the distribution are not
installed but have to be there. As root.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.stack.containerfile import Stage, Step

APT = re.compile(
    r"^apt-get update && apt-get install -y --no-install-recommends (?P<names>[a-z0-9 .+-]+) && rm -rf \S+$"
)
STEP_S = 300
DURING = ("PIP_NO_INDEX=1", "PIP_FIND_LINKS=/run/wheels", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp")
OWN = ("etc", "opt", "home", "var")
"""Folders that steps write to."""


@dataclass(frozen=True, slots=True)
class Image:
    """What the stages have made: `folder` has /etc, /opt and the volumes of the last one."""

    stage: Stage
    folder: Path

    def shown(self) -> list[str]:
        """The file system, all of it read-only."""
        return [*_ground(), *_over("--ro-bind", self.folder)]

    def command(
        self, inside: Sequence[str], environ: Mapping[str, str], more: Sequence[str] = ()
    ) -> list[str]:
        """An argument list that runs `inside` as the image's user. `more`: what is mounted over it."""
        first = ["bwrap", "--die-with-parent", "--unshare-pid", "--new-session", *self.shown(), *more]
        return [*first, *self.inside(inside, environ)]

    def inside(self, words: Sequence[str], environ: Mapping[str, str]) -> list[str]:
        """What makes a process of root's there one of the image's user, with nothing but its environment."""
        uid, gid = self.stage.user()
        told = {**self.stage.environ(), **environ}
        least = ("--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
        place = next((str(s.words) for s in reversed(self.stage.steps) if s.name == "WORKDIR"), "/")
        variables = ["env", "-C", place, "-i", *(f"{name}={value}" for name, value in told.items())]
        return ["setpriv", f"--reuid={uid}", f"--regid={gid}", *least, *variables, *words]


@dataclass(frozen=True, slots=True)
class Ground:
    """What the steps are carried out with. `wheels`: where pip finds what it is to install."""

    stages: Mapping[str, Stage]
    context: Path
    wheels: Path


def build(ground: Ground, target: str, folder: Path) -> Image:
    """Every stage that the target stands on, in order."""
    stages = ground.stages
    stage = stages[target]
    if stage.of in stages:
        build(ground, stage.of, folder)
    else:
        for name in OWN:
            (folder / name).mkdir(parents=True)
            (folder / name).chmod(0o755)
        subprocess.run(["cp", "-a", "/etc/.", str(folder / "etc")], check=True)
    for step in stage.steps:
        _carry_out(ground, step, folder)
    return Image(stage, folder)


def packages(step: Step) -> list[str]:
    """Those of the distribution that a step installs."""
    match = APT.match(step.words) if isinstance(step.words, str) else None
    return match["names"].split() if match else []


def _carry_out(ground: Ground, step: Step, folder: Path) -> None:
    if step.name == "COPY":
        _copy(ground, step, folder)
    elif step.name == "RUN" and not packages(step):
        argv = list(step.words) if isinstance(step.words, tuple) else ["sh", "-c", step.words]
        over = [*_over("--bind", folder), "--ro-bind", str(ground.wheels), "/run/wheels"]
        done = subprocess.run(
            ["bwrap", *_ground(), *over, "--unshare-net", "env", "-i", *DURING, *argv],
            capture_output=True,
            text=True,
            check=False,
            timeout=STEP_S,
        )
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"


def _copy(ground: Ground, step: Step, folder: Path) -> None:
    assert isinstance(step.words, str)
    *sources, target = step.words.split()
    place = folder / target.lstrip("/")
    if "from" in step.flags:
        other = folder.with_name(f"{folder.name}-{step.flags['from']}")
        build(ground, step.flags["from"], other)
        shutil.copytree(other / sources[0].lstrip("/"), place, symlinks=True)
        return
    found = [path for source in sources for path in glob.glob(str(ground.context / source))]
    assert found and target.endswith("/"), f"{step.words}: nothing to copy, or not into a folder"
    place.mkdir(parents=True, exist_ok=True)
    for path in found:
        shutil.copy(path, place)


def _ground() -> list[str]:
    """This machine's programs, and nothing else of it."""
    out = ["--tmpfs", "/", "--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        if os.path.islink(f"/{name}"):
            out += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
    return [*out, "--tmpfs", "/tmp", "--tmpfs", "/run", "--tmpfs", "/dev/shm", *_OPEN]


_OPEN = ("--chmod", "1777", "/tmp", "--chmod", "1777", "/dev/shm")


def _over(how: str, folder: Path) -> list[str]:
    return [word for name in OWN for word in (how, str(folder / name), f"/{name}")]
