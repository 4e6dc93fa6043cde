"""The questions of a model test: bodies of chat completions, each with a limit. Pure.

The mark in double brackets tells whoever reads a server's log which question this is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ANSWER, CONTEXT, TOOL, EDIT = "passport-answer", "passport-context", "passport-tool", "passport-edit"
ENOUGH = 500
"""Tokens of an answer: some models think before they act."""
TRIES = 3
NEEDLE_WORDS = 6_000
"""Beyond the 4,096 tokens at which some servers cut a prompt without a word; a minute's work at worst."""
_FILLER = "the quick brown fox jumps over the lazy dog near the old stone bridge today and then rests".split()
_PART = 500

PING, PING_VALUE = "ping", "ok"
FILE_NAME = "greet.py"
FILE_TEXT = '''def greet(name):
    """Say hello."""
    greeting = "Hello"
    return f"{greeting}, {name}!"


def part(name):
    return f"Goodbye, {name}!"
'''
OLD_WORD, NEW_WORD = '"Hello"', '"Welcome"'

Body = dict[str, Any]


def answer(model: str) -> Body:
    """One token."""
    return _body(model, [_user(f"[[{ANSWER}]] Say hello.")], 1)


def too_long(model: str, tokens: int) -> Body:
    """More than that many tokens, whatever the tokenizer: a word is one at least."""
    return _body(model, [_user(f"[[{CONTEXT}]] {_words(tokens + 64)}")], 1)


def needle(model: str, secret: str, words: int = NEEDLE_WORDS) -> Body:
    """A number at the front of a prompt of many parts; asked for at its end. Never the same prompt twice."""
    parts = [_user(f"[[{CONTEXT}]] Remember this number: {secret}.")]
    for number in range(words // _PART):
        parts.append(_user(f"Note {number}: {_words(_PART)}."))
        parts.append({"role": "assistant", "content": "Noted."})
    parts.append(_user("Which number were you to remember? Answer with the number only."))
    return _body(model, parts, ENOUGH)


def tool(model: str, attempt: int) -> Body:
    text = f'[[{TOOL}]] Call the tool {PING} with x set to "{PING_VALUE}". Do nothing else.'
    return {**_body(model, [_user(text)], ENOUGH, attempt), "tools": [_PING], "tool_choice": "auto"}


def edit(model: str, attempt: int) -> Body:
    text = (
        f"[[{EDIT}]] This is the file {FILE_NAME}:\n\n{FILE_TEXT}\n"
        f"Change the greeting from {OLD_WORD} to {NEW_WORD} with one call of the tool edit. "
        "`old` must be text of the file, copied exactly, that occurs in it once; `new` takes its place."
    )
    return {**_body(model, [_user(text)], ENOUGH, attempt), "tools": [_EDIT], "tool_choice": "auto"}


def _body(model: str, messages: list[dict[str, str]], most: int, attempt: int = 0) -> Body:
    """The first try is the model's best word; the next ones differ."""
    return {
        "model": model,
        "messages": messages,
        "max_tokens": most,
        "temperature": 0 if attempt == 0 else 0.4,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _words(count: int) -> str:
    return " ".join(_FILLER[number % len(_FILLER)] for number in range(count))


def _tool(name: str, about: str, properties: Mapping[str, str]) -> dict[str, Any]:
    fields = {key: {"type": "string", "description": words} for key, words in properties.items()}
    schema = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "description": about, "parameters": schema}}


_PING = _tool(PING, "Answers with what it was given.", {"x": "what to answer with"})
_EDIT = _tool(
    "edit",
    "Replaces text in a file.",
    {"path": "the file", "old": "text that is in the file once", "new": "what takes its place"},
)
