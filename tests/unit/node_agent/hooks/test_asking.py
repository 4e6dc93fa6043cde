"""A command waits for a user: only the node's signature lets it through, for this command and rule."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

import pytest

from node_agent.attempt.watch import signed_answer
from node_agent.hooks.asking import NOBODY, TOO_LONG, Asker
from node_agent.hooks.program import SPEAKING, WAIT_S, judge_event
from node_agent.native.equipment import BY_RULE, GOES_ON, WAITS, judge_of
from node_agent.native.judge import Denied, Judge
from node_agent.native.tools.shell import MOST_S
from node_agent.native.voice import Voice
from node_agent.runtimes.hooks import MOST_TIMEOUT_S, HookRules, approval_channel_of, timeout_s
from node_agent.runtimes.registry import RUNTIMES
from node_agent.sdk.host import patience_ms
from node_agent.wire.control import UserAnswers
from node_agent.wire.identity import ApprovalChannel, AttemptId, calls_in
from node_agent.wire.policy import (
    MOST_COMMAND,
    ActionClass,
    CallAsked,
    CommandRule,
    Rules,
    Safety,
    compile_policy,
)
from node_agent.wire.signing import SigningKey
from tests.fakes.node import MemoryClock, SeededIds
from tests.unit.node_agent.native.tree_of import spec_of
from tests.unit.node_agent.runtimes.asked import ask, place

NODE, OTHER = SigningKey(b"n" * 32), SigningKey(b"o" * 32)
WHO, LATER = AttemptId(run="r-0001", attempt=1, lease=1), AttemptId(run="r-0001", attempt=2, lease=2)
PUSH = CommandRule(pattern="push", ask=True, reason="look first")
SAME = CommandRule(pattern="git", ask=True)
React = Callable[[Path, CallAsked], None]


class Asks:
    """A home, and somebody who reacts to each question at the first look after it."""

    def __init__(self, home: Path, react: React) -> None:
        self.clock, self.asked = MemoryClock(), list[CallAsked]()
        home = Path(mkdtemp(dir=home))
        self._folder, self._react = home / calls_in(str(WHO)), react
        self.desk = ApprovalChannel(home=str(home), identity=WHO, key=NODE.public.text(), wait_ms=5_000)
        self.asker = Asker(self.desk, self.clock, SeededIds(), self._wait)

    def _wait(self, seconds: float) -> None:
        self.clock.advance(int(seconds * 1000) or 1)
        for path in sorted(self._folder.glob("*.json")):
            one = CallAsked.model_validate_json(path.read_bytes())
            if one not in self.asked:
                self.asked.append(one)
                self._react(self._folder, one)


def says(
    allow: bool, whole: bool = False, words: str = "", key: SigningKey = NODE, who: AttemptId = WHO
) -> React:
    def react(folder: Path, asked: CallAsked) -> None:
        said = UserAnswers(identity=who, asked=asked, allow=allow, whole=whole, words=words)
        (folder / f"{asked.call}.answer").write_bytes(signed_answer(said, key))

    return react


def about(**changes: str) -> React:
    """An answer to another question, under the name of this one."""

    def react(folder: Path, asked: CallAsked) -> None:
        other = asked.model_copy(update=changes)
        said = UserAnswers(identity=WHO, asked=other, allow=True)
        (folder / f"{asked.call}.answer").write_bytes(signed_answer(said, NODE))

    return react


def rubbish(folder: Path, asked: CallAsked) -> None:
    (folder / f"{asked.call}.answer").write_text(json.dumps({"allow": True}))


def test_a_yes_and_a_no(tmp_path: Path) -> None:
    yes = Asks(tmp_path, says(True))
    assert yes.asker.refusal("git push", [PUSH]) == ""
    assert [(one.command, one.pattern) for one in yes.asked] == [("git push", "push")]
    assert Asks(tmp_path, says(False)).asker.refusal("git push", [PUSH]) == "a user says no"
    assert Asks(tmp_path, says(False, words="not today")).asker.refusal("git push", [PUSH]).endswith("today")


@pytest.mark.parametrize(
    "react",
    [
        lambda folder, asked: None,
        rubbish,
        says(True, key=OTHER),
        says(True, who=LATER),
        about(command="ls"),
        about(pattern="ls"),
        about(call="b" * 16),
    ],
    ids=[
        "nobody",
        "rubbish",
        "another key",
        "another attempt",
        "another command",
        "another rule",
        "replayed",
    ],
)
def test_nothing_but_an_answer_to_this_question_lets_it_through(tmp_path: Path, react: React) -> None:
    world = Asks(tmp_path, react)
    assert world.asker.refusal("git push", [PUSH]).startswith(NOBODY)
    assert not list(tmp_path.rglob("*.json")), "nobody waits for the answer any more"


def test_a_yes_to_the_rule_asks_no_more_and_only_for_this_rule(tmp_path: Path) -> None:
    world = Asks(tmp_path, says(True, whole=True))
    assert world.asker.refusal("git push", [PUSH]) == ""
    assert world.asker.refusal("git push --force", [PUSH]) == "" and len(world.asked) == 1
    assert world.asker.refusal("git push", [PUSH, SAME]) == "" and len(world.asked) == 2
    once = Asks(tmp_path, says(True))
    assert [once.asker.refusal("git push", [PUSH]) for _ in range(2)] == ["", ""] and len(once.asked) == 2


@pytest.mark.parametrize("command", ["x" * (MOST_COMMAND + 1), " "])
def test_what_nobody_could_read_is_not_asked(tmp_path: Path, command: str) -> None:
    world = Asks(tmp_path, says(True))
    assert world.asker.refusal(command, [PUSH]) == TOO_LONG and not world.asked


def test_the_hook_asks_and_without_a_desk_it_denies(tmp_path: Path) -> None:
    policy = compile_policy(Safety.FULL_AUTO, False, rules=Rules(commands=(PUSH,)))
    rules = HookRules(runtime="claude", policy=policy, top="/w")
    event = {"tool_name": "Bash", "tool_input": {"command": "git push"}}
    assert "rule ask: push" in judge_event(rules, event, "/h")
    assert judge_event(rules, event, "/h", Asks(tmp_path, says(True)).asker) == ""
    assert "no: wait" in judge_event(rules, event, "/h", Asks(tmp_path, says(False, words="wait")).asker)
    quiet = Asks(tmp_path, says(True))
    assert judge_event(rules, {**event, "tool_input": {"command": "ls"}}, "/h", quiet.asker) == ""
    assert not quiet.asked


def test_what_a_rule_lets_through_is_said_so_and_waits_for_nobody(tmp_path: Path) -> None:
    world = Asks(tmp_path, says(True, whole=True))
    spec = spec_of(tmp_path, Safety.FULL_AUTO, Rules(commands=(PUSH,)), desk=world.desk)
    with (tmp_path / "said").open("wb") as stream:
        voice = Voice(world.clock, stream.fileno())
        judge = judge_of(spec, str(tmp_path), voice, world.clock, world._wait)
        for _ in range(2):
            judge.command("git push")
    said = [json.loads(line)["text"] for line in (tmp_path / "said").read_text().splitlines()]
    asked = [words.format(told) for words, told in ((WAITS, "git push"), (GOES_ON, "yes"))]
    assert said == [*asked, BY_RULE.format("git push")], "the second is let through by the rule"


DAY_MS = 86_400_000


@pytest.mark.parametrize("wall_ms", [1, 60_000, 23 * DAY_MS, 24 * DAY_MS, 365 * DAY_MS])
def test_whoever_waits_gives_up_before_the_program_that_waits_for_it(wall_ms: int) -> None:
    desk = approval_channel_of("/h", WHO, NODE.public.text(), wall_ms)
    waits = desk.wait_ms
    assert waits == wall_ms or 23 * DAY_MS < waits < wall_ms
    assert waits + 2 * WAIT_S * 1000 <= timeout_s(ask(channel=desk)) * 1000 <= MOST_TIMEOUT_S * 1000
    assert waits + MOST_S * 1000 < patience_ms(desk) < 2**31, (
        "of an SDK's program, which waits for the command, too"
    )


PATIENCE = {
    "claude": '"timeout": 3691}',
    "copilot": '"timeoutSec": 3691}',
    "opencode": ", 3691000];",
}


@pytest.mark.parametrize("runtime", sorted(SPEAKING))
def test_a_program_that_asks_users_is_told_how_long_its_hook_may_take(runtime: str) -> None:
    policy = compile_policy(Safety.AUTO_EDIT, False, rules=Rules(commands=(PUSH,)))
    request = ask(policy=policy, channel=approval_channel_of("/h", WHO, NODE.public.text(), 3_600_000))
    made = RUNTIMES[runtime].launch(request, place(package="/p", libraries="/l"))
    told = " ".join([*made.argv, *(data.decode() for data in made.files.values())])
    assert RUNTIMES[runtime].capabilities.asks_users is (runtime in PATIENCE)
    assert runtime not in PATIENCE or PATIENCE[runtime] in told


def test_an_sdks_program_waits_for_the_longest_command_where_nobody_is_asked() -> None:
    assert MOST_S * 1000 < patience_ms(None) < 2 * MOST_S * 1000


def test_the_native_worker_asks_and_without_a_desk_it_denies() -> None:
    rules = Rules(commands=(PUSH,))
    spec = spec_of(Path("/srv/top"), Safety.FULL_AUTO, rules, walled=True)
    with pytest.raises(Denied, match="rule ask: push"):
        Judge(spec, "/home/u").command("git push")
    said = Judge(spec, "/home/u", lambda command, rules: "").command("git push")
    assert said.action is ActionClass.GIT_PUSH
    with pytest.raises(Denied, match="not today"):
        Judge(spec, "/home/u", lambda command, rules: "not today").command("git push")
