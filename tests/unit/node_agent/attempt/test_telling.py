"""A user's message reaches an attempt that runs, sealed with the secret that its program was given."""

from __future__ import annotations

from node_agent.wire.control import TurnControl, UserMessage
from node_agent.wire.identity import LaidMessage, messages_in, unseal_text
from tests.unit.node_agent.stage import NODE, identity, running


def test_words_are_sealed_for_the_attempt() -> None:
    stage, name = running(), str(identity())
    stage.tell(UserMessage(identity=identity(), number=3, text="the tests are in spec/", by="ana"))
    assert stage.go(20_000, lambda: name in stage.host.words)
    data = stage.host.words[name]["3"].encode()
    text = unseal_text(NODE.secret(messages_in(name)), 3, data)
    assert text is not None and LaidMessage.model_validate_json(text) == LaidMessage(
        text="the tests are in spec/", by="ana"
    )
    assert unseal_text(NODE.secret(messages_in("r-0001.1.2")), 3, data) is None, "no other attempt's"


def test_what_a_user_wants_of_a_turn_lies_beside_the_words() -> None:
    stage, name = running(), str(identity())
    stage.tell(TurnControl(identity=identity(), number=2, what="cancel"))
    assert stage.go(20_000, lambda: name in stage.host.words)
    data = stage.host.words[name]["cancel-2"].encode()
    assert unseal_text(NODE.secret(messages_in(name)), 2, data) == "cancel"
