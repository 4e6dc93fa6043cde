"""Token usage and error bodies, each in the wire's own form."""

from __future__ import annotations


class Usage:
    """Token numbers of a turn.

    In a script "input" are the prompt tokens that were neither read from nor
    written to a cache; wires that count them inside the prompt (OpenAI, Gemini,
    Ollama) get input + cache_read + cache_write."""

    def __init__(self, turn: dict, req_bytes: int, out_chars: int):
        u = turn.get("usage") or {}
        self.input = int(u.get("input", max(1, req_bytes // 4)))
        self.cache_read = int(u.get("cache_read", 0))
        self.cache_write = int(u.get("cache_write", 0))
        self.reasoning = int(u.get("reasoning", 0))
        self.output = int(u.get("output", max(1, out_chars // 4)))

    @property
    def prompt(self) -> int:
        return self.input + self.cache_read + self.cache_write

    def anthropic(self) -> dict:
        return {
            "input_tokens": self.input,
            "cache_creation_input_tokens": self.cache_write,
            "cache_read_input_tokens": self.cache_read,
            "output_tokens": self.output,
        }

    def chat(self) -> dict:
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.output,
            "total_tokens": self.prompt + self.output,
            "prompt_tokens_details": {"cached_tokens": self.cache_read},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }

    def responses(self) -> dict:
        return {
            "input_tokens": self.prompt,
            "input_tokens_details": {"cached_tokens": self.cache_read},
            "output_tokens": self.output,
            "output_tokens_details": {"reasoning_tokens": self.reasoning},
            "total_tokens": self.prompt + self.output,
        }

    def gemini(self) -> dict:
        d = {
            "promptTokenCount": self.prompt,
            "candidatesTokenCount": self.output - self.reasoning,
            "totalTokenCount": self.prompt + self.output,
        }
        if self.cache_read:
            d["cachedContentTokenCount"] = self.cache_read
        if self.reasoning:
            d["thoughtsTokenCount"] = self.reasoning
        return d

    def timings(self, seconds: float) -> dict:
        ms = max(1.0, seconds * 1000)
        pn = self.input + self.cache_write
        return {
            "cache_n": self.cache_read,
            "prompt_n": pn,
            "prompt_ms": round(ms / 4, 3),
            "prompt_per_second": round(pn / (ms / 4000), 3),
            "predicted_n": self.output,
            "predicted_ms": round(ms, 3),
            "predicted_per_second": round(self.output / (ms / 1000), 3),
        }


ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
    529: "overloaded_error",
}
OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    403: "invalid_request_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
}
OPENAI_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
GEMINI_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
MESSAGES = {
    400: "bad request",
    401: "invalid x-api-key",
    403: "forbidden",
    404: "not found",
    429: "rate limit exceeded, try again later",
    500: "internal server error",
    503: "overloaded",
    529: "Overloaded",
}


def error_body(wire: str, status: int, message: str | None = None, etype: str | None = None) -> dict:
    msg = message or MESSAGES.get(status, f"fakemodel error {status}")
    if wire == "anthropic":
        return {
            "type": "error",
            "error": {"type": etype or ANTHROPIC_TYPES.get(status, "api_error"), "message": msg},
            "request_id": "req_fake",
        }
    if wire == "gemini":
        return {
            "error": {"code": status, "message": msg, "status": etype or GEMINI_STATUS.get(status, "UNKNOWN")}
        }
    if wire == "ollama":
        return {"error": msg}
    return {
        "error": {
            "message": msg,
            "type": etype or OPENAI_TYPES.get(status, "server_error"),
            "param": None,
            "code": OPENAI_CODES.get(status),
        }
    }
