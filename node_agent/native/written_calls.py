"""Reads tool calls that a model wrote into its text, as its server has no parser for them. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from node_agent.chat.messages import Call

_BLOCK = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
_FUNCTION = re.compile(r"<function=([\w.-]+)>\s*(.*?)\s*</function>", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([\w.-]+)>\n?(.*?)\n?</parameter>", re.DOTALL)
_FENCE = re.compile(r"\A```(?:json)?\s*(.*?)\s*```\Z", re.DOTALL)
_SIGNS = ("<tool_call", "<function=", "[TOOL_CALLS]", "<|tool_call", "<|python_tag|>")

TOLD = (
    "Your last answer has a tool call as text, and its form is not complete, so nothing was done. "
    "Call the tool itself. If you meant no call, answer without this form."
)
NO_PARSER = (
    "the model writes its tool calls as text: the server has no parser for them. Start llama.cpp with "
    "--jinja, vLLM with --enable-auto-tool-choice and --tool-call-parser, or choose a model whose calls the "
    "server knows"
)


@dataclass(frozen=True, slots=True)
class WrittenCalls:
    """The calls whose form is complete; `is_broken`: the text has the form of a call that is not complete, or
    of a tool that was not offered."""

    calls: tuple[Call, ...] = ()
    is_broken: bool = False


def read_written_calls(text: str, tools: Iterable[str]) -> WrittenCalls:
    """Return the calls that a text consists of. A text with other words is an answer that quotes a call,
    except for the words before the first call. `tools`: the names of the offered tools."""
    offered, text = frozenset(tools), text.strip()
    found = list[tuple[str, Any]]()
    rest = _FUNCTION.sub(lambda match: _take(found, match[1], _read_parameters(match[2])), text)
    if found:
        rest = re.sub(r"</?tool_call>", "", rest)
    else:
        rest = _BLOCK.sub(lambda match: _take(found, *_split(_parse(match[1]))), text)
    if not found:
        fenced = _FENCE.match(text)
        value = _parse(fenced[1] if fenced else text)
        rows = value if isinstance(value, list) else [value]
        found = [_split(row) for row in rows]
        # A JSON answer is a call only if it names an offered tool.
        if not found or any(name not in offered for name, _ in found):
            return WrittenCalls(is_broken=any(sign in text for sign in _SIGNS))
        rest = ""
    is_whole = all(name in offered and isinstance(given, dict) for name, given in found)
    if not is_whole or any(sign in rest for sign in _SIGNS):
        return WrittenCalls(is_broken=True)
    calls = (Call(f"written-{number}", name, json.dumps(given)) for number, (name, given) in enumerate(found))
    return WrittenCalls(tuple(calls))


def _take(found: list[tuple[str, Any]], name: str, given: Any) -> str:
    found.append((name, given))
    return ""


def _read_parameters(text: str) -> Any:
    """Return the arguments inside `<function=NAME>`: `<parameter=KEY>` elements, or a JSON object."""
    pairs = dict(_PARAMETER.findall(text))
    if pairs or not text:
        return pairs
    return _parse(text)


def _split(value: Any) -> tuple[str, Any]:
    """Return name and arguments of a call as a JSON object; the name is empty if it is none."""
    if not isinstance(value, dict):
        return "", None
    if isinstance(value.get("function"), dict):
        value = value["function"]
    given = value.get("arguments", value.get("parameters"))
    given = _parse(given) if isinstance(given, str) else given
    return str(value.get("name", "")), given


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
