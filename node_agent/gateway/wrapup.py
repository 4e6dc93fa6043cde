"""Builds the last call of a run that has reached a limit: short, without tools. Pure."""

from __future__ import annotations

from typing import Any

from node_agent.gateway.meter import Wire

OUTPUT = 4096
"""Tokens that the last answer may have, thoughts included."""
WORDS = (
    "PanCode: this run has reached its limit, and this is the last answer that it gets. Call no tools. "
    "Say in a few sentences what is done, what is left to do, and what you would do next."
)


def as_last(wire: Wire, asked: dict[str, Any], public: bool) -> dict[str, Any]:
    """With our words at its end and a bound on its answer; `public`: to the vendor's own server."""
    match wire:
        case Wire.ANTHROPIC:
            return _anthropic(asked)
        case Wire.CHAT:
            return _chat(asked, public)
        case Wire.RESPONSES:
            return _responses(asked)
        case Wire.GEMINI:
            return _gemini(asked)
        case Wire.OLLAMA:
            return _ollama(asked)


def _anthropic(asked: dict[str, Any]) -> dict[str, Any]:
    """Words come behind the results of tools in the same message: the other way round is refused there."""
    made = {**asked, "max_tokens": _least(asked.get("max_tokens"))}
    made["messages"] = _behind(asked.get("messages"), "content", {"type": "text", "text": WORDS})
    if asked.get("tools"):
        made["tool_choice"] = {"type": "none"}
    if "budget_tokens" in _dict(asked.get("thinking")):  # it would have to be smaller than the bound
        del made["thinking"]
    return made


def _chat(asked: dict[str, Any], public: bool) -> dict[str, Any]:
    """Local servers know the older name of the bound only, the vendor's newer models only the newer."""
    usual = "max_completion_tokens" if public else "max_tokens"
    names = [name for name in ("max_completion_tokens", "max_tokens") if asked.get(name) is not None]
    bound = {name: _least(asked.get(name)) for name in names or [usual]}
    made = {**asked, **bound, "messages": [*_list(asked.get("messages")), {"role": "user", "content": WORDS}]}
    return _one_answer({**made, "tool_choice": "none"} if asked.get("tools") else made)


def _responses(asked: dict[str, Any]) -> dict[str, Any]:
    given = asked.get("input")
    before = [_item(given)] if isinstance(given, str) else _list(given)
    made = {**asked, "input": [*before, _item(WORDS)]}
    made["max_output_tokens"] = _least(asked.get("max_output_tokens"))
    return {**made, "tool_choice": "none"} if asked.get("tools") else made


def _item(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def _gemini(asked: dict[str, Any]) -> dict[str, Any]:
    """Both spellings are known there; which counts where both are given is not, so each has the bound."""
    made = dict(asked)
    for at in _spelled(asked, "generationConfig", "generation_config"):
        config = _dict(asked.get(at))
        names = _spelled(config, "maxOutputTokens", "max_output_tokens")
        made[at] = _one_answer({**config, **{name: _least(config.get(name)) for name in names}})
    made["contents"] = _behind(asked.get("contents"), "parts", {"text": WORDS})
    if asked.get("tools"):
        for key in _spelled(asked, "toolConfig", "tool_config"):
            made[key] = {"functionCallingConfig": {"mode": "NONE"}}
    return made


def _spelled(place: dict[str, Any], usual: str, other: str) -> list[str]:
    """Those of both names that are there, or the usual one."""
    return [name for name in (usual, other) if name in place] or [usual]


def _ollama(asked: dict[str, Any]) -> dict[str, Any]:
    """It has no way to say that no tool is to be called but to offer none."""
    options = _dict(asked.get("options"))
    made = {**asked, "options": {**options, "num_predict": _least(options.get("num_predict"))}}
    made.pop("tools", None)
    if "messages" in asked:
        return {**made, "messages": [*_list(asked["messages"]), {"role": "user", "content": WORDS}]}
    return {**made, "prompt": f"{asked.get('prompt', '')}\n\n{WORDS}"}


def _behind(given: Any, at: str, words: dict[str, Any]) -> list[Any]:
    """Into the user's last message, so that two of them never follow each other; or a message of its own."""
    messages = _list(given)
    last = _dict(messages[-1]) if messages else {}
    if last.get("role") != "user":
        return [*messages, {"role": "user", at: [words]}]
    inside = last.get(at)
    parts = [{"type": "text", "text": inside}] if isinstance(inside, str) else _list(inside)
    return [*messages[:-1], {**last, at: [*parts, words]}]


def _one_answer(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in _SEVERAL}


_SEVERAL = ("n", "candidateCount", "candidate_count")


def _least(asked: Any) -> int:
    good = isinstance(asked, int) and not isinstance(asked, bool) and asked > 0
    return min(asked, OUTPUT) if good else OUTPUT


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
