"""A real gateway process before a scripted model server, and an agent's side of the wire."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from node_agent.attempt.gateways import GatewayAccess, ModelCount
from node_agent.gateway import spec as places
from node_agent.gateway.counting import Count
from node_agent.gateway.opening import GatewayProcesses, GatewaySettings
from node_agent.wire.clock import SystemIds
from node_agent.wire.job import Job, Limits
from tests.crowd import crowded
from tests.crowd import until as until
from tests.unit.node_agent.wire.samples import job

KEY = "key-that-only-the-gateway-knows"
RUNTIMES = {"anthropic": "claude", "chat": "opencode", "responses": "codex", "gemini": "gemini"}
VARIABLES = {
    "claude": ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", ""),
    "claude-sdk": ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", ""),
    "native": ("OPENAI_API_KEY", "OPENAI_BASE_URL", "/v1"),
    "openai-agents": ("OPENAI_API_KEY", "OPENAI_BASE_URL", "/v1"),
    "opencode": ("OPENAI_API_KEY", "OPENAI_BASE_URL", "/v1"),
    "codex": ("OPENAI_API_KEY", "OPENAI_BASE_URL", "/v1"),
    "copilot": ("COPILOT_PROVIDER_API_KEY", "COPILOT_PROVIDER_BASE_URL", "/v1"),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL", ""),
}
LIMITS = Limits(wall_ms=600_000, idle_ms=60_000, output_bytes=1 << 26)


def job_of(
    runtime: str, tokens: int | None = None, usd: str | None = None, model: str = "m", **more: Any
) -> Job:
    money = {"usd": None if usd is None else Decimal(usd)}
    limits = LIMITS.model_copy(update={"tokens": tokens, **money, **more})
    changes = {"runtime": runtime, "model": model, "limits": limits, "env": (), "secrets": ()}
    return job().model_copy(update=changes)


@dataclass
class Lab:
    """Gateways whose attempts lie below `root`; `close` ends what is left."""

    root: Path
    values: dict[str, str] = field(default_factory=dict)
    prices: dict[str, str] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)
    wish: GatewaySettings = field(default_factory=GatewaySettings)

    def __post_init__(self) -> None:
        self.gateways = self.fresh()

    def fresh(self) -> GatewayProcesses:
        """As another start of the node agent would have it."""
        return GatewayProcesses(
            sys.executable, SystemIds(), lambda: self.values, lambda: self.prices, lambda: self.wish
        )

    def point(self, runtime: str, url: str, key: str = KEY) -> None:
        name, base, mount = VARIABLES[runtime]
        self.values |= {base: url + mount, **({name: key} if key else {})}

    def open(self, job: Job, name: str = "a") -> Agent:
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        self.folders.append(folder)
        entry = self.gateways.open(job, folder)
        assert entry is not None
        return Agent(entry, folder, self.gateways)

    def close(self) -> None:
        for folder in self.folders:
            self.gateways.close(folder)


@dataclass
class Agent:
    """Whoever was given the listener."""

    entry: GatewayAccess
    folder: Path
    gateways: GatewayProcesses

    def post(
        self, path: str, body: dict, token: str | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """(status, body); status 0 when the connection broke, with what had come."""
        return self.post_raw(path, json.dumps(body).encode(), token, headers)

    def post_raw(
        self, path: str, body: bytes, token: str | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """The same, of a body as it is."""
        line = http.client.HTTPConnection("127.0.0.1", self.entry.port, timeout=20 * crowded())
        shown = {"x-api-key": self.entry.token if token is None else token, **(headers or {})}
        try:
            line.request("POST", path, body, shown)
            answer = line.getresponse()
            return answer.status, answer.read()
        except http.client.IncompleteRead as exc:
            return 0, exc.partial
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            line.close()

    def hang_up(self, path: str, body: dict) -> None:
        """Asks, and goes away with the first of the answer; the gateway has noticed it then."""
        unread = self.so_far.unread
        line = http.client.HTTPConnection("127.0.0.1", self.entry.port, timeout=20 * crowded())
        line.request("POST", path, json.dumps(body).encode(), {"x-api-key": self.entry.token})
        answer = line.getresponse()
        assert answer.status == 200 and answer.read(1)
        answer.close()
        line.close()
        until(lambda: self.so_far.unread == unread + 1)

    @property
    def so_far(self) -> Count:
        """As it stands on disk."""
        count = places.read_count(self.folder)
        assert count is not None
        return count

    def counted(self) -> ModelCount:
        """At the end, as the node reads it."""
        self.gateways.close(self.folder)
        count = self.gateways.count(self.folder)
        assert count is not None
        return count

    @property
    def pid(self) -> int:
        until(lambda: places.find_gateway(self.folder) is not None)
        found = places.find_gateway(self.folder)
        assert found is not None
        return found[0]

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        until(lambda: not self.gateways.is_alive(self.folder))
