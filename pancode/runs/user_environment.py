"""What use cases ask of the user's configuration and folders, and of delivered logs: ports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from node_agent.wire.identity import AttemptId
from node_agent.wire.policy import Rules
from pancode.agents.agents import Agents
from pancode.agents.presets import Presets
from pancode.agents.tiers import ModelTier
from pancode.kernel.rows import GivenSkills
from pancode.runs.project_rules import NamedProject
from pancode.runs.request import Defaults, PathFact, Project


class Streams(Protocol):
    """Delivered logs."""

    def arrived(self, identity: AttemptId, name: str, size: int, sha256: str) -> bool:
        """Whether the log is here in full, and has its digest."""

    def read(self, identity: AttemptId, name: str, offset: int, limit: int) -> bytes:
        """Up to `limit` bytes from `offset`; empty when there is nothing (yet)."""

    def size(self, identity: AttemptId, name: str) -> int:
        """Bytes stored of a log, 0 when there is none."""

    def names(self, identity: AttemptId) -> list[str]:
        """The streams of an attempt that have at least begun to arrive."""


@dataclass(frozen=True, slots=True)
class SettingSaid:
    """A setting's value as a file takes it, passwords not shown, and where it was said."""

    value: str
    origin: str


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A change of one key of settings.json.

    `before`, `after`: what that file said and says of it; None: nothing. `was`, `now`: the value that counted
    and that counts. `wins`: the origin that ranks above the file; empty: none does.
    """

    key: str
    before: str | None
    after: str | None
    was: SettingSaid
    now: SettingSaid
    wins: str
    at_start: bool
    """Whether the change counts only from the coordinator's next start on."""


class ChosenSettings(Protocol):
    """The settings that were chosen by a command, in a file of their own; safe from any thread."""

    def look(self, key: str, text: str | None) -> SettingChange:
        """Return what a change would do; None takes the key out. Errors of a key or value that does not
        fit."""

    def change(self, key: str, text: str | None) -> SettingChange:
        """Make the change durable and return it. An error changes nothing."""


@dataclass(frozen=True, slots=True)
class AgentsChange:
    """A change of the user's own agents. `before`, `after`: the whole file; None: there was none.

    `was`, `now`: what the file says of the agent, on one line.
    """

    file: str
    before: str | None
    after: str
    was: str
    now: str


class OwnAgentsFile(Protocol):
    """The agents that the user has written; safe from any thread."""

    def look(self, name: str, text: str) -> AgentsChange:
        """Return what these fields would change. Errors of a field or value that does not fit."""

    def change(self, name: str, text: str) -> AgentsChange:
        """Make the change durable and return it. An error changes nothing."""

    def text(self) -> str | None:
        """Return the whole file; None: there is none."""

    def put_back(self, text: str | None) -> None:
        """Make this the whole file; None removes the file."""


class NamedPresets(Protocol):
    """Presets by name."""

    @property
    def presets(self) -> Presets:
        """Return all presets."""

    def origin(self, name: str) -> str:
        """The file and line of an agent's definition."""


class Surroundings(Protocol):
    """The user's configuration and folders, as they are at the moment of the call."""

    def project_of(self, folder: str) -> str | None:
        """Absolute path of the top of the git repository around the folder; None outside of one."""

    def below(self, folder: str, project: str) -> str:
        """Return the folder relative to the project's top, links followed; empty at the top and outside."""

    def projects(self) -> Mapping[str, NamedProject]:
        """All projects by name. ConfigError names file and key."""

    def address_of(self, project: str) -> str:
        """Return the address of the repository's remote, without login and scheme; empty: it has none."""

    def prd(self, project: str, named: str) -> str:
        """Return the PRD, the file that tells what the repository is to become: `named`, else the first of
        PRDS that is there; empty: none is.
        """

    def prd_for_agents(self, project: str) -> str:
        """The same, as far as agents are told of it: the repository is one of the user's projects, a snapshot
        has the file, and it is not a README that nobody has named."""

    def agents(self, project: str | None) -> Agents:
        """Agent definitions: built-in, the user's, the project's."""

    def defaults(self, project: str | None) -> Defaults:
        """Settings that a request may leave out. ConfigError names file and key."""

    def project(self, project: str | None) -> Project:
        """The repository's own pancode.yaml. ConfigError names file and key."""

    def rules(self, project: str | None) -> Rules:
        """Safety rules: built-in, the user's, the project's. ConfigError names file, line and rule."""

    def skills(self, project: str | None, names: tuple[str, ...]) -> GivenSkills:
        """Return the skills that a run is given: these, and its project's. As `given` of `pancode.skills`."""

    def tiers(self, project: str | None) -> dict[str, ModelTier]:
        """The owner's corrections of models' tiers, by pattern."""

    def max_depth(self) -> int:
        """The greatest depth of runs inside runs."""

    def paths(self, task: str, cwd: str | None, project: str | None) -> tuple[PathFact, ...]:
        """Return each path that the task names: where it is, links followed, and whether it exists."""

    def presets(self) -> NamedPresets:
        """The shipped presets and the user's. ConfigError names file, line and key."""

    def applied(self) -> str | None:
        """The name of the applied preset."""

    def origins(self, project: str | None) -> dict[str, SettingSaid]:
        """Return every setting by its key."""


class Around(Protocol):
    """Makes, of a caller's own settings and preset, what a dispatch reads of files."""

    def __call__(self, callers: Mapping[str, object], preset: str | None = None, /) -> Surroundings: ...
