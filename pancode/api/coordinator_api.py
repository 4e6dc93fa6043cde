"""The coordinator as the API and `serve` know it: the core, bring-up, code, configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from node_agent.wire.identity import AttemptId
from pancode.access.door import DoorPlace
from pancode.code.landing.pull_request import PullAsked
from pancode.control.core import Core
from pancode.control.faces import CodeVerbs, FleetVerbs, Streams, Surroundings
from pancode.control.shapes import PullRequestShape
from pancode.core.records import Run
from pancode.nodes.place import ListenAddress
from pancode.notices.routing import NotifyRules


class CoordinatorApi(Protocol):
    """One per PANCODE_HOME; made by wiring, run by `serve`."""

    @property
    def core(self) -> Core:
        """What the use cases share."""

    @property
    def fleet(self) -> FleetVerbs:
        """Bring-up."""

    @property
    def code(self) -> CodeVerbs:
        """diff and land."""

    @property
    def streams(self) -> Streams:
        """Delivered logs."""

    def around(self, callers: Mapping[str, object], preset: str | None = None) -> Surroundings:
        """Configuration and folders of the user; `callers`: settings of this call alone, by dotted path.

        `preset`: the one of this call; None: the applied one.
        """

    def applied_preset(self, name: str | None) -> str | None:
        """Make it the one of all calls that name none; None: there is none. Returns the one before."""

    def attempts_of(self, pid: int, start: str) -> Sequence[AttemptId] | None:
        """Those that this process of this machine is part of, the outermost last. None: it is gone."""

    @property
    def figures_at(self) -> ListenAddress | None:
        """The address of its figures; None: nowhere."""

    def notify_rules(self) -> NotifyRules:
        """The settings of notices as the files are now. ConfigError."""

    def judge_webhook(self, url: str) -> None:
        """RefusedError where nothing would be posted to it; a name that is not found may be there later."""

    def keep_secret(self, name: str, value: str | None) -> None:
        """Keep a value for the coordinator alone; None: forget it."""

    def kept_secret(self, name: str) -> str:
        """What is kept by this name. NotFoundError."""

    def pull_request(self, run: Run, asked: PullAsked) -> PullRequestShape:
        """Open it, or find the one that is open: of a run that has landed. The errors of its forge."""

    def head_of(self, repo: str, branch: str) -> str:
        """The commit at which a branch of a repository is now. NotFoundError."""

    @property
    def door(self) -> DoorPlace | None:
        """The address of its API over TCP; None: nowhere."""

    def closed(self) -> Sequence[Mapping[str, str]]:
        """The port for nodes that should be open and is not: what, why, fix."""

    def process_figures(self) -> Mapping[str, float]:
        """Figures of this process and its disk, by name; unknown ones are left out."""

    def rotate_key(self, by: str) -> None:
        """A new key for the coordinator; nodes learn it at their next bring-up."""

    def after_reboot(self) -> str:
        """How it starts after a reboot, in words."""

    def stay_down(self) -> None:
        """Nothing starts it again by itself; for one that was told to end, or whose home is gone."""

    def start(self) -> None:
        """Redis, depot server, links, a new epoch. UnavailableError, ConfigError with the fix."""

    def mend(self, failed: bool) -> str:
        """Start our own Redis again if it died; `failed`: it cannot be used, so let the nodes in anew too.

        Says what was done, or nothing. UnavailableError when it cannot be mended now.
        """

    def stop(self, stop_valkey: bool) -> None:
        """The coordinator's last word, then links, then (if asked) our own Valkey. Idempotent."""
