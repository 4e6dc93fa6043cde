"""Real programs wait in their hook for a user, and take nothing but a yes for a yes.

How long they wait was measured (ADR 0043): a test has no minutes for that.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from node_agent.attempt.watch import signed_answer
from node_agent.runtimes.hooks import RULES, approval_channel_of
from node_agent.runtimes.registry import RUNTIMES
from node_agent.wire.control import UserAnswers
from node_agent.wire.identity import AttemptId, calls_in
from node_agent.wire.policy import CallAsked, CommandRule, Rules, Safety, compile_policy
from node_agent.wire.signing import SigningKey
from tests.clis.conftest import MakeBench
from tests.clis.hands import HANDS
from tests.clis.launched import ENDS_S, Bench, Cli
from tests.clis.test_hooks import DONE, HOOKED, asked, walled
from tests.crowd import crowded

pytestmark = pytest.mark.slow

NODE, WHO = SigningKey(b"n" * 32), AttemptId(run="r-0001", attempt=1, lease=1)
ASKS = Rules(commands=(CommandRule(pattern="printf asked-", ask=True, reason="look first"),))
WAITERS = tuple(cli for cli in HOOKED if RUNTIMES[cli.runtime].capabilities.asks_users)
Answer = Callable[[Path, CallAsked], None]


def says(allow: bool) -> Answer:
    def answer(folder: Path, question: CallAsked) -> None:
        time.sleep(1)
        words = "" if allow else "one file is enough"
        said = UserAnswers(identity=WHO, asked=question, allow=allow, words=words)
        (folder / question.call).write_bytes(signed_answer(said, NODE))
        (folder / question.call).rename(folder / f"{question.call}.answer")

    return answer


def kills(folder: Path, _: CallAsked) -> None:
    """The program of the hook, in the midst of its wait."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if f"{folder.parent}/{RULES}".encode() in words:
                os.kill(int(entry.name), signal.SIGKILL)


def person(bench: Bench, answers: list[Answer]) -> None:
    """Answers one question after the other."""
    folder, seen, began = bench.home / calls_in(str(WHO)), set[Path](), time.monotonic()
    while len(seen) < len(answers) and time.monotonic() - began < ENDS_S * crowded():
        for path in sorted(set(folder.glob("*.json")) - seen):
            answers[len(seen)](folder, CallAsked.model_validate_json(path.read_bytes()))
            seen.add(path)
        time.sleep(0.05)


@pytest.mark.parametrize("cli", WAITERS, ids=lambda cli: cli.runtime)
def test_a_command_runs_after_a_yes_and_after_nothing_else(
    make_bench: MakeBench, cli: Cli, tmp_path: Path
) -> None:
    answers = {"yes": says(True), "no": says(False), "killed": kills}
    shell = HANDS[cli.runtime].shell
    turns = [shell(f"printf asked-%s it > {name}.txt") for name in answers]
    b = walled(make_bench(cli, {"turns": [*turns, shell("echo rest > rest.txt"), DONE]})[0])
    desk = approval_channel_of(str(b.home), WHO, NODE.public.text(), 600_000)
    answering = Thread(target=person, args=(b, list(answers.values())))
    answering.start()
    verdict = b.run(
        replace(b.request(), policy=compile_policy(Safety.AUTO_EDIT, False, rules=ASKS), channel=desk)
    )
    answering.join()
    assert verdict.failure is None, verdict.reason
    left = {path.name for path in b.work.iterdir()}
    assert {"yes.txt", "rest.txt"} <= left and not left & {"no.txt", "killed.txt"}
    assert "one file is enough" in asked(tmp_path), "the model is told a user's message"
