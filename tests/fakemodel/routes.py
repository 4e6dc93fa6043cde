"""Which function answers which path."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from . import engines
from .emit_anthropic import emit_anthropic
from .emit_chat import emit_chat
from .emit_gemini import emit_assist, emit_gemini
from .emit_responses import emit_responses
from .replies import error_body
from .script import PERSONAS
from .wires import norm_anthropic, norm_chat, norm_gemini, norm_responses

if TYPE_CHECKING:
    from .handler import Handler


def r_messages(h: Handler) -> None:
    h.run_turn(norm_anthropic(h.body_json()), emit_anthropic)


def r_chat(h: Handler) -> None:
    h.run_turn(norm_chat(h.body_json()), emit_chat)


def r_responses(h: Handler) -> None:
    b = h.body_json()
    h.run_turn(
        norm_responses(b, h.state.response_turns.get(b.get("previous_response_id") or "", 0)), emit_responses
    )


def r_gemini(h: Handler, model: str, verb: str) -> None:
    b = h.body_json()
    if verb == "countTokens":
        return h.send_json({"totalTokens": max(1, len(h.raw) // 4)})
    if verb not in ("generateContent", "streamGenerateContent"):
        return h.send_json(error_body("gemini", 404), 404)
    h.run_turn(norm_gemini(b, model, verb.startswith("stream")), emit_gemini)


def r_count(h: Handler) -> None:
    n = max(1, len(h.raw) // 4)
    h.send_json(
        {"input_tokens": n}
        if "/messages" in h.route
        else {"object": "response.input_tokens", "input_tokens": n}
    )


def r_models(h: Handler) -> None:
    st, ms = h.state, h.state.script.models
    if h.headers.get("anthropic-version") and st.persona in ("all", "anthropic"):
        return h.send_json(
            {
                "data": [
                    {
                        "type": "model",
                        "id": m["id"],
                        "display_name": m["id"],
                        "created_at": "2026-01-01T00:00:00Z",
                    }
                    for m in ms
                ],
                "has_more": False,
                "first_id": ms[0]["id"],
                "last_id": ms[-1]["id"],
            }
        )
    h.send_json(engines.model_list(st.persona, ms))


def r_model(h: Handler, mid: str) -> None:
    m = h.state.script.model(mid)
    if m is None:
        return h.send_json(error_body("chat", 404, f"The model '{mid}' does not exist"), 404)
    h.send_json(
        {
            "id": m["id"],
            "object": "model",
            "created": 1767225600,
            "owned_by": "fakemodel",
            "type": "model",
            "display_name": m["id"],
        }
    )


def r_gemini_models(h: Handler) -> None:
    h.send_json(
        {
            "models": [
                {
                    "name": "models/" + m["id"],
                    "version": "1",
                    "displayName": m["id"],
                    "inputTokenLimit": m["context"],
                    "outputTokenLimit": 8192,
                    "supportedGenerationMethods": ["generateContent", "countTokens"],
                }
                for m in h.state.script.models
            ]
        }
    )


def r_account(h: Handler) -> None:
    """What GitHub tells its Copilot CLI of who is logged in: where the models are, above all."""
    h.send_json(
        {
            "login": "owner",
            "copilot_plan": "individual",
            "access_type_sku": "copilot_pro",
            "chat_enabled": True,
            "endpoints": {"api": "https://api.individual.githubcopilot.com"},
        }
    )


def r_assist(h: Handler, verb: str) -> None:
    """Google's server for accounts: the same wire, in an envelope, and what it tells of the account."""
    b = h.body_json()
    match verb:
        case "generateContent" | "streamGenerateContent":
            req = norm_gemini(b.get("request") or {}, b.get("model", ""), verb.startswith("stream"))
            h.run_turn(req, emit_assist)
        case "countTokens":
            h.send_json({"totalTokens": max(1, len(h.raw) // 4)})
        case "loadCodeAssist":
            h.send_json({"currentTier": {"id": "free-tier"}, "cloudaicompanionProject": "a-project"})
        case _:
            h.send_json({})


def r_root(h: Handler) -> None:
    h.send_bytes(b"Ollama is running" if h.state.persona == "ollama" else b"fakemodel")


OAI = {"openai", "ollama", "lmstudio", "llamacpp"}
ANT = {"anthropic", "ollama", "lmstudio", "llamacpp"}
LCP = {"llamacpp"}
# (path, methods, personas that answer it, function)
ROUTES: list[tuple[str, str, set, Callable]] = [
    (r"(?:/v1)?/messages/count_tokens", "POST", ANT - {"ollama"}, r_count),
    (r"(?:/v1)?/messages", "POST", ANT, r_messages),
    (
        r"(?:/v1|/api/v0|/api/v1|/openai/v1|/v1beta/openai)?/chat/completions",
        "POST",
        OAI | {"github"},
        r_chat,
    ),
    (r"(?:/v1|/backend-api/codex)?/responses", "POST", OAI, r_responses),
    (r"/v1(?:beta|alpha)?\d*/models/([^:/]+):(\w+)", "POST", {"gemini"}, r_gemini),
    (r"/v1beta/models", "GET", {"gemini"}, r_gemini_models),
    (r"/v1internal:(\w+)", "GET POST", {"google"}, r_assist),
    (r"/v1/models|/models", "GET HEAD", OAI | {"anthropic", "github"}, r_models),
    (r"/copilot_internal/user", "GET", {"github"}, r_account),
    (r"/user", "GET", {"github"}, lambda h: h.send_json({"login": "owner", "id": 1})),
    (r"/v1/models/(.+)", "GET", OAI | {"anthropic"}, r_model),
    (r"/api/tags", "GET HEAD", {"ollama", "llamacpp"}, engines.r_tags),
    (r"/api/ps", "GET", {"ollama"}, engines.r_ps),
    (r"/api/show", "POST", {"ollama"}, engines.r_show),
    (r"/api/version", "GET HEAD", {"ollama"}, engines.r_version),
    (r"/api/(?:chat|generate)", "POST", {"ollama"}, engines.r_ollama_chat),
    (r"/api/v0/models", "GET", {"lmstudio"}, engines.r_lm_v0),
    (r"/api/v0/models/(.+)", "GET", {"lmstudio"}, engines.r_lm_v0),
    (r"/health|/v1/health", "GET HEAD", LCP, engines.r_health),
    (r"/props", "GET", LCP, engines.r_props),
    (r"/slots", "GET", LCP, engines.r_slots),
    (r"/", "GET HEAD", PERSONAS, r_root),
]
