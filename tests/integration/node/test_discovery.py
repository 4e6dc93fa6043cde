"""What a real machine says of itself, and that one program that misbehaves does not hide the others."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from node_agent.machine.discovery import Finder, MachineProbe, search_path, tool_folders
from node_agent.machine.programs import RECORD
from node_agent.runtimes.others import OtherAgent, runtime_of
from node_agent.wire.clock import SystemClock
from node_agent.wire.node import Allowed, Flag, LoggedIn
from node_agent.wire.policy import Safety
from tests.crowd import until

ANSWER_S = 60


def machine(
    home: Path, path: str = "/usr/bin:/bin", reserve: int = 0, first_s: float = ANSWER_S, **values: str
) -> MachineProbe:
    """With time for every program to answer, however busy this machine is."""
    clock = SystemClock()
    return MachineProbe(home, Finder(path, clock, lambda: values, first_s), clock, reserve)


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_this_machine(tmp_path: Path) -> None:
    facts = machine(tmp_path).look()
    assert facts.cpus >= 1 and facts.memory > 1 << 20 and facts.disk_free > 0 and facts.hostname
    states = {one.name: one.state for one in facts.runtimes}
    assert states["shell"] == states["scripted"] == "ok"
    assert facts.problems == ()


def test_a_runtime_whose_program_misbehaves(tmp_path: Path) -> None:
    fake = tmp_path / "claude"
    fake.write_text("#!/bin/sh\nprintf '\\377\\376 not a version'; exit 0\n")
    fake.chmod(0o755)
    found = {one.name: one for one in machine(tmp_path, f"{tmp_path}:/usr/bin:/bin").look().runtimes}
    assert found["claude"].state != "ok" and found["shell"].state == "ok"


def test_too_little_disk(tmp_path: Path) -> None:
    small = machine(tmp_path, reserve=1 << 60)
    assert not small.disk_ok()
    assert any("free" in problem.what for problem in small.look().problems)
    assert not machine(tmp_path / "gone").disk_ok()


def test_a_full_disk_shuts_the_node_and_its_heartbeat_asks_for_nothing(tmp_path: Path) -> None:
    full = machine(tmp_path, reserve=1 << 60).look()
    assert full.shut is not None and full.shut.fix and full.shut in full.problems
    assert machine(tmp_path).look().shut is None


def test_what_the_owner_allows_is_told(tmp_path: Path) -> None:
    assert machine(tmp_path).look().allows == Allowed()
    (tmp_path / "ceiling.json").write_text('{"safety": "suggest", "runtimes": ["shell"]}')
    seen = machine(tmp_path).look()
    assert seen.allows == Allowed(safety=Safety.SUGGEST, runtimes=("shell",))
    said = next(p for p in seen.problems if "owner" in p.what)
    assert (
        said.what == "its owner allows at most safety suggest; runtimes shell" and "ceiling.json" in said.fix
    )


def test_a_ceiling_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "ceiling.json").write_text("{")
    assert machine(tmp_path).ceiling().closed
    assert any("ceiling.json" in problem.what for problem in machine(tmp_path).look().problems)


@pytest.mark.parametrize(
    ("configured", "environ", "expected"),
    [
        ("/a:/b", {"PATH": "/c"}, "/a:/b"),
        ("bin:/a::./b:.:/b:", {"PATH": "/c"}, "/a:/b"),
        (".:bin", {}, "/usr/local/bin:/usr/bin:/bin"),
        (None, {"PATH": ".:/c::node_modules/.bin:../x", "HOME": "h"}, "/c:/usr/local/bin:/usr/bin:/bin"),
        (None, {"PATH": "/c:/usr/bin"}, "/c:/usr/bin:/usr/local/bin:/bin"),
        (None, {"HOME": "/h"}, ":".join((*tool_folders("/h")[0], "/usr/local/bin:/usr/bin:/bin"))),
    ],
)
def test_search_path(configured: str | None, environ: dict[str, str], expected: str) -> None:
    assert search_path(configured, environ) == expected


@pytest.mark.parametrize(
    "folder",
    [
        *(".opencode/bin", ".bun/bin", ".volta/bin", ".asdf/shims", ".local/share/mise/shims"),
        *(
            ".nvm/versions/node/v22.0.0/bin",
            ".local/share/mise/installs/node/22/bin",
            ".asdf/installs/nodejs/22.1/bin",
        ),
    ],
)
def test_programs_of_installers_and_version_managers_are_found(tmp_path: Path, folder: str) -> None:
    _program(tmp_path / folder / "claude", LOGGED_IN)
    assert (
        shutil.which("claude", path=search_path(None, {"HOME": str(tmp_path)}))
        == f"{tmp_path}/{folder}/claude"
    )


def test_the_newest_of_several_versions_counts_and_none_hides_a_program_of_the_system(tmp_path: Path) -> None:
    for version in ("v9.1.0", "v22.0.0", "v20.3.0"):
        _program(tmp_path / f".nvm/versions/node/{version}/bin/claude", LOGGED_IN)
        _program(tmp_path / f".nvm/versions/node/{version}/bin/sh", LOGGED_IN)
    path = search_path(None, {"HOME": str(tmp_path)})
    assert "/v22.0.0/" in str(shutil.which("claude", path=path))
    assert str(shutil.which("sh", path=path)).startswith(("/usr", "/bin"))


def test_a_program_off_the_path_is_told_apart_from_one_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    _program(tmp_path / ".nvm/versions/node/v22.0.0/bin/claude", LOGGED_IN)
    facts = {fact.name: fact for fact in machine(tmp_path).look().runtimes}
    assert facts["claude"].state == "missing" and f"{tmp_path}/.nvm" in facts["claude"].fix
    assert facts["codex"].state == "missing" and "npm install" in facts["codex"].fix


def _program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


LOGGED_IN = """#!/bin/sh
if [ "$1" = --version ]; then echo "9.9.9 (Claude Code)"; exit 0; fi
exit 1
"""


def test_a_program_that_comes_and_a_key_that_is_given_are_seen_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".claude.json").write_text("{}")
    values: dict[str, str] = {}
    path = f"{tmp_path}:/usr/bin:/bin"
    here = MachineProbe(tmp_path, Finder(path, SystemClock(), lambda: dict(values)), SystemClock(), 0)

    def soon(state: str) -> bool:
        until(lambda: {one.name: one.state for one in here.look().runtimes}["claude"] == state)
        return True

    assert soon("missing")
    (tmp_path / "claude").write_text(LOGGED_IN)
    (tmp_path / "claude").chmod(0o755)
    assert soon("not_logged_in"), "the user's own login is not there for a run, which has a HOME of its own"
    values["ANTHROPIC_API_KEY"] = "k"
    assert soon("ok")
    values.clear()
    assert soon("not_logged_in")


def test_what_node_install_has_brought_is_news_until_it_is_looked_at(tmp_path: Path) -> None:
    here = machine(tmp_path)

    def told() -> bool:
        here.look()
        return not here.news()

    until(told)
    (tmp_path / RECORD).write_text("[]")
    assert here.news() and here.news()
    until(told)
    (tmp_path / RECORD).unlink()
    assert here.news()


def test_a_program_whose_package_says_its_version_is_not_started(tmp_path: Path) -> None:
    package = tmp_path / "lib" / "gemini-cli"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"name": "@google/gemini-cli", "version": "0.61.7"}')
    program(package / "gemini", f"#!/bin/sh\ntouch {tmp_path}/STARTED; echo 0.1.2\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gemini").symlink_to(package / "gemini")
    here = machine(tmp_path, f"{tmp_path}/bin:/usr/bin:/bin", GEMINI_API_KEY="k")
    found = {one.name: one for one in here.look().runtimes}
    assert (found["gemini"].version, found["gemini"].state) == ("0.61.7", "ok")
    assert Flag.READ_ONLY in found["gemini"].can and found["opencode"].can == ()
    assert not (tmp_path / "STARTED").exists()


def test_a_program_that_hangs_holds_nothing_up_and_is_unknown_until_it_answers(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    program(tmp_path / "bin/claude", f"#!/bin/sh\nread -r x < {gate}\necho '9.9.9 (Claude Code)'\n")
    os.mkfifo(gate)
    here = machine(tmp_path, f"{tmp_path}/bin:/usr/bin:/bin", first_s=0.1, ANTHROPIC_API_KEY="k")
    assert here.look().hostname, "the first heartbeat has something to say"
    until(lambda: states(here)["gemini"] == "missing" and states(here)["shell"] == "ok")
    assert states(here)["claude"] == "looking" and here.version("claude") is None and not here.news()
    gate.write_text("go\n")
    until(here.news)
    assert states(here)["claude"] == "ok" and here.version("claude") == "9.9.9" and not here.news()


def test_a_program_of_the_owners_choice_is_asked_without_any_login(tmp_path: Path) -> None:
    told = tmp_path / "told"
    program(tmp_path / "bin/vibe-acp", f"""#!/bin/sh\nenv > {told}\necho '{{"version": "1"}}'\n""")
    values = {"OPENAI_API_KEY": "sk-true", "OPENAI_BASE_URL": "http://127.0.0.1:9"}
    vibe = runtime_of("vibe", OtherAgent(argv=("vibe-acp",)), ())
    path, clock = f"{tmp_path}/bin:/usr/bin:/bin", SystemClock()
    finder = Finder(path, clock, lambda: values, ANSWER_S, others=lambda: {vibe.name: vibe})
    (fact,) = [one for one in finder.look() if one.name == vibe.name]
    assert (fact.state, fact.login) == ("ok", LoggedIn.KEY)
    assert "PATH=" in told.read_text() and not [name for name in values if name in told.read_text()]


def test_a_program_that_never_answers_is_ended_with_what_it_started_and_named(tmp_path: Path) -> None:
    child = tmp_path / "child"
    program(tmp_path / "bin/claude", f"#!/bin/sh\nsleep 300 & echo $! > {child}; wait\n")
    finder = Finder(f"{tmp_path}/bin:/usr/bin:/bin", SystemClock(), dict, ANSWER_S, probe_s=1)
    (fact,) = [one for one in finder.look() if one.name == "claude"]
    assert fact.state == "unknown_version"
    assert fact.fix.endswith(": claude --version") and "1 s" in fact.fix
    until(lambda: not _lives(int(child.read_text())))


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def states(here: MachineProbe) -> dict[str, str]:
    return {one.name: one.state for one in here.look().runtimes}


def test_an_adapter_that_a_chat_would_need_is_told_with_the_command_that_brings_it(tmp_path: Path) -> None:
    def program(name: str, says: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\necho {says}\n")
        (tmp_path / name).chmod(0o755)

    finder = Finder(f"{tmp_path}:/usr/bin:/bin", SystemClock(), dict, ANSWER_S)

    def lacks() -> str:
        return {one.name: one.no_turns for one in finder.look()}["codex"]

    finder.look()
    until(lambda: not finder.news())
    assert lacks() == "", "of a program that is not there nobody wants to know"
    program("codex", "codex-cli 0.169.0")
    install = (
        "npm install -g --ignore-scripts --omit=optional --prefix ~/.local "
        "@agentclientprotocol/codex-acp@2.6.x"
    )
    until(lambda: lacks() == f"codex-acp is missing: {install}")
    program("codex-acp", "@agentclientprotocol/codex-acp 2.9.0")
    finder = Finder(f"{tmp_path}:/usr/bin:/bin", SystemClock(), dict, ANSWER_S)
    until(lambda: lacks() == f"codex-acp is 2.9.0, but PanCode supports 2.6.x: {install}")
    program("codex-acp", "2.6.3")
    finder = Finder(f"{tmp_path}:/usr/bin:/bin", SystemClock(), dict, ANSWER_S)
    finder.look()
    until(lambda: {one.name: one.state for one in finder.look()}["codex"] != "looking" and lacks() == "")
