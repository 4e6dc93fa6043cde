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
from node_agent.machine.programs import brought, installed

NPM = r"""#!/bin/sh
echo "$*" >>"$HOME/asked"
test ! -e "$HOME/fails" || { echo "network is down" >&2; exit 7; }
at="$HOME/.local/lib/node_modules/@qwen-code/qwen-code"
case "$1" in
uninstall) rm -rf "$at" "$HOME/.local/bin/qwen" ;;
install)
  mkdir -p "$at" && echo '{"name": "@qwen-code/qwen-code", "version": "0.15.10"}' >"$at/package.json"
  printf '#!/bin/sh\necho 0.15.10\n' >"$at/cli.js" && chmod +x "$at/cli.js"
  ln -sf "$at/cli.js" "$HOME/.local/bin/qwen" ;;
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


def test_a_program_comes_by_npm_in_the_version_that_was_asked_and_goes_again(
    home: NodeHome, environ: dict[str, str]
) -> None:
    Path(environ["HOME"]).mkdir()
    done = install(home, "qwen", "0.15.10", environ, {})
    there = Path(environ["HOME"], ".local/bin/qwen")
    assert (done.package, done.version) == ("@qwen-code/qwen-code", "0.15.10")
    assert done.sha256 == hashlib.sha256(there.read_bytes()).hexdigest()
    assert installed(home.root) == {"qwen": done} and done.chosen
    where = f"--prefix {environ['HOME']}/.local"
    assert asked(environ) == [f"install -g {where} @qwen-code/qwen-code@0.15.10"]
    install(home, "qwen", "", environ, {})
    assert asked(environ)[-1].endswith("@latest"), "without a version it is the newest"
    assert not installed(home.root)["qwen"].chosen and brought(home.root) == {"qwen": "newest"}
    uninstall(home, "qwen", environ)
    assert not there.exists() and installed(home.root) == {}


def test_an_update_of_all_leaves_the_version_that_its_owner_chose(
    home: NodeHome, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(environ["HOME"]).mkdir()
    monkeypatch.setattr(os, "umask", lambda mask: 0)  # a program of its own keeps its files private
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    install(home, "qwen", "0.15.10", environ, {})
    verb = ["install", "--home", str(home.root)]
    before = asked(environ)
    assert main(verb) == 0 and asked(environ) == before
    assert main([*verb, "qwen"]) == 0 and asked(environ)[-1].endswith("@latest"), "named, it is brought"
    assert main(verb) == 0 and len(asked(environ)) == len(before) + 2


def test_what_is_not_ours_stays_and_what_fails_is_said(home: NodeHome, environ: dict[str, str]) -> None:
    Path(environ["HOME"]).mkdir()
    with pytest.raises(NoProgram, match="has not installed qwen"):
        uninstall(home, "qwen", environ)
    Path(environ["HOME"], "fails").touch()
    with pytest.raises(NoProgram, match="network is down"):
        install(home, "qwen", "", environ, {})
    assert installed(home.root) == {}
    for runtime, version in (("qwen", "1; rm -rf ~"), ("shell", ""), ("qwne", "")):
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
        install(home, "qwen", "", environ, {})
    assert "Node.js 20" in caught.value.fix
