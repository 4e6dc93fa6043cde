"""Tools that an agent leaves: taken out of the tree, no link followed, nothing large, no secret."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from node_agent.attempt.left_for_others import proposed_tools
from node_agent.wire.skill import MOST_TOOL, MOST_TOOLS, ProposedTool
from node_agent.workspace.folders import is_left_out, take_tools
from tests.made_tools import FILES, NAME, proposal
from tests.unit.node_agent.attempt.test_left_for_others import never, places

NOISE = "".join(hashlib.sha256(b"%d" % n).hexdigest() for n in range(1_000)).encode()


def laid(tree: Path, name: str = NAME) -> Path:
    folder = tree / ".pancode/tools" / name
    for path, data in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def test_it_is_moved_out_of_the_tree_and_told_once_more_after_a_crash(tmp_path: Path) -> None:
    found = places(tmp_path)
    laid(found.tree)
    for _ in range(2):
        assert take_tools(found, never) == {NAME: FILES}
    assert not (found.tree / ".pancode").exists()
    assert is_left_out(found, b".pancode/tools/x/run") and not is_left_out(found, b".pancode/toolsmith")
    (tool,), told = proposed_tools({NAME: FILES}, str)
    assert ProposedTool.model_validate(tool) == proposal() and told == []


def test_those_of_the_repository_stay(tmp_path: Path) -> None:
    found = places(tmp_path)
    folder = laid(found.tree)
    assert take_tools(found, lambda name: True) == {} and folder.is_dir()


def test_links_pipes_and_what_is_huge_are_refused_and_a_closed_folder_is_read(tmp_path: Path) -> None:
    found = places(tmp_path)
    tools = laid(found.tree, "linked").parent
    (tools / "linked/extra").symlink_to("/etc/passwd")
    (tools / "elsewhere").symlink_to("/etc")
    os.mkfifo(laid(found.tree, "piped") / "pipe")
    (laid(found.tree, "huge") / "data").write_bytes(b"x" * (MOST_TOOL * 4 + 1))
    many = laid(found.tree, "many")
    for number in range(30):
        (many / str(number)).touch()
    laid(found.tree, "closed").chmod(0o000)
    read = take_tools(found, never)
    assert read["closed"] == FILES
    assert {name: type(one) for name, one in read.items() if name != "closed"} == dict.fromkeys(
        ("linked", "elsewhere", "piped", "huge", "many"), str
    )
    taken, told = proposed_tools(read, str)
    assert [one["name"] for one in taken] == ["closed"] and len(told) == 5
    assert any("linked: extra is not a regular file" in one for one in told)


@pytest.mark.parametrize(
    ("name", "files", "why"),
    [
        ("Bad Name", FILES, "small letters"),
        ("..", FILES, "small letters"),
        ("noise", {**FILES, "data": NOISE}, "16 KB"),
        ("binary", {**FILES, "data": b"\xff"}, "not text"),
        ("secret", {**FILES, "data": b"key=hunter2"}, "value of a secret"),
    ],
)
def test_what_does_not_fit_a_receipt_says_why(name: str, files: dict[str, bytes], why: str) -> None:
    taken, (told,) = proposed_tools({name: files}, lambda text: text.replace("hunter2", "***"))
    assert taken == [] and why in told and "hunter2" not in told


def test_an_attempt_proposes_a_few(tmp_path: Path) -> None:
    taken, told = proposed_tools({f"a{n}": FILES for n in range(5)}, str)
    assert len(taken) == MOST_TOOLS and len(told) == 5 - MOST_TOOLS
