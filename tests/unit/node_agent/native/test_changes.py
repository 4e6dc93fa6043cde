"""The tool that reads the history of the checkout: what it shows, and what it never does."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from node_agent.native.judge import Denied
from node_agent.native.places import Outside
from node_agent.native.tools.changes import read_changes
from node_agent.native.tools.files import Box, Failed
from node_agent.native.tools.offer import list_forms
from node_agent.runtimes.workers import _make_tool_flags
from node_agent.wire.policy import PathAccess, PathRule, Rules, Safety
from tests.unit.node_agent.native.tree_of import box_of, spec_of

ENV = {
    **{"PATH": os.defpath, "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"},
    **{
        f"GIT_{who}_{what}": "ana@example.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
}


def git(top: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=top, env=ENV, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def top(tmp_path: Path) -> Path:
    made = tmp_path / "top"
    (made / "secrets").mkdir(parents=True)
    git(made, "init", "-q", "-b", "main")
    for number, text in enumerate(("first", "second", "third"), start=1):
        (made / "a.txt").write_text(f"line of the {text}\n")
        (made / "secrets" / "key").write_text(f"key-{text}\n")
        git(made, "add", "-A")
        git(made, "commit", "-q", "-m", f"commit {number}: the {text}")
    return made


@pytest.fixture
def box(top: Path) -> Box:
    rules = Rules(paths=(PathRule(pattern="secrets/**", access=PathAccess.NONE),))
    return box_of(spec_of(top, Safety.SUGGEST, rules, tools=("read", "changes")), 20_000)


def test_the_last_commits_and_their_changes(box: Box, top: Path) -> None:
    lines = read_changes(box, {"what": "log", "most": 2}).splitlines()
    assert [line.partition(": ")[2] for line in lines] == ["commit 3: the third", "commit 2: the second"]
    shown = read_changes(box, {"what": "show", "of": "HEAD~1"})
    assert "commit 2: the second" in shown and "-line of the first\n+line of the second" in shown
    assert "+line of the first" in read_changes(box, {"what": "show", "of": "HEAD~2"}), (
        "the first commit, too"
    )
    both = read_changes(box, {"what": "diff", "of": "HEAD~2..HEAD"})
    assert "-line of the first\n+line of the third" in both
    (top / "a.txt").write_text("line of now\n")
    assert "-line of the third\n+line of now" in read_changes(box, {"what": "diff"})
    assert read_changes(box, {"what": "diff", "of": "HEAD..HEAD"}) == "[no change]"


def test_a_file_that_may_not_be_read_is_in_no_change(box: Box, top: Path) -> None:
    for asked in ({"what": "show"}, {"what": "diff", "of": "HEAD~2..HEAD"}, {"what": "show", "of": "HEAD~2"}):
        text = read_changes(box, asked)
        assert "key-" not in text and "[left out, as this run may not read them: 1]" in text
    with pytest.raises(Denied):
        read_changes(box, {"what": "diff", "of": "HEAD~1..HEAD", "path": "secrets/key"})
    git(top, "mv", "-f", "secrets/key", "b.txt")
    git(top, "commit", "-q", "-m", "out of its folder")
    assert "secrets" not in read_changes(box, {"what": "show", "path": "b.txt"}), (
        "no rename tells the other side"
    )
    blob = git(top, "rev-parse", "HEAD~1:secrets/key")
    for name in (blob, "HEAD~1:secrets/key", "HEAD^{tree}:secrets"):
        with pytest.raises(Failed):
            read_changes(box, {"what": "show", "of": name})


@pytest.mark.parametrize(
    "given",
    [
        {"what": "push"},
        {"what": "log", "of": "--output=/tmp/x"},
        {"what": "diff", "of": "HEAD..--no-index"},
        {"what": "log", "of": "main..a..b"},
        {"what": "show", "of": "HEAD~1..HEAD"},
        {"what": "log", "of": "nowhere"},
    ],
)
def test_no_other_git_can_be_asked_for(box: Box, given: dict[str, str]) -> None:
    with pytest.raises(Failed):
        read_changes(box, given)


def test_it_stays_in_the_checkout_and_starts_no_program_of_the_repository(box: Box, top: Path) -> None:
    with pytest.raises(Outside):
        read_changes(box, {"what": "log", "path": "../other"})
    witness = top.parent / "ran"
    git(top, "config", "diff.x.textconv", f"touch {witness}; cat")
    git(top, "config", "diff.external", f"touch {witness}")
    git(top, "config", "core.pager", f"touch {witness}")
    (top / ".gitattributes").write_text("*.txt diff=x\n")
    assert "+line of the third" in read_changes(box, {"what": "show", "path": "a.txt"})
    assert not witness.exists()


def test_who_reads_and_has_no_shell_has_it() -> None:
    assert _make_tool_flags(("read", "grep", "find", "ls")) == ("read", "grep", "find", "ls", "changes")
    assert "changes" not in _make_tool_flags(("read", "bash")), "git itself is there"
    assert _make_tool_flags(()) == ()
    assert [form.name for form in list_forms(("changes", "read"))] == ["read", "changes"]
