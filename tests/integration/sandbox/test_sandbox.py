"""The sandbox itself: a hostile program inside achieves no forbidden act, as root's node and as a user's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from node_agent.machine.programs import LIBRARIES, PACKAGE
from node_agent.runtimes.base import Place
from node_agent.runtimes.registry import RUNTIMES
from node_agent.sandbox.policy import Network
from node_agent.sandbox.shown import list_guarded
from node_agent.wire.job import TurnTerms
from node_agent.wire.policy import Isolation, Safety, compile_policy
from node_agent.workspace.folders import AttemptFolders, change_owner, write_below
from node_agent.workspace.homes import store_files
from tests.clis.launched import EVERY
from tests.integration.sandbox.ground import PROCESSES, PYTHON, STRANGER, Ground, ground
from tests.unit.node_agent.runtimes.asked import ask

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="not root")
OPEN_NETWORK = {"reach a port of the machine", "reach an abstract socket"}
WRITES = "write the tree"


@pytest.fixture(params=[True, False], ids=["root", "user"])
def place(request: pytest.FixtureRequest) -> Iterator[Ground]:
    with ground(request.param) as made:
        yield made


def achieved(found: dict[str, str]) -> set[str]:
    return {name for name, what in found.items() if what == "done" and not name.startswith("ok ")}


def missed(found: dict[str, str]) -> set[str]:
    return {name for name, what in found.items() if what != "done" and name.startswith("ok ")}


def test_nothing_forbidden_happens_inside(place: Ground) -> None:
    found = place.probe(place.view())
    assert (achieved(found), missed(found)) == ({WRITES}, set())
    assert (place.tree / ".git").read_text().startswith("gitdir: ")
    assert sorted(os.listdir(place.root / "n")) == ["key", "run", "work"]


def test_a_read_only_tree_is_not_written(place: Ground) -> None:
    found = place.probe(place.view(writable=False))
    assert (achieved(found), missed(found)) == (set(), set())
    assert sorted(os.listdir(place.tree)) == [".git"]


INTERACTIVE_RUN = TurnTerms(idle_ms=60_000, turn_ms=60_000)
TRIES = """
cd $HOME
for f in "$@"; do
    echo x > $f; rm -f $f; echo x > new; mv new $f; ln -sf /etc/passwd $f
done
rm -rf * .[a-z]*; chmod -R 777 .; mv hooks other; mkdir -p hooks
echo done > ok
"""


@pytest.mark.parametrize("turns", [None, INTERACTIVE_RUN], ids=["headless", "interactive"])
@pytest.mark.parametrize("name", sorted(set(RUNTIMES) - {"scripted"}))
def test_the_agent_cannot_change_what_tells_its_program_to_ask(
    place: Ground, name: str, turns: TurnTerms | None
) -> None:
    """All that any launch has laid in the home: a program may be started again from it."""
    program = next((one for one in EVERY if one.runtime == name), None)
    env, model = ({}, None) if program is None else (program.env("http://127.0.0.1:1"), program.model)
    rules = compile_policy(Safety.AUTO_EDIT, read_only=False)
    asked = ask(
        workspace=str(place.tree), home=str(place.home), interactive_run=turns, policy=rules, model=model
    )
    where = Place(os.environ["PATH"], sys.executable, False, Isolation.SANDBOX, env, PACKAGE, LIBRARIES)
    files = dict(RUNTIMES[name].launch(asked, where).files)
    places = AttemptFolders(place.home.parent)
    store_files(places, files)
    for path, data in files.items():
        write_below(place.home, path, data)
    change_owner(place.home, place.home.stat().st_uid)
    laid = {path for path in files if not path.endswith(("/", "/.keep"))}
    view = place.view()
    view = replace(view, shown=(*view.shown, *list_guarded(str(place.home))))
    done = place.run(view, "sh", "-c", TRIES, "sh", *sorted(laid))
    assert (place.home / "ok").read_text() == "done\n", done.stderr
    assert laid and {path: (place.home / path).read_bytes() for path in laid} == {p: files[p] for p in laid}


def test_with_the_nodes_network_only_the_network_is_open(place: Ground) -> None:
    found = place.probe(place.view(Network.FULL))
    assert achieved(found) == {WRITES, *OPEN_NETWORK}


def test_what_is_shown_never_opens_the_nodes_home(place: Ground) -> None:
    """Somebody's PATH, or the owner's own wish, may name a folder above it."""
    found = place.probe(place.view(shown=(*place.view().shown, str(place.root))))
    assert "read another home" in achieved(found), "it is what was shown"
    assert not achieved(found) & {"read the node's key", "read another run", f"write in {place.root}/n"}


def test_nobody_is_privileged_inside(place: Ground) -> None:
    said = place.run(
        place.view(), "sh", "-c", "grep -E 'Cap|NoNew' /proc/self/status; ls -d /root /home /sys"
    )
    values = {line.split()[0]: line.split()[1] for line in said.stdout.splitlines() if ":\t" in line}
    assert {values[name] for name in ("CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:")} == {"0" * 16}
    assert values["NoNewPrivs:"] == "1"
    assert "/root\n" not in said.stdout and "/home\n" not in said.stdout and "/sys\n" not in said.stdout


def test_its_end_is_the_end_of_all_that_it_started(place: Ground) -> None:
    mark = f"31{os.getpid()}"
    script = f"setsid -f sleep {mark}; (setsid sleep {mark} &) ; env -i setsid -f sleep {mark}; exit 7"
    assert place.run(place.view(), "sh", "-c", script).returncode == 7
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and _runs(pid, mark)]


@pytest.mark.parametrize("folder", ["/tmp", "/var/tmp", "/dev/shm"])
def test_a_full_tmp_is_a_full_tmp_and_not_a_full_machine(place: Ground, folder: str) -> None:
    said = place.run(place.view(), "sh", "-c", f"head -c 600M /dev/zero > {folder}/big")
    assert said.returncode != 0 and "No space left" in said.stderr


def test_memory_is_taken_nowhere_without_a_bound(place: Ground) -> None:
    """What the sandbox builds in memory for itself, such as /dev, is as large as half of the machine's."""
    for folder in ("/run", "/dev", "/"):
        assert "Read-only" in place.run(place.view(), "sh", "-c", f"echo x > {folder}/planted").stderr
    assert place.run(place.view(), "sh", "-c", "echo x > /dev/null; ls -d /dev/pts/ptmx").returncode == 0


def test_python_and_git_work_inside(place: Ground) -> None:
    said = place.run(place.view(), PYTHON, "-c", "import ssl, sqlite3, ctypes; print('imports')")
    assert "imports" in said.stdout, said.stderr
    assert place.run(place.view(), "git", "status", "--porcelain").returncode == 0


def test_no_link_from_the_programs_of_this_machine_leads_to_nothing_that_they_need(place: Ground) -> None:
    """A Java without its /etc/java-*/security does not start."""
    needed = place.view().system.etc
    assert needed, "a machine with Python has at least that"
    said = place.run(place.view(), "ls", "-d", *needed)
    assert said.stdout.split() == sorted(needed), said.stderr


def _runs(pid: str, mark: str) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return mark.encode() in file.read().split(b"\0")
    except OSError:
        return False


CROWD = """
import os, time
began = 0
for _ in range(100):
    try:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        began += 1
    except BlockingIOError:
        pass
print(began)
"""


def test_processes_inside_are_counted_by_themselves(place: Ground) -> None:
    """Neither what the same user has outside, nor another run of theirs, counts against those inside."""
    owner = ["setpriv", "--reuid", str(STRANGER), "--regid", str(STRANGER), "--clear-groups"]
    others = [] if place.as_root else [subprocess.Popen([*owner, "sleep", "60"]) for _ in range(PROCESSES)]
    try:
        began = int(place.run(place.view(), PYTHON, "-I", "-S", "-c", CROWD).stdout)
    finally:
        for other in others:
            other.kill()
            other.wait()
    least = 1 if place.as_root else PROCESSES - 10  # who else is root here may step down to the same user
    assert least <= began <= PROCESSES
