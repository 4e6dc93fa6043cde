"""The API's answers about backups."""

from typing_extensions import TypedDict

from pancode.kernel.route import Route


class CopyShape(TypedDict):
    """A copy in a place. `verified_at`: null if it, or one that it needs, was not checked by this coordinator
    or is damaged. `size`: of the sealed copy; `base`: the copy whose contents it adds to, null for a whole
    one."""

    name: str
    taken_at: str
    verified_at: str | None
    size: int
    base: str | None
    files: int


class PlaceCopiesShape(TypedDict):
    """The copies in a place, newest first. `node`: a node, or the path of a folder; `here`: it is a folder of
    the coordinator's machine, so it does not survive the loss of this machine. `trouble`, `fix`: why the last
    try failed, else empty."""

    node: str
    here: bool
    copies: list[CopyShape]
    trouble: str
    fix: str


class OutcomeShape(TypedDict):
    """How a requested copy ended. `number`: of the request; `copy`: the copy's name, empty if it failed."""

    number: int
    node: str
    ok: bool
    copy: str
    why: str
    fix: str


class BackupsAnswer(TypedDict):
    """`key`: `key` or `passphrase`, with which copies are opened; null before the first copy. `to`: the nodes
    and folders of the setting. `running`: the node to which a copy is being made now, else null. `since`: a
    request with a lower number ended with an earlier process of the coordinator."""

    key: str | None
    to: list[str]
    nightly: bool
    after_landing: bool
    keep: int
    running: str | None
    waiting: int
    since: int
    nodes: list[PlaceCopiesShape]
    outcomes: list[OutcomeShape]


class BackupBegunAnswer(TypedDict):
    """A requested copy. `number`: names it among the outcomes of `GET /v1/backups`."""

    number: int
    to: list[str]


class StoredCopyShape(TypedDict):
    """A copy as a restore finds it. `size`: of the files in it and those that it needs; `base`: the copy
    whose contents it adds to, null for a whole one; `pancode`: the version that made it."""

    name: str
    taken_at: str
    size: int
    base: str | None
    files: int
    pancode: str


class StoredCopiesAnswer(TypedDict):
    """The copies of a fleet on a host, newest first; `refused`: why others cannot be used, by name."""

    fleet: str
    copies: list[StoredCopyShape]
    refused: dict[str, str]


class RestoredAnswer(TypedDict):
    """A finished restore. `age`: of the copy, for users; `active`: runs in flight when the copy was taken."""

    fleet: str
    copy: str
    taken_at: str
    age: str
    files: int
    size: int
    active: list[str]
    nodes: list[str]
    warnings: list[str]


HERE = "it is on this machine and does not survive its loss, unless you carry it elsewhere"
BACKUPS = Route[BackupsAnswer]("GET /v1/backups")
BACK_UP = Route[BackupBegunAnswer]("POST /v1/backups")
