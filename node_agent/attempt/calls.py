"""Decides which calls of an agent a person is asked about, and makes the node's signed answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from node_agent.wire.control import CallAnswer, PersonAnswers
from node_agent.wire.event import PersonAsked
from node_agent.wire.policy import CallAsked, CommandRule, rule_words
from node_agent.wire.signing import SigningKey

MOST_TOLD = 200
"""Of one attempt. A question beyond them gets a no at once."""
SECRET = "the command holds a secret of this run, so nobody is shown it: name a variable or a file instead"
TOO_MANY = f"this run has asked {MOST_TOLD} times: no more questions are taken"


@dataclass(frozen=True, slots=True)
class Sorted:
    """What to do with open questions: `tell` the coordinator, `deny` here, and whether one `waits`."""

    tell: tuple[PersonAsked, ...] = ()
    deny: tuple[CallAsked, ...] = ()
    waits: bool = False


def sort_calls(found: Sequence[CallAsked], told: frozenset[str], rules: Sequence[CommandRule]) -> Sorted:
    """Only questions about rules that ask count. `told`: the ids of those that were told before."""
    why = {rule.pattern: rule_words(rule) for rule in rules if rule.ask}
    fit = [one for one in found if one.pattern in why]
    new = [one for one in fit if one.call not in told]
    room = max(0, MOST_TOLD - len(told))
    tell = tuple(PersonAsked(asked=one, why=why[one.pattern]) for one in new[:room])
    return Sorted(tell, tuple(new[room:]), len(fit) > len(new[room:]))


def signed_answer(said: PersonAnswers, key: SigningKey) -> bytes:
    """The file that the program of the run believes."""
    answer = CallAnswer(
        identity=said.identity, asked=said.asked, allow=said.allow, whole=said.whole, words=said.words
    )
    return answer.signed(key).model_dump_json().encode()
