"""Scripts are taken apart by another process, and its end costs nobody else anything."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.policy.commands.reading import read_command
from node_agent.policy.commands.tree import UNREADABLE, ParsedScript, take_apart, take_elsewhere
from node_agent.sandbox import landlock
from node_agent.sandbox.grammar import Grammar, from_plain, to_plain
from node_agent.wire.policy import ALLOWED, ActionClass, Safety
from tests.integration.node.node_world import until

SCRIPTS = (
    "",
    "ls -la | wc -l > 'a b'",
    'A=b rm -rf "$HOME/x" <<E\n$(cat y)\nE',
    "a; (b",
    "x='a[$(y)]'; (( x ))",
    "echo \u00e9 $'\\x00'",
)
STEEP = "! " * 24_000
"""As long as a script may be; with CPU_S so small that the parser is not done."""


@pytest.fixture
def grammar() -> Iterator[Grammar]:
    made = Grammar(sys.executable)
    yield made
    made.close()


@pytest.mark.parametrize("text", SCRIPTS)
def test_another_process_reads_as_this_one_does(grammar: Grammar, text: str) -> None:
    raw = text.encode()
    assert grammar.take_apart(raw) == take_apart(raw)


def test_it_gets_ready_before_the_first_script_and_again_when_it_has_left(grammar: Grammar) -> None:
    grammar.ready()
    first = grammar.pid
    grammar.ready()
    assert first is not None and grammar.pid == first
    assert grammar.take_apart(b"ls") == take_apart(b"ls") and grammar.pid == first
    os.kill(first, signal.SIGKILL)
    until(lambda: grammar.pid is None, "it is gone")
    grammar.ready()
    assert grammar.pid not in (None, first)
    Grammar("/nowhere/python").ready()


def test_nothing_is_lost_on_the_way() -> None:
    for text in SCRIPTS:
        script = take_apart(text.encode())
        assert from_plain(to_plain(script)) == script
    with pytest.raises(ValueError, match="not a parsed script"):
        from_plain(["x"])


def test_it_is_started_by_the_first_script_and_stays(grammar: Grammar) -> None:
    assert grammar.pid is None
    grammar.take_apart(b"ls")
    first = grammar.pid
    grammar.take_apart(b"ls -l")
    assert first is not None and grammar.pid == first


def test_it_has_shut_itself_in(grammar: Grammar) -> None:
    """Nothing shows a process's Landlock; but before that, and only for it, a process gives up privileges."""
    grammar.take_apart(b"ls")
    lines = Path(f"/proc/{grammar.pid}/status").read_text().splitlines()
    assert f"NoNewPrivs:\t{int(landlock.read_abi() >= landlock.LEAST_ABI)}" in lines


def test_the_largest_scripts_are_read_by_it(grammar: Grammar) -> None:
    for text in (STEEP, "a " * 25_000, "echo 'x'\n" * 499):
        assert grammar.take_apart(text.encode()) == take_apart(text.encode())


def test_killed_amid_a_script_it_leaves_one_that_nobody_can_read(grammar: Grammar) -> None:
    grammar.take_apart(b"ls")
    pid, answers = grammar.pid, list[ParsedScript]()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    asking = threading.Thread(target=lambda: answers.append(grammar.take_apart(b"rm x")))
    asking.start()
    os.kill(pid, signal.SIGKILL)
    asking.join()
    assert grammar.take_apart(b"rm y") == take_apart(b"rm y")
    assert answers in ([UNREADABLE], [take_apart(b"rm x")])  # the second: it had died before it was asked


def test_one_that_stands_still_is_replaced() -> None:
    grammar = Grammar(sys.executable, wait_ms=3_000)
    try:
        assert grammar.take_apart(b"ls").whole
        pid = grammar.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        assert grammar.take_apart(b"rm x") is UNREADABLE
        until(lambda: not os.path.exists(f"/proc/{pid}"))
        assert grammar.take_apart(b"rm y").whole
    finally:
        grammar.close()


def test_a_script_that_takes_too_long_ends_it_once() -> None:
    grammar = Grammar(sys.executable, cpu_s=0.02)
    try:
        assert grammar.take_apart(STEEP.encode()) is UNREADABLE
        assert grammar.pid is None
        assert grammar.take_apart(STEEP.encode()) is UNREADABLE
        assert grammar.pid is None  # it was not asked again
        assert grammar.take_apart(b"ls").whole
    finally:
        grammar.close()


def test_one_that_left_for_want_of_work_is_started_again() -> None:
    grammar = Grammar(sys.executable, idle_s=0.05)
    try:
        assert grammar.take_apart(b"ls").whole
        until(lambda: grammar.pid is None)
        assert grammar.take_apart(b"ls").whole
    finally:
        grammar.close()


def test_an_answer_that_is_nested_too_deeply_is_none(tmp_path: Path) -> None:
    """The process may be the script's by then."""
    program = tmp_path / "python"
    program.write_text(
        f"#!{sys.executable}\nimport os\nos.read(0, 9)\ndata = b'[' * 30_000\n"
        "os.write(1, len(data).to_bytes(4, 'big') + data)\nos.read(0, 9)\n"
    )
    program.chmod(0o755)
    grammar = Grammar(str(program))
    try:
        assert grammar.take_apart(b"ls") is UNREADABLE
    finally:
        grammar.close()


def test_where_no_process_can_be_started_nothing_can_be_read() -> None:
    assert Grammar("/nowhere/python").take_apart(b"ls") is UNREADABLE


def test_what_nobody_can_read_is_allowed_by_no_level() -> None:
    take_elsewhere(lambda raw: UNREADABLE)
    try:
        action = read_command("ls").action
    finally:
        take_elsewhere(None)
    assert action is ActionClass.UNKNOWN
    assert all(action not in ALLOWED[level] for level in Safety)
