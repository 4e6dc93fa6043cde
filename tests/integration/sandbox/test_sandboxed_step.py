"""A phase in the sandbox: its end, its stop and its own failure, as the shim takes them down."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from node_agent.attempt.plans import DEPTH
from node_agent.sandbox import detect, wrapper
from node_agent.sandbox.detect import MACHINES
from node_agent.sandbox.policy import Network
from node_agent.sandbox.wrapper import Permissions, Sandbox
from node_agent.shim.spool import Grace, PhaseLimits, PhasePlan, StepEndedBy, StepKind, StepRecord
from node_agent.wire.clock import SystemClock
from node_agent.workspace.folders import change_owner
from tests.integration.shim_phases import Phases, until

RULES = Permissions(writable=True, network=Network.NONE)
HOG = """
import time
kept = []
for _ in range(100):
    kept.append(bytearray(4 << 20))
    time.sleep(0.005)
time.sleep(60)
"""
CROWD = """
import os, time
began = 0
for _ in range(150):
    try:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    except BlockingIOError:
        continue
    began += 1
    open("began", "w").write(str(began))
time.sleep(60)
"""
"""Both are bounded, should the limits not hold."""
POLITE = """
import os, signal, sys, time
def told(number, frame):
    open("told", "w").write(str(number)); sys.exit(5)
signal.signal(signal.SIGINT, told)
open("up", "w").write("x")
time.sleep(60)
"""


class Walled(Phases):
    """Phases whose steps run in the sandbox of a node whose home is `root`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.sandbox = Sandbox(root, "/usr/bin:/bin", SystemClock(), os.path.expanduser("~"))

    def behind(self, *argv: str, shown: tuple[Path, ...] = (), **given: object) -> Path:
        """Started; its folder. The tree is `base/tree`."""
        folder, plan = self.plan(list(argv), **given)
        tree, home = folder.parent / "tree", folder.parent / "home"
        for own in (tree, home):
            own.mkdir()
        inside = replace(plan, cwd=str(tree), env={**plan.env, "HOME": str(home), "PWD": str(tree)})
        made = self.sandbox.around(inside, RULES, shown)
        assert made is not None, self.sandbox.find().problem
        self._hand_over(made, tree, home)
        self.runner.start(folder, made)
        return folder

    def _hand_over(self, plan: PhasePlan, *folders: Path) -> None:
        owner = self.sandbox.owner_of(plan.marker)
        for folder in folders if owner is not None else ():
            change_owner(folder, owner or 0)

    def ended(self, folder: Path) -> StepRecord:
        return self.finish(folder).steps[0]


@pytest.fixture
def phases(tmp_path: Path) -> Iterator[Walled]:
    made = Walled(tmp_path)
    yield made
    for marker in made.markers:
        made.runner.sweep(marker)
    made.runner.close()


def test_the_exit_status_passes_through_the_wall(phases: Walled) -> None:
    done = phases.ended(folder := phases.behind("sh", "-c", "echo out; echo err >&2; pwd > here; exit 7"))
    assert (done.exit_code, done.signal, done.exec_error) == (7, None, None)
    assert [(folder.parent / name).read_text() for name in ("out0", "err0")] == ["out\n", "err\n"]
    assert (folder.parent / "tree/here").read_text() == f"{folder.parent}/tree\n"


def test_a_stop_reaches_the_program_and_not_those_who_hold_the_wall(phases: Walled) -> None:
    folder = phases.behind(sys.executable, "-c", POLITE, grace=Grace(int_ms=10_000, term_ms=300))
    until(lambda: (folder.parent / "tree/up").exists())
    phases.runner.stop(folder, "enough")
    done = phases.ended(folder)
    assert done.ended_by is StepEndedBy.STOP
    assert (folder.parent / "tree/told").read_text() == str(int(signal.SIGINT))
    assert not phases.alive(folder)


def test_what_ignores_everything_and_forks_away_is_gone_at_the_end(phases: Walled) -> None:
    script = "trap '' INT TERM; setsid -f sleep 60; (setsid sleep 60 &); env -i sleep 60 & touch up; sleep 60"
    folder = phases.behind("sh", "-c", script)
    until(lambda: (folder.parent / "tree/up").exists())
    until(lambda: len(phases.alive(folder)) >= 5)
    phases.runner.stop(folder, "enough")
    done = phases.ended(folder)
    assert (done.ended_by, phases.alive(folder)) == (StepEndedBy.STOP, [])


def test_a_limit_ends_it_too(phases: Walled) -> None:
    done = phases.ended(phases.behind("sleep", "60", limits=PhaseLimits(wall_ms=600)))
    assert (done.ended_by, done.exec_error) == (StepEndedBy.WALL, None)


def test_no_more_processes_begin_inside_than_may_be_there(phases: Walled) -> None:
    """The kernel holds it from its first moment; then it is ended for that, and its neighbour is not."""
    tools = phases.sandbox.find().tools
    assert tools is not None
    if not tools.prlimit:
        pytest.skip("kernel lacks a limit of processes for each user namespace")
    beside = phases.behind("sh", "-c", "sleep 4; echo done", limits=PhaseLimits(processes=60))
    done = phases.ended(
        folder := phases.behind(sys.executable, "-c", CROWD, limits=PhaseLimits(processes=60))
    )
    assert (done.ended_by, done.exec_error) == (StepEndedBy.PROCESSES, None)
    began = int((folder.parent / "tree/began").read_text())
    assert 40 < began <= 60, "of 150"
    assert phases.ended(beside).exit_code == 0 and not phases.alive(folder)


def test_a_hog_of_memory_behind_the_wall_is_ended(phases: Walled) -> None:
    done = phases.ended(phases.behind(sys.executable, "-c", HOG, limits=PhaseLimits(memory_bytes=100 << 20)))
    assert (done.ended_by, done.exec_error) == (StepEndedBy.MEMORY, None)


def test_a_wall_that_cannot_be_made_is_not_the_programs_failure(phases: Walled) -> None:
    done = phases.ended(phases.behind("true", shown=(phases.root / "is-not-there",)))
    assert done.exec_error is not None and done.exit_code is None
    assert done.exec_error.what == "wall" and "is-not-there" in done.exec_error.path


def test_a_program_that_is_not_there_is_named(phases: Walled) -> None:
    done = phases.ended(phases.behind("no-such-program"))
    assert done.exec_error is not None and done.exec_error.what == "wall"
    assert done.exec_error.path.startswith("bwrap: execvp no-such-program")


def test_a_program_cannot_pretend_that_the_wall_failed(phases: Walled) -> None:
    script = "echo 'bwrap: something' >&2; echo '{}' >&3; exit 1"
    done = phases.ended(phases.behind("sh", "-c", script))
    assert (done.exit_code, done.exec_error) == (1, None)


def test_a_link_in_place_of_the_standard_input_is_not_followed(phases: Walled) -> None:
    """What ran before in the same home may have put it there."""
    secret, link = phases.root / "secret", phases.root / "link"
    secret.write_text("secret")
    link.symlink_to(secret)
    done = phases.ended(phases.behind("cat", stdin=str(link)))
    assert done.exec_error is not None and (done.exec_error.what, done.exec_error.errno) == ("stdin", "ELOOP")


def test_it_is_found_whatever_the_umask(tmp_path: Path) -> None:
    """A node agent keeps its files to itself."""
    before = os.umask(0o077)
    try:
        found = Sandbox(tmp_path / "n", "/usr/bin:/bin", SystemClock(), "/root").find()
    finally:
        os.umask(before)
    assert found.tools is not None, found.problem


def test_the_owner_may_want_none_and_a_file_that_nobody_understands_means_none(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, "/usr/bin:/bin", SystemClock(), "/root")
    assert sandbox.find().tools is not None
    for text, word in (
        ('{"off": "it is in my way"}', "it is in my way"),
        ('{"of": "x"}', "cannot be used"),
        ('{"read": ["relative"]}', "cannot be used"),
        ('{"read": ["/x/../y"]}', "cannot be used"),
        ("{", "cannot be used"),
        ("[]", "cannot be used"),
    ):
        (tmp_path / "sandbox.json").write_text(text)
        found = sandbox.find()
        assert found.tools is None and found.problem is not None and word in found.problem.what, text
    (tmp_path / "sandbox.json").unlink()
    assert sandbox.find().tools is not None


def test_what_the_owner_shows_is_there_to_read(phases: Walled, tmp_path: Path) -> None:
    more = tmp_path / "toolchain"
    more.mkdir()
    (more / "tool").write_text("here")
    more.chmod(0o755)
    (tmp_path / "sandbox.json").write_text(json.dumps({"read": [str(more)]}))
    done = phases.ended(folder := phases.behind("sh", "-c", f"cat {more}/tool; echo x > {more}/x"))
    assert done.exit_code != 0 and (folder.parent / "out0").read_text() == "here"


def seen_by(phases: Walled, argv: list[str], kind: StepKind, depth: int = 0) -> str:
    """All that the sandbox's argument list names."""
    _, plan = phases.plan(argv, kind=kind)
    env = {**plan.env, "HOME": f"{plan.cwd}/home", DEPTH: str(depth)}
    made = phases.sandbox.around(replace(plan, env=env), RULES, ())
    assert made is not None, phases.sandbox.find().problem
    return " ".join(made.steps[0].wall)


def test_only_the_agent_that_a_user_started_chooses_what_is_shown(phases: Walled, tmp_path: Path) -> None:
    """`app` has its passwords beside its `bin`."""
    run = tmp_path / "srv/app/bin/run"
    run.parent.mkdir(parents=True)
    run.write_text("#!/bin/sh\n")
    run.chmod(0o755)
    for kind in (StepKind.SETUP, StepKind.GATE):
        assert "srv/app" not in seen_by(phases, [str(run)], kind)
    assert "srv/app" not in seen_by(phases, [str(run)], StepKind.AGENT, depth=1)
    assert str(tmp_path / "srv/app") in seen_by(phases, [str(run)], StepKind.AGENT)


def test_no_word_of_a_repository_opens_a_folder_or_ends_the_attempt(
    phases: Walled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the node agent stands there may be a file of a gate's name; our own package may be led out of."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/run").write_text("#!/bin/sh\n")
    (tmp_path / "bin/run").chmod(0o755)
    (tmp_path / "closed").mkdir(mode=0o700)
    (tmp_path / "closed/key").write_text("secret")
    package = Path(wrapper.__file__).parents[1]
    led = f"{package}/{os.path.relpath(tmp_path / 'closed/key', package)}"
    assert os.path.isfile(led)
    monkeypatch.chdir(tmp_path)
    for word in ("bin/run", f"{tmp_path}/closed/../bin/run", led):
        for kind in (StepKind.GATE, StepKind.AGENT):
            assert "closed" not in seen_by(phases, [word, led], kind)
    assert (tmp_path / "closed").stat().st_mode & 0o777 == 0o700


BWRAP = """#!/bin/sh
test ! -e {0}/busy || exec sleep 30
test -e {0}/refused || exit 0
case " $* " in *" {0}/tools "*) echo "bwrap: Can't bind {0}/tools" >&2; exit 1;; esac
"""


class Hands:
    """A clock that is moved by hand."""

    now = 1_000_000

    def mono_ms(self) -> int:
        return self.now

    def wall_ms(self) -> int:
        return self.now

    def boot_ms(self) -> int:
        return self.now


def a_sandbox(tmp_path: Path) -> tuple[Sandbox, Hands]:
    """With a bubblewrap that is busy or refuses when a file says so."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/bwrap").write_text(BWRAP.format(tmp_path))
    (tmp_path / "tools/bwrap").chmod(0o755)
    clock = Hands()
    return Sandbox(tmp_path / "n", f"{tmp_path}/tools:/usr/bin:/bin", clock, "/root"), clock


def test_the_trial_is_made_with_what_every_run_is_shown(tmp_path: Path) -> None:
    """Else the node would claim a sandbox in which no run starts."""
    (tmp_path / "refused").touch()
    sandbox, _ = a_sandbox(tmp_path)
    found = sandbox.find()
    assert found.tools is None and found.problem is not None and "Can't bind" in found.problem.what


def test_a_trial_that_came_to_no_end_is_soon_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detect, "TRIAL_S", 0.3)
    (tmp_path / "busy").touch()
    sandbox, clock = a_sandbox(tmp_path)
    found = sandbox.find()
    assert found.tools is None and found.problem is not None and "not finish within" in found.problem.what
    (tmp_path / "busy").unlink()
    clock.now += wrapper.SOON_MS - 1
    assert sandbox.find() is found
    clock.now += 1
    assert (settled := sandbox.find()).tools is not None
    clock.now += wrapper.SOON_MS
    assert sandbox.find() is settled, "an answer lasts longer"


FILES_IN_MEMORY = """
import os, time
for folder in ("/tmp", "/var/tmp", "/dev/shm"):
    with open(folder + "/kept", "wb") as file:
        for _ in range(12):
            file.write(bytes(4 << 20))
            file.flush()
            time.sleep(0.01)
open("up", "w").write("x")
time.sleep(60)
"""
"""144 MB, and the process itself has next to nothing."""


def test_files_in_the_memory_of_a_sandbox_count_as_memory(phases: Walled) -> None:
    script = (sys.executable, "-c", FILES_IN_MEMORY)
    done = phases.ended(phases.behind(*script, limits=PhaseLimits(memory_bytes=100 << 20)))
    assert (done.ended_by, done.exec_error) == (StepEndedBy.MEMORY, None)
    assert done.max_rss_kb < 60 << 10, "it had mapped nothing of them"


def test_as_much_as_it_may_have_is_let_be(phases: Walled) -> None:
    short = FILES_IN_MEMORY.replace("time.sleep(60)", "time.sleep(3)")
    done = phases.ended(
        phases.behind(sys.executable, "-c", short, limits=PhaseLimits(memory_bytes=400 << 20))
    )
    assert (done.ended_by, done.exit_code) == (StepEndedBy.NONE, 0)


def test_a_run_has_no_keyring_of_the_login_and_no_other_run_has_its_own(phases: Walled) -> None:
    """The login's session may hold tickets. Work on the machine itself keeps them."""
    numbers, libc = MACHINES[os.uname().machine].numbers, ctypes.CDLL(None, use_errno=True)
    if libc.syscall(numbers["keyctl"], 1, None) < 0:
        pytest.skip("kernel lacks keyrings, or a container forbids them")
    assert libc.syscall(numbers["add_key"], b"user", b"pc-ticket", b"secret", 6, -3) > 0
    shown = ("sh", "-c", "cat /proc/keys")
    outside, base = phases.one(*shown)
    assert outside.exit_code == 0 and "pc-ticket" in (base / "out0").read_text()
    inside = phases.ended(folder := phases.behind(*shown))
    assert inside.exit_code == 0 and "pc-ticket" not in (folder.parent / "out0").read_text()


def test_the_kernel_holds_the_list_of_calls_of_a_run(phases: Walled) -> None:
    done = phases.ended(folder := phases.behind("grep", "-E", "Seccomp:|NoNewPrivs", "/proc/self/status"))
    assert done.exit_code == 0 and (folder.parent / "out0").read_text().split()[1::2] == ["1", "2"]
    opened = phases.ended(folder := phases.behind("sh", "-c", "ls /proc/$$/fd"))
    assert opened.exit_code == 0 and (folder.parent / "out0").read_text().split() == ["0", "1", "2"]
