"""API routes for backups: list the copies, and request one."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pancode.backups.answers import BACK_UP, BACKUPS, BackupBegunAnswer, BackupsAnswer
from pancode.backups.hooks import Backups
from pancode.backups.sealing import Recipient, SealError, parse_recipient
from pancode.interfaces.http.access.rights import SETS_UP
from pancode.interfaces.http.bodies import ActBody, Body, NodeName
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Verb
from pancode.kernel.errors import UsageError

MOST_NODES = 16
Key = Annotated[str, Field(min_length=44, max_length=44, pattern=r"^[A-Za-z0-9+/=]*$")]
Base64 = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9+/=]*$")]


class RecipientBody(Body):
    """The public part of a recovery key or passphrase, which the command has made; the secret part stays with
    the user. `mac`: authenticates manifests. `salt`, `cost`: how the key is computed from a passphrase."""

    kind: Literal["key", "passphrase"] = "key"
    public: Key
    mac: Key
    salt: Base64 = ""
    cost: int = Field(default=16, ge=14, le=18)

    def recipient(self) -> Recipient:
        """Return the recipient. UsageError for values that are no key."""
        try:
            return parse_recipient(self.model_dump_json().encode())
        except SealError as error:
            raise UsageError(str(error), why=error.why, fix="pancode admin backup --to NODE") from error


class BackUpBody(ActBody):
    """A request for copies on nodes; without nodes, on those of the setting `backup.to`."""

    to: Annotated[tuple[NodeName, ...], Field(max_length=MOST_NODES)] = ()
    key: RecipientBody | None = None


@Verb(BACKUPS, command="admin backup")
def _backups(context: ApiContext, call: ApiCall) -> BackupsAnswer:
    """List the copies that this coordinator has made, and how the last requests ended."""
    return context.coordinator.part(Backups).describe()


@Verb(BACK_UP, BackUpBody, "admin backup", status=202, right=SETS_UP)
def _back_up(context: ApiContext, call: ApiCall) -> BackupBegunAnswer:
    """Begin a copy on each of the nodes; `GET /v1/backups` shows how it ended."""
    body: BackUpBody = call.body
    recipient = None if body.key is None else body.key.recipient()
    return context.coordinator.part(Backups).begin(body.to, recipient, body.by)
