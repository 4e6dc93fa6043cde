"""A home that another node agent laid out: an older one's is made ours, a newer one's is not touched."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent import cli
from node_agent.layout import LAYOUT
from node_agent.settings import SettingsError
from node_agent.shelf import FileShelf
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.identity import AttemptId
from tests.integration.node.node_world import NodeWorld

FIRST = Path(__file__).with_name("layout-1.tar.gz")
"""The journal of a real node agent of layout 1, ended when `r-done` was acknowledged, the receipt of `r-told`
sent, and `r-runs` at work; its plans were cut down to what no machine is recognised by."""
DONE, TOLD, RUNS = (AttemptId.parse(f"r-{name}.1.1") for name in ("done", "told", "runs"))


@pytest.fixture
def old(tmp_path: Path) -> Iterator[NodeWorld]:
    """Not begun."""
    world = NodeWorld(tmp_path)
    with tarfile.open(FIRST) as kept:
        kept.extractall(world.home.root, filter="data")
    yield world
    world.end()


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_a_new_home_has_the_number(world: NodeWorld) -> None:
    assert world.home.layout.read_text() == f"{LAYOUT}\n"


def test_what_an_older_node_agent_left_is_finished(old: NodeWorld) -> None:
    envelopes = {
        one: (old.home.journal / str(one) / "receipt").read_bytes()[18:].rstrip(b"\0") for one in (DONE, TOLD)
    }
    old.begin()
    told, ended = old.ended(TOLD), old.ended(RUNS)
    assert (told.outcome, told.answer) == (Outcome.DONE, "told")
    assert (ended.outcome, ended.failure) == (Outcome.INFRA, FailureKind.NODE_INTERNAL)
    assert any("replaced by a newer one" in finding for finding in ended.findings)
    assert old.log(RUNS) == b"so far\n"
    for one, envelope in envelopes.items():
        assert FileShelf(old.home.journal).receipt(str(one)) == envelope, "as it was signed"
    assert ended.previous is not None and old.coordinator.order_of_receipts[-1].identity == RUNS
    assert not any(b"value-of-a-secret" in data for data in files(old.home.journal).values())
    assert old.home.layout.read_text() == f"{LAYOUT}\n"


@pytest.mark.parametrize("after", range(4))
def test_cut_short_anywhere_it_begins_again(
    old: NodeWorld, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, unlink = [0], Path.unlink

    def dying(path: Path, missing_ok: bool = False) -> None:
        if calls[0] == after:
            raise OSError("the power is cut")
        calls[0] += 1
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", dying)
        with pytest.raises(OSError, match="power"):
            old.built()
    old.begin()
    assert old.ended(TOLD).outcome is Outcome.DONE
    assert old.ended(RUNS).outcome is Outcome.INFRA
    assert len(old.coordinator.receipts[str(TOLD)]) == 1


@pytest.mark.parametrize(
    ("text", "words"), [(f"{LAYOUT + 1}\n", f"of layout {LAYOUT + 1}"), ("torn", "holds no number")]
)
def test_what_a_newer_one_wrote_is_not_touched(old: NodeWorld, text: str, words: str) -> None:
    old.home.layout.write_text(text)
    before = files(old.home.root)
    with pytest.raises(SettingsError, match=words):
        old.built()
    assert files(old.home.root) == before
    argv = [sys.executable, "-m", "node_agent", "run", "--home", str(old.home.root)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == cli.BAD_SETTINGS
    assert words in done.stderr and "\n  fix: bring this fleet up with the version of PanCode" in done.stderr
    assert files(old.home.journal) == {
        name.removeprefix("journal/"): data for name, data in before.items() if name.startswith("journal/")
    }
