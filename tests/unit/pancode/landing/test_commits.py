"""Messages and trailers of the commits that a landing makes."""

from __future__ import annotations

import pytest

from pancode.git.landings import with_trailers
from pancode.kernel.declared import from_json, to_json
from pancode.kernel.states import How
from pancode.runs.request import LandWay

TRAILERS = ("Pancode-Run: r-1", "Pancode-Receipt: sha256:a")
END = "\n\nPancode-Run: r-1\nPancode-Receipt: sha256:a\n"


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("fix it", "fix it"),
        ("fix it\n\nbody\n", "fix it\n\nbody"),
        ("fix\n\nPancode-Run: r-9", "fix"),
        ("fix\n  pancode-receipt : x\nmore", "fix\nmore"),
        ("fix \x1b]0;title\x07\ttab\r\n", "fix ]0;title\ttab"),
        ("fix\n\nPanCode-Run: r-9/1/1\nPanCode-Agent: builder", "fix"),
        ("Pancode-Runner: is not a mark of ours", "Pancode-Runner: is not a mark of ours"),
    ],
)
def test_no_message_of_an_agent_claims_a_mark_of_ours(message: str, kept: str) -> None:
    assert with_trailers(message, TRAILERS) == kept + END


def test_all_trailers_are_in_the_one_block_that_git_reads() -> None:
    signed = with_trailers("fix\n\nwhy\n\nSigned-off-by: A <a@b>\nPancode-Agent: x", TRAILERS)
    assert signed == "fix\n\nwhy\n\nSigned-off-by: A <a@b>\nPancode-Run: r-1\nPancode-Receipt: sha256:a\n"


def test_a_way_survives_the_ledger() -> None:
    way = LandWay("ana", False, "agent/x y", "words\n'\"", True, True, How.MERGE, True)
    assert from_json(LandWay, to_json(way)) == way
    assert from_json(LandWay, {"by": "bob", "repo": "p-1", "of a later version": 1}) == LandWay("bob")
