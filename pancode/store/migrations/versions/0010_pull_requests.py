"""The pull requests that are watched."""

from __future__ import annotations

from pancode.store.migrations.spec import create_table

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_table(
        "pull_requests",
        "id",
        "ended,opened_ms",
        "id:text run:text project:text forge:text repository:text number:int url:text remote:text "
        "branch:text by:text opened_ms:int follow:bool state:text head:text head_ms:int looked_ms:int "
        "items:text seen:text rounds:int mark:text message:text worker:text ready:text merging:text "
        "trouble:text ended:bool",
    )
