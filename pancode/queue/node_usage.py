"""Measures how much each node stores in Redis, and removes a node's leftovers in small steps."""

from __future__ import annotations

from typing import Any

from pancode.kernel.node import USER_PREFIX
from pancode.kernel.quota import RedisUsage
from pancode.queue.node_rights import JOB_KEYS

STEP = 1_000
"""How many keys one step scans; Redis serves other clients between two steps."""

# Measure exact sizes: with sampling, a node could put small values where the samples are taken.
WEIGH = """
local found, sums = redis.call('SCAN', ARGV[1], 'COUNT', ARGV[2]), {}
local hex = string.rep('%x', 10)
local shapes = {
  '^rq:job:(' .. hex .. ')_', '^rq:executions?:(' .. hex .. ')_', '^rq:results:(' .. hex .. ')_',
  '^rq:worker:(' .. hex .. ')$', '^rq:worker:(' .. hex .. '):',
  '^rq:%a+:node%.(' .. hex .. ')$', '^pancode:up:(' .. hex .. ')$', '^pancode:heartbeat:(' .. hex .. ')$',
  '^pancode:profile:(' .. hex .. ')$'}
for _, key in ipairs(found[2]) do
  for _, shape in ipairs(shapes) do
    local tag = string.match(key, shape)
    if tag then
      local sum = sums[tag] or {0, 0}
      sum[1] = sum[1] + (redis.call('MEMORY', 'USAGE', key, 'SAMPLES', 0) or 0)
      sum[2] = sum[2] + 1
      sums[tag] = sum
      break
    end
  end
end
local said = {found[1]}
for tag, sum in pairs(sums) do
  table.insert(said, tag)
  table.insert(said, sum[1])
  table.insert(said, sum[2])
end
return said
"""
"""ARGV: cursor, keys of this step. Returns {cursor, then for each node: tag, bytes, keys}."""


SWEEP = """
local found = redis.call('SCAN', ARGV[1], 'COUNT', ARGV[2])
local kinds = {}
for at = 4, #ARGV do kinds[ARGV[at]] = true end
for _, key in ipairs(found[2]) do
  local kind, owner = string.match(key, '^rq:(%a+):(%x+)_')
  if owner == ARGV[3] and kinds[kind] then redis.call('UNLINK', key) end
end
return found[1]
"""
"""ARGV: cursor, keys of this step, tag, kinds of keys. Returns the cursor of the next step."""


def remove_jobs(client: Any, tag: str) -> None:
    """Remove all jobs of a node and their other keys, in steps, as the node chose their number and names."""
    step, cursor = client.register_script(SWEEP), b"0"
    while True:
        cursor = step(args=[cursor, STEP, tag, *JOB_KEYS])
        if cursor == b"0":
            return


def measure_usage(client: Any) -> dict[str, RedisUsage]:
    """Return the usage of Redis by node tag. A key may count twice while the server enlarges its table."""
    step = client.register_script(WEIGH)
    found: dict[str, RedisUsage] = {}
    cursor = b"0"
    while True:
        cursor, *sums = step(args=[cursor, STEP])
        for at in range(0, len(sums), 3):
            _add(found, sums[at].decode(), RedisUsage(int(sums[at + 1]), int(sums[at + 2])))
        if cursor == b"0":
            break
    # (tag, bytes) of each connection of a node's user: its buffers and its name, which the node chose
    clients = client.client_list()
    mine = [one for one in clients if str(one.get("user", "")).startswith(USER_PREFIX)]
    connected = [
        (one["user"].removeprefix(USER_PREFIX), int(one.get("tot-mem", 0)) + len(one.get("name", "")))
        for one in mine
    ]
    for tag, size in connected:
        _add(found, tag, RedisUsage(size=size, connected=size))
    return found


def _add(found: dict[str, RedisUsage], tag: str, more: RedisUsage) -> None:
    known = found.get(tag, RedisUsage())
    found[tag] = RedisUsage(known.size + more.size, known.keys + more.keys, known.connected + more.connected)
