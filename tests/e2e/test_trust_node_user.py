"""What a node's own Redis user may do, tried from the node itself, through its own tunnel."""

from __future__ import annotations

import json
import subprocess

import pytest

from node_agent.wire import keys
from tests.crowd import crowded
from tests.e2e.enemy import CLIENT
from tests.e2e.ground import Ground
from tests.e2e.owner import Owner
from tests.lab import Lab

pytestmark = pytest.mark.slow

ASK = (
    CLIENT
    + """
import sys
path, user, password = of_node(sys.argv[1])
said = []
for name, secret in ((user, password), ("coordinator", password), ("default", None), (None, None)):
    try:
        Client(path, name, secret).ask("PING")
        said.append([str(name), "in"])
    except Refused as e:
        said.append([str(name), str(e)])
client = Client(path, user, password)
for words in json.load(sys.stdin):
    try:
        client.ask(*words)
        said.append([" ".join(words), "allowed"])
    except Refused as e:
        said.append([" ".join(words), "refused" if str(e).startswith("NOPERM") else str(e)])
print(json.dumps(said))
"""
)


def _tries(mine: str, other: str) -> list[list[str]]:
    """All that it should not: other nodes, its own queue and controls, the pools, the server."""
    theirs, queue = f"rq:queue:{keys.node_queue(other)}", f"rq:queue:{keys.node_queue(mine)}"
    return [
        ["LPOP", theirs],
        ["LRANGE", theirs, "0", "-1"],
        ["HGETALL", f"rq:job:{other}_r-x_1_1"],
        ["HSET", f"rq:worker:{other}", "state", "idle"],
        ["XADD", keys.up_stream(other), "*", "e", "x"],
        ["XRANGE", keys.down_stream(other), "-", "+"],
        ["GET", keys.coordinator_heartbeat_key(other)],
        ["SET", keys.heartbeat_key(other), "x"],
        ["PUBLISH", keys.hint_channel(other), "1"],
        ["RPUSH", queue, "x"],
        ["DEL", queue],
        ["XADD", keys.down_stream(mine), "*", "e", "x"],
        ["XDEL", keys.down_stream(mine), "1-1"],
        ["SET", keys.coordinator_heartbeat_key(mine), "x"],
        ["XRANGE", keys.up_stream(mine), "-", "+"],
        ["LPOP", f"rq:queue:{keys.pool_queue('any')}"],
        ["SMEMBERS", "rq:workers"],
        ["KEYS", "*"],
        ["SCAN", "0"],
        ["FLUSHALL"],
        ["CONFIG", "GET", "*"],
        ["ACL", "LIST"],
        ["ACL", "SETUSER", f"node-{mine}", "+@all"],
        ["CLIENT", "LIST"],
        ["MONITOR"],
        ["SHUTDOWN", "NOSAVE"],
        ["EVAL", f"return redis.call('LPOP', '{theirs}')", "0"],
        ["REPLICAOF", "NO", "ONE"],
    ]


def test_the_nodes_own_user_is_held_to_its_own_keys(fleet: Owner, lab: Lab) -> None:
    one, two = Ground(fleet, lab, 1), Ground(fleet, lab, 2)
    tries = _tries(one.tag, two.tag)
    done = subprocess.run(
        [*lab.enter(1), "/usr/bin/python3", "-I", "-S", "-c", ASK, one.inside],
        input=json.dumps(tries),
        capture_output=True,
        text=True,
        check=False,
        timeout=60 * crowded(),
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said[0] == [f"node-{one.tag}", "in"]
    assert all(answer != "in" for _, answer in said[1:4]), said[:4]
    assert [s for s in said[4:] if s[1] != "refused"] == [], "everything else is refused"
    assert len(said) == 4 + len(tries)


def test_another_user_of_the_host_reaches_neither_tunnel_nor_journal(fleet: Owner, lab: Lab) -> None:
    one = Ground(fleet, lab, 1)
    script = (
        "import os\nfor p in ('s','journal','key','node.json'):\n"
        f"    try: os.stat('{one.inside}/' + p); print('reached', p)\n"
        "    except PermissionError: print('refused')\n"
    )
    enter = lab.enter(1, root=True)
    argv = [
        "setpriv",
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "python3",
        "-I",
        "-c",
        script,
    ]
    done = subprocess.run(
        [*enter, *argv], capture_output=True, text=True, check=False, timeout=30 * crowded()
    )
    assert done.stdout == "refused\n" * 4, done.stdout + done.stderr
