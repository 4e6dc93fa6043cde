"""Answers of the API for the words of commands: whole, so that a test names only what it is about."""

from __future__ import annotations

from typing import Any


def runtime(name: str = "shell", state: str = "ok", **changes: Any) -> Any:
    """A program on a machine."""
    made: dict[str, Any] = {
        "name": name,
        "version": None,
        "state": state,
        "fix": "",
        "says": "",
        "no_turns": "",
        "can": [],
    }
    more = {"login": "other", "brought": "", "endpoints": [], "served": False, "old": ""}
    return {**made, **more, "node": "n1", **changes}


def runtimes(name: str, *nodes: Any, **changes: Any) -> Any:
    """A program, and the machines that tell of it."""
    made: dict[str, Any] = {
        "name": name,
        "nodes": list(nodes),
        "reasoning": [],
        "takes_turns": True,
        "installable": False,
    }
    return {**made, **changes}


def machine(name: str = "n1", **changes: Any) -> Any:
    """A machine as `node show` has it, from which nothing was heard."""
    target: dict[str, Any] = {
        "alias": name,
        "host": "",
        "port": 0,
        "user": "",
        "hops": [],
        "proxy": [],
        "warnings": [],
    }
    reach: dict[str, Any] = {
        "target": target,
        "pins": {},
        "local": False,
        "installed_home": None,
    }
    made: dict[str, Any] = {
        "name": name,
        "state": "online",
        "since": None,
        "runtimes": [],
        "endpoints": [],
        "labels": {},
    }
    made |= {"slots": {"used": 0, "total": 4, "now": 4, "why": ""}, "version": None, "clock_skew_s": None}
    made |= {"disk_free": None, "disk_most": None, "linked": True, "isolation": None, "problems": []}
    made |= {"target": reach, "tag": None, "public_key": None, "added_at": "2026-11-20T08:20:24.000Z"}
    made |= {"draining": None, "paused": None, "quarantined": None, "facts": None}
    return {**made, **changes}


def fleet(*nodes: Any, **coordinator: Any) -> Any:
    """The coordinator and these machines."""
    process: dict[str, Any] = {
        "pid": 1,
        "version": "0.1.0",
        "commit": "unknown",
        "home": "/h",
        "started_at": "",
        "api": "",
    }
    more: dict[str, Any] = {
        "after_reboot": "",
        "trouble": None,
        "closed": [],
        "fleet": "f",
        "epoch": 1,
        "paused": None,
    }
    more |= {"draining": None, "refused_envelopes": {}, "clock": None}
    return {"coordinator": {**process, **more, **coordinator}, "nodes": list(nodes)}


def run(**changes: Any) -> Any:
    """A run that is done, as `runs show` has it."""
    usage = {"input_tokens": 0, "output_tokens": 0, "cost_usd": "0", "cost_source": "local"}
    made: dict[str, Any] = {"run": "r-1", "state": "ended", "stage": "ended", "waits": None, "attempt": 1}
    made |= {"fence": 1, "node": "desk", "agent": "builder", "runtime": "shell", "model": None, "task": "t"}
    made |= {"outcome": "done", "reason": "", "exit_code": 0, "commit": None, "files_changed": []}
    made |= {"receipt": None, "usage": {**usage, "disputed_usd": None}, "notes": [], "created_at": ""}
    made |= {"started_at": None, "finished_at": None, "retry_of": None, "continues": None, "landed": None}
    made |= {"continued_by": [], "parent": None, "landing": None, "verification": None, "workflow": None}
    made |= {"step": None, "gates": [], "reports": [], "answer": "", "findings": [], "attempts": []}
    return {**made, "inbox": None, "told": [], "chain": [], "session": "new", **changes}
