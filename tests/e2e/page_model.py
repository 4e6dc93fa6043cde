"""The scripted model of the documents: it passes the test of a model, and does the tasks of the pages."""

from __future__ import annotations

from typing import Any

MODELS = ("qwen3:8b", "qwen3-coder")


def _says(text: str) -> dict[str, Any]:
    return {"text": text}


def _does(tool: str, **args: str) -> dict[str, Any]:
    return {"tool": tool, "args": args}


def _calls(name: str, **arguments: str) -> dict[str, Any]:
    return {"call": {"name": name, "arguments": arguments}}


RULES: tuple[tuple[str, list[dict[str, Any]]], ...] = (
    (r"\[\[passport-tool\]\]", [_calls("ping", x="ok")]),
    (
        "check.py fails",
        [
            _does("read", path="${cwd}/greet.py"),
            _does("edit", path="${cwd}/greet.py", old="helo", new="hello"),
            _says("greet.py said helo. It says hello now, and check.py passes."),
        ],
    ),
    (
        "add a farewell function",
        [
            _does(
                "write", path="${cwd}/farewell.py", content='def farewell(name):\n    return "bye " + name\n'
            ),
            _says("farewell.py has the function."),
        ],
    ),
    (
        "write the file verdict.json",
        [_does("write", path="${cwd}/verdict.json", content='{"verdict": "approved"}'), _says("Approved.")],
    ),
    (
        "--- end of docs/PRD.md",
        [
            _says(
                "--- docs/PRD.md\n# hello\n\n## Open questions\n\nWhom does it greet?\n--- end of docs/PRD.md"
            )
        ],
    ),
    (
        "add a --json flag",
        [
            _does("write", path="${cwd}/export.py", content="JSON = True\n"),
            _says("VERDICT: go. The export has a flag --json."),
        ],
    ),
    (
        "where is the|how are tokens",
        [
            _does("list", path="${cwd}"),
            _says(
                "REPORT: it counts by key, in one class\nFOUND: limits.py:12 the counter\nNOT FOUND: nothing"
            ),
        ],
    ),
)
SCRIPT: dict[str, Any] = {
    "models": [{"id": one} for one in MODELS],
    "rules": [{"if": {"prompt": pattern}, "turns": turns} for pattern, turns in RULES],
    "turns": [_says("The test of the greeting fails.")],
    "no_tools": "turns",
}
