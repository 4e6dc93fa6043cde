"""Makes a checkout and the box of tools on it, for the tests of the native worker."""

from __future__ import annotations

import os
from pathlib import Path

from node_agent.native.judge import Judge
from node_agent.native.places import Tree
from node_agent.native.tools.files import Box
from node_agent.runtimes.workerspec import TOOLS, WorkerSpec
from node_agent.wire.clock import SystemClock
from node_agent.wire.policy import NO_RULES, Rules, Safety, compile_policy


def spec_of(
    top: Path, safety: Safety = Safety.AUTO_EDIT, rules: Rules = NO_RULES, **changes: object
) -> WorkerSpec:
    read_only = safety is Safety.SUGGEST
    spec = WorkerSpec(
        model="m",
        key_name="K",
        url_name="U",
        url="http://127.0.0.1:9/v1",
        top=str(top),
        home=str(top.parent),
        tools=TOOLS,
        policy=compile_policy(safety, read_only, rules=rules),
        safety=safety,
        writes=not read_only,
        walled=True,
        wall_ms=60_000,
        output_bytes=1 << 20,
    )
    return spec.model_copy(update=changes)


def box_of(spec: WorkerSpec, most_chars: int = 5_000) -> Box:
    tree = Tree(spec.top, spec.folder)
    env = {"PATH": os.defpath, "HOME": spec.home}
    return Box(tree, Judge(spec, "/home/somebody"), SystemClock(), env, most_chars)


def checkout(folder: Path) -> Path:
    """With files, links that stay inside, and links that lead out."""
    top, out = folder / "top", folder / "out"
    for one in (top / "src" / "deep", top / "secrets", top / ".git" / "hooks", out):
        one.mkdir(parents=True)
    (top / "notes.txt").write_text("alpha\nbeta\ngamma\n")
    (top / "src" / "a.py").write_text("import os\nprint('a')\n")
    (top / "src" / "deep" / "b.py").write_text("print('b')\n")
    (top / "secrets" / "key").write_text("the-key\n")
    (top / ".git" / "config").write_text("[core]\n")
    (out / "diary").write_text("words-of-a-diary\n")
    (top / "inside").symlink_to("src/a.py")
    (top / "to-secret").symlink_to("secrets/key")
    (top / "out-link").symlink_to("../out/diary")
    (top / "out-folder").symlink_to("../out")
    (top / "absolute").symlink_to(out / "diary")
    (top / "nowhere").symlink_to("not-there")
    return top
