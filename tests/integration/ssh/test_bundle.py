"""A real bundle, unpacked as on a node: agent and native worker load from its bytecode, and it is small."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from pancode.fleet.bundle.platform import NodePlatform
from pancode.fleet.bundle.store import BundleStore
from pancode.fleet.ssh.scripts.install import UNPACK

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
def test_all_that_runs_on_a_node_is_in_it_and_is_compiled_there(tmp_path: Path) -> None:
    _, bundle = BundleStore(tmp_path / "bundles").bundle_for([HERE])
    assert bundle.size <= MOST_BYTES
    with tarfile.open(bundle.path) as tar:
        sizes = [one.size for one in tar if one.isfile()]
    assert len(sizes) <= MOST_FILES and sum(sizes) <= MOST_UNPACKED
    shutil.copy(bundle.path, tmp_path / "bundles" / f"{bundle.name}.tar.gz")
    unpack = ["sh", "-c", UNPACK, "sh", str(tmp_path), bundle.name, sys.executable, bundle.sha256]
    subprocess.run(unpack, check=True, timeout=120)
    there = str(tmp_path / "bundles" / bundle.name)
    for program, how, least in ((AGENT, "-OO", 100), (NATIVE, "-OO", 100), (PROGRAMS, "-s", 30)):
        command = [sys.executable, "-I", "-S", "-B", how, "-c", LOADED, there, *program]
        said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert said.returncode == 0, said.stderr
        seen = json.loads(said.stdout)
        assert seen["loaded"] > least and seen["bare"] == []
