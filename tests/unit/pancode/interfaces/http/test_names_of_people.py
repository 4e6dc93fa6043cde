"""Names, labels and reasons go into tables and files: what would break one is refused with its path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pancode.interfaces.client.client import path_of
from tests.unit.pancode.interfaces.http.world import World

SPEC = "/v1/nodes/probe"


@pytest.mark.parametrize(
    "name", ["", "a b", "a\nb", "-x", "../x", "a/b", "\x1b[31m", "x" * 64, "\u202ex", "a=b"]
)
def test_a_name_that_is_none(name: str, tmp_path: Path) -> None:
    told = World(tmp_path).problem("POST", SPEC, {"name": name})
    assert told["exit_code"] == 2 and repr(name) in told["message"]


@pytest.mark.parametrize("name", ["gpubox", "GPU-1.lan", "ops@10.0.0.5", "fe80::1", "_x", "7"])
def test_a_name_that_is_one(name: str, tmp_path: Path) -> None:
    assert World(tmp_path).http.post(SPEC, {"name": name}).status_code == 200


@pytest.mark.parametrize(
    ("labels", "path"),
    [
        ({"a b": "c"}, "labels.a b"),
        ({"a": "c\nd"}, "labels.a"),
        ({"a": "c,d"}, "labels.a"),
        ({"": "c"}, "labels."),
        ({"a": "x" * 64}, "labels.a"),
        ({"a": "\x1b[31m"}, "labels.a"),
    ],
)
def test_labels_that_are_none(labels: dict[str, str], path: str, tmp_path: Path) -> None:
    world = World(tmp_path)
    for where, body in (("/v1/nodes/n1/set", {}), (SPEC, {"name": "n2"})):
        told = world.problem("POST", where, {**body, "labels": labels})
        assert told["exit_code"] == 2 and told["message"].startswith(f"{path}: ")
    told = world.problem("POST", "/v1/runs", world.shell(require=labels))
    assert told["message"].startswith(path.replace("labels", "require", 1))


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b"])
def test_a_name_with_a_slash_is_one_that_is_not_there(name: str, tmp_path: Path) -> None:
    for path in (path_of("runs", name), path_of("nodes", name), path_of("runs", name, "why")):
        told = World(tmp_path).problem("GET", path)
        assert told["exit_code"] == 4 and told["code"] == "no_such_name" and told["fix"]


@pytest.mark.parametrize("reason", ["a\nb", "  ", "\x1b[2J", "x" * 501])
@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/fleet/drain", {"nodes": ["n1"]}), ("/v1/queues/pause", {}), ("/v1/runs/last/stop", {})],
)
def test_a_reason_is_one_line(path: str, body: dict[str, Any], reason: str, tmp_path: Path) -> None:
    world = World(tmp_path)
    world.dispatch()
    told = world.problem("POST", path, {**body, "reason": reason})
    assert told["exit_code"] == 2 and told["message"].startswith("reason: ")


def test_a_reason_for_users(tmp_path: Path) -> None:
    world = World(tmp_path)
    told = world.http.post("/v1/fleet/drain", {"nodes": ["n1"], "reason": " neue Platte – 50 % 🔧 "}).json()
    assert told["draining"] == "neue Platte – 50 % 🔧"
