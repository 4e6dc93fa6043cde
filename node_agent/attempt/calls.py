"""Decides which calls of an agent a person is asked about, and makes the node's signed answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from node_agent.wire.control import CallAnswer, PersonAnswers
from node_agent.wire.event import PersonAsked
from node_agent.wire.policy import CallAsked, CommandRule, rule_words
from node_agent.wire.signing import SigningKey

MOST_CALLS = 200
"""Of one attempt. A question beyond them gets a no at once."""
SECRET = "the command holds a secret of this run, so nobody is shown it: name a variable or a file instead"
TOO_MANY = f"this run has asked {MOST_CALLS} times: no more questions are taken"


@dataclass(frozen=True, slots=True)
class SortedCalls:
    """Open calls to `tell` the coordinator of, and to `deny` here. `waits`: one waits for a person."""

    tell: tuple[PersonAsked, ...] = ()
    deny: tuple[CallAsked, ...] = ()
    waits: bool = False


def sort_calls(
    found: Sequence[CallAsked], known: frozenset[str], rules: Sequence[CommandRule]
) -> SortedCalls:
    """Only questions about rules that ask count. `known`: the ids that the coordinator knows already."""
    why = {rule.pattern: rule_words(rule) for rule in rules if rule.ask}
    fit = [one for one in found if one.pattern in why]
    new = [one for one in fit if one.call not in known]
    room = max(0, MOST_CALLS - len(known))
    tell = tuple(PersonAsked(asked=one, why=why[one.pattern]) for one in new[:room])
    return SortedCalls(tell, tuple(new[room:]), len(fit) > len(new[room:]))


def signed_answer(said: PersonAnswers, key: SigningKey) -> bytes:
    """The file that the program of the run believes."""
    answer = CallAnswer(
        identity=said.identity, asked=said.asked, allow=said.allow, whole=said.whole, words=said.words
    )
    return answer.signed(key).model_dump_json().encode()
