"""The known vendors on the internet, and the variables of their keys and addresses."""

from __future__ import annotations

from collections.abc import Mapping

VENDOR_VARIABLES: Mapping[str, tuple[str, str]] = {
    name: (f"{stem}_API_KEY", f"{stem}_BASE_URL")
    for name, stem in {
        "openai": "OPENAI",
        "anthropic": "ANTHROPIC",
        "google": "GEMINI",
        "groq": "GROQ",
        "together": "TOGETHER",
        "mistral": "MISTRAL",
        "openrouter": "OPENROUTER",
    }.items()
} | {"google": ("GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL")}
"""In the order in which one is taken where nobody names one."""
OTHER_NAMES: Mapping[str, str] = {"openai-codex": "openai"}
