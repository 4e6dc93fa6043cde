"""Commands in the texts of a skill: they are found, and become words in what a run is given."""

from __future__ import annotations

import pytest

from node_agent.wire.prompt_commands import commands_in, without_commands


@pytest.mark.parametrize(
    ("text", "command", "laid"),
    [
        ("Look: !`id` now", "id", "Look: ! `id` now"),
        ("a!`id`", "id", "a! `id`"),
        ("!`touch\nx`", "touch\nx", "! `touch\nx`"),
        ("!`never ends", "never ends", "! `never ends"),
        ("```!\nid\n```", "\nid\n", "``` !\nid\n```"),
        ("```! id ```", " id ", "``` ! id ```"),
        ("````!\nid\n````", "\nid\n", "```` !\nid\n````"),
        ("!$ARGUMENTS`id`", "$ARGUMENTS", "! $ARGUMENTS`id`"),
        ("!$1$ARGUMENTS[0]${CLAUDE_SESSION_ID}`id`", "$1", "! $1$ARGUMENTS[0]${CLAUDE_SESSION_ID}`id`"),
        ("`$1``!\nid\n```", "\nid\n", "`$1`` !\nid\n```"),
    ],
)
def test_each_form_of_a_command_is_found_and_becomes_words(text: str, command: str, laid: str) -> None:
    data = text.encode()
    assert any(found.startswith(command) for found in commands_in("SKILL.md", data))
    assert without_commands("references/More.MD", data) == laid.encode()
    assert not commands_in("SKILL.md", laid.encode()), "the program that reads it finds none"
    assert without_commands("SKILL.md", laid.encode()) == laid.encode()


def test_a_lease_whose_command_begins_with_one_is_broken_twice() -> None:
    assert without_commands("SKILL.md", b"```!`id`\n```") == b"``` ! `id`\n```"


@pytest.mark.parametrize("text", ["Done! `id` shows it", "```sh\nid\n```", "`$1` is the host!", "`x`!"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert commands_in("SKILL.md", text.encode()) == []
    assert without_commands("SKILL.md", text.encode()) == text.encode()


def test_a_script_is_not_a_text_that_a_program_reads_as_a_prompt() -> None:
    script = b"#!/bin/sh\nif !`false`; then echo ok; fi\n"
    assert commands_in("scripts/go.sh", script) == [] and without_commands("scripts/go.sh", script) == script


def test_a_text_made_to_be_slow_is_read_at_once() -> None:
    slow = b"!${" * 300_000 + b"`${" * 300_000 + b"!" + b"$a" * 300_000
    assert commands_in("SKILL.md", slow) == []
