"""Reads docker-compose.yml as far as we write it; a key that would not be honoured is an error."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HONOURED = {
    *("build", "cap_drop", "command", "configs", "depends_on", "environment", "healthcheck", "image", "init"),
    *("profiles", "read_only", "secrets", "security_opt", "tmpfs", "user", "volumes"),
}
_DIGEST = re.compile(r"\$\{[A-Z]+_DIGEST[^}]*\}")
"""By which an image is fetched; the programs that we start in its place are this machine's."""
BESIDE = {"restart", "ports"}
"""What a stack that is tried once does without: nothing is restarted, nothing published."""


@dataclass(frozen=True, slots=True)
class Service:
    """One service, every name resolved."""

    name: str
    image: str
    target: str | None
    command: tuple[str, ...]
    environ: dict[str, str]
    user: tuple[int, int] | None
    health: tuple[str, ...]
    after: tuple[str, ...]
    secrets: dict[str, Path]
    configs: dict[str, Path]
    volumes: dict[str, str]
    """Where it is mounted -> its name."""
    tmpfs: tuple[str, ...]


def read(path: Path, profiles: Collection[str] = ()) -> list[Service]:
    """Those without a profile or with one of these, each after those that it waits for."""
    told = yaml.safe_load(path.read_text())
    files = {
        kind: {n: path.parent / one["file"] for n, one in told[kind].items()}
        for kind in ("secrets", "configs")
    }
    asked = {n: one for n, one in told["services"].items() if set(one.get("profiles", ())) <= set(profiles)}
    services = [_service(n, one, files) for n, one in asked.items()]
    ordered: list[Service] = []
    while len(ordered) < len(services):
        there = {one.name for one in ordered}
        ready = [one for one in services if one.name not in there and set(one.after) <= there]
        assert ready, "services wait for each other"
        ordered += ready
    return ordered


def _service(name: str, told: dict[str, Any], files: dict[str, dict[str, Path]]) -> Service:
    assert set(told) <= HONOURED | BESIDE, f"{name}: {set(told) - HONOURED - BESIDE}"
    assert told["read_only"] and told["cap_drop"] == ["ALL"], f"{name} is not closed"
    after = told.get("depends_on", {})
    assert all(one == {"condition": "service_healthy"} for one in after.values())
    uid, _, gid = str(told.get("user", "")).partition(":")
    kind, *test = told["healthcheck"]["test"]
    health = ("sh", "-c", test[0].replace("$$", "$")) if kind == "CMD-SHELL" else tuple(test)
    return Service(
        name=name,
        image=_DIGEST.sub("", told["image"]),
        target=told.get("build", {}).get("target"),
        command=tuple(str(word).replace("$$", "$") for word in told.get("command", ())),
        environ={key: str(value) for key, value in told.get("environment", {}).items()},
        user=(int(uid), int(gid)) if uid else None,
        health=health,
        after=tuple(after),
        secrets={one: files["secrets"][one] for one in told.get("secrets", ())},
        configs={one["target"]: files["configs"][one["source"]] for one in told.get("configs", ())},
        volumes=dict(reversed(one.split(":")) for one in told.get("volumes", ())),
        tmpfs=tuple(one.partition(":")[0] for one in told.get("tmpfs", ())),
    )
