"""Comments on the changes of runs."""

from __future__ import annotations

from pancode.store.migrations.spec import create_table

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_table(
        "comments",
        "id",
        "run sent_in",
        "id:text run:text file:text line:int last:int side:text quote:text words:text by:text is_person:bool "
        "at_ms:int number:int sent_in:text is_closed:bool",
    )
