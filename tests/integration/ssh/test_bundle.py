"""A real bundle alone: node agent and native worker load from it, from bytecode, and it is small enough."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from pancode.fleet.bundle.platform import NodePlatform
from pancode.fleet.bundle.store import BundleStore

MOST_BYTES = 25_000_000
HERE = NodePlatform(sys.version_info[:3], platform.machine(), (2, 36))
LOADED = """
import importlib, json, os, sys
sys.path.insert(0, sys.argv[1])
import start
start.isolate()
for name in sys.argv[2:]:
    importlib.import_module(name)
lib = start.HERE + "/lib/"
ours = [m for m in sys.modules.values() if (getattr(m, "__file__", None) or "").startswith(lib)]
bare = [m.__file__ for m in ours if m.__file__.endswith(".py") and not os.path.exists(m.__cached__)]
print(json.dumps({"loaded": len(ours), "bare": bare}))
"""
AGENT = ("node_agent.cli.main", "node_agent.cli.foreground", "yaml", "re2", "tree_sitter_bash")
NATIVE = ("node_agent.native.program", "httpx2", "anyio._backends._asyncio")
PROGRAMS = (
    *("node_agent.shim.shim", "node_agent.gateway.program"),
    *("node_agent.sandbox.relay", "node_agent.sandbox.landlock", "node_agent.sandbox.grammar"),
)
MOST_FILES, MOST_UNPACKED = 1_500, 45_000_000


@pytest.mark.slow
def test_all_that_runs_on_a_node_is_in_it_and_compiled(tmp_path: Path) -> None:
    _, bundle = BundleStore(tmp_path / "bundles").bundle_for([HERE])
    assert bundle.compiled and bundle.size <= MOST_BYTES
    with tarfile.open(bundle.path) as tar:
        sizes = [one.size for one in tar if one.isfile()]
        tar.extractall(tmp_path / "there", filter="data")
    assert len(sizes) <= MOST_FILES and sum(sizes) <= MOST_UNPACKED
    for program, how, least in ((AGENT, "-OO", 100), (NATIVE, "-OO", 100), (PROGRAMS, "-s", 30)):
        command = [sys.executable, "-I", "-S", "-B", how, "-c", LOADED, str(tmp_path / "there"), *program]
        said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert said.returncode == 0, said.stderr
        seen = json.loads(said.stdout)
        assert seen["loaded"] > least and seen["bare"] == []
