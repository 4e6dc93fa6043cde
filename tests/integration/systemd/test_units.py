"""`pancode admin service`: what it prints is what is installed; systemd takes the units and judges them."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pancode.app.reboot import unit_of
from pancode.fleet.ssh.unit import Unit
from pancode.fleet.systemd.system_unit import SystemService
from pancode.fleet.systemd.unit import SYSTEM_NODE, CoordinatorUnit, format_lines
from pancode.interfaces.cli.main import run
from pancode.kernel.errors import UnavailableError

ANALYZE = shutil.which("systemd-analyze")
HOME = Path("/home/ops/.pancode")
NODE = "/home/ops/.pancode-node/f-1"
COORDINATOR = CoordinatorUnit(HOME, ("/bin/true",))
SYSTEM = CoordinatorUnit(HOME, ("/bin/true",), user="daemon")
AGENT = Unit("f-1", NODE, ("/bin/true",))
SYSTEM_AGENT = Unit("f-1", NODE, ("/bin/true",), "daemon", format_lines(SYSTEM_NODE))
WORST = {"user": 7.9, "system": 3.6, "agent": 9.7, "system-agent": 8.5}
"""As docs/howto/services.md says; of ten, and less is better."""
UNITS: dict[str, CoordinatorUnit | Unit] = {
    "user": COORDINATOR,
    "system": SYSTEM,
    "agent": AGENT,
    "system-agent": SYSTEM_AGENT,
}


def analyze(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [ANALYZE, *words], capture_output=True, text=True, check=False, timeout=60, env=environ
    )


@pytest.mark.skipif(ANALYZE is None, reason="not built yet: no systemd-analyze here")
@pytest.mark.parametrize("kind", sorted(UNITS))
def test_systemd_takes_each_unit_and_finds_it_as_closed_as_we_say(tmp_path: Path, kind: str) -> None:
    unit = UNITS[kind]
    path = tmp_path / unit.name
    text = unit.text().replace(f"WorkingDirectory={NODE}", "WorkingDirectory=/")  # which is not here
    path.write_text(text)
    scope = "--user" if kind in ("user", "agent") else "--system"
    seen = analyze(tmp_path, scope, "verify", str(path))
    assert seen.returncode == 0 and unit.name not in seen.stderr, seen.stderr
    judged = analyze(tmp_path, scope, "security", "--offline=true", "--no-pager", str(path))
    found = re.search(r"exposure level for \S+: ([\d.]+)", judged.stdout)
    assert found is not None and float(found[1]) <= WORST[kind], judged.stdout + judged.stderr


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder, and in it a home with a fleet."""
    home = tmp_path / ".pancode"
    (home / "key").mkdir(parents=True)
    (home / "key/coordinator.key").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    return home


def test_what_is_printed_is_what_fleet_up_writes(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["admin", "service"]) == 0
    assert capsys.readouterr().out == unit_of(own, os.environ).text()
    assert run(["admin", "service", "--node-home", NODE, "--python", "/usr/bin/python3"]) == 0
    start = (
        f'ExecStart="/usr/bin/python3" "-I" "-S" "-B" "-OO" "{NODE}/current/start.py" "run" "--home" "{NODE}"'
    )
    out = capsys.readouterr().out
    assert f"{start}\n" in out and "User=" not in out
    assert run(["admin", "service", "--system", "--user", getpass.getuser(), "--node-home", NODE]) == 0
    out = capsys.readouterr().out
    assert f"User={getpass.getuser()}\n" in out and "CapabilityBoundingSet=~CAP_SYS_MODULE" in out


def test_what_cannot_be_is_said_with_its_fix(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["admin", "service", "--system", "--user", "nobody-of-that-name"]) == 2
    assert run(["admin", "service", "--install", "--user", "root"]) == 2
    assert "--system" in capsys.readouterr().err
    (own / "key/coordinator.key").unlink()
    assert run(["admin", "service", "--install", "--json"]) == 2
    assert "pancode admin serve --background" in capsys.readouterr().err


def test_the_system_is_left_alone_where_it_does_not_do_as_told(tmp_path: Path) -> None:
    service = SystemService(SYSTEM, tmp_path / "missing" / "folder")
    assert service.remove() is False and not service.is_there()
    (tmp_path / "missing").touch()
    with pytest.raises(UnavailableError, match="cannot change"):
        service.install()
