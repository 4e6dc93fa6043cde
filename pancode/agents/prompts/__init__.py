"""The system prompt of a run: pieces by role, mode, safety and runtime, put together in one fixed order."""

from __future__ import annotations

from pancode.agents.prompts.compiler import Piece, Prompt, Situation, compile_prompt
from pancode.agents.prompts.tokens import tokens_of

__all__ = ["Piece", "Prompt", "Situation", "compile_prompt", "tokens_of"]
