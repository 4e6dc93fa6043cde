"""The real programs that take turns, as the node starts them, against the scripted model server.

What one of them does alone is in its own file. Takes about a minute for each program: each test starts it,
one of them four times, and a rate limit is waited for in silence.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from node_agent.acp.conversation import AcpConversation
from node_agent.native.equipment import WorkerHeartbeat, pause
from node_agent.native.interactive_run import TurnOver
from node_agent.native.tools.offer import Deeds
from node_agent.runner.launching import brought_in
from node_agent.runtimes.acp import FILE, AcpWay
from node_agent.runtimes.base import LaunchRequest, Resume
from node_agent.runtimes.hooks import approval_channel_of
from node_agent.runtimes.registry import RUNTIMES
from node_agent.wire.clock import SystemClock
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.job import TurnTerms
from node_agent.wire.policy import CommandRule, Rules, Safety, compile_policy
from node_agent.wire.receipt import TurnStop
from node_agent.workspace.folders import write_below
from tests.clis.conftest import MakeBench
from tests.clis.hands import HANDS
from tests.clis.launched import CODEX, EVERY, LIMITS, Bench, Cli, await_end, names, runs
from tests.clis.test_asks import NODE, WHO, person, says
from tests.clis.test_below import hostile
from tests.clis.test_hooks import asked, walled
from tests.crowd import crowded
from tests.fakemodel import preset
from tests.unit.node_agent.native.test_loop import Script, Stage

pytestmark = pytest.mark.slow

TALKS = [cli for cli in EVERY if RUNTIMES[cli.runtime].capabilities.takes_turns and cli.runtime != "native"]
OVER_ACP = [cli for cli in TALKS if not RUNTIMES[cli.runtime].capabilities.hears]
"""With an SDK words and cancels go another way: test_talked_sdk.py."""
TERMS = TurnTerms(idle_ms=1, turn_ms=600_000)
PATIENT = LIMITS.model_copy(update={"wall_ms": 600_000, "idle_ms": 120_000})
"""A busy node takes long for a hook, and a turn here has several."""
RULES = Rules(
    commands=(
        CommandRule(pattern="printf ruled-", reason="the owner said so"),
        CommandRule(pattern="printf asked-", ask=True, reason="look first"),
    )
)
CANCELS_S = 1.0
DONE = {"text": "Done."}
TOKENS = {"input": 1200, "output": 34, "cache_read": 500}
READ_THEIR_WORDS = ("copilot",)
"""Programs that give the model what the repository says to agents, whatever their flags say."""


@pytest.fixture(params=TALKS, ids=lambda cli: cli.runtime)
def cli(request: pytest.FixtureRequest) -> Cli:
    chosen: Cli = request.param
    return chosen


def interactive_run(bench: Bench, words: str, **more: object) -> LaunchRequest:
    request = bench.request(words, safety=Safety.AUTO_EDIT)
    policy = compile_policy(Safety.AUTO_EDIT, False, rules=RULES)
    return replace(request, interactive_run=TERMS, limits=PATIENT, policy=policy, **more)  # type: ignore[arg-type]


def was_told(tmp_path: Path, *words: str) -> bool:
    """Whether one call of the model had all of these; the last one may be about something beside the work."""
    bodies = (path.read_text() for path in (tmp_path / "d").iterdir())
    return any(all(word in body for word in words) for body in bodies)


def test_it_writes_runs_is_denied_asks_a_user_and_remembers(
    make_bench: MakeBench, cli: Cli, tmp_path: Path
) -> None:
    """Each start goes on with the session of the one before, and there are three of them in a minute."""
    hand = HANDS[cli.runtime]
    commands = ["printf one > made.txt", "git push origin main", "printf ruled-x > ruled.txt"]
    commands += [
        "printf asked-yes > yes.txt",
        "printf asked-no > no.txt",
        "cd sub; printf 'two\n' > made.txt",
    ]
    turns = [hand.write("${cwd}/new.txt", "BETA\n"), *map(hand.shell, commands)]
    b, model = make_bench(cli, {"turns": [*turns, {"text": "I did it."}]})
    (b.work / "sub").mkdir()
    desk = approval_channel_of(str(b.home), WHO, NODE.public.text(), 600_000)
    answering = Thread(target=person, args=(b, [says(True), says(False)]))
    answering.start()
    first = walled(b).run(interactive_run(b, "first words", channel=desk))
    answering.join()
    assert first.failure is None and first.answer.startswith("I did it.\n"), first.reason
    assert (b.work / "new.txt").read_text() == "BETA\n"
    assert "+BETA" in (b.home / "out").read_text(), "the change is seen as it is made"
    left = {".git", "notes.txt", "new.txt", "made.txt", "yes.txt", "sub"}
    assert set(names(b.work)) == left and (b.work / "sub/made.txt").read_text() == "two\n"
    assert (b.work / "made.txt").read_text() == "one"
    denied = [denial.why for denial in first.denials]
    if cli is not CODEX:
        assert ["git_push" in denied[0], "the owner said so" in denied[1]] == [True, True]
    assert len(denied) == (0 if cli is CODEX else 3), "Codex tells nothing of a call that its hook refused"
    assert first.session
    then = first
    for words in ("second words", "third words"):
        model.set_script({"turns": [{"text": "I remember."}]})
        then = b.run(interactive_run(b, words, resume=Resume(first.session, then.usage)))
        assert then.failure is None and then.answer.startswith("I remember."), then.reason
        assert then.session == first.session
    assert was_told(tmp_path, "first words", "second words", "third words", "I remember.")
    model.set_script({"turns": [{"text": "I remember.", "usage": TOKENS}]})
    used = b.run(interactive_run(b, "fourth words", resume=Resume(first.session, then.usage))).usage
    assert (used.input_tokens + used.cached_tokens, used.output_tokens) == (1700, 34)
    assert 0 < then.usage.output_tokens <= first.usage.output_tokens, (
        "it counts what this interactive run used"
    )


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        ("401", {F.MODEL_AUTH, F.MODEL_FAILED}),
        ("429", {F.MODEL_BUSY, F.MODEL_FAILED}),
        ("cut", {F.MODEL_FAILED, F.NO_ANSWER, F.AGENT_FAILED}),
    ],
)
def test_a_model_server_that_fails_is_no_answer(
    make_bench: MakeBench, cli: Cli, fault: str, kinds: set[F]
) -> None:
    b, _ = make_bench(cli, preset(fault))
    request = interactive_run(b, "go")
    verdict = b.run(replace(request, limits=request.limits.model_copy(update={"idle_ms": 20_000})))
    assert verdict.failure in kinds, (verdict.failure, verdict.reason, verdict.answer)


class Talk:
    """A conversation with the real program in this process, whose heartbeat a test can use."""

    def __init__(self, bench: Bench, request: LaunchRequest, folder: Path) -> None:
        made = bench.launch(request)
        for name, data in made.files.items():
            write_below(bench.home, name, data)
        stage = Stage(folder, Script())
        self.told, self.heartbeat = stage.told, WorkerHeartbeat(pause)
        self.conversation = AcpConversation(
            way=AcpWay.model_validate_json(made.files[FILE]),
            env=made.env,
            folder=str(bench.work),
            model=bench.cli.model,
            session="",
            voice=stage.loop.voice,
            clock=SystemClock(),
            limits=stage.loop.limits,
            deeds=Deeds(stage.loop.box, stage.loop.voice),
            heartbeat=self.heartbeat,
        )

    def cancelled(self, words: str, ready: Callable[[], bool]) -> float:
        """The seconds from a user's cancel to the end of the turn."""
        began = 0.0

        def look() -> None:
            nonlocal began
            if ready():
                self.heartbeat.on, began = None, time.monotonic()
                raise TurnOver(TurnStop.CANCELLED)

        self.heartbeat.on = look
        with pytest.raises(TurnOver):
            self.conversation.run(words)
        return time.monotonic() - began


@pytest.fixture
def talk_of(tmp_path: Path) -> Iterator[Callable[[Bench, LaunchRequest], Talk]]:
    talks: list[Talk] = []

    def make(bench: Bench, request: LaunchRequest) -> Talk:
        talks.append(Talk(bench, request, tmp_path / "stage"))
        return talks[-1]

    (tmp_path / "stage").mkdir()
    yield make
    for talk in talks:
        talk.conversation.end()


@pytest.mark.parametrize("cli", OVER_ACP, ids=lambda cli: cli.runtime)
def test_a_cancel_ends_the_turn_and_its_command_and_the_next_words_are_answered(
    make_bench: MakeBench, cli: Cli, talk_of: Callable[[Bench, LaunchRequest], Talk], tmp_path: Path
) -> None:
    b, model = make_bench(cli, {"turns": [{"fault": {"hang": 600}}]})
    works = f"sleep 612.{model.port}"
    talk = talk_of(walled(b), replace(interactive_run(b, ""), safety=Safety.FULL_AUTO))
    talk.conversation.begin()
    assert talk.cancelled("words one", lambda: bool(model.state.fault_hits)) < CANCELS_S * crowded()
    model.set_script({"turns": [HANDS[cli.runtime].shell(f"trap '' TERM; {works}")]})
    assert talk.cancelled("words two", lambda: bool(runs(works))) < CANCELS_S * crowded()
    await_end(works)
    model.set_script({"turns": [{"text": "Going on."}]})
    assert talk.conversation.run("words three") == "Going on."
    assert was_told(tmp_path, "words two", "words three")


def test_what_a_repository_brings_runs_only_behind_a_wall(
    make_bench: MakeBench, cli: Cli, tmp_path: Path
) -> None:
    """What its flags do not leave out is named in its table, and refused outside of a sandbox."""
    b, _ = make_bench(cli, {"turns": [HANDS[cli.runtime].shell("true"), DONE]})
    hostile(b.work, b.outside / "THEIRS")
    hook = {"type": "command", "bash": f"touch {b.outside}/THEIRS"}
    events = ("sessionStart", "userPromptSubmitted", "preToolUse")
    (b.work / ".github/hooks").mkdir()
    (b.work / ".github/hooks/theirs.json").write_text(
        json.dumps({"version": 1, "hooks": {event: [hook] for event in events}})
    )
    (b.work / ".github/agents").mkdir()
    (b.work / ".github/agents/pancode.agent.md").write_text(
        "---\nname: pancode\ndescription: x\n---\nTheirs."
    )
    (b.work / ".opencode/plugin").mkdir(parents=True)
    plugin = f"require('fs').writeFileSync('{b.outside}/THEIRS', ''); module.exports = {{}}"
    (b.work / ".opencode/plugin/a.js").write_text(plugin)
    verdict = walled(b).run(interactive_run(b, "go"))
    assert verdict.failure is None, verdict.reason
    runtime = RUNTIMES[cli.runtime]
    loose = bool(runtime.loose_turns) and cli is not CODEX  # it is loose in another way
    assert (names(b.outside) != []) == (loose or bool(brought_in(b.work, "", runtime.brought)))
    assert "PROMPT-OF-THE-AGENT" in asked(tmp_path)
    assert ("WORDS-OF-THE-REPOSITORY" in asked(tmp_path)) == (cli.runtime in READ_THEIR_WORDS)
