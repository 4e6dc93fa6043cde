"""A person's words reach an attempt that runs, sealed with the secret that its program was given."""

from __future__ import annotations

from node_agent.wire.control import PersonSays
from node_agent.wire.identity import unsealed, words_in
from tests.unit.node_agent.stage import NODE, identity, running


def test_words_are_sealed_for_the_attempt() -> None:
    stage, name = running(), str(identity())
    stage.tell(PersonSays(identity=identity(), number=3, text="the tests are in spec/"))
    assert stage.go(20_000, lambda: name in stage.host.words)
    data = stage.host.words[name][3].encode()
    assert unsealed(NODE.secret(words_in(name)), 3, data) == "the tests are in spec/"
    assert unsealed(NODE.secret(words_in("r-0001.1.2")), 3, data) is None, "no other attempt's"
