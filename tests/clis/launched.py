"""Starts a Launch as the node does, on files, and gives the parser what came out."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from node_agent.attempt.watch import COMPLAINTS
from node_agent.machine.programs import LIBRARIES, PACKAGE
from node_agent.runtimes.base import (
    EndedBy,
    ExitInfo,
    LaunchRequest,
    Place,
    Probe,
    ProcessSpec,
    Resume,
    RuntimeVerdict,
)
from node_agent.runtimes.registry import RUNTIMES
from node_agent.runtimes.workerspec import TOOLS
from node_agent.wire.job import Limits
from node_agent.wire.policy import Isolation, Mode, Safety, compile_policy
from node_agent.workspace.folders import change_owner, write_below
from tests.crowd import crowded

GROWS_S, ENDS_S = 30.0, 60.0
LIMITS = Limits(wall_ms=60_000, idle_ms=60_000, output_bytes=1 << 26)


def patient(limits: Limits) -> Limits:
    """As much longer as the machine has more to do than it can."""
    times = crowded()
    spans = {"wall_ms": int(limits.wall_ms * times), "idle_ms": int(limits.idle_ms * times)}
    return limits.model_copy(update=spans)


@dataclass(frozen=True)
class Cli:
    """One real program: its runtime, a model that it knows, and what points it at a model server."""

    runtime: str
    model: str
    env: Callable[[str], Mapping[str, str]]


def _anthropic(url: str) -> Mapping[str, str]:
    return {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "k", "CLAUDE_CODE_MAX_RETRIES": "1"}


def _openai(url: str) -> Mapping[str, str]:
    return {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "k-of-the-owner"}


def _google(url: str) -> Mapping[str, str]:
    return {"GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": "k-of-the-owner"}


def _provider(url: str) -> Mapping[str, str]:
    return {"COPILOT_PROVIDER_BASE_URL": f"{url}/v1", "COPILOT_PROVIDER_API_KEY": "k-of-the-owner"}


CLAUDE = Cli("claude", "claude-sonnet-4-5", _anthropic)
CLAUDE_SDK = Cli("claude-sdk", "claude-sonnet-4-5", _anthropic)
CODEX = Cli("codex", "gpt-5.5", _openai)
COPILOT = Cli("copilot", "fake-coder", _provider)
GEMINI = Cli("gemini", "gemini-2.5-pro", _google)
NATIVE = Cli("native", "fake-coder", _openai)
OPENAI_AGENTS = Cli("openai-agents", "fake-coder", _openai)
OPENCODE = Cli("opencode", "fake-coder", _openai)
EVERY = (CLAUDE, CLAUDE_SDK, CODEX, COPILOT, GEMINI, NATIVE, OPENAI_AGENTS, OPENCODE)


@dataclass
class Bench:
    """A workspace with one commit, a folder outside of it, and a home for the run, all below `root`."""

    cli: Cli
    root: Path
    path: str
    url: str
    is_root: bool = field(default_factory=lambda: os.geteuid() == 0)
    isolation: Isolation = Isolation.NONE
    """What the program is told of; nothing stands around it here."""
    prefix: tuple[str, ...] = ()
    """Put before the argument list: the way into another node."""
    seen: str = ""
    """What `root` is called there, if it is not the same."""

    def __post_init__(self) -> None:
        for d in (self.work, self.outside, self.home):
            d.mkdir(parents=True)
        (self.work / "notes.txt").write_text("alpha\nbeta\ngamma\n")
        for args in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
            argv = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *args]
            subprocess.run(argv, cwd=self.work, check=True)

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def outside(self) -> Path:
        return self.root / "outside"

    @property
    def home(self) -> Path:
        return self.root / "home"

    def request(
        self,
        task: str = "Please change notes.txt.",
        safety: Safety = Safety.AUTO_EDIT,
        read_only: bool = False,
        usd: str | None = None,
        resume: Resume | None = None,
        folder: str = "",
    ) -> LaunchRequest:
        limits = patient(LIMITS).model_copy(update={"usd": None if usd is None else Decimal(usd)})
        return LaunchRequest(
            task=task,
            prompt="PROMPT-OF-THE-AGENT",
            mode=Mode.BUILD,
            safety=safety,
            read_only=read_only,
            workspace=f"{self.seen or self.root}/work",
            home=f"{self.seen or self.root}/home",
            limits=limits,
            model=self.cli.model,
            resume=resume,
            folder=folder,
            tools=TOOLS,
            policy=compile_policy(safety, read_only),
        )

    python = sys.executable
    """The node agent's own, which also asks the policy before a tool call."""

    def launch(self, request: LaunchRequest) -> ProcessSpec:
        """As the node makes it."""
        place = Place(
            self.path,
            self.python,
            self.is_root,
            self.isolation,
            self.cli.env(self.url),
            PACKAGE,
            LIBRARIES,
        )
        return RUNTIMES[self.cli.runtime].launch(request, place)

    def start(self, request: LaunchRequest) -> subprocess.Popen[bytes]:
        made = self.launch(request)
        for name, data in {**made.files, "stdin": made.stdin}.items():
            write_below(self.home, name, data)
        change_owner(self.home, self.home.stat().st_uid)  # a plain user's, where a test of root's lays it out
        env = [f"{k}={v}" for k, v in made.env.items()]
        argv = [*self.prefix, "env", "-i", "-C", f"{request.workspace}/{request.folder}", *env, *made.argv]
        with (
            (self.home / "stdin").open("rb") as stdin,
            (self.home / "out").open("wb") as out,
            (self.home / "err").open("wb") as err,
        ):
            return subprocess.Popen(argv, stdin=stdin, stdout=out, stderr=err, start_new_session=True)

    @contextmanager
    def started(self, request: LaunchRequest) -> Iterator[subprocess.Popen[bytes]]:
        """The program at work; its group is ended with the block."""
        process = self.start(request)
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)

    def run(self, request: LaunchRequest) -> RuntimeVerdict:
        with self.started(request) as process:
            return self.verdict(request, process.wait(ENDS_S * crowded()))

    def verdict(
        self, request: LaunchRequest, status: int, ended_by: EndedBy = EndedBy.NONE
    ) -> RuntimeVerdict:
        parser = RUNTIMES[self.cli.runtime].parser(request)
        parser.feed((self.home / "out").read_bytes())
        complaints = (self.home / "err").read_bytes()[-COMPLAINTS:]
        signalled, left = (-status, None) if status < 0 else (None, status)
        return parser.finish(ExitInfo(left, signalled, ended_by, complaints=complaints))


def runs(command: str) -> list[int]:
    """The processes with exactly this argument list. One that was started a moment ago may have none yet."""
    wanted = command.replace(" ", "\0").encode() + b"\0"
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if Path("/proc", pid, "cmdline").read_bytes() == wanted:
                found.append(int(pid))
    return found


def await_end(command: str) -> None:
    """Until none with this argument list is left: who is killed by another is gone a moment later."""
    began = time.monotonic()
    while found := runs(command):
        assert time.monotonic() - began < GROWS_S * crowded(), f"{command!r} lives on: {found}"
        time.sleep(0.05)


def await_file(path: Path, size: int = 1, holds: bytes = b"") -> None:
    """Until it has grown to that size and has these bytes in it."""
    began = time.monotonic()
    while not (path.exists() and path.stat().st_size >= size and holds in path.read_bytes()):
        passed = time.monotonic() - began
        assert passed < GROWS_S * crowded(), f"{path} did not grow to {size} bytes in {passed:.0f} s"
        time.sleep(0.05)


def answers(
    probe: Probe, path: str, home: Path, written: str = "", **env: str
) -> list[tuple[int | None, str]]:
    """What the program says to each command of its probe, in an empty home. `written`: its version, of one
    that says none.
    """
    own = {"PATH": path, "HOME": str(home), **env}
    done = (subprocess.run(argv, env=own, capture_output=True, text=True) for argv in probe.argvs)
    said: list[tuple[int | None, str]] = [(p.returncode, p.stdout) for p in done]
    return [(0, written), *said[1:]] if written else said


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def first_request(tmp_path: Path) -> dict[str, Any]:
    """What the model was asked first, as its server wrote it down."""
    told: dict[str, Any] = json.loads(min((tmp_path / "d").iterdir()).read_text())
    return told
