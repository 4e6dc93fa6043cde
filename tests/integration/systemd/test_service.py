"""The coordinator's user service: a unit that systemd accepts; installed, kept, told of, taken out.

The manager that installs it is a stand-in on PATH that records and links as systemctl does; it is no systemd.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pancode.app.reboot import service_of
from pancode.app.server.serve import left_to_service
from pancode.fleet.systemd.unit import CoordinatorUnit
from pancode.fleet.systemd.user_unit import UserService
from pancode.kernel.host.single_instance import HomeLock

SYSTEMCTL = r"""#!/bin/sh
echo "$*" >> "$HOME/calls"
u="$HOME/.config/systemd/user"
if [ -e "$HOME/broken-$2" ]; then echo "no: $2" >&2; exit 1; fi
case $2 in
  is-system-running) if [ -e "$HOME/absent" ]; then echo offline; exit 1; fi; echo degraded; exit 1;;
  is-enabled) if [ -L "$u/default.target.wants/$3" ]; then echo enabled; else echo disabled; exit 1; fi;;
  enable) mkdir -p "$u/default.target.wants"; ln -sf "../$3" "$u/default.target.wants/$3";;
  disable) rm -f "$u/default.target.wants/$3";;
  daemon-reload) ;;
  show) s="$HOME/states"; if [ -e "$s" ]; then sed 1q "$s"; sed -i 1d "$s"; else echo inactive; fi;;
  *) echo "unknown: $*" >&2; exit 1;;
esac
"""
LOGINCTL = '#!/bin/sh\nif [ -e "$HOME/lingers" ]; then echo Linger=yes; else echo Linger=no; fi\n'


@dataclass
class Machine:
    """A user's home with a manager, and PanCode's home in it."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "fleet home"

    @property
    def units(self) -> Path:
        return self.root / ".config/systemd/user"

    def environ(self, **more: str) -> dict[str, str]:
        path = f"{self.root}/bin:/usr/bin:/bin"
        return {"HOME": str(self.root), "PATH": path, "TMPDIR": str(self.root / "tmp"), **more}

    def service(self, redis_url: str | None = None, **more: str) -> UserService:
        return service_of(self.home, (redis_url, None), self.environ(**more))

    def calls(self) -> list[str]:
        """What the manager was told since the last look."""
        record = self.root / "calls"
        said = [line.removeprefix("--user ") for line in record.read_text().splitlines()]
        record.write_text("")
        return [line for line in said if not line.startswith("is-")]

    def files(self) -> list[str]:
        return sorted(str(p.relative_to(self.units)) for p in self.units.rglob("*") if not p.is_dir())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "bin").mkdir()
    for name, text in (("systemctl", SYSTEMCTL), ("loginctl", LOGINCTL)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "calls").touch()
    return Machine(tmp_path)


def test_it_is_enabled_and_not_started_kept_and_taken_out(machine: Machine) -> None:
    service = machine.service()
    assert service.status() == "not restarted after reboot"
    bare = service.seen()
    said = service.install()
    installed = service.seen()
    (unit,) = machine.units.glob("pancode-*.service")
    assert said == service.status() == machine.service().status()
    assert said == (
        "restarted at your next login (at boot after `loginctl enable-linger`); "
        f"from then on it is the user service {unit.name}"
    )
    assert machine.calls() == ["daemon-reload", "daemon-reload", f"enable {unit.name}"]
    assert unit.stat().st_mode & 0o777 == 0o600
    assert machine.service().install() == said and machine.calls() == []
    assert service.seen() == installed != bare, "a second time is not a change"

    (machine.root / "lingers").touch()
    assert machine.service().status().startswith("restarted at boot; from then on it is")
    own = machine.service(SYSTEMD_EXEC_PID=str(os.getpid()))
    assert own.status() == f"restarted at boot; runs as the user service {unit.name}"

    service.remove()
    service.remove()
    assert service.seen() == bare
    assert machine.files() == [] and machine.calls() == [f"disable {unit.name}", "daemon-reload"]
    assert service.status() == "not restarted after reboot"


def test_what_the_coordinator_was_started_with_is_in_the_unit(machine: Machine) -> None:
    odd = 'a "b" $HOME 100% \\ é'
    machine.service(PANCODE_BUDGET_CEILING="3", PANCODE_MODEL=odd, PANCODE_RUN="r-1", SECRET="x").install()
    (unit,) = machine.units.glob("*.service")
    text = unit.read_text()
    assert f'ExecStart="{sys.executable}" "-m" "pancode" "serve" "--child"\n' in text
    assert f'Environment="PANCODE_HOME={machine.home}"\n' in text
    assert 'Environment="PANCODE_BUDGET_CEILING=3"\n' in text
    assert 'Environment="PANCODE_MODEL=a \\"b\\" $HOME 100%% \\\\ é"\n' in text
    assert "SECRET" not in text and "PANCODE_RUN" not in text
    machine.calls()
    machine.service(PANCODE_BUDGET_CEILING="4").install()
    assert '"PANCODE_BUDGET_CEILING=4"' in unit.read_text() and machine.calls() == ["daemon-reload"]


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        ("absent", ""),
        ("broken-enable", r": systemctl --user enable pancode-\w+.service failed: no: enable"),
        ("broken-daemon-reload", ": systemctl --user daemon-reload failed: no: daemon-reload"),
        (".config", ": cannot write its user service: .*"),
    ],
)
def test_without_a_service_it_says_so(machine: Machine, prepare: str, words: str) -> None:
    (machine.root / prepare).touch()
    said = machine.service().install()
    assert re.fullmatch(f"not restarted after reboot{words}", said), said


def test_where_no_systemd_is_it_says_so(machine: Machine) -> None:
    shutil.rmtree(machine.root / "bin")
    environ = {**machine.environ(), "PATH": str(machine.root)}
    service = service_of(machine.home, (None, None), environ)
    assert service.install() == service.status() == "not restarted after reboot"
    service.remove()
    assert not machine.units.exists()


def test_no_service_for_a_home_that_does_not_stay_or_a_password_that_no_file_keeps(machine: Machine) -> None:
    gone = machine.service(TMPDIR=str(machine.root))
    assert gone.install() == f"not restarted after reboot: {machine.home} is in a temporary folder"
    machine.service("redis://h:6379").install()
    assert len(machine.files()) == 2
    secret = machine.service("redis://:pw@h:6379", PANCODE_REDIS_URL="redis://:pw@h:6379")
    words = "not restarted after reboot: the password of its Redis is only in its environment"
    assert secret.install() == secret.status() == words
    other = service_of(machine.home, (None, "postgresql://u:pw@h/d"), machine.environ())
    assert other.status() == words.replace("Redis", "database")
    other = service_of(machine.home, (None, "postgresql://u@h/d"), {**machine.environ(), "PGPASSWORD": "pw"})
    assert other.status() == words.replace("Redis", "database")
    assert machine.files() == [], "the one from before would start another coordinator"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="not built yet: no systemd-analyze here")
@pytest.mark.parametrize("folder", ["plain", "it's $HOME 100% é"])
def test_systemd_itself_accepts_the_unit(tmp_path: Path, folder: str) -> None:
    home = tmp_path / folder
    odd = {"PANCODE_MODEL": 'a "b" $X %h \\', "PATH": "/usr/bin:/bin"}
    unit = CoordinatorUnit(home, ("/bin/sh", "-c", "true", str(home)), odd)
    path = tmp_path / unit.name
    path.write_text(unit.text())
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0 and unit.name not in done.stderr, done.stderr


def test_two_homes_are_two_services() -> None:
    names = {CoordinatorUnit(Path(home), ("x",)).name for home in ("/h/a", "/h/b")}
    assert len(names) == 2
    with pytest.raises(ValueError, match="X contains a control character"):
        CoordinatorUnit(Path("/h"), ("x",), {"X": "a\nExecStart=/bin/false"}).text()


def test_one_on_its_way_is_waited_for_and_not_overtaken(machine: Machine) -> None:
    machine.service().install()
    (machine.root / "states").write_text("activating\ndeactivating\nactivating\nactive\n")
    slept: list[float] = []
    (machine.home / "run").mkdir(parents=True)

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            sole.take()

    sole = HomeLock(machine.home)
    try:
        assert left_to_service(machine.home, machine.environ(), sleep)
    finally:
        sole.leave()
    assert len(slept) == 3


def test_one_that_ends_or_never_comes_is_waited_for_no_longer(machine: Machine) -> None:
    slept: list[float] = []
    assert not left_to_service(machine.home, machine.environ(), slept.append), "there is no service"
    machine.service().install()
    assert not left_to_service(machine.home, machine.environ(), slept.append), "it is not being started"
    assert not slept
    (machine.root / "states").write_text("activating\nfailed\n")
    assert not left_to_service(machine.home, machine.environ(), slept.append)
    assert len(slept) == 1
    (machine.root / "states").write_text("activating\n" * 1000)
    assert not left_to_service(machine.home, machine.environ(), slept.append)
    assert 15 < sum(slept) < 40
