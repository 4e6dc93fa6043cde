"""The real Claude Code inside a lab host: a plain user, another root, no network but the model server."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from node_agent.machine.programs import LIBRARIES, PACKAGE
from node_agent.wire.failure import FailureKind
from node_agent.wire.policy import Safety
from tests.clis.install import cache
from tests.clis.launched import CLAUDE, Bench
from tests.fakemodel import FakeModel, preset
from tests.lab import Lab, missing, own_name
from tests.lab.lab import Spec

LACKS = missing()
ON_CI = os.environ.get("CI") == "true"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(LACKS) and not ON_CI, reason="this machine lacks: " + "; ".join(LACKS)),
]
SEEN = "/home/ops/b"
WRITE = {"call": {"name": "Bash", "arguments": {"command": "id -un > who.txt", "description": "p"}}}


def bench_on(lab: Lab, path: str, url: str) -> Bench:
    """A bench in the home of host 1, owned by its user."""
    root = Path(lab.path(1, "disk", "home", "b"))
    bench = Bench(CLAUDE, root, path, url, is_root=False, prefix=tuple(lab.enter(1)), seen=SEEN)
    bench.python = "/usr/bin/python3"  # ours may be where that user cannot go
    (bench.home / "claude").mkdir()
    (bench.home / "tmp").mkdir()
    uid = lab.hosts[1]["uid"]
    subprocess.run(["chown", "-R", f"{uid}:{uid}", str(root)], check=True)
    return bench


@pytest.mark.parametrize("safety", [Safety.AUTO_EDIT, Safety.FULL_AUTO])
def test_it_works_on_a_host_as_a_plain_user(claude_path: str, safety: Safety) -> None:
    spec = Spec(share=(str(cache()), PACKAGE, LIBRARIES))
    with (
        Lab(own_name("c"), owned=True).up(1, spec, replace=True) as lab,
        FakeModel({**preset("edit"), "cwd": f"{SEEN}/work"}, host=lab.state["coordinator"]) as model,
    ):
        bench = bench_on(lab, claude_path, model.url)
        verdict = bench.run(bench.request(safety=safety))
        assert verdict.failure is None, verdict.reason
        changed = bench.work / "notes.txt"
        assert changed.read_text() == "alpha\nBETA\ngamma\n"
        assert changed.stat().st_uid == lab.hosts[1]["uid"]
        model.set_script({"turns": [WRITE, {"text": "Done."}], "cwd": f"{SEEN}/work"})
        verdict = bench.run(bench.request(safety=safety))
        allowed = safety is Safety.FULL_AUTO
        assert verdict.failure is (None if allowed else FailureKind.TOOL_DENIED), verdict.reason
        assert (bench.work / "who.txt").exists() is allowed
