"""What the depot gets: outputs without the values of secrets, whatever comes when, and the same again."""

from __future__ import annotations

import hashlib
import json
import resource
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from node_agent.agent.outputs import MOST_SAID, MOST_STREAMS, Follower, RedactingDepot
from node_agent.attempt.ports import LinkDown, StepFailed
from node_agent.intervals import Intervals
from node_agent.vault.redact import Redactor
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.receipt import Blob
from tests.fakes.node import MemoryClock

ONE = AttemptId(run="r-test1", attempt=1, lease=1)


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

    def close_others(self, live: Collection[AttemptId]) -> None: ...


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


def test_a_copy_that_an_older_version_began_goes_on_as_it_began(run: Run) -> None:
    run.out.write_bytes(said("a se"))
    begun = Redactor(run.secrets).feed(said("a se"))
    run.out.with_name("out.shown").write_bytes(begun)
    run.kept.data["out"] = begun
    whole = said("a se") + said("cond thing")
    assert run.writes(said("cond thing")) == whole, "joined, the text would come in other pieces"
    run.depot = run.fresh()
    assert run.ends() == whole


def test_a_long_line_is_the_same_however_it_came(run: Run) -> None:
    text = "\u00e9 secret-value " + "x" * (MOST_SAID + 1000)
    raw = json.dumps({"type": "said", "text": text}, ensure_ascii=False).encode() + b"\n"
    run.writes(raw[: MOST_SAID + 10])
    shown = run.writes(raw[MOST_SAID + 10 :])
    assert b"[secret S]" in shown and b"secret-value" not in shown
    run.depot = run.fresh()
    assert run.ends() == shown


def test_a_full_disk_in_the_midst_of_the_copy_doubles_nothing(run: Run) -> None:
    before = run.writes(b"a secret-value\n")
    whole = before + b"x" * 500_000
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    run.out.write_bytes(b"a secret-value\n" + b"x" * 500_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StepFailed):
            run.depot.follow(ONE, "out", run.out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert run.ends() == whole


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
        run.depot.follow(AttemptId(run="r-test2", attempt=1, lease=number + 1), "out", run.out)
    assert len(vars(run.depot)["_streams"]) == MOST_STREAMS
    assert run.writes(b"!") == b"a [secret S]!"


class Refusing(Kept):
    """A depot that refuses one output, and all of them while there is trouble."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.refused: set[str] = set()
        self.trouble: Exception | None = None
        self.live: Collection[AttemptId] = ()

    def follow(self, identity: AttemptId, name: str, path: Path, stays: bool = False) -> None:
        self.asked.append(name)
        if self.trouble is not None:
            raise self.trouble
        if name in self.refused:
            raise StepFailed(FailureKind.DEPOT, "the grant is full")
        super().follow(identity, name, path, stays)

    def close_others(self, live: Collection[AttemptId]) -> None:
        self.live = live


class InteractiveRun:
    """A follower of one interactive run, which has written `out` and `err`; time passes only by `looks`."""

    def __init__(self, folder: Path) -> None:
        self.depot, self.clock = Refusing(), MemoryClock()
        self.entries = [SimpleNamespace(identity=ONE, mark=Mark.SPAWNED)]
        journal: Any = SimpleNamespace(
            live=lambda: self.entries,
            folder=lambda identity: folder,
            job=lambda identity: SimpleNamespace(turns=1),
        )
        self.follower = Follower(journal, self.depot, self.clock, Intervals())
        for name in ("out", "err"):
            (folder / name).write_bytes(b"text")

    def looks(self, seconds: int) -> list[str]:
        """What the depot was asked in that time; as the node agent does it, most looks are at the text."""
        begun = len(self.depot.asked)
        for at in range(20 * seconds):
            self.follower.turn(interactive_runs=at % 20 != 0)
            self.clock.advance(50)
        return self.depot.asked[begun:]


def test_a_refused_output_is_asked_for_ever_less_often(tmp_path: Path) -> None:
    interactive_run = InteractiveRun(tmp_path)
    interactive_run.depot.refused = {"out"}
    assert interactive_run.looks(60).count("out") == 5, "at once, and after 2, 6, 14 and 30 seconds"
    assert interactive_run.depot.data == {"err": b"text"}, "the others continue"
    assert interactive_run.looks(600).count("out") <= 11
    interactive_run.depot.refused = set()
    assert interactive_run.looks(61).count("out") == 1 and interactive_run.depot.data["out"] == b"text"


def test_a_depot_that_takes_nothing_now_is_not_asked_by_the_frequent_looks(tmp_path: Path) -> None:
    interactive_run = InteractiveRun(tmp_path)
    interactive_run.depot.trouble = LinkDown("the disk is full")
    assert len(interactive_run.looks(10)) == 10
    interactive_run.depot.trouble = None
    assert interactive_run.looks(1) == ["out", "err"]


def test_a_whole_look_closes_what_is_open_for_others(tmp_path: Path) -> None:
    interactive_run = InteractiveRun(tmp_path)
    interactive_run.looks(1)
    assert list(interactive_run.depot.live) == [ONE]
    interactive_run.entries[0].mark = Mark.PUSHED
    interactive_run.looks(1)
    assert list(interactive_run.depot.live) == []
