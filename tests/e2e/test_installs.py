"""`pancode node install` on another host, by the real npm from a registry of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pancode.errors import ExitCode
from tests.clis.install import PACKAGES, Package, ensure
from tests.e2e.ground import audited
from tests.e2e.owner import Owner, until
from tests.e2e.programs import on_host
from tests.e2e.registry import serving
from tests.lab import Lab

K, AGENT = 2, "qwen"
_PINNED = PACKAGES[AGENT]
assert isinstance(_PINNED, Package)
NPM, VERSION = _PINNED.npm, _PINNED.version


def fact(fleet: Owner) -> dict[str, Any]:
    return next((one for one in fleet.nodes()[f"node{K}"]["runtimes"] if one["name"] == AGENT), {})


def test_an_agent_program_is_installed_found_and_taken_away(
    fleet: Owner, healed: Lab, tmp_path: Path
) -> None:
    node, folder = f"node{K}", ensure(AGENT).parent / NPM
    with serving(tmp_path / "registry", healed.state["coordinator"], folder) as url:
        on_host(healed, K, f"printf 'registry={url}\\n' > ~/.npmrc")
        try:
            said = fleet.run("node", "install", node, AGENT, timeout_s=180).ok()
            assert f"{NPM} {VERSION} is installed (sha256 " in said.out
            until(lambda: fact(fleet).get("version") == VERSION, "it is found", 60, lambda: fact(fleet))
            assert f"{NPM} {VERSION}" in fleet.run("node", "update", node, timeout_s=180).ok().out
            wrong = fleet.run("node", "install", node, AGENT, "--version", "99.0.0", timeout_s=180)
            assert wrong.code == ExitCode.ERROR and "99.0.0" in wrong.out
            fleet.run("node", "uninstall", node, AGENT, timeout_s=60).ok()
            until(lambda: fact(fleet)["state"] == "missing", "it is gone", 60, lambda: fact(fleet))
            again = fleet.run("node", "uninstall", node, AGENT, timeout_s=60)
            assert again.code == ExitCode.ERROR and f"has not installed {AGENT}" in again.out
        finally:
            on_host(healed, K, "rm -rf ~/.npmrc ~/.npm")
    two = fleet.run("node", "install", node, AGENT, "claude", "--version", VERSION)
    assert two.code == ExitCode.USAGE and "a version is that of one program" in two.err
    nothing = fleet.run("node", "install", node)
    assert nothing.code == 2 and "at least one machine and one runtime" in nothing.err
    acts = [one["what"] for one in audited(fleet) if one["what"].startswith("programs: ")]
    assert {"programs: install begun", "programs: install ended", "programs: uninstall ended"} <= set(acts)
