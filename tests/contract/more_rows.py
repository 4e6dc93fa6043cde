"""Samples of the rows of schedules, webhooks, tokens, requests with a key, the audit and ended runs."""

from __future__ import annotations

from pancode.config.records import ConfigChange, ConfigProposal
from pancode.interfaces.http.access.store import KeyedRequest
from pancode.issues.records import IssueWork, KeptPlan
from pancode.kernel.records import ApiToken, AuditAnchor, Record
from pancode.memory.model import RunNote
from pancode.notices.records import Delivery
from pancode.pull_requests.model import WatchedPull
from pancode.reviews.model import ReviewComment
from pancode.schedules.records import Firing, FiringState, Schedule
from pancode.skills.records import StoredTool, StoredToolFiles
from pancode.workspaces.records import KeptWorkspace
from tests.contract.ended import ENDED

MORE: tuple[Record, ...] = (
    Schedule("nightly", 1, "ana", {"kind": "cron", "cron": "@daily"}, {"kind": "run"}, next_ms=2**53),
    Firing("nightly", "2026-11-22T00:00Z", 7, FiringState.BEGUN, "r-1", cause={"by": "ana"}, late=True),
    Delivery("notify:phone:7", "notify:phone", 1, "run.failed", {"data": {"run": "r-1"}}, 9, tries=2),
    ENDED,
    RunNote("r-1", 7, "/home/ana/shop", "builder", None, "d" * 64, "Fix it.", {"RESULT": "it\nworks"}),
    AuditAnchor(20, "{}"),
    ApiToken("grafana", "d" * 64, ("read", "answer"), 1, "ana", 2, "i-1", "r-1", 3),
    KeyedRequest("socket", "k 1", "POST /v1/runs", "d" * 64, 1, 201, '{"run":"r-1"}'),
    StoredTool("r-1", "count", False, "/home/ana/shop", "r-1", "d" * 64, "", 7),
    StoredToolFiles("r-1", "count", "{}"),
    ConfigProposal("c-1", 7, "setting", "dispatch.safety", None, "a", "b", ["note"], "why", "panos", "r-1"),
    ConfigChange(1, "budget", "day", "5", None),
    KeptWorkspace("login", "/home/ana/shop", "feature/login", None, 7, "ana", "r-1", "", "r-2", ended=True),
    KeptPlan("shop-12", "a" * 64, "b" * 64, 7, "ana"),
    IssueWork(
        "shop-12", "SHOP-12", "Add login", "https://x", "shop", "ana", 7, "words", "github", "open", "said"
    ),
    ReviewComment("c-1", "r-1", "app.py", 3, 5, "new", "x = 1", "why?", "ana", True, 7, 1, "r-2", True),
    WatchedPull(
        "p-1",
        "r-1",
        "/home/ana/shop",
        "github",
        "github.com/o/r",
        7,
        "https://x",
        "origin",
        "agent/x",
        "ana",
        7,
        follow=True,
        items=({"id": "check-ci", "is_sent": True},),
        seen=("check-ci",),
        mark="a",
    ),
)
