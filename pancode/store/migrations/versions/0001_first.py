"""The first schema. Written by migrations/new.py."""

from __future__ import annotations

from pancode.store.migrations.spec import create_table

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# name, key, indexes, columns
TABLES = (
    ("settings", "name", "", "name:text value:text? changed_ms:int changed_by:text"),
    (
        "nodes",
        "name",
        "tag",
        "name:text added_ms:int target:text labels:text slots:int tag:text? public_key:text? "
        "draining:text? paused:text? quarantined:text? removed:text? control_seq:int epoch_seen:int "
        "obeys:text? facts:text",
    ),
    (
        "runs",
        "id",
        "state,created_ms created_ms parent workflow session,place",
        "id:text created_ms:int created_by:text task:text argv:text? agent:text prompt:text "
        "tools:text read_only:bool runtime:text model:text? mode:text safety:text told_only:bool "
        "node:text? require:text priority:int project:text? workspace:text setup:text cache:text "
        "gates:text limits:text env:text secrets:text depth:int estimate_usd:text on_lost:text "
        "max_attempts:int? trace:text asked_model:text? reasoning:text? estimate_tokens:int "
        "estimate_ms:int epoch:int state:text reason:text waits:text? attempt:int fence:int "
        "stop_asked:text? outcome:text? failure:text? exit_code:int? result:text started_ms:int? "
        "finished_ms:int? retry_at_ms:int? retry_of:text? parent:text? land:bool landing:text "
        "landed:text? rules:text endpoint:text? context:int? terms:text untested:bool "
        "workflow:text? step:text? session:text place:int",
    ),
    (
        "sessions",
        "id",
        "newest_ms",
        "id:text run:text newest_ms:int title:text mode:text safety:text model:text? "
        "reasoning:text? program_mode:text on_cap:text ceiling:text? chosen_by:text? "
        "closed_by:text? news:text points:text restored:text backs:text",
    ),
    (
        "words",
        "run number",
        "",
        "run:text number:int at_ms:int by:text text:text laid:text turn:int? for_next:bool",
    ),
    (
        "workflows",
        "id",
        "created_ms state",
        "id:text created_ms:int created_by:text kind:text name:text input:text cwd:text? "
        "concurrency:int? stagger_ms:int fail_fast:bool budget:text? race:text caller:text "
        "state:text reason:text winner:text? stop_asked:text? finished_ms:int? retry_of:text? "
        "receipt:text? board:text lane:text",
    ),
    (
        "workflow_steps",
        "workflow number",
        "",
        "workflow:text number:int name:text needs:text request:text files:text until:text most:int "
        "verdict:text back_to:text? state:text round:int run:text? runs:text reason:text "
        "outputs:text started_ms:int? finished_ms:int? lost:text? begins_ms:int? item:text",
    ),
    (
        "schedules",
        "name",
        "",
        "name:text created_ms:int created_by:text trigger:text work:text missed:text overlap:bool "
        "paused:text? seen_ms:int next_ms:int? mark:text trouble:text",
    ),
    (
        "firings",
        "schedule key",
        "schedule,at_ms state run workflow",
        "schedule:text key:text at_ms:int state:text run:text? workflow:text? reason:text fix:text "
        "cause:text depth:int late:bool done_ms:int?",
    ),
    ("webhooks", "name", "", "name:text url:text created_ms:int created_by:text events:text"),
    (
        "deliveries",
        "id",
        "target,created_ms state",
        "id:text target:text created_ms:int kind:text body:text due_ms:int state:text tries:int "
        "status:text done_ms:int? tried_ms:int?",
    ),
    (
        "ended_runs",
        "run",
        "ended_ms last_ms",
        "run:text ended_ms:int agent:text model:text? runtime:text kind:text repository:text? "
        "node:text? outcome:text started:bool counts:bool judges:bool landed:bool reverted:bool "
        "left:bool retry_of:text? ms:int usd:text tokens:int agent_ms:int unknown:bool "
        "first_ms:int? last_ms:int? size:text",
    ),
    (
        "notes",
        "run",
        "project,at_ms at_ms",
        "run:text at_ms:int project:text agent:text commit:text? receipt:text task:text parts:text",
    ),
    ("anchors", "number", "", "number:int envelope:text"),
    (
        "attempts",
        "run attempt",
        "",
        "run:text attempt:int created_ms:int held_usd:text outcome:text? failure:text? reason:text "
        "finished_ms:int? usage:text",
    ),
    (
        "fences",
        "run fence",
        "node state tag",
        "run:text attempt:int fence:int node:text tag:text order:text digest:text "
        "start_by_epoch:int start_by_ms:int bound_ms:int state:text mark:text cursor:int "
        "stop_sent:bool closed:text? closed_ms:int? receipt:text?",
    ),
    (
        "entries",
        "id",
        "run scope,kind,source",
        "id:text at_ms:int scope:text kind:text run:text attempt:int fence:int usd:text tokens:int "
        "agent_ms:int source:text note:text held_tokens:int held_ms:int",
    ),
    (
        "balances",
        "scope",
        "",
        "scope:text spent_usd:text held_usd:text unknown_runs:int tokens:int agent_ms:int runs:int "
        "held_tokens:int held_ms:int disputed_usd:text",
    ),
    (
        "decisions",
        "run number",
        "",
        "run:text number:int at_ms:int kind:text what:text verdict:text detail:text",
    ),
    (
        "audit",
        "number",
        "domain level run",
        "number:int at_ms:int domain:text level:text what:text detail:text run:text? previous:text",
    ),
    ("actions", "id", "run", "id:text kind:text run:text at_ms:int by:text detail:text"),
    ("feed", "number", "", "number:int at_ms:int kind:text run:text? node:text? data:text"),
    (
        "receipts",
        "digest",
        "run tag",
        "digest:text run:text attempt:int fence:int tag:text envelope:text stored_ms:int "
        "orphan:bool rejected:text?",
    ),
    ("keys", "keyid name", "role", "keyid:text name:text role:text public:text from_ms:int until_ms:int?"),
    ("controls", "tag seq", "", "tag:text seq:int envelope:text issued_ms:int"),
    (
        "tokens",
        "name",
        "digest",
        "name:text digest:text scopes:text created_ms:int created_by:text expires_ms:int? "
        "item:text? run:text? used_ms:int?",
    ),
    (
        "keyed_requests",
        "who key",
        "created_ms",
        "who:text key:text route:text digest:text created_ms:int status:int? answer:text",
    ),
)


def upgrade() -> None:
    for table in TABLES:
        create_table(*table)
