"""A server as a table of its answers: what is not in it is a 404."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from node_agent.endpoints.asking import ServerReply, Silent


@dataclass
class ToolResults:
    """`answers`: by path, a status and a value; None: silence. `server`: the header."""

    answers: dict[str, tuple[int, Any] | None]
    server: str = ""
    other: tuple[int, Any] = (404, {"error": {"message": "not found"}})
    asked: list[str] = field(default_factory=list)

    def get(self, path: str) -> ServerReply:
        self.asked.append(path)
        found = self.answers.get(path, self.other)
        if found is None:
            raise Silent(f"does not answer {path}")
        status, value = found
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        return ServerReply(status, body, self.server)

    def post(self, path: str, body: Mapping[str, object]) -> ServerReply:
        return self.get(path)
