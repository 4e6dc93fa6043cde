"""What the depot gets: outputs without the values of secrets, whatever comes when, and the same again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from node_agent.agent.outputs import MOST_STREAMS, RedactingDepot
from node_agent.attempt.ports import StepFailed
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import AttemptId
from node_agent.wire.receipt import Blob

ONE = AttemptId(run="r-test1", attempt=1, fence=1)


class Kept:
    """A depot that takes what is new, as the real one does."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}

    def follow(self, identity: AttemptId, name: str, path: Path, stays: bool = False) -> None:
        had, now = self.data.get(name, b""), path.read_bytes()
        assert now[: len(had)] == had, "what was sent before is not taken back"
        self.data[name] = now

    def upload(self, identity: AttemptId, name: str, path: Path) -> Blob:
        self.follow(identity, name, path)
        return Blob(name=name, size=len(self.data[name]), sha256=hashlib.sha256(self.data[name]).hexdigest())


class Run:
    """An attempt that writes."""

    def __init__(self, folder: Path, secrets: dict[str, str]) -> None:
        self.out, self.kept, self.secrets = folder / "out", Kept(), secrets
        self.depot = self.fresh()

    def fresh(self) -> RedactingDepot:
        return RedactingDepot(self.kept, lambda identity: self.secrets)

    def writes(self, data: bytes) -> bytes:
        with self.out.open("ab") as file:
            file.write(data)
        self.depot.follow(ONE, "out", self.out)
        return self.kept.data["out"]

    def ends(self) -> bytes:
        blob = self.depot.upload(ONE, "out", self.out)
        assert blob.size == len(self.kept.data["out"])
        return self.kept.data["out"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path, {"S": "secret-value"})


def test_a_value_in_two_pieces_is_never_sent(run: Run) -> None:
    assert run.writes(b"a secret-") == b"a "
    assert run.writes(b"value b sec") == b"a [secret S] b "
    assert run.ends() == b"a [secret S] b sec"
    assert run.out.read_bytes() == b"a secret-value b sec", "the raw file is the agent's own"


def said(text: str) -> bytes:
    return json.dumps({"type": "said", "text": text}).encode() + b"\n"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_a_value_that_an_agent_says_in_pieces_is_never_sent(run: Run, size: int) -> None:
    end = b'{"type": "turn_end", "number": 1}\n'
    whole = "a secret-value, se\u00e9 secret-valu"
    raw = b"".join(said(whole[at : at + size]) for at in range(0, len(whole), size)) + end
    shown = b""
    for at in range(0, len(raw), 7):  # and however the file grows
        shown = run.writes(raw[at : at + 7])
    lines = [json.loads(line) for line in shown.splitlines()]
    assert lines.pop() == {"type": "turn_end", "number": 1}, "what was held back stands before the next event"
    assert "".join(line["text"] for line in lines) == "a [secret S], se\u00e9 secret-valu"
    run.depot = run.fresh()
    assert run.ends() == shown, "a node agent that comes back shows the same bytes"


def test_a_piece_without_a_value_is_sent_as_it_is_and_at_once(run: Run) -> None:
    odd = b'{"type": "said",  "text": "x"}\n{"type": "said", "text": 1}\n{"type": "said", "text": \n'
    pieces = [said("one "), said("two"), odd, b"and a line of another program: 50 %"]
    assert [run.writes(piece) for piece in pieces] == [b"".join(pieces[: at + 1]) for at in range(4)]


def test_a_node_agent_that_comes_back_goes_on_where_it_was(run: Run) -> None:
    run.writes(b"a secret-value b secr")
    run.depot = run.fresh()
    assert run.writes(b"et-value !") == b"a [secret S] b [secret S] !"
    run.depot = run.fresh()
    assert run.ends() == b"a [secret S] b [secret S] !"


def test_who_asks_for_it_again_gets_the_same(run: Run) -> None:
    run.writes(b"x secret-value secret-")
    first = run.ends()
    assert run.ends() == first == b"x [secret S] secret-"


def test_without_secrets_the_file_itself_is_sent(tmp_path: Path) -> None:
    run = Run(tmp_path, {})
    assert run.writes(b"a") == b"a" and run.ends() == b"a"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_that_is_none_is_a_failed_step(run: Run) -> None:
    with pytest.raises(StepFailed) as failed:
        run.depot.follow(ONE, "out", run.out)
    assert failed.value.kind is FailureKind.DEPOT


def test_a_link_is_not_followed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"x")
    run.out.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StepFailed):
        run.depot.upload(ONE, "out", run.out)


def test_only_so_many_are_kept_in_memory(run: Run) -> None:
    run.writes(b"a secret-value")
    for number in range(MOST_STREAMS + 5):
        run.depot.follow(AttemptId(run="r-test2", attempt=1, fence=number + 1), "out", run.out)
    assert len(vars(run.depot)["_streams"]) == MOST_STREAMS
    assert run.writes(b"!") == b"a [secret S]!"
