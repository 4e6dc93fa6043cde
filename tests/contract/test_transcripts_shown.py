"""The readable story of every recorded transcript: whole, bounded, the same however the bytes are cut."""

from __future__ import annotations

import json

import pytest

from node_agent.runtimes.registry import RUNTIMES
from pancode.conversation.lines import MARK, LogStory
from pancode.conversation.parts import PartsReader
from pancode.conversation.stream import reading_of
from tests.contract.transcripts import RECORDED, cases, output

ALL = [(runtime, case) for runtime in RECORDED for case in cases(runtime)]


def story(runtime: str, data: bytes, size: int) -> str:
    shown: list[str] = []
    told = LogStory(runtime, shown.append)
    for at in range(0, len(data), size):
        told.write("1.1", data[at : at + size])
    told.end()
    return "".join(shown)


@pytest.mark.parametrize(("runtime", "case"), ALL)
def test_it_is_the_same_however_the_output_is_cut(runtime: str, case: str) -> None:
    data = output(runtime, case)
    whole = story(runtime, data, len(data) or 1)
    assert story(runtime, data, 7) == whole
    assert whole == "" or whole.endswith("\n")


@pytest.mark.parametrize("runtime", [one for one in RECORDED if "ok-edit" in cases(one)])
def test_it_says_what_was_read_edited_and_answered_in_order(runtime: str) -> None:
    lines = story(runtime, output(runtime, "ok-edit"), 64).splitlines()
    calls = [line for line in lines if line.startswith("> ")]
    assert len(calls) >= 2 and all("notes.txt" in line for line in calls), lines
    assert sum(line in ("< ok", "< exit 0") or line.startswith("< ok ") for line in lines) >= 2
    at = [lines.index("I edit the file."), lines.index("Done: the work is finished.")]
    assert lines.index(calls[0]) < at[0] < lines.index(calls[-1]) < at[1]
    assert lines[-1].startswith("= 3600 tokens in, 102 out")


@pytest.mark.parametrize("runtime", ["claude", "codex", "copilot", "opencode"])
def test_it_shows_how_what_a_tool_gave_back_begins(runtime: str) -> None:
    lines = story(runtime, output(runtime, "ok-edit"), 64).splitlines()
    first = next(i for i, line in enumerate(lines) if line in ("< ok", "< exit 0"))
    assert any("alpha" in line for line in lines[first + 1 : first + 6] if line.startswith(MARK)), lines


def test_of_a_long_answer_only_the_beginning_is_shown() -> None:
    block = {"type": "tool_result", "tool_use_id": "x", "content": "\n".join(["a" * 500, *"bcdefgh"])}
    event = {"type": "user", "message": {"role": "user", "content": [block]}, "session_id": "s"}
    lines = story("claude", json.dumps(event, separators=(",", ":")).encode() + b"\n", 64).splitlines()
    assert lines[0].startswith("< ok") and lines[1] == f"{MARK}{'a' * 160}..."
    assert [line for line in lines if line.startswith(MARK)][1:] == [
        f"{MARK}{x}" for x in ("b", "c", "d", "e", "...")
    ]


def test_claude_tells_denials_and_cost() -> None:
    assert "! denied: Bash" in story("claude", output("claude", "tool-denied"), 64)
    assert story("claude", output("claude", "ok-edit"), 64).endswith("= 3600 tokens in, 102 out, $0.0128\n")


HOSTILE = (
    '{"item": {"type": "file_change", "changes": "x"}, "type": "item.started"}',
    '{"type": "assistant", "message": {"content": [{"type": "tool_use", "name": {"toString": 1}}]}}',
    '{"type": "ran", "exit": true, "output": ' + '{"content": ' * 20_000 + "1" + "}" * 20_000 + "}",
    '{"type": "called", "at": 1e400, "command": 3}',
    "null",
)
"""Lines of shapes that no program writes: the words behind them are still to be shown."""


def test_a_stranger_s_bytes_are_shown_without_harm() -> None:
    lines = "\n".join((*HOSTILE, '{"type": "said", "text": "It continues."}\n')).encode()
    assert "It continues." in story("native", lines, 64)
    for runtime in (name for name, one in RUNTIMES.items() if one.capabilities.stream):
        for data in (b"\xff\x00not json\n" * 50, b'{"type": "assistant", "message": 3}\n', b'{"kind":' * 99):
            story(runtime, data, 5)
    assert reading_of("shell") is None and reading_of("nope") is None


@pytest.mark.parametrize("runtime", [one for one in RECORDED if "ok-shell" in cases(one)])
def test_a_command_that_failed_is_not_told_as_one_that_worked(runtime: str) -> None:
    """Each program ran `exit 3`. Gemini's stream does not have the exit status, and our own workers did not
    report it when these were recorded."""
    lines = story(runtime, output(runtime, "ok-shell"), 64).splitlines()
    wanted = "< ended" if runtime in ("gemini", "native", "claude-sdk", "openai-agents") else "< exit 3"
    assert [line for line in lines if line.startswith("< ")][:1] == [wanted], lines


@pytest.mark.parametrize("runtime", [one for one in RECORDED if "ok-edit" in cases(one)])
def test_an_edit_has_its_lines_where_the_program_reports_them(runtime: str) -> None:
    data = output(runtime, "ok-edit")
    parts = PartsReader().read("r-1", "1.1", data, runtime)
    diffs = [one["diff"] for one in parts if one.get("diff")]
    told = runtime not in ("codex", "claude-sdk", "openai-agents")
    assert diffs == (["-beta\n+BETA"] if told else []), parts
    # a reader that resumes where no part was left open reads the same
    reader, again, next_ = PartsReader(), [], 0
    while next_ < len(data):
        again += reader.read("r-1", "1.1", data[next_ : next_ + 700], runtime)
        next_ = min(next_ + 700, len(data))
    assert again == parts and reader.behind == 0
