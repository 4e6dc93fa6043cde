"""Agent programs are installed for the user of a machine, put on record, and taken away again."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from node_agent.cli.installing import NoProgram, install, uninstall
from node_agent.cli.main import main
from node_agent.machine.home import NodeHome
from node_agent.machine.programs import RECORD, brought, installed

NPM = r"""#!/bin/sh
echo "$*" >>"$HOME/asked"
test ! -e "$HOME/fails" || { echo "network is down" >&2; exit 7; }
at="$HOME/.local/lib/node_modules/@google/gemini-cli"
case "$1" in
uninstall) rm -rf "$at" "$HOME/.local/bin/gemini" ;;
install)
  mkdir -p "$at" && echo '{"name": "@google/gemini-cli", "version": "0.61.0"}' >"$at/package.json"
  printf '#!/bin/sh\necho 0.61.0\n' >"$at/cli.js" && chmod +x "$at/cli.js"
  ln -sf "$at/cli.js" "$HOME/.local/bin/gemini" ;;
esac
"""


@pytest.fixture
def home(tmp_path: Path) -> NodeHome:
    settings = {
        "fleet": "f-test",
        "name": "n1",
        "tag": "0123456789",
        "slots": 1,
        "redis": {"user": "u", "password_file": "p"},
    }
    (tmp_path / "node").mkdir()
    (tmp_path / "node/node.json").write_text(json.dumps(settings))
    return NodeHome(tmp_path / "node")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in {"npm": NPM, "node": "#!/bin/sh\necho v22.1.0\n"}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    return {"HOME": str(tmp_path / "user"), "PATH": f"{tools}:/usr/bin:/bin"}


def asked(environ: dict[str, str]) -> list[str]:
    return Path(environ["HOME"], "asked").read_text().splitlines()


@pytest.mark.parametrize(
    "version", ["npm:other-package", "latest", "../x", "https://host/x.tgz", "1.0 && true", "-g", "1" * 65]
)
def test_what_is_not_a_version_is_never_given_to_npm(
    home: NodeHome, environ: dict[str, str], version: str
) -> None:
    with pytest.raises(NoProgram, match="is not a version"):
        install(home, "gemini", version, environ, {})
    assert not Path(environ["HOME"], "asked").exists()


def test_a_program_comes_by_npm_in_the_version_that_was_asked_and_goes_again(
    home: NodeHome, environ: dict[str, str]
) -> None:
    Path(environ["HOME"]).mkdir()
    done = install(home, "gemini", "0.61.0", environ, {})
    there = Path(environ["HOME"], ".local/bin/gemini")
    assert (done.package, done.version) == ("@google/gemini-cli", "0.61.0")
    assert done.sha256 == hashlib.sha256(there.read_bytes()).hexdigest()
    assert installed(home.root) == {"gemini": done} and done.chosen
    where = f"--prefix {environ['HOME']}/.local"
    assert asked(environ) == [f"install -g --ignore-scripts {where} @google/gemini-cli@0.61.0"]
    install(home, "gemini", "", environ, {})
    assert asked(environ)[-1].endswith("@latest"), "without a version it is the newest"
    assert not installed(home.root)["gemini"].chosen and brought(home.root) == {"gemini": "newest"}
    uninstall(home, "gemini", environ)
    assert not there.exists() and installed(home.root) == {}


def test_an_update_of_all_leaves_the_version_that_its_owner_chose(
    home: NodeHome, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(environ["HOME"]).mkdir()
    monkeypatch.setattr(os, "umask", lambda mask: 0)  # a program of its own keeps its files private
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    install(home, "gemini", "0.61.0", environ, {})
    verb = ["install", "--home", str(home.root)]
    before = asked(environ)
    assert main(verb) == 0 and asked(environ) == before
    assert main([*verb, "gemini"]) == 0 and asked(environ)[-1].endswith("@latest"), "named, it is brought"
    assert main(verb) == 0 and len(asked(environ)) == len(before) + 2


def test_a_program_of_a_runtime_that_is_gone_is_taken_away_and_never_brought(
    home: NodeHome, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older version has brought it; the record of what was brought still names it."""
    Path(environ["HOME"]).mkdir()
    monkeypatch.setattr(os, "umask", lambda mask: 0)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    install(home, "gemini", "", environ, {})
    package = "@qwen-code/qwen-code"
    old = {"runtime": "qwen", "package": package, "version": "0.15.10", "sha256": "0" * 64, "chosen": False}
    kept = json.loads((home.root / RECORD).read_text())
    (home.root / RECORD).write_text(json.dumps([*kept, old]))
    before = asked(environ)
    assert main(["install", "--home", str(home.root)]) == 0
    assert len(asked(environ)) == len(before) + 1 and package not in asked(environ)[-1], "an update"
    with pytest.raises(NoProgram, match="no runtime 'qwen'") as refused:
        install(home, "qwen", "", environ, {})
    assert "acp:qwen" in refused.value.fix
    uninstall(home, "gemini", environ)
    uninstall(home, "qwen", environ)
    assert asked(environ)[-1].endswith(package) and installed(home.root) == {}


def test_what_is_not_ours_stays_and_what_fails_is_said(home: NodeHome, environ: dict[str, str]) -> None:
    Path(environ["HOME"]).mkdir()
    with pytest.raises(NoProgram, match="has not installed gemini"):
        uninstall(home, "gemini", environ)
    Path(environ["HOME"], "fails").touch()
    with pytest.raises(NoProgram, match="network is down"):
        install(home, "gemini", "", environ, {})
    assert installed(home.root) == {}
    for runtime, version in (("gemini", "1; rm -rf ~"), ("shell", ""), ("gemni", "")):
        with pytest.raises(NoProgram):
            install(home, runtime, version, environ, {})


@pytest.mark.parametrize("node", ["", "#!/bin/sh\necho v14.0.0\n"])
def test_a_machine_without_a_fitting_node_js_is_told_which_it_needs(
    home: NodeHome, environ: dict[str, str], node: str
) -> None:
    Path(environ["HOME"]).mkdir()
    tools = Path(environ["PATH"].partition(":")[0])
    (tools / "node").unlink()
    if node:
        (tools / "node").write_text(node)
        (tools / "node").chmod(0o755)
    else:
        environ["PATH"] = str(tools)
    home.settings.write_text(json.dumps({**json.loads(home.settings.read_text()), "path": environ["PATH"]}))
    with pytest.raises(NoProgram) as caught:
        install(home, "gemini", "", environ, {})
    assert "Node.js 20" in caught.value.fix
