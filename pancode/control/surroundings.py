"""What use cases ask of the user's configuration and folders, and of delivered logs: ports."""

from __future__ import annotations

from typing import Protocol

from node_agent.wire.identity import AttemptId
from node_agent.wire.policy import Rules
from pancode.agents.agents import Agents
from pancode.agents.presets import Presets
from pancode.agents.request import Defaults, PathFact, Project
from pancode.agents.tiers import ModelTier
from pancode.control.shapes import Json


class Streams(Protocol):
    """Delivered logs."""

    def arrived(self, identity: AttemptId, name: str, size: int, sha256: str) -> bool:
        """Whether it is here in full, to its digest."""

    def read(self, identity: AttemptId, name: str, offset: int, limit: int) -> bytes:
        """Up to `limit` bytes from `offset`; empty when there is nothing (yet)."""

    def names(self, identity: AttemptId) -> list[str]:
        """The streams of an attempt that have at least begun to arrive."""


class NamedPresets(Protocol):
    """Presets by name."""

    @property
    def presets(self) -> Presets:
        """All there are."""

    def origin(self, name: str) -> str:
        """The file and line of an agent's definition."""


class Surroundings(Protocol):
    """The user's configuration and folders, as they are at the moment of the call."""

    def project_of(self, folder: str) -> str | None:
        """Absolute path of the top of the git repository around the folder; None outside of one."""

    def below(self, folder: str, project: str) -> str:
        """The folder relative to the project's top, links followed; empty at the top and outside of it."""

    def agents(self, project: str | None) -> Agents:
        """Agent definitions: built-in, the user's, the project's."""

    def defaults(self, project: str | None) -> Defaults:
        """Settings that a request may leave out. ConfigError names file and key."""

    def project(self, project: str | None) -> Project:
        """The repository's own pancode.yaml. ConfigError names file and key."""

    def rules(self, project: str | None) -> Rules:
        """Safety rules: built-in, the user's, the project's. ConfigError names file, line and rule."""

    def tiers(self, project: str | None) -> dict[str, ModelTier]:
        """The owner's corrections of models' tiers, by pattern."""

    def max_depth(self) -> int:
        """The greatest depth of runs inside runs."""

    def paths(self, task: str, cwd: str | None, project: str | None) -> tuple[PathFact, ...]:
        """Each path that the task names: where it is, links followed, and whether something is there."""

    def presets(self) -> NamedPresets:
        """The shipped presets and the user's. ConfigError names file, line and key."""

    def applied(self) -> str | None:
        """The name of the applied preset."""

    def origins(self, project: str | None) -> list[Json]:
        """Every setting with its value and where that was said: `{"key", "value", "origin"}`."""
