"""A node's rights in Redis: read its queue, controls and heartbeat; write its own data; nothing more."""

from __future__ import annotations

import hashlib

from node_agent.wire import keys

CONNECTION = "auth ping multi exec watch unwatch subscribe unsubscribe"
JOB_COMMANDS = "hset hget hmget hincrby exists del expire zadd zrem zrange zscore zremrangebyscore xadd"
JOB_KEYS = ("job", "execution", "executions", "results")


def worker_key(tag: str) -> str:
    """Return the key of the hash that represents a node as a worker in RQ's tools."""
    return f"rq:worker:{tag}"


def node_rules(tag: str, password: str) -> list[str]:
    """Return the arguments of ACL SETUSER, which replace all rights of a node; Redis stores only a digest."""
    jobs = [f"~rq:{kind}:{keys.job_prefix(tag)}*" for kind in JOB_KEYS]
    return [
        "reset",
        "on",
        "#" + hashlib.sha256(password.encode()).hexdigest(),
        *jobs,
        f"~{worker_key(tag)}",
        f"&{keys.hint_channel(tag)}",
        *_allow_commands(f"{CONNECTION} {JOB_COMMANDS}"),
        *_list_selectors(tag),
    ]


def _list_selectors(tag: str) -> list[str]:
    """Return the ACL selectors of a node; each permits some commands on some keys."""
    queue = keys.node_queue(tag)
    registries = " ".join(f"~rq:{kind}:{queue}" for kind in ("wip", "finished", "failed"))
    return [
        _make_selector("lrange llen lrem", f"~rq:queue:{queue}"),
        _make_selector("zadd zrem zcard", registries),
        _make_selector("xadd", f"~{keys.up_stream(tag)}"),
        _make_selector("xrange xrevrange", f"%R~{keys.down_stream(tag)}"),
        _make_selector("get", f"%R~{keys.coordinator_heartbeat_key(tag)}"),
        _make_selector("set", f"~{keys.heartbeat_key(tag)} ~{keys.profile_key(tag)}"),
        _make_selector("publish", f"&{keys.UP_HINT}"),
    ]


def _make_selector(commands: str, patterns: str) -> str:
    return f"({' '.join(_allow_commands(commands))} {patterns})"


def _allow_commands(commands: str) -> list[str]:
    return [f"+{command}" for command in commands.split()]


def node_keys(tag: str) -> list[str]:
    """Return the keys of a node, except those of its jobs, whose names the node chose."""
    queue = keys.node_queue(tag)
    return [
        f"rq:queue:{queue}",
        f"rq:workers:{queue}",
        worker_key(tag),
        *(f"rq:{kind}:{queue}" for kind in ("wip", "finished", "failed")),
        keys.up_stream(tag),
        keys.down_stream(tag),
        keys.coordinator_heartbeat_key(tag),
        keys.heartbeat_key(tag),
        keys.profile_key(tag),
    ]
