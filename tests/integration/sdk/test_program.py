"""Our program of a run on an SDK, and its line to a driver: a real process that needs no SDK."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from node_agent.machine.programs import LIBRARIES, PACKAGE
from node_agent.runtimes.base import EndedBy, ExitInfo, RuntimeVerdict
from node_agent.runtimes.workerstream import WorkerParser
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.policy import ActionClass as A
from node_agent.wire.policy import Safety
from tests.clis.launched import await_file
from tests.crowd import crowded
from tests.integration.node.node_world import until
from tests.peeking import PEEK, WITHOUT_POWERS
from tests.unit.node_agent.native.tree_of import checkout, spec_of
from tests.unit.node_agent.runtimes.asked import ask

HEAD = f"""
import asyncio, json, os, sys, time
sys.path.append({str(Path(PACKAGE).parent)!r})
from node_agent.sdk.channel import Channel
line = Channel()
told = line.first()
line.tell("session", session="s-1", version="9")
line.tell("ready", remembers=False)
def used(): line.tell("used", input=10, cached=5, output=3)
async def ask(*names, **more):
    line.listen()
    return await line.ask(*names, **more)
"""
USED = "used()\n"
DONE = 'line.tell("done", result="Done."); time.sleep(60)'


class Stage:
    """A checkout, a home, and an environment by the name `fake-sdk` on PATH, which is that of these tests."""

    def __init__(self, folder: Path) -> None:
        self.top, self.home, path = checkout(folder), folder / "home", folder / "path"
        self.prefix: tuple[str, ...] = ()
        self.home.mkdir()
        path.mkdir()
        (path / "fake-sdk").symlink_to(sys.executable)
        self.path, self.driver = f"{path}:{os.defpath}", folder / "driver.py"

    def start(self, driver: str, name: str = "fake-sdk", **changes: Any) -> subprocess.Popen[bytes]:
        self.driver.write_text(HEAD + driver)
        spec = spec_of(self.top, Safety.FULL_AUTO).model_copy(update={"home": str(self.home), **changes})
        (self.home / "spec").write_text(spec.model_dump_json())
        argv = [*self.prefix, sys.executable, "-I", f"{PACKAGE}/sdk/program.py", PACKAGE, LIBRARIES]
        env = {"PATH": self.path, "HOME": str(self.home), spec.key_name: "the-key"}
        with (self.home / "out").open("wb") as out, (self.home / "err").open("wb") as err:
            return subprocess.Popen(
                [*argv, f"{self.home}/spec", name, str(self.driver)],
                env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
            )  # fmt: skip

    def run(self, driver: str, name: str = "fake-sdk", **changes: Any) -> RuntimeVerdict:
        with self.start(driver, name, **changes) as process:
            return self.verdict(process.wait(60 * crowded()))

    def verdict(self, status: int, ended_by: EndedBy = EndedBy.NONE) -> RuntimeVerdict:
        parser = WorkerParser(ask(model="m"))
        parser.feed((self.home / "out").read_bytes())
        end = ExitInfo(status) if status >= 0 else ExitInfo(signal=-status)
        return parser.finish(ExitInfo(end.status, end.signal, ended_by))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_a_call_is_judged_done_and_answered_on_our_side(stage: Stage) -> None:
    given = json.dumps({"path": "notes.txt", "old": "beta", "new": "BETA"})
    calls = f"""
async def work():
    line.listen()
    await line.ask("asks")
    used()
    first = await line.ask("call", id="1", name="edit", arguments={given!r})
    print("what an SDK prints is no event", first, flush=True)
    second = await line.ask("call", id="2", name="read", arguments='{{"path": "/etc/passwd"}}')
    line.tell("said", text="It said: " + second)
asyncio.run(work())
"""
    verdict = stage.run(calls + DONE)
    assert verdict.failure is F.TOOL_DENIED, "the last call was denied"
    assert (stage.top / "notes.txt").read_text() == "alpha\nBETA\ngamma\n"
    assert verdict.tool_calls == {A.FILE_WRITE: 1, A.FILE_READ: 1}
    assert "outside of the checkout" in verdict.denials[0].why
    out, err = (stage.home / "out").read_text(), (stage.home / "err").read_text()
    assert "It said: Denied" in out and "no event" in err and "no event" not in out
    usage = verdict.usage
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.turns) == (10, 5, 3, 1)
    assert (verdict.session, verdict.version) == ("s-1", "9")
    assert "Files changed: notes.txt" in verdict.answer


def test_a_call_of_no_tool_is_told_and_not_done_though_one_of_ours_has_that_name(stage: Stage) -> None:
    given = json.dumps({"path": "notes.txt", "old": "beta", "new": "BETA"})
    call = f"""used()
asyncio.run(ask("stray", id="1", name="edit", arguments={given!r}))
"""
    verdict = stage.run(call + DONE)
    assert verdict.failure is F.TOOL_DENIED
    assert verdict.denials[0].why == "this run has no tool with that name"
    assert (stage.top / "notes.txt").read_text() == "alpha\nbeta\ngamma\n"


def test_the_limit_of_turns_is_held_before_the_next_call_of_the_model(stage: Stage) -> None:
    asks = """
async def work():
    line.listen()
    for _ in range(5):
        await line.ask("asks")
        used()
asyncio.run(work())
"""
    verdict = stage.run(asks + DONE, answers=2)
    assert verdict.failure is F.TURN_LIMIT and verdict.usage.turns == 2


@pytest.mark.parametrize("driver", ["claude_sdk.py", "openai_agents.py"])
def test_an_sdk_finds_none_of_our_libraries(driver: str) -> None:
    """They are for another Python, and what an SDK may do without is looked for, too."""
    look = f"""
import runpy, sys, types
class Any(types.ModuleType):
    __path__ = []
    def __getattr__(self, name): return type(name, (Exception,), {{}})
theirs = "claude_agent_sdk agents agents.exceptions openai openai.types openai.types.shared"
for name in theirs.split():
    sys.modules[name] = Any(name)
before = list(sys.path)
made = runpy.run_path({f"{PACKAGE}/sdk/{driver}"!r})
print(sys.path == before, made["Channel"].__name__)
"""
    said = subprocess.run(
        [sys.executable, "-I", "-S", "-c", look], capture_output=True, text=True, timeout=60
    )
    assert said.stdout == "True Channel\n", said.stderr


def test_the_key_comes_by_the_line_and_is_in_no_environment(stage: Stage) -> None:
    look = """
theirs = open(f"/proc/{os.getppid()}/environ", "rb").read()
own = str(dict(os.environ))
line.tell("said", text=f"{told['key']}, found: {'the-key' in own}, {b'the-key' in theirs}")
"""
    assert stage.run(look + USED + DONE, hidden=("K",)).failure is None
    assert "the-key, found: False, False" in (stage.home / "out").read_text()


def test_a_command_of_the_agent_cannot_look_into_our_program_or_the_driver(stage: Stage) -> None:
    stage.prefix = WITHOUT_POWERS
    (stage.home / "peek.py").write_text(PEEK)
    peek = f"{sys.executable} {stage.home}/peek.py {'the-key'[::-1]}"
    look = f"""
async def work():
    line.listen()
    command = "{peek} %d %d $$; true" % (os.getppid(), os.getpid())
    given = json.dumps(dict(command=command))
    line.tell("said", text=await line.ask("call", id="1", name="bash", arguments=given))
    used()
asyncio.run(work())
"""
    assert stage.run(look + DONE, hidden=("K",)).failure is None
    out = (stage.home / "out").read_text()
    assert re.findall(r"peeked \d+ (\w+)", out)[:3] == ["denied", "denied", "False"], out


@pytest.mark.parametrize(
    ("driver", "failure", "words"),
    [
        ('line.tell("failed", status=401, why="no"); time.sleep(60)', F.MODEL_AUTH, "HTTP 401"),
        ('line.tell("failed", status=429, why="later"); time.sleep(60)', F.MODEL_BUSY, "HTTP 429"),
        ('line.tell("failed", failure="model_failed", why="cut"); time.sleep(60)', F.MODEL_FAILED, "cut"),
        ("raise SystemExit(3)", F.AGENT_FAILED, "its driver ended unexpectedly, exit 3;"),
        ("os.write(line._out, b'no event\\n'); time.sleep(60)", F.RUNTIME_UNREADABLE, "not an event"),
        (DONE, F.RUNTIME_UNREADABLE, "did not report its usage"),
    ],
)
def test_each_other_end(stage: Stage, driver: str, failure: F, words: str) -> None:
    verdict = stage.run(driver)
    assert verdict.failure is failure and words in verdict.reason


def test_a_long_line_costs_no_more_than_its_length(stage: Stage) -> None:
    """Its parts are put together once: each that comes would else copy all that came before."""
    size = 48 << 20
    long = f"used(); line.tell('done', result='x' * {size})"
    assert stage.run(long, output_bytes=2 * size).failure is not F.RUNTIME_UNREADABLE


def test_a_line_without_end_is_given_up(stage: Stage) -> None:
    endless = "data = b'x' * (1 << 20)\nwhile True: os.write(line._out, data)"
    verdict = stage.run(endless)
    assert verdict.failure is F.RUNTIME_UNREADABLE and "sent a line of more than" in verdict.reason


def test_a_driver_that_does_not_listen_is_ended_when_the_time_is_over(stage: Stage) -> None:
    """It is told more than a pipe holds, so the telling itself would wait for ever."""
    (stage.top / "a.txt").write_text("x" * (1 << 20))
    call = """
async def work():
    for number in range(200):  # told with no thread that would hear the answers
        line.tell("call", number=number, id="1", name="read", arguments='{"path": "a.txt"}')
    time.sleep(60)
asyncio.run(work())
"""
    assert stage.run(call, wall_ms=4_000).failure is F.WALL_LIMIT


@pytest.mark.slow
def test_limits_are_held_before_each_call_of_the_model(stage: Stage) -> None:
    ask_again = """
async def work():
    line.listen()
    while True:
        await line.ask("asks")
        used()
asyncio.run(work())
"""
    assert stage.run(ask_again, turns=2).failure is F.REQUEST_LIMIT
    assert stage.verdict(1).usage.turns == 2
    assert stage.run(ask_again, tokens=20).failure is F.TOKEN_LIMIT
    assert stage.run(ask_again, wall_ms=1).failure is F.WALL_LIMIT
    assert stage.run("time.sleep(60)", wall_ms=3_000).failure is F.WALL_LIMIT, "in silence, too"


def test_without_an_environment_it_says_what_is_missing(stage: Stage) -> None:
    verdict = stage.run(DONE, name="no-such-sdk")
    assert verdict.failure is F.RUNTIME_MISSING and "pancode agents runtimes" in verdict.reason


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_driver_does_not_outlive_our_program(stage: Stage, number: signal.Signals) -> None:
    """Whatever ends it: by our hand, or because nobody is at the other end of the line."""
    wait = 'open(told["folder"] + "/up", "w").write(str(os.getpid())); asyncio.run(ask("nothing"))'
    with stage.start(wait) as process:
        await_file(stage.top / "up")
        os.kill(process.pid, number)
        process.wait(30 * crowded())
    driver = Path("/proc", (stage.top / "up").read_text())
    until(lambda: not driver.exists() or b"driver.py" not in (driver / "cmdline").read_bytes())
    assert stage.verdict(143, EndedBy.STOP).failure is F.STOPPED
