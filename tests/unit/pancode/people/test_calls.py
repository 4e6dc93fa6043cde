"""A call of a working agent waits in the inbox; a user's answer goes down to the node."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.wire.control import UserAnswers
from node_agent.wire.event import Interrupting, Marked, UserAsked
from node_agent.wire.failure import Outcome
from node_agent.wire.identity import Mark
from node_agent.wire.job import Job
from node_agent.wire.policy import CallAsked
from pancode.kernel.errors import PancodeError
from pancode.kernel.records import Audit, Closed, Decision, Lease, Run
from pancode.kernel.values import replace
from pancode.people.service import answer_run, signal_run
from pancode.runs.inbox_answers import list_inbox
from pancode.runs.life.approvals import CallDecided
from pancode.runs.life.inbox import calls_of
from pancode.runs.life.waits import LOST
from tests.unit.pancode.people.test_telling import working
from tests.unit.pancode.runs.world import Desk, Puppet, facts

RUN = "r-0001"


def call(number: int, pattern: str = "push") -> UserAsked:
    asked = CallAsked(call=f"{number:016x}", command=f"git push {number}", pattern=pattern)
    return UserAsked(asked=asked, why=f"rule ask: {pattern}")


class Asked:
    """A run at work on a node, which has asked these."""

    def __init__(self, *asked: UserAsked) -> None:
        self.desk = Desk()
        self.node = Puppet(self.desk)
        self.node.facts = facts()
        self.node.breathe()
        self.job: Job = working(self.desk, self.node)
        self.node.start(self.job)
        self.desk.turn()
        self.sent: list[tuple[str, bool, bool, str]] = []
        self.ask(*asked)

    def ask(self, *asked: UserAsked) -> None:
        for one in asked:
            self.node.say(self.job.identity, one)
        self.desk.turn()

    def decide(self, allow: bool, **more: Any) -> None:
        signal_run(self.desk.core, RUN, CallDecided("ana", allow, **more))
        self.desk.turn()

    def lose(self) -> None:
        """The node is not heard until its lease is given up."""
        for _ in range(100):
            self.desk.turn(10_000)
            if self.desk.row(Lease, RUN, self.job.identity.lease).closed is Closed.LOST:
                return

    @property
    def waits(self) -> list[tuple[str, int | None, str]]:
        return [(one["kind"], one["call"], one["words"]) for one in list_inbox(self.desk.core)]

    @property
    def answers(self) -> list[tuple[str, bool, bool, str]]:
        """All so far: the puppet reads each once."""
        new = [one.body for one in self.node.controls() if isinstance(one.body, UserAnswers)]
        self.sent += [(one.asked.command, one.allow, one.whole, one.words) for one in new]
        return self.sent

    @property
    def run(self) -> Run:
        run: Run = self.desk.row(Run, RUN)
        return run


def test_a_yes_for_the_rest_of_the_run_is_shown_as_its_rule() -> None:
    (item,) = list_inbox(Asked(call(1)).desk.core)
    assert item["whole"] == "every command of rule ask: push" and "git push 1" in item["words"]


def test_it_waits_in_the_inbox_until_a_user_says_yes() -> None:
    world = Asked(call(1), call(1))
    assert world.waits == [("call", 1, "git push 1   (rule ask: push)")]
    assert list_inbox(world.desk.core)[0]["command"] == f"pancode approve --call 1 {RUN}"
    assert world.run.reason.startswith("waits for a user's approval: git push 1")
    world.decide(True, number=1)
    assert (world.waits, world.answers) == ([], [("git push 1", True, False, "")])
    assert world.run.reason == "spawned on n1"
    *asked, row = world.desk.rows(Audit, domain="people")
    assert [one.detail["words"] for one in asked] == ["git push 1"]
    assert (row.detail["by"], row.detail["kind"], row.detail["scope"]) == ("ana", "call", "once")
    story = [d.verdict for d in world.desk.rows(Decision, run=RUN) if d.kind == "user"]
    assert story == ["requested", "approved"]


def test_one_after_the_other_and_only_what_the_user_has_seen() -> None:
    world = Asked(call(1), call(2, "publish"))
    first = list_inbox(world.desk.core)[0]["id"]
    world.decide(True, number=1)
    assert [one[1] for one in world.waits] == [2] and list_inbox(world.desk.core)[0]["id"] != first
    with pytest.raises(PancodeError) as caught:
        world.decide(True, number=1)
    assert caught.value.code == "changed" and len(world.answers) == 1
    world.decide(False, number=2, words="to a branch of your own")
    assert world.answers[1] == ("git push 2", False, False, "to a branch of your own")
    with pytest.raises(PancodeError) as caught:
        world.decide(True)
    assert caught.value.code == "nothing_asked"


@pytest.mark.parametrize("allow", [True, False])
def test_an_answer_without_a_number_decides_nothing_and_is_told_the_command(allow: bool) -> None:
    asked = CallAsked(call="1".zfill(16), command="git status # looks\ngit push", pattern="push")
    world = Asked(UserAsked(asked=asked, why="rule ask: push"))
    with pytest.raises(PancodeError) as caught:
        world.decide(allow, whole=True)
    assert caught.value.code == "changed" and r"# looks\ngit push" in caught.value.why
    assert f"pancode approve --call 1 {RUN}" in caught.value.fix
    assert f"pancode deny --call 1 {RUN}" in caught.value.fix
    assert len(world.waits) == 1 and world.answers == [] and "permits" not in world.run.terms


def test_a_yes_for_the_run_answers_all_of_this_rule_now_and_later() -> None:
    world = Asked(call(1), call(2, "publish"), call(3))
    world.decide(True, whole=True, number=1)
    assert [said[:3] for said in world.answers] == [("git push 1", True, True), ("git push 3", True, True)]
    world.ask(call(4))
    assert world.answers[2][:3] == ("git push 4", True, True)
    assert [one[1] for one in world.waits] == [2]
    world.decide(False, whole=True, number=2)
    assert world.answers[3][1:3] == (False, False), "a no is never for more than this one"


@pytest.mark.parametrize(
    "end", [Marked(mark=Mark.EXITED), Interrupting(reason="enough")], ids=["exited", "stopped"]
)
def test_nothing_waits_once_its_agent_works_no_more(end: Any) -> None:
    world = Asked(call(1))
    world.node.say(world.job.identity, end)
    world.desk.turn()
    assert world.waits == [] and calls_of(world.run)[0]["answer"] == "over"
    world.ask(call(2))
    assert world.waits == []
    with pytest.raises(PancodeError):
        world.decide(True)
    assert world.answers == []


def test_a_program_that_cannot_wait_has_no_say_and_words_are_no_answer() -> None:
    world = Asked()
    with world.desk.ledger.transaction() as tx:
        run = tx.get(Run, RUN)
        assert run is not None
        tx.put(replace(run, runtime="shell"))
    world.ask(call(1))
    assert world.waits == []
    other = Asked(call(1))
    with pytest.raises(PancodeError) as caught:
        answer_run(other.desk.core, None, other.run, "yes", "ana")  # type: ignore[arg-type]
    assert caught.value.code == "other_kind" and "approve --call 1" in str(caught.value.fix)


def test_a_flood_of_questions_is_denied_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pancode.runs.life.approvals.MOST_KEPT", 2)
    world = Asked(call(1), call(2), call(3))
    assert [said[:2] for said in world.answers] == [("git push 3", False)]
    assert len(calls_of(world.run)) == 2 and len(world.waits) == 1


def test_a_run_given_up_as_lost_denies_what_waits_and_what_is_asked_later() -> None:
    world = Asked(call(1), call(2, "publish"))
    world.decide(True, number=1)
    world.lose()
    assert world.run.outcome is Outcome.LOST and world.waits == []
    assert world.answers[1:] == [("git push 2", False, False, LOST)]
    world.ask(call(3))
    world.node.breathe()
    assert world.answers[2:] == [("git push 3", False, False, LOST)] and world.waits == []
    assert len(calls_of(world.run)) == 2


def test_an_attempt_given_up_as_lost_denies_its_calls_though_another_follows() -> None:
    world = Asked(call(1))
    with world.desk.ledger.transaction() as tx:
        run = tx.get(Run, RUN)
        assert run is not None
        tx.put(replace(run, read_only=True, told_only=True))
    world.lose()
    assert (world.run.outcome, world.run.attempt) == (None, 2) and world.waits == []
    assert world.answers == [("git push 1", False, False, LOST)]


def test_a_receipt_takes_the_question_away() -> None:
    world = Asked(call(1))
    world.node.deliver(world.job)
    world.desk.turn()
    assert world.waits == [] and world.run.outcome is not None
