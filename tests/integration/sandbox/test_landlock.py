"""The lesser sandbox, where there is no bubblewrap: what it keeps a hostile program off."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from node_agent.sandbox import landlock, wrapper
from node_agent.sandbox.detect import MACHINES, SandboxTools, fence_holds, write_etc
from node_agent.sandbox.policy import Network, View, build_fence
from node_agent.sandbox.shown import this_system
from node_agent.sandbox.wrapper import Sandbox
from node_agent.shim.spool import StepRecord
from node_agent.wire.clock import SystemClock
from node_agent.wire.failure import Outcome
from node_agent.wire.job import Gate
from node_agent.wire.node import no_sandbox
from node_agent.wire.policy import Isolation
from tests.integration.node.node_world import NodeWorld, processes_of
from tests.integration.sandbox.test_sandboxed_step import RULES
from tests.integration.shim_phases import Phases, phases_in

pytestmark = pytest.mark.skipif(landlock.read_abi() < landlock.LEAST_ABI, reason="kernel lacks Landlock")
SYSTEM = this_system()
PROGRAMS = (os.path.realpath(sys.executable), os.path.realpath(sys.base_prefix), sys.prefix)
TRIES = """
did() { if sh -c "$2" 2>/dev/null; then echo "$1"; fi; }
did read-key 'cat $0/key'; did write-key 'echo x > $0/key'; did plant 'echo x > $0/planted'
did list 'ls $0/other'; did link 'ln -s $0/key tree-link && cat tree-link'; did hard 'ln $0/key hard'
did move 'mv $0/key .'; did remove 'rm $0/key'; did tmp 'echo x > /tmp/planted-by-landlock'
did passwd 'echo x >> /etc/passwd'; did usr 'echo x > /usr/planted'; did shadow 'cat /etc/shadow'
did tree 'echo x > in'; did home 'echo x > $HOME/in'; did dev 'echo x > /dev/null'
did run 'ls /usr/bin >/dev/null'
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for folder in ("tree", "home", "other"):
        (tmp_path / folder).mkdir()
    (tmp_path / "key").write_text("secret")
    write_etc(tmp_path / "etc")
    return tmp_path


def view(place: Path, writable: bool = True, network: Network = Network.FULL) -> View:
    home, gate = str(place / "home"), str(place / "gate")
    etc = str(place / "etc")
    return View(str(place / "tree"), home, writable, network, etc, SYSTEM, PROGRAMS, gate=gate)


def run(place: Path, seen: View, *argv: str, port: int = 0) -> subprocess.CompletedProcess[str]:
    env = {"PATH": "/usr/bin:/bin", "HOME": seen.home}
    return subprocess.run(
        [*build_fence(seen, port), *argv], cwd=seen.tree, env=env, capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip


def tries(place: Path) -> tuple[str, ...]:
    return ("sh", "-c", TRIES.replace("$0", str(place)))


def test_only_what_is_named_is_read_or_written(place: Path) -> None:
    done = run(place, view(place), *tries(place))
    assert done.stdout.split() == ["tree", "home", "dev", "run"], done.stderr
    assert (place / "key").read_text() == "secret" and not (place / "planted").exists()


def test_a_checkout_that_may_only_be_read_is_not_written(place: Path) -> None:
    assert run(place, view(place, writable=False), *tries(place)).stdout.split() == ["home", "dev", "run"]


def test_what_holds_something_hidden_is_not_shown(place: Path) -> None:
    seen = replace(view(place), shown=(*PROGRAMS, str(place)), hidden=(str(place / "other"),))
    assert run(place, seen, "cat", str(place / "key")).returncode != 0


def test_tcp_goes_to_the_models_port_alone(place: Path) -> None:
    if landlock.read_abi() < landlock.NET_ABI:
        pytest.skip("kernel lacks Landlock's rules for TCP")
    connect = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)"
    with socket.create_server(("127.0.0.1", 0)) as model, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [server.getsockname()[1] for server in (model, other)]
        for network, reached in (
            (Network.MODEL, [True, False]),
            (Network.NONE, [False, False]),
            (Network.FULL, [True, True]),
        ):
            seen = view(place, network=network)
            done = [
                run(place, seen, sys.executable, "-c", connect, str(port), port=ports[0]) for port in ports
            ]
            assert [one.returncode == 0 for one in done] == reached


def test_a_command_that_is_not_there_and_a_wrong_call_are_told_apart(place: Path) -> None:
    gone = run(place, view(place), "no-such-program")
    assert (gone.returncode, "landlock: no-such-program" in gone.stderr) == (landlock.NOT_FOUND, True)
    wrong = [sys.executable, "-I", "-S", landlock.__file__, "--raed", "/", "--", "true"]
    assert subprocess.run(wrong, capture_output=True, check=False).returncode == landlock.BAD_USAGE


def test_it_has_the_filter_of_system_calls_too(place: Path) -> None:
    numbers = MACHINES[os.uname().machine].numbers
    call = "import ctypes, sys; c = ctypes.CDLL(None, use_errno=True); c.syscall(int(sys.argv[1]), 4, None)"
    for name, wanted in (("io_uring_setup", errno.ENOSYS), ("keyctl", errno.ENOSYS), ("bpf", errno.EPERM)):
        script = f"{call}; print(ctypes.get_errno())"
        done = run(place, view(place), sys.executable, "-c", script, str(numbers[name]))
        assert done.stdout.strip() == str(wanted), done.stderr


def test_the_trial_says_whether_it_holds(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(os.listdir(place / "etc"))
    assert fence_holds(place / "etc", SYSTEM) and sorted(os.listdir(place / "etc")) == before
    monkeypatch.setattr(landlock, "read_abi", lambda: 2)
    assert not fence_holds(place / "etc", SYSTEM)
    monkeypatch.undo()
    assert not fence_holds(place / "key", SYSTEM), "there is no room for a trial"


class Fenced(Phases):
    """Phases of a node without bubblewrap, whose node agent is a user as any."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        bare = root / "bin"
        bare.mkdir()
        for name in ("sh", "cat", "ls"):
            (bare / name).symlink_to(shutil.which(name) or name)
        self.sandbox = Sandbox(root, str(bare), SystemClock(), os.path.expanduser("~"))

    def behind(self, *argv: str) -> tuple[StepRecord, Path]:
        folder, plan = self.plan(list(argv))
        tree, home = folder.parent / "tree", folder.parent / "home"
        for own in (tree, home):
            own.mkdir()
        inside = replace(plan, cwd=str(tree), env={**plan.env, "HOME": str(home)})
        made = self.sandbox.around(inside, RULES, ())
        assert made is not None and not made.steps[0].walled
        self.runner.start(folder, made)
        return self.finish(folder).steps[0], folder.parent


@pytest.fixture
def phases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fenced]:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)  # Landlock holds root as well, and we do not offer it
    for plain in phases_in(tmp_path):
        fenced = Fenced(tmp_path)
        fenced.markers = plain.markers
        yield fenced


def test_a_node_without_bubblewrap_has_the_lesser_wall_and_says_so(phases: Fenced) -> None:
    found = phases.sandbox.find()
    assert found.tools is None and found.landlock
    assert found.problem is not None and "bubblewrap is not installed" in found.problem.what
    (phases.root / "node.key").write_text("secret")
    done, base = phases.behind("sh", "-c", f"cat {phases.root}/node.key || echo x > in; exit 7")
    assert (done.exit_code, done.exec_error) == (7, None)
    assert (base / "tree/in").exists() and "secret" not in (base / "out0").read_text()


def test_what_was_behind_the_whole_wall_never_gets_the_lesser_one(phases: Fenced) -> None:
    _, plan = phases.plan(["true"])
    walled = replace(plan, steps=tuple(replace(one, walled=True, wall=("bwrap",)) for one in plan.steps))
    assert phases.sandbox.around(walled, RULES, ()) is None


def test_for_root_there_is_none(phases: Fenced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert not phases.sandbox.find().landlock


def test_a_whole_run_behind_the_lesser_wall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set-up, agent and gates; the node commits, and the receipt calls it by its name."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(wrapper, "detect_sandbox", lambda *asked: SandboxTools(None, no_sandbox("this test")))
    world = NodeWorld(tmp_path)
    world.begin()
    try:
        key = f"{world.home.root}/key/node.key"
        look = f"! cat {key} && ! sh -c 'echo x > {tmp_path}/planted' && ! git commit -q --allow-empty -m x"
        job = world.job(
            f"{look}; git log --oneline | wc -l; cat made; echo mine > mine.txt; setsid -f sleep 600",
            runtime="shell",
            setup=(("sh", "-euc", f"{look}; echo made > made; echo made > .git/info/exclude || :"),),
            gates=(Gate(name="same", argv=("sh", "-euc", f"{look}; test $(cat mine.txt) = mine")),),
        )
        claims = world.run(job)
    finally:
        world.end()
    assert claims.outcome is Outcome.DONE, (claims.reason, world.log(job.identity))
    assert claims.isolation is Isolation.LANDLOCK and claims.files_changed == ("mine.txt",)
    assert [gate.passed for gate in claims.gates] == [True]
    assert [(one.rule, one.how.value) for one in claims.enforced] == [("auto-edit", "told only")]
    assert not (tmp_path / "planted").exists() and processes_of(job.identity) == []
