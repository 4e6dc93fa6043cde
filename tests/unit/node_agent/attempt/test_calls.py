"""Questions of a running attempt are told once, answers are signed; meanwhile the idle limit waits."""

from __future__ import annotations

import pytest

from node_agent.attempt.watch import MOST_CALLS, SECRET, is_call_allowed, signed_answer, sort_calls
from node_agent.wire.control import CallAnswer, UserAnswers
from node_agent.wire.event import UserAsked
from node_agent.wire.policy import ActionClass, CallAsked, CommandRule, Rules, Safety, compile_policy
from node_agent.wire.signing import SigningKey, open_as, parse_envelope
from tests.unit.node_agent.stage import LONG, NODE, Stage, identity, job_of

ASKS, DENIES = CommandRule(pattern="push", ask=True), CommandRule(pattern="rm")
POLICY = compile_policy(Safety.AUTO_EDIT, False, rules=Rules(commands=(ASKS, DENIES)))


def call(number: int, pattern: str = "push") -> CallAsked:
    return CallAsked(call=f"{number:016x}", command=f"git push {number}", pattern=pattern)


@pytest.mark.parametrize(
    ("found", "told", "tell", "deny", "waits"),
    [
        ([], (), [], [], False),
        ([1], (), [1], [], True),
        ([1, 2], (1,), [2], [], True),
        ([1], (1,), [], [], True),
        ([900, 901], range(MOST_CALLS), [], [900, 901], False),
        ([900, 901], range(MOST_CALLS - 1), [900], [901], True),
        ([5, 900], range(MOST_CALLS), [], [900], True),
    ],
)
def test_what_is_told(
    found: list[int], told: range | tuple[int, ...], tell: list[int], deny: list[int], waits: bool
) -> None:
    done = sort_calls([call(n) for n in found], frozenset(call(n).call for n in told), POLICY)
    assert [one.asked for one in done.calls] == [call(n) for n in tell]
    assert list(done.deny) == [call(n) for n in deny] and done.waits is waits
    assert all(one.why == "rule ask: push" for one in done.calls)


def test_a_question_about_no_rule_that_asks_is_none() -> None:
    done = sort_calls([call(1, "rm"), call(2, "made up")], frozenset(), POLICY)
    assert (done.calls, done.deny, done.waits) == ((), (), False)


@pytest.mark.parametrize(
    ("command", "rule", "is_told"),
    [
        ("ls -la docs", "push", False),
        ("git push --force", "push", True),
        ("cd /x && g\\it 'push'", "push", True),
        ("ls -la docs", "deletes", False),
        ("rm -rf build", "deletes", True),
        ("rm -rf build; git push", "push", True),
    ],
)
def test_a_question_counts_only_under_a_rule_that_asks_about_its_own_command(
    command: str, rule: str, is_told: bool
) -> None:
    """A yes for the rest of the run is to the rule: another command is no case of it."""
    deletes = CommandRule(pattern="deletes", ask=True, classes=(ActionClass.SHELL_DESTRUCTIVE,))
    asks = compile_policy(Safety.AUTO_EDIT, False, rules=Rules(commands=(ASKS, deletes)))
    done = sort_calls([CallAsked(call=16 * "a", command=command, pattern=rule)], frozenset(), asks)
    assert bool(done.calls) is is_told and done.waits is is_told


def asking(rules: Rules, secrets: dict[str, str] | None = None) -> Stage:
    stage = Stage(script=lambda _: LONG, secrets=secrets or {})
    stage.push(job_of(policy=compile_policy(Safety.AUTO_EDIT, False, rules=rules)))
    assert stage.go(20_000, lambda: len(stage.host.spawns) == 1)
    stage.host.calls[str(identity())] = [call(1)]
    return stage


def told(stage: Stage) -> list[UserAsked]:
    return [e.body for _, e in sorted(stage.events.items()) if isinstance(e.body, UserAsked)]


def test_it_is_asked_once_and_answered_with_the_nodes_signature() -> None:
    stage = asking(Rules(commands=(ASKS,)))
    assert stage.go(20_000, lambda: bool(told(stage)))
    assert told(stage)[0].asked == call(1) and len(stage.host.patient) == 1
    stage.tell(UserAnswers(identity=identity(), asked=call(1), allow=True, words=""))
    key = (str(identity()), call(1).call)
    assert stage.go(20_000, lambda: key in stage.host.answers and not stage.host.patient)
    said = open_as(CallAnswer, parse_envelope(stage.host.answers[key]), {NODE.public.keyid: NODE.public})
    assert (said.identity, said.asked, said.allow, said.whole) == (identity(), call(1), True, False)
    assert len(told(stage)) == 1


def test_a_yes_is_one_to_its_command_or_to_the_whole_rule_with_the_signature_of_this_node() -> None:
    asked, stranger = call(1), SigningKey(bytes(32))

    def data(allow: bool = True, whole: bool = False, by: SigningKey = NODE) -> bytes:
        said = UserAnswers(identity=identity(), asked=asked, allow=allow, whole=whole, words="")
        return signed_answer(said, by)

    for found, command, pattern, yes in (
        ([data()], "git push 1", "push", True),
        ([data()], "git push 2", "push", False),
        ([data(whole=True)], "git push 2", "push", True),
        ([data(whole=True)], "git push 1", "rm", False),
        ([b"no answer", data(), data()], "git push 1", "push", True),
        ([data(), data(allow=False)], "git push 1", "push", False),
        ([data(allow=False), data(by=stranger)], "git push 1", "push", False),
    ):
        assert is_call_allowed(found, identity(), NODE.public, command, pattern) is yes, (command, pattern)
    assert not is_call_allowed([data()], identity(attempt=2), NODE.public, "git push 1", "push"), (
        "of another attempt"
    )


def test_a_command_with_a_secret_in_it_is_shown_to_nobody() -> None:
    stage = asking(Rules(commands=(ASKS,)), {"TOKEN": "git push 1"})
    key = (str(identity()), call(1).call)
    assert stage.go(20_000, lambda: key in stage.host.answers)
    said = open_as(CallAnswer, parse_envelope(stage.host.answers[key]), {NODE.public.keyid: NODE.public})
    assert (said.allow, said.words, told(stage)) == (False, SECRET, [])


def test_without_a_rule_that_asks_nobody_looks() -> None:
    stage = asking(Rules(commands=(DENIES,)))
    stage.go(5_000, lambda: False)
    assert not told(stage) and not stage.host.patient
