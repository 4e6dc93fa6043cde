"""PANCODE_COORDINATOR: the command line drives a coordinator through `ssh`: a stand-in, and a real sshd."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.faces.conftest import ROOT, Served, Shell, until
from tests.integration.faces.sshd import own_sshd, program

pytestmark = pytest.mark.slow

STAND_IN = """#!/bin/sh
echo x >> {folder}/logins
user=
while [ "$1" != -- ]; do [ "$1" = -l ] && user=$2; shift; done
[ "$user" = nobody ] && {{ echo "Permission denied (publickey)." >&2; exit 255; }}
case $2 in
  bare) echo "sh: 1: pancode: not found" >&2; exit 127 ;;
  old) echo "there is no command pancode api-stdio" >&2; exit 2 ;;
  noisy) echo "Welcome to noisy" ;;
esac
exec sh -c "$3"
"""
NO_FILES = ("--runtime", "shell", "--workspace", "none")


class Laptop(Shell):
    """A command line with a HOME of its own, whose `ssh` and whose address are given."""

    address = "ssh://desk"

    def environ(self) -> dict[str, str]:
        path = f"{self.cwd / 'bin'}:{os.environ['PATH']}"
        kept = {k: v for k, v in super().environ().items() if k != "PANCODE_HOME"}
        return {
            **kept,
            "PATH": path,
            "PANCODE_COORDINATOR": f"{self.address}{self.home}",
            "HOME": str(self.cwd),
        }

    def logins(self) -> int:
        file = self.cwd / "logins"
        return len(file.read_text().split()) if file.exists() else 0


@pytest.fixture
def laptop(home: Path, tmp_path: Path) -> Iterator[Laptop]:
    program(tmp_path / "bin/ssh", STAND_IN.format(folder=tmp_path))
    program(tmp_path / "bin/pancode", f'#!/bin/sh\nexec {sys.executable} -m pancode "$@"\n')
    shell = Laptop(home, tmp_path)
    yield shell
    shell.end_all()


def test_a_run_is_dispatched_followed_and_looked_at_with_one_login_each(
    served: Served, laptop: Laptop
) -> None:
    laptop.address = "ssh://noisy"
    said = laptop("dispatch", *NO_FILES, "--json", "slow 20")
    assert said.status == 0 and said.data["outcome"] == "done", said.err
    assert laptop.logins() == 1
    logs = laptop("runs", "logs", "-f", "last")
    assert logs.status == 0 and logs.out.count("\n") >= 20
    assert laptop.logins() == 2
    shown = laptop("runs", "show", "last", "--json").data
    assert shown["created_by"] == subprocess.check_output(["id", "-un"], text=True).strip()
    assert not (laptop.cwd / ".pancode").exists()


def test_files_of_this_machine_do_not_travel_and_a_folder_there_is_named(
    served: Served, laptop: Laptop
) -> None:
    refused = laptop("dispatch", "--runtime", "shell", "--json", "true")
    assert refused.status == 2 and refused.error["code"] == "not_from_here" and "-C" in refused.error["fix"]
    assert laptop("-C", "nowhere", "dispatch", "--runtime", "shell", "true").status == 7
    (laptop.cwd / "there").mkdir()
    seen = laptop("-C", "there", "dispatch", "--runtime", "shell", "--dry-run", "--json", "true")
    assert seen.error["code"] == "no_repository" and str(laptop.cwd / "there") in seen.error["message"]


def test_what_is_about_a_home_or_a_repository_there_is_refused_with_the_way(
    served: Served, laptop: Laptop
) -> None:
    for words in (
        ("admin", "queue"),
        ("policy", "show"),
        ("config", "secret", "x"),
        ("node", "login", "x", "claude"),
        ("land", "last", "--push", "origin", "b"),
        ("inbox", "review"),
    ):
        said = laptop(*words, "--json")
        assert (said.status, said.error["code"]) == (2, "not_from_here"), (words, said.err)
    here = laptop("doctor")
    assert "pancode doctor acts on this machine, not on desk" in here.err
    assert laptop.logins() <= 1  # only `review` asks for the folder there
    assert laptop("config", "show", "--json").status == 0, "the settings are those of the coordinator there"


@pytest.mark.parametrize(
    ("address", "code", "words"),
    [
        ("ssh://nobody@desk", "ssh_failed", "Permission denied"),
        ("ssh://bare", "pancode_missing", "not found"),
        ("ssh://old", "other_version", "api-stdio"),
    ],
)
def test_a_machine_that_cannot_be_driven_says_why(
    laptop: Laptop, address: str, code: str, words: str
) -> None:
    laptop.address = address
    said = laptop("runs", "--json")
    assert (said.status, said.error["code"]) == (6, code) and words in said.error["why"]
    assert address.removeprefix("ssh://").split("@")[-1] in said.error["message"] and said.error["fix"]


def test_without_ssh_and_with_a_bad_address(laptop: Laptop) -> None:
    (laptop.cwd / "bin/ssh").unlink()
    for name in ("sh", "env"):
        (laptop.cwd / "bin" / name).symlink_to(f"/bin/{name}")
    alone = {**laptop.environ(), "PATH": str(laptop.cwd / "bin")}
    run = [sys.executable, "-m", "pancode", "runs", "--json"]
    for environ, status, code in (
        (alone, 6, "no_ssh"),
        ({**alone, "PANCODE_COORDINATOR": "ssh://-oProxyCommand=x"}, 3, "bad_coordinator"),
    ):
        done = subprocess.run(run, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == status and json.loads(done.stderr)["error"]["code"] == code


def test_a_link_that_is_cut_is_begun_anew_and_the_run_is_seen_to_its_end(
    served: Served, laptop: Laptop
) -> None:
    go = laptop.cwd / "go"
    waiting = laptop.begin("dispatch", *NO_FILES, f"held {go}")
    until(lambda: "running" in laptop("runs").out, "it runs")
    before = laptop.logins()
    for pid in _ends_of(laptop):
        os.kill(pid, signal.SIGKILL)
    until(lambda: laptop.logins() > before, "a second login")
    go.touch()
    out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 0 and b"done" in out, err


def test_nobody_serves_there_and_nobody_is_started_by_who_only_looks(laptop: Laptop) -> None:
    said = laptop("fleet", "down")
    assert said.status == 0 and "no coordinator is running on desk" in said.out
    assert not (laptop.home / "api.sock").exists()


def test_large_answers_and_a_slow_reader(served: Served, laptop: Laptop) -> None:
    for _ in range(3):
        assert laptop("dispatch", *NO_FILES, "--detach", "x" * 100_000).status == 0
    reader = laptop.begin("runs", "--json")
    assert reader.stdout is not None
    first = reader.stdout.read(1)
    rows = json.loads(first + reader.stdout.read())["runs"]
    assert len(rows) == 3 and reader.wait(60) == 0
    page = laptop("runs", "2", "--json").data
    last = laptop("runs", "--cursor", page["next"], "--json").data
    assert [one["run"] for one in (*page["runs"], *last["runs"])] == [one["run"] for one in rows]
    assert last["next"] is None and laptop("runs", "--all", "--json").data == last | {"runs": rows}
    assert (
        laptop("runs", "--cursor", page["next"], "--agent", "scout", "--json").error["code"] == "bad_cursor"
    )


def _ends_of(laptop: Laptop) -> list[int]:
    """The far ends of this laptop's logins."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
            mine = str(laptop.cwd).encode() in (place / "environ").read_bytes()
        except OSError:
            continue
        if b"api-stdio" in words and mine:
            found.append(int(place.name))
    return found


@pytest.fixture
def sshd(laptop: Laptop) -> Iterator[int]:
    (laptop.cwd / "bin/ssh").unlink()
    with own_sshd(laptop.cwd, {"PYTHONPATH": str(ROOT)}) as port:
        yield port


def test_a_real_sshd_and_a_real_ssh_with_its_own_configuration(
    served: Served, laptop: Laptop, sshd: int
) -> None:
    said = laptop("dispatch", *NO_FILES, "--json", "slow 20")
    assert said.status == 0 and said.data["outcome"] == "done", said.err
    assert laptop("runs", "logs", "-f", "last").out.count("\n") >= 20
    laptop.address = "ssh://127.0.0.1:1"
    gone = laptop("runs", "--json")
    assert (gone.status, gone.error["code"]) == (6, "ssh_failed") and "refused" in gone.error["why"]


def test_what_an_alias_does_besides_logging_in_is_switched_off(
    served: Served, laptop: Laptop, sshd: int
) -> None:
    config = laptop.cwd / ".ssh/config"
    usual = config.read_text()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        forward = f"{taken.getsockname()[1]} localhost:80"
        for lines in (
            f"LocalForward {forward}\nExitOnForwardFailure yes",
            "RemoteCommand cat\nRequestTTY force",
            "SessionType none",
            "StdinNull yes",
            "ForkAfterAuthentication yes",
            f"PermitLocalCommand yes\nLocalCommand touch {laptop.cwd}/ran",
        ):
            config.write_text(f"{usual}{lines}\n")
            said = laptop("runs", "--json")
            assert said.status == 0, (lines, said.err)
    assert not (laptop.cwd / "ran").exists()


def test_an_ssh_that_does_not_know_the_newer_settings(served: Served, laptop: Laptop, sshd: int) -> None:
    ssh = laptop.cwd / "bin/ssh"
    ssh.rename(laptop.cwd / "ssh-real")
    says = 'echo "command-line: line 0: Bad configuration option: sessiontype" >&2; exit 255'
    refuse = f'case "$*" in *SessionType*) {says} ;; esac'
    program(ssh, f'#!/bin/sh\n{refuse}\nexec {laptop.cwd}/ssh-real "$@"\n')
    said = laptop("runs", "--json")
    assert said.status == 0 and "configuration option" not in said.err, said.err
