"""A shell command becomes a tool call: named by the worst of it, whole for rules, short for users."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node_agent.policy.commands.tree import MOST_BYTES
from node_agent.runtimes.outcome import DETAIL_CHARS, shell_action, shell_call
from node_agent.wire.policy import ActionClass as A


def test_the_gravest_class_wins() -> None:
    assert shell_action("ls -la") is A.SHELL
    assert shell_action("git commit -m 'rm -rf'") is A.SHELL
    assert shell_action("rm a; git push") is A.GIT_PUSH
    assert shell_action("echo 'half a quotation") is A.UNKNOWN


def test_the_call_of_a_command() -> None:
    call = shell_call("Bash", "rm " + "x" * 500)
    assert (call.tool, call.action, len(call.detail)) == ("Bash", A.FILE_DELETE, DETAIL_CHARS)
    assert call.command == "rm " + "x" * 500
    long = shell_call("Bash", "ls;" * MOST_BYTES)
    assert long.action is A.UNKNOWN and len(long.command) == MOST_BYTES + 1


@given(st.text(max_size=200))
def test_any_text_has_a_class(command: str) -> None:
    assert shell_action(command) in A
