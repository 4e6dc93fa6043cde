"""What features have in a coordinator: their state, and what they add to its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from pancode.app.pull_work import ChangeWork, ForgeWatch
from pancode.backups.hooks import BackupPorts, Backups
from pancode.backups.places import copies_on
from pancode.checkouts.hooks import KeptCheckouts
from pancode.config import copied_files
from pancode.config.changes import ChangeKind
from pancode.config.notify import NotifyRules
from pancode.config.user_environment import FileSurroundings
from pancode.fleet.part import CoordinatorPart
from pancode.fleet.seat import SeatKeeper
from pancode.fleet.ssh.bringup import CleanNode
from pancode.fleet.ssh.machines import Machines
from pancode.git.depot import Depot
from pancode.git.forge.forges import HttpForges
from pancode.interfaces.http.access import tokens
from pancode.interfaces.http.context import MakeChanges
from pancode.issues import hooks as issues
from pancode.landing.git.change_store import DepotCode
from pancode.notices import hooks as notices
from pancode.notices.delivery.sender import Sender
from pancode.pull_requests import hooks as pull_requests
from pancode.runs.core import Core
from pancode.runs.user_environment import Around
from pancode.sessions.terms import SessionMaker
from pancode.skills import library
from pancode.skills.assignment import find_skills
from pancode.skills.node_copies import remove_copies

CLEAN: tuple[CleanNode, ...] = (remove_copies,)
"""What is removed from a node that leaves the fleet."""

AGREED = (copied_files.AGREED, f"skills/{library.AGREED}")
"""Files of the home with users' agreements, which do not count for a coordinator that takes over a fleet."""

make_surroundings = partial(FileSurroundings, find_skills=find_skills)


CHANGE_MAKERS: Mapping[ChangeKind, MakeChanges] = {ChangeKind.SESSION: SessionMaker}
"""Makes what carries out changes of the configuration that belong to a feature."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a coordinator gives the features. `own`: the settings without a preset; `secret`: reads a stored
    secret; `has_file`: whether the ledger is a file in the home."""

    core: Core
    around: Around
    own: FileSurroundings
    notify_rules: Callable[[], NotifyRules]
    secret: Callable[[str], str]
    environ: Mapping[str, str]
    home: Path
    fleet: Machines
    seat: SeatKeeper
    has_file: bool
    forge_client: HttpForges
    depot: Depot
    parts: Callable[[], Sequence[CoordinatorPart]]
    """The parts of all features, once they are made."""


MakePart: TypeAlias = Callable[[Given], CoordinatorPart]
PARTS: tuple[MakePart, ...] = (
    lambda given: notices.Notices(
        given.core, Sender(given.notify_rules, given.secret), tokens, given.own.loaded().settings.telemetry
    ),
    lambda given: issues.track_issues(
        given.core, given.around, given.forge_client.hosts, given.secret, given.environ
    ),
    lambda given: Backups(
        given.core,
        BackupPorts(
            given.home,
            lambda: given.own.loaded().settings.backup,
            copies_on(given.fleet, given.core.fleet, given.seat),
            lambda: given.seat.mine.number,
            given.has_file,
        ),
    ),
    lambda given: KeptCheckouts(given.home),
    lambda given: DepotCode(given.depot, given.core, given.around({}), given.forge_client),
    lambda given: pull_requests.WatchedPulls(
        given.core,
        given.around,
        ForgeWatch(given.forge_client),
        ChangeWork(given.core, given.around, given.parts, given.forge_client, given.environ),
    ),
)
