"""The Lua that a node may call in Redis: loaded by the coordinator alone, known to both sides by its digest.

A node that could load scripts of its own could hold up the whole server with one that never ends.
"""

from __future__ import annotations

_NOW = """
local tm = redis.call('TIME')
local now = tonumber(tm[1]) + tonumber(tm[2]) / 1e6
local at = string.format('%.6f', now)
"""

CLAIM = (
    _NOW
    + """
local queue, me, iso, claim = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local mine = 'rq:worker:' .. me .. ':claim'
local before = redis.call('HMGET', mine, 'claim', 'job')
if before[1] == claim and before[2] then   -- its answer was lost
  local job = 'rq:job:' .. before[2]
  if redis.call('HGET', job, 'status') == 'started' then
    return {before[2], redis.call('HMGET', job, 'data', 'timeout')}
  end
end
local prefix = me .. '_'
while true do
  local id = redis.call('LPOP', 'rq:queue:' .. queue)
  if not id then return false end
  local job = 'rq:job:' .. id
  local own = string.sub(id, 1, #prefix) == prefix and not string.find(id, ':', 1, true)
  local status = own and redis.pcall('HGET', job, 'status')
  if status == 'queued' then
    redis.call('HSET', job, 'status', 'started', 'started_at', iso, 'last_heartbeat', iso, 'worker_name', me,
      'pancode_at', at)
    redis.call('HSET', 'rq:execution:' .. id .. ':' .. claim, 'id', claim, 'job_id', id, 'created_at', at,
      'last_heartbeat', at, 'worker_name', me)
    redis.call('ZADD', 'rq:executions:' .. id, '+inf', claim)
    redis.call('ZADD', 'rq:wip:' .. queue, '+inf', id .. ':' .. claim)
    redis.call('HSET', mine, 'claim', claim, 'job', id)
    return {id, redis.call('HMGET', job, 'data', 'timeout')}
  end
end
"""
)
"""ARGV: queue, tag, time, an id of this claim. A started job has the score +inf: no RQ tool declares it dead.
An entry whose job is gone, not queued, or not ours is dropped. Returns {job, {data, timeout}} or nothing."""

SETTLE = (
    _NOW
    + """
local queue, me, id, status, iso, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local job, worker = 'rq:job:' .. id, 'rq:worker:' .. me
for _, execution in ipairs(redis.call('ZRANGE', 'rq:executions:' .. id, 0, -1)) do
  redis.call('ZREM', 'rq:wip:' .. queue, id .. ':' .. execution)
  redis.call('DEL', 'rq:execution:' .. id .. ':' .. execution)
end
redis.call('DEL', 'rq:executions:' .. id)
redis.call('LREM', 'rq:queue:' .. queue, 0, id)
if redis.call('EXISTS', job) == 0 then return 0 end
if redis.call('HGET', job, 'status') == 'started' and redis.call('EXISTS', worker) == 1 then
  redis.call('HINCRBY', worker, status == 'finished' and 'successful_job_count' or 'failed_job_count', 1)
end
redis.call('HSET', job, 'status', status, 'ended_at', iso, 'pancode_at', at)
redis.call('EXPIRE', job, ttl)
redis.call('ZREM', 'rq:finished:' .. queue, id)
redis.call('ZREM', 'rq:failed:' .. queue, id)
redis.call('ZADD', 'rq:' .. status .. ':' .. queue, now + ttl, id)
redis.call('DEL', 'rq:results:' .. id)
redis.call('XADD', 'rq:results:' .. id, '*', unpack(ARGV, 7))
redis.call('EXPIRE', 'rq:results:' .. id, ttl)
return 1
"""
)
"""ARGV: queue, tag, job, finished|failed, time, seconds to keep, fields of the result."""

HEARTBEAT = """
local queue, key, ttl, place, envelope = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
redis.call('SET', place, envelope)
redis.call('HSET', key, unpack(ARGV, 6))
redis.call('HSET', key, 'state', redis.call('ZCARD', 'rq:wip:' .. queue) > 0 and 'busy' or 'idle')
redis.call('EXPIRE', key, ttl)
return 1
"""
"""ARGV: queue, worker key, seconds, heartbeat key, heartbeat, fields of the worker. Also after a wipe.

The sets by which RQ finds its workers are the coordinator's to write."""

OF_NODES: tuple[str, ...] = (CLAIM, SETTLE, HEARTBEAT)
"""All that a node may call."""
