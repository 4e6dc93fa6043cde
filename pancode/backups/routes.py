"""API routes for backups: list the copies, and request one."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pancode.backups.answers import BACK_UP, BACKUPS, BackupBegunAnswer, BackupsAnswer
from pancode.backups.hooks import Backups
from pancode.backups.sealing import COST, Recipient
from pancode.interfaces.http.access.rights import SETS_UP
from pancode.interfaces.http.bodies import ActBody, Body, NodeName
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Verb

MOST_NODES = 16


class RecipientBody(Body):
    """The public part of a new recovery key or passphrase; the secret part stays with the user. `mac`: proves
    who made a copy. `salt`, `cost`: how the key is computed from a passphrase."""

    kind: Literal["key", "passphrase"] = "key"
    public: str
    mac: str
    salt: str = ""
    cost: int = COST

    @model_validator(mode="after")
    def _is_usable(self) -> Self:
        self.recipient()
        return self

    def recipient(self) -> Recipient:
        """Return the recipient. ValidationError for values that are no key."""
        return Recipient.model_validate(self.model_dump())


class BackUpBody(ActBody):
    """A request for copies on nodes and in a folder of the coordinator's machine; without both, in the places
    of the setting `backup.to`."""

    to: Annotated[tuple[NodeName, ...], Field(max_length=MOST_NODES)] = ()
    folder: Annotated[str, Field(max_length=4096, pattern=r"^(/[^\x00\n]*)?$")] = ""
    key: RecipientBody | None = None


@Verb(BACKUPS, command="admin backup")
def _backups(context: ApiContext, call: ApiCall) -> BackupsAnswer:
    """List the copies that this coordinator has made, and how the last requests ended."""
    return context.coordinator.part(Backups).describe()


@Verb(BACK_UP, BackUpBody, "admin backup", status=202, right=SETS_UP)
def _back_up(context: ApiContext, call: ApiCall[BackUpBody]) -> BackupBegunAnswer:
    """Begin a copy in each of the places; `GET /v1/backups` shows how it ended."""
    body = call.body
    to = (*body.to, body.folder) if body.folder else body.to
    return context.coordinator.part(Backups).begin(to, None if body.key is None else body.key.recipient())
