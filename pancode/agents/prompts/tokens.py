"""Estimates the tokens of a run's first call by kind, so that a person sees what fills the context."""

from __future__ import annotations

from pancode.agents.prompts.compiler import Category, Prompt

CHARS_PER_TOKEN = 4


def estimated(chars: int) -> int:
    """Tokens of so many characters, rounded up. An estimate: each model cuts words in its own way."""
    return -(-chars // CHARS_PER_TOKEN)


def tokens_of(prompt: Prompt, task: str, context: int = 0) -> dict[str, int]:
    """By category. `context`: characters of what the repository says to agents.

    What the runtime itself adds, such as the descriptions of its tools, nobody here can know.
    """
    tools = sum(len(piece.text) for piece in prompt.pieces if piece.category is Category.TOOLS)
    sizes = {"system": len(prompt.text) - tools, "tools": tools, "task": len(task), "context": context}
    return {name: estimated(size) for name, size in sizes.items()}
