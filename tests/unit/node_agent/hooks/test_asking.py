"""A command waits for a person: only the node's signature lets it through, for this command and rule."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

import pytest

from node_agent.attempt.calls import signed_answer
from node_agent.hooks.asking import NOBODY, TOO_LONG, Asker
from node_agent.hooks.program import answer
from node_agent.native.judge import Denied, Judge
from node_agent.runtimes.hooks import HookRules
from node_agent.wire.control import PersonAnswers
from node_agent.wire.identity import AttemptId, CallDesk, calls_in
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
from tests.fakes.node import CountingIds, MemoryClock
from tests.unit.node_agent.native.tree_of import spec_of

NODE, OTHER = SigningKey(b"n" * 32), SigningKey(b"o" * 32)
WHO, LATER = AttemptId(run="r-0001", attempt=1, fence=1), AttemptId(run="r-0001", attempt=2, fence=2)
PUSH = CommandRule(pattern="push", ask=True, reason="look first")
SAME = CommandRule(pattern="git", ask=True)
React = Callable[[Path, CallAsked], None]


class World:
    """A home, and somebody who reacts to each question at the first look after it."""

    def __init__(self, home: Path, react: React) -> None:
        self.clock, self.asked = MemoryClock(), list[CallAsked]()
        home = Path(mkdtemp(dir=home))
        self._folder, self._react = home / calls_in(str(WHO)), react
        desk = CallDesk(home=str(home), identity=WHO, key=NODE.public.text(), wait_ms=5_000)
        self.asker = Asker(desk, self.clock, CountingIds(), self._wait)

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
        said = PersonAnswers(identity=who, asked=asked, allow=allow, whole=whole, words=words)
        (folder / f"{asked.call}.answer").write_bytes(signed_answer(said, key))

    return react


def about(**changes: str) -> React:
    """An answer to another question, under the name of this one."""

    def react(folder: Path, asked: CallAsked) -> None:
        other = asked.model_copy(update=changes)
        said = PersonAnswers(identity=WHO, asked=other, allow=True)
        (folder / f"{asked.call}.answer").write_bytes(signed_answer(said, NODE))

    return react


def rubbish(folder: Path, asked: CallAsked) -> None:
    (folder / f"{asked.call}.answer").write_text(json.dumps({"allow": True}))


def test_a_yes_and_a_no(tmp_path: Path) -> None:
    yes = World(tmp_path, says(True))
    assert yes.asker.refusal("git push", [PUSH]) == ""
    assert [(one.command, one.pattern) for one in yes.asked] == [("git push", "push")]
    assert World(tmp_path, says(False)).asker.refusal("git push", [PUSH]) == "a person says no"
    assert World(tmp_path, says(False, words="not today")).asker.refusal("git push", [PUSH]).endswith("today")


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
    assert World(tmp_path, react).asker.refusal("git push", [PUSH]).startswith(NOBODY)


def test_a_yes_to_the_rule_asks_no_more_and_only_for_this_rule(tmp_path: Path) -> None:
    world = World(tmp_path, says(True, whole=True))
    assert world.asker.refusal("git push", [PUSH]) == ""
    assert world.asker.refusal("git push --force", [PUSH]) == "" and len(world.asked) == 1
    assert world.asker.refusal("git push", [PUSH, SAME]) == "" and len(world.asked) == 2
    once = World(tmp_path, says(True))
    assert [once.asker.refusal("git push", [PUSH]) for _ in range(2)] == ["", ""] and len(once.asked) == 2


@pytest.mark.parametrize("command", ["x" * (MOST_COMMAND + 1), " "])
def test_what_nobody_could_read_is_not_asked(tmp_path: Path, command: str) -> None:
    world = World(tmp_path, says(True))
    assert world.asker.refusal(command, [PUSH]) == TOO_LONG and not world.asked


def test_the_hook_asks_and_without_a_desk_it_denies(tmp_path: Path) -> None:
    policy = compile_policy(Safety.FULL_AUTO, False, rules=Rules(commands=(PUSH,)))
    rules = HookRules(runtime="claude", policy=policy, top="/w")
    event = {"tool_name": "Bash", "tool_input": {"command": "git push"}}
    assert "rule ask: push" in answer(rules, event, "/h")
    assert answer(rules, event, "/h", World(tmp_path, says(True)).asker) == ""
    assert "no: wait" in answer(rules, event, "/h", World(tmp_path, says(False, words="wait")).asker)
    quiet = World(tmp_path, says(True))
    assert answer(rules, {**event, "tool_input": {"command": "ls"}}, "/h", quiet.asker) == ""
    assert not quiet.asked


def test_the_native_worker_asks_and_without_a_desk_it_denies() -> None:
    rules = Rules(commands=(PUSH,))
    spec = spec_of(Path("/srv/top"), Safety.FULL_AUTO, rules, walled=True)
    with pytest.raises(Denied, match="rule ask: push"):
        Judge(spec, "/home/u").command("git push")
    said = Judge(spec, "/home/u", lambda command, rules: "").command("git push")
    assert said.action is ActionClass.GIT_PUSH
    with pytest.raises(Denied, match="not today"):
        Judge(spec, "/home/u", lambda command, rules: "not today").command("git push")
