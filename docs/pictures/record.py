"""Plays the scenes on a terminal of their own and tells what it shows, without what differs each time."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping
from pathlib import Path

from docs.pictures.scenes import BEFORE, SCENES, Scene
from docs.pictures.screens import screen

COLUMNS, LIMIT_S = 110, 180
DAY, TIME = "11-21", "09:30:00"
# What differs from one time to the next, and what stands for it; as wide, where it is in a table.
ALWAYS = (
    (re.compile(r"\b\d\d-\d\d(?=  ?\d\d:\d\d:\d\d\b)"), DAY),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), TIME),
    (re.compile(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), f"2026-{DAY}T{TIME}.000Z"),
    (re.compile(r"\b20\d\d-\d\d-\d\d\b"), f"2026-{DAY}"),
    (re.compile(r"\b\d+(\.\d)? s\b"), "0.4 s"),
    (re.compile(r"\b[0-9a-f]{7}\.\.[0-9a-f]{7}\b"), "83cbe86..2e5c4d2"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,64}\b"), "1c9e03d5aa21"),
    (re.compile(r"\bn-[a-z0-9]{6,}\b"), "n-4kq2"),
)
RUNS = re.compile(r"(?:(?<=m)|\b)r-[a-z0-9]{6}\b")
RUN_STEADS = ("r-7f3k2q", "r-9m4tzw", "r-c2xkp8")
KEYS = re.compile(r"(sha256|SHA256|ed25519|key)[: ]([A-Za-z0-9+/=_-]{8,})")
STEADS = ("5d0a44f1", "b83e7f02", "07c6d95a")
"""For keys in the order in which they appear: the node's and the coordinator's are not one."""


def record(home: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Each scene as text with its colours. `home`: empty; a fleet is left in it, still up."""
    env = {**environ, "HOME": str(home), "TERM": "xterm", "COLUMNS": str(COLUMNS)}
    subprocess.run(["bash", "-c", BEFORE], cwd=home, env=env, check=True, timeout=LIMIT_S)
    shown = {name: _play(scene, home / "hello", env) for name, scene in SCENES.items()}
    return {name: settled(text.replace(str(home), "/home/ada")) for name, text in shown.items()}


def settled(shown: str) -> str:
    for pattern, stead in ALWAYS:
        shown = pattern.sub(stead, shown)
    seen, runs = dict[str, str](), dict[str, str]()

    def run(found: re.Match[str]) -> str:
        return runs.setdefault(found[0], RUN_STEADS[len(runs) % len(RUN_STEADS)])

    def one(found: re.Match[str]) -> str:
        return f"{found[1]} {seen.setdefault(found[2], STEADS[len(seen) % len(STEADS)])}"

    shown = KEYS.sub(one, RUNS.sub(run, shown))
    return "\n".join(line.rstrip() for line in shown.splitlines()) + "\n"


def _play(scene: Scene, folder: Path, env: Mapping[str, str]) -> str:
    for hidden in scene.before:
        subprocess.run(["bash", "-c", hidden], cwd=folder, env=env, check=True, timeout=LIMIT_S)
    if scene.shows:
        typed = scene.typed[-1]
        return f"\x1b[1m$ {typed}\x1b[0m\n{screen(typed, scene.shows, folder, env)}"
    return "\n".join(f"\x1b[1m$ {typed.strip()}\x1b[0m\n{_said(typed, folder, env)}" for typed in scene.typed)


def _said(typed: str, folder: Path, env: Mapping[str, str]) -> str:
    """What a terminal shows of it; progress, which overwrites itself there, is left out of a picture."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    told, tell = os.pipe()
    with os.fdopen(told, "rb") as errors:
        argv = ["bash", "-c", typed]
        child = subprocess.Popen(argv, cwd=folder, env=env, stdin=slave, stdout=slave, stderr=tell)
        os.close(slave)
        os.close(tell)
        printed = _all(master)
        child.wait(LIMIT_S)
        words = errors.read().decode()
    return printed.replace("\r\n", "\n") + ("" if child.returncode == 0 else words)


def _all(master: int) -> str:
    got = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # the other end is closed
            data = b""
        if not data:
            os.close(master)
            return got.decode()
        got += data
