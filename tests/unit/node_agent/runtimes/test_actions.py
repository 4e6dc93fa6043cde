"""A shell command is named by the worst that it plainly does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.runtimes.actions import shell_action
from node_agent.wire.policy import ActionClass as A


@pytest.mark.parametrize(
    ("command", "action"),
    [
        ("", A.SHELL),
        ("ls -la", A.SHELL),
        ("pytest -q | tail -3", A.SHELL),
        ("git status", A.SHELL),
        ("git commit -m 'rm -rf'", A.SHELL),
        ("rm -rf build", A.FILE_DELETE),
        ("make && /bin/rm x", A.FILE_DELETE),
        ("git push origin main", A.GIT_PUSH),
        ("git -C sub push --force", A.GIT_DESTRUCTIVE),
        ("git push origin +main", A.GIT_DESTRUCTIVE),
        ("git reset --hard HEAD~1", A.GIT_DESTRUCTIVE),
        ("git clean -fd", A.GIT_DESTRUCTIVE),
        ("git rebase -i main", A.GIT_DESTRUCTIVE),
        ("git branch -D old", A.GIT_DESTRUCTIVE),
        ("echo hi; sudo reboot", A.SYSTEM),
        ("CI=1 sudo apt install x", A.SYSTEM),
        ("kill -9 1", A.SHELL_DESTRUCTIVE),
        ("rm a; git push", A.GIT_PUSH),
        ("echo 'half a quotation", A.SHELL),
    ],
)
def test_the_gravest_class_wins(command: str, action: A) -> None:
    assert shell_action(command) is action


@given(st.text(max_size=200))
def test_any_text_has_a_class(command: str) -> None:
    assert shell_action(command) in A
