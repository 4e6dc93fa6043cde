"""Ports through which use cases read the user's configuration, folders and delivered logs."""

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
    """The logs that nodes have delivered."""

    def arrived(self, identity: AttemptId, name: str, size: int, sha256: str) -> bool:
        """Whether the whole log has arrived and matches its digest."""

    def read(self, identity: AttemptId, name: str, offset: int, limit: int) -> bytes:
        """Return up to `limit` bytes from `offset`; empty if none has arrived yet."""

    def size(self, identity: AttemptId, name: str) -> int:
        """Return how many bytes of a log are stored; 0 if none."""

    def names(self, identity: AttemptId) -> list[str]:
        """Return the names of an attempt's streams of which at least a part has arrived."""


@dataclass(frozen=True, slots=True)
class SettingSaid:
    """A setting's value as written in a file, with passwords masked, and the place where it was set."""

    value: str
    origin: str


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A change of one key of settings.json.

    `before`, `after`: its value in that file before and after; None: not set. `was`, `now`: the effective
    value before and after. `wins`: the origin of a value that overrides the file's; empty if none does.
    """

    key: str
    before: str | None
    after: str | None
    was: SettingSaid
    now: SettingSaid
    wins: str
    at_start: bool
    """Whether the change takes effect only when the coordinator is next started."""


class ChosenSettings(Protocol):
    """The settings chosen by commands, which have their own file; thread-safe."""

    def look(self, key: str, text: str | None) -> SettingChange:
        """Return what a change would do; None removes the key. Raises for an invalid key or value."""

    def change(self, key: str, text: str | None) -> SettingChange:
        """Write the change durably and return it. If it raises, nothing is changed."""


@dataclass(frozen=True, slots=True)
class AgentsChange:
    """A change of the user's own agents. `before`, `after`: the text of the agents file; None: it did not
    exist. `was`, `now`: the agent's definition before and after, on one line."""

    file: str
    before: str | None
    after: str
    was: str
    now: str


class OwnAgentsFile(Protocol):
    """The agents that the user has defined; thread-safe."""

    def look(self, name: str, text: str) -> AgentsChange:
        """Return what these fields would change. Raises for an invalid field or value."""

    def change(self, name: str, text: str) -> AgentsChange:
        """Write the change durably and return it. If it raises, nothing is changed."""

    def text(self) -> str | None:
        """Return the whole file, or None if it does not exist."""

    def put_back(self, text: str | None) -> None:
        """Replace the whole file with this text; None removes the file."""


class Surroundings(Protocol):
    """The user's configuration and folders at the time of the call."""

    def project_of(self, folder: str) -> str | None:
        """Return the absolute top of the git repository that contains the folder; None if there is none."""

    def below(self, folder: str, project: str) -> str:
        """Return the folder relative to the project's top, with links resolved; empty if not below it."""

    def list_unread(self, project: str, folder: str) -> tuple[str, ...]:
        """Return a warning for each settings file in that folder of the project or above it, but below the
        top, since only the one at the top is read. `folder`: relative to the top; empty: the top itself."""

    def projects(self) -> Mapping[str, NamedProject]:
        """Return all projects by name. ConfigError names the file and the key at fault."""

    def address_of(self, project: str) -> str:
        """Return the address of the repository's remote, without login and scheme; empty without a remote."""

    def prd(self, project: str, named: str) -> str:
        """Return the path of the PRD (the file that describes the intended product): `named`, else the first
        of PRDS that exists; empty if none does."""

    def prd_for_agents(self, project: str) -> str:
        """Return the PRD's path if agents get it: the repository is a project of the user, a snapshot
        contains the file, and it is not a README that the user did not name."""

    def agents(self, project: str | None) -> Agents:
        """Return the agent definitions: built-in, the user's and the project's."""

    def defaults(self, project: str | None) -> Defaults:
        """Return the default values of a request. ConfigError names the file and the key at fault."""

    def project(self, project: str | None) -> Project:
        """Return the repository's own pancode.yaml, without the content of its copies. ConfigError names the
        file and the key at fault."""

    def seal_copied(self, project: str) -> str:
        """Return the ignored files that each run of the project gets, sealed; empty: none. Reads files and
        starts git. RefusedError if the owner has not agreed, ConfigError if a file cannot be copied."""

    def rules(self, project: str | None) -> Rules:
        """Return the safety rules: built-in, user's and project's. ConfigError names file, line and rule."""

    def skills(self, project: str | None, names: tuple[str, ...]) -> GivenSkills:
        """Return the skills a run gets: `names` and its project's skills, like pancode.skills.given."""

    def tiers(self, project: str | None) -> dict[str, ModelTier]:
        """Return the model tiers that the user has corrected, by model pattern."""

    def max_depth(self) -> int:
        """Return the maximum nesting depth of runs."""

    def paths(self, task: str, cwd: str | None, project: str | None) -> tuple[PathFact, ...]:
        """Return each path in the task's text, with its place (links resolved) and whether it exists."""

    def presets(self) -> Presets:
        """Return the shipped presets and the user's. ConfigError names the file, line and key."""

    def applied(self) -> str | None:
        """Return the name of the applied preset, or None."""

    def origins(self, project: str | None) -> dict[str, SettingSaid]:
        """Return every setting, with its value and origin, by key."""

    def warnings(self, project: str | None) -> tuple[str, ...]:
        """Return what is wrong with the settings, though they can be read."""


class Around(Protocol):
    """Reads a dispatch's surroundings from files, given the caller's settings and preset."""

    def __call__(self, callers: Mapping[str, object], preset: str | None = None, /) -> Surroundings: ...
