"""Model servers by their documented answers, on real sockets; what would load or evict a model fails."""

from __future__ import annotations

from .apps import (
    Generic,
    LmStudio,
    LmStudioOld,
    LoadingLlamaCpp,
    Ollama,
    RouterLlamaCpp,
    Sglang,
    Vllm,
    WebSite,
)
from .server import App, Reply, Serving, serving

__all__ = [
    "App",
    "Generic",
    "LmStudio",
    "LmStudioOld",
    "LoadingLlamaCpp",
    "Ollama",
    "Reply",
    "RouterLlamaCpp",
    "Serving",
    "Sglang",
    "Vllm",
    "WebSite",
    "serving",
]
