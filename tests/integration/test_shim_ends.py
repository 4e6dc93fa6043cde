"""How a phase ends by itself: exit codes, signals, what did not start, exact arguments and environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from node_agent.runner.runner import Runner, read_phase
from node_agent.shim import process
from node_agent.shim.process import AGENT_ONLY
from node_agent.shim.spool import (
    Ended,
    ExecError,
    NotStarted,
    PhaseEnd,
    RunnerError,
    Step,
    StepEndedBy,
    StepKind,
)
from node_agent.wire.clock import SystemClock
from tests.bench.processes import peak_kib
from tests.integration.shim_phases import PYTHON, SHIM, Phases, new_runner, phases_in, until

ODD = ["a b", "q\"uo'te", "new\nline", "emoji 🐧", "-rf", "--", "", "$(id)", "`id`", "\\", "*", "\udcff raw"]
DUMP = "import os,sys; os.write(1, b'\\0'.join(map(os.fsencode, sys.argv[1:])))"


@pytest.fixture
def phases(tmp_path: Path) -> Iterator[Phases]:
    yield from phases_in(tmp_path)


@pytest.mark.parametrize("code", [0, 1, 3, 126, 127, 255])
def test_exit_code_is_the_programs_own(phases: Phases, code: int) -> None:
    step, _ = phases.one("sh", "-c", f"exit {code}")
    assert (step.exit_code, step.signal, step.exec_error) == (code, None, None)
    assert step.ended_by is StepEndedBy.NONE
    assert step.ok == (code == 0)


@pytest.mark.parametrize("number", [1, 2, 6, 9, 15])
def test_death_by_signal(phases: Phases, number: int) -> None:
    record, _ = phases.run(["sh", "-c", f"kill -{number} $$"])
    assert (record.steps[0].exit_code, record.steps[0].signal) == (None, number)
    assert record.ended is PhaseEnd.FAILED


def test_not_found_is_no_exit_code(phases: Phases) -> None:
    step, _ = phases.one("no-such-program")
    assert step.exec_error == ExecError("exec", "ENOENT", "no-such-program")
    assert (step.pid, step.exit_code, step.signal) == (0, None, None)


def test_not_executable(phases: Phases, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("echo hi\n")
    step, _ = phases.one(str(tmp_path / "plain"))
    assert step.exec_error == ExecError("exec", "EACCES", str(tmp_path / "plain"))


def test_script_without_interpreter_line_is_not_given_to_a_shell(phases: Phases, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("echo hi\n")
    (tmp_path / "script").chmod(0o755)
    step, base = phases.one(str(tmp_path / "script"))
    assert step.exec_error is not None and step.exec_error.errno == "ENOEXEC"
    assert (base / "out0").read_bytes() == b""


def test_path_is_the_plans_and_a_refused_file_does_not_hide_a_later_one(
    phases: Phases, tmp_path: Path
) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for folder, mode in ((first, 0o644), (second, 0o755)):
        folder.mkdir()
        (folder / "tool").write_text("#!/bin/sh\necho $0\n")
        (folder / "tool").chmod(mode)
    step, base = phases.one("tool", env={"PATH": f"relative::{first}:{second}"})
    assert step.ok and (base / "out0").read_text() == f"{second}/tool\n"
    step, _ = phases.one("tool", env={"PATH": f"{first}"})
    assert step.exec_error == ExecError("exec", "EACCES", "tool")
    step, _ = phases.one("sh", env={})
    assert step.exec_error == ExecError("exec", "ENOENT", "sh")


def test_it_begins_below_its_folder_where_no_link_leads(phases: Phases, tmp_path: Path) -> None:
    odd = tmp_path / "-a b" / "it's\n…"
    odd.mkdir(parents=True)
    _, base = phases.one("pwd", cwd=str(tmp_path), below="-a b/it's\n…")
    assert (base / "out0").read_text() == f"{odd}\n"
    (tmp_path / "out").symlink_to("/")
    (tmp_path / "in").symlink_to("-a b")
    for below, errno in (("out/usr", "ELOOP"), ("in", "ELOOP"), ("none", "ENOENT")):
        step, base = phases.one("touch", "ran", cwd=str(tmp_path), below=below)
        assert step.exec_error == ExecError("below", errno, below) and step.pid == 0


def test_a_folder_by_a_link_of_its_owners_is_no_link_below_it(phases: Phases, tmp_path: Path) -> None:
    (tmp_path / "real/sub").mkdir(parents=True)
    (tmp_path / "home").symlink_to("real")
    step, base = phases.one("pwd", cwd=str(tmp_path / "home"), below="sub")
    assert step.ok and (base / "out0").read_text() == f"{tmp_path}/real/sub\n"


def test_working_folder(phases: Phases, tmp_path: Path) -> None:
    _, base = phases.one("pwd", cwd=str(tmp_path))
    assert (base / "out0").read_text() == f"{tmp_path}\n"
    step, _ = phases.one("pwd", cwd=str(tmp_path / "absent"))
    assert step.exec_error == ExecError("cwd", "ENOENT", str(tmp_path / "absent"))
    (tmp_path / "file").touch()
    step, _ = phases.one("pwd", cwd=str(tmp_path / "file"))
    assert step.exec_error == ExecError("cwd", "ENOTDIR", str(tmp_path / "file"))


def test_arguments_arrive_byte_for_byte(phases: Phases) -> None:
    step, base = phases.one(PYTHON, "-I", "-S", "-c", DUMP, *ODD)
    assert step.ok
    assert (base / "out0").read_bytes() == b"\0".join(map(os.fsencode, ODD))


def test_environment_is_exactly_the_plans_and_the_marker(phases: Phases) -> None:
    env = {"ONE": "1", "EMPTY": "", "LINES": "a\nb", "PENGUIN": "🐧", "PANCODE_ATTEMPT": "forged"}
    step, base = phases.one("/usr/bin/env", "-0", env=env)
    assert step.ok
    wanted = {**env, "PANCODE_ATTEMPT": base.name}
    assert set((base / "out0").read_text().rstrip("\0").split("\0")) == {
        f"{k}={v}" for k, v in wanted.items()
    }


def test_child_starts_clean(phases: Phases) -> None:
    """Own session, only three files open, umask 077, no signal blocked or ignored; whoever started it."""
    leaked = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    script = (
        "ls /proc/self/fd; umask; grep -E 'Sig(Blk|Ign)' /proc/self/status; cut -d' ' -f1,5,6 /proc/$$/stat"
    )
    try:
        step, base = phases.one("sh", "-c", script)
    finally:
        os.close(leaked)
    lines = (base / "out0").read_text().split("\n")
    assert lines[:4] == ["0", "1", "2", "3"]  # 3 is the listing's own
    assert int(lines[4], 8) == 0o077
    libc_own = 0b11 << 31  # 32 and 33, which no program can set through the C library
    assert [int(line.split()[1], 16) & ~libc_own for line in lines[5:7]] == [0, 0]
    assert lines[7].split() == [str(step.pid)] * 3
    assert (base / "out0").stat().st_mode & 0o777 == 0o600


def test_stdin_is_a_file_and_ends(phases: Phases, tmp_path: Path) -> None:
    (tmp_path / "prompt").write_text("-Task: 🐧\n")
    _, base = phases.one("cat", stdin=str(tmp_path / "prompt"))
    assert (base / "out0").read_text() == "-Task: 🐧\n"
    step, base = phases.one("cat")
    assert step.ok and step.out_bytes == 0
    step, _ = phases.one("cat", stdin=str(tmp_path / "absent"))
    assert step.exec_error == ExecError("stdin", "ENOENT", str(tmp_path / "absent"))


def test_output_is_counted_and_kept_apart(phases: Phases) -> None:
    step, base = phases.one("sh", "-c", "printf 12345; printf 123 >&2")
    assert (step.out_bytes, step.err_bytes) == (5, 3)
    assert phases.runner.tail(base / "out0", 1, 3) == b"234"
    assert phases.runner.tail(base / "out0", 5, 3) == b""
    whole = phases.runner.tail(base / "out0", 0, 100)
    assert phases.runner.tail(base / "out0", -2, 100) == whole[-2:]
    assert phases.runner.tail(base / "out0", -100, 100) == whole
    assert phases.runner.tail(base / "absent", 0, 3) == b""


def test_steps_go_in_order_and_stop_at_the_first_failure(phases: Phases) -> None:
    record, _ = phases.run(["true"], ["false"], ["true"], kind=StepKind.SETUP)
    assert [(s.name, s.exit_code) for s in record.steps] == [("s0", 0), ("s1", 1)]
    assert (record.ended, record.reason) == (PhaseEnd.FAILED, "step s1")


def test_gates_go_on(phases: Phases) -> None:
    record, _ = phases.run(["true"], ["false"], ["nope"], ["true"], kind=StepKind.GATE, go_on=True)
    assert [s.exit_code for s in record.steps] == [0, 1, None, 0]
    assert record.ended is PhaseEnd.FAILED
    record, _ = phases.run(["true"], ["true"], kind=StepKind.GATE, go_on=True)
    assert (record.ended, record.reason) == (PhaseEnd.DONE, "")


def test_use_of_processor_and_memory_is_recorded(phases: Phases) -> None:
    burn = "x = bytearray(60_000_000); n = sum(range(6_000_000))"
    record, _ = phases.run([PYTHON, "-I", "-S", "-c", burn], ["true"])
    first, second = record.steps
    assert first.max_rss_kb > 58_000 and first.cpu_ms >= 30
    assert second.max_rss_kb < 30_000 and second.cpu_ms < first.cpu_ms
    assert first.ended_mono_ms - first.began_mono_ms >= 30
    assert record.began_mono_ms <= first.began_mono_ms <= first.ended_mono_ms <= second.began_mono_ms


@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="not built yet: no system interpreter")
def test_runs_where_nothing_is_installed(phases: Phases, tmp_path: Path) -> None:
    """The few files alone, in a folder of their own, under an interpreter without site packages."""
    home, own = tmp_path / "bundle" / "node_agent", SHIM.parents[1]
    for room in ("shim", "files"):
        shutil.copytree(own / room, home / room, ignore=shutil.ignore_patterns("__pycache__"))
    (home / "__init__.py").touch()
    phases.runner = new_runner(home / "shim/shim.py")
    step, base = phases.one("echo", "hi")
    assert step.ok and (base / "out0").read_text() == "hi\n"


def test_imports_only_what_is_cheap() -> None:
    """`json`, `re`, `enum`, `dataclasses` and `subprocess` would double what each attempt's start costs."""
    path = str(SHIM.parents[2])
    show = f"import sys; sys.path.append({path!r}); import node_agent.shim.shim; print(*sys.modules)"
    out = subprocess.run([PYTHON, "-I", "-S", "-c", show], capture_output=True, text=True, check=True).stdout
    loaded = {name.partition(".")[0] for name in out.split()}
    assert "node_agent" in loaded
    assert not loaded & {
        "json",
        "re",
        "enum",
        "dataclasses",
        "subprocess",
        "typing",
        "collections",
        "pydantic",
    }


def test_two_hundred_megabytes_cost_no_memory(phases: Phases) -> None:
    folder = phases.start(["head", "-c", "200000000", "/dev/zero"], ["sleep", "60"])
    shim = until(lambda: seen if (seen := phases.running(folder)).step == "s1" else None).shim
    peak = peak_kib(shim)
    phases.runner.stop(folder, "enough")
    record = phases.finish(folder)
    (folder.parent / "out0").unlink()
    assert record.steps[0].out_bytes == 200_000_000
    assert peak < (12 if sys.version_info < (3, 12) else 14) * 1024


def test_start_again_changes_nothing(phases: Phases) -> None:
    folder, plan = phases.plan(["sh", "-c", "echo once >>count"])
    assert phases.runner.look(folder) == NotStarted()
    assert phases.runner.wait(folder, 5) == NotStarted()
    for _ in range(3):
        phases.runner.start(folder, plan)
    assert phases.finish(folder).ended is PhaseEnd.DONE
    phases.runner.start(folder, plan)
    assert (folder.parent / "count").read_text() == "once\n"


def test_another_plan_for_the_same_folder_is_refused(phases: Phases) -> None:
    folder, plan = phases.plan(["true"])
    phases.runner.prepare(folder, plan)
    _, other = phases.plan(["false"])
    with pytest.raises(RunnerError, match="another plan"):
        phases.runner.start(folder, other)
    assert phases.runner.look(folder) == NotStarted()


def test_a_missing_interpreter_is_an_error(phases: Phases, tmp_path: Path) -> None:
    folder, plan = phases.plan(["true"])
    for python, words in ((str(tmp_path / "no-python"), "cannot start"), ("/bin/false", "reported nothing")):
        with pytest.raises(RunnerError, match=words):
            Runner(python, SHIM, SystemClock()).start(folder, plan)
        assert phases.runner.look(folder) == NotStarted()
    phases.runner.start(folder, plan)
    assert phases.finish(folder).ended is PhaseEnd.DONE


@pytest.mark.parametrize("kind", list(StepKind))
def test_what_is_for_the_agent_alone_is_for_no_other_program(phases: Phases, kind: StepKind) -> None:
    env = {"PATH": "/usr/bin:/bin", "KEY": "k", "URL": "u", "OPEN": "o", AGENT_ONLY: "KEY URL"}
    step, base = phases.one("env", kind=kind, env=env)
    names = {line.partition("=")[0] for line in (base / "out0").read_text().splitlines()}
    own = {"KEY", "URL"} if kind is StepKind.AGENT else set()
    assert step.ok and names & {"KEY", "URL", "OPEN", AGENT_ONLY} == {"OPEN", *own}


def test_an_end_in_a_boot_of_before_is_known_for_one(phases: Phases, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = phases.start(["true"])
    record = phases.finish(folder)
    assert read_phase(folder) == Ended(record)
    monkeypatch.setattr(process, "boot_id", lambda: "of-today")
    assert read_phase(folder) == Ended(record, rebooted=True)


def test_how_long_it_lived_is_known_without_a_record_of_its_end(phases: Phases) -> None:
    """By its start and the last that is known of it: what it wrote, or that somebody saw it."""
    folder = phases.start(["sleep", "60"])
    out, absent = folder / "out0", folder / "err0.not-there"
    began = os.stat(folder / "spawned").st_mtime_ns
    out.write_bytes(b"so far")
    os.utime(out, ns=(began, began + 7_000_000_000))
    assert phases.runner.lived(folder, (out, absent), 0) == 7_000
    assert phases.runner.lived(folder, (out, absent), began // 1_000_000 + 9_000) == 9_000
    os.utime(out, ns=(0, 0))  # as by a clock that was set
    assert phases.runner.lived(folder, (out, absent), 0) == 0
    assert phases.runner.lived(folder / "never", (out,), 10**15) == 0
    phases.runner.stop(folder, "enough")
    phases.finish(folder)


def test_a_step_cannot_open_what_an_earlier_one_wrote_into_their_log(phases: Phases, tmp_path: Path) -> None:
    own, log = str(tmp_path / "own.log"), tmp_path / "all.log"
    folder, plan = phases.plan(["true"], go_on=True)
    scripts = ("echo one >&2", ": >/proc/self/fd/2; echo two", "echo three; sleep 0.3; echo four")
    steps = (
        Step(f"s{at}", StepKind.GATE, ("sh", "-c", script), own, own, joins=str(log))
        for at, script in enumerate(scripts)
    )
    phases.runner.start(folder, replace(plan, steps=tuple(steps)))
    record = phases.finish(folder)
    assert log.read_text() == "one\ntwo\nthree\nfour\n" and not os.path.exists(own)
    assert [step.err_bytes for step in record.steps] == [4, 4, 11]
